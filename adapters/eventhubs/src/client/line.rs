use std::sync::Arc;

use tokio::sync::Mutex;

use super::connection::Connection;
use crate::{Access, error::Failed};

/// A connection that is opened when it is needed, and again after it broke.
#[derive(Debug)]
pub(crate) struct Line {
    access: Arc<Access>,
    open: Mutex<Option<Arc<Connection>>>,
}

impl Line {
    pub(crate) fn new(access: Arc<Access>) -> Self {
        Self { access, open: Mutex::default() }
    }

    /// The connection, if it is sound; otherwise a new one. Cancel-safe.
    pub(crate) async fn get(&self) -> Result<Arc<Connection>, Failed> {
        let mut open = self.open.lock().await;
        if let Some(connection) = open.as_ref().filter(|connection| connection.is_sound()) {
            return Ok(Arc::clone(connection));
        }
        *open = None;
        let connection = Box::pin(Connection::open(&self.access)).await?; // the library's is large
        Ok(Arc::clone(open.insert(connection)))
    }

    /// Closes what is open.
    pub(crate) async fn close(&self) {
        if let Some(connection) = self.open.lock().await.take() {
            connection.close().await;
        }
    }
}
