//! A session: the links that are attached to it.

use std::sync::Arc;

use fe2o3_amqp::acceptor::ListenerSessionHandle;
use tokio::task::JoinSet;

use crate::{connection::Connection, link};

/// Serves links until the session ends.
pub(crate) async fn serve(connection: Arc<Connection>, mut session: ListenerSessionHandle) {
    let mut links = JoinSet::new();
    let acceptors = link::Acceptors::new(connection.shared.config.largest_message);
    loop {
        tokio::select! {
            attach = session.next_incoming_attach() => {
                let Some(attach) = attach else { break };
                acceptors.attach(&connection, attach, &mut session, &mut links).await;
            }
            Some(_) = links.join_next(), if !links.is_empty() => {}
        }
    }
    let _ = session.end().await; // it may be over
}
