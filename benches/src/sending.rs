use std::{collections::VecDeque, sync::Arc};

use strait_core::{Message, Result};
use strait_runtime::{Pending, Sender};
use tokio::task::JoinSet;

use crate::Gauge;

/// Enqueues messages without waiting for their outcomes, of which at most `most` are open, until the gauge is done. Then
/// closes the sender.
///
/// # Errors
///
/// That of the first message that is not sent.
pub async fn enqueue(
    sender: Sender,
    gauge: Arc<Gauge>,
    most: usize,
    mut message: impl FnMut() -> Message,
) -> Result<()> {
    let mut open: VecDeque<Pending> = VecDeque::with_capacity(most);
    while !gauge.is_done() {
        if open.len() == most
            && let Some(oldest) = open.pop_front()
        {
            oldest.await.into_result()?;
            gauge.hit(1);
        }
        open.push_back(sender.enqueue(message()).await?);
    }
    sender.close().await
}

/// Lets so many callers each send one message after the other and wait for its receipt, until the gauge is done. Then
/// closes the sender.
///
/// # Errors
///
/// That of the first message that is not sent.
pub async fn call(
    sender: Sender,
    gauge: Arc<Gauge>,
    callers: usize,
    message: impl Fn() -> Message + Clone + Send + Sync + 'static,
) -> Result<()> {
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (sender, gauge, message) = (sender.clone(), Arc::clone(&gauge), message.clone());
        tasks.spawn(async move {
            while !gauge.is_done() {
                sender.send(message()).await?;
                gauge.hit(1);
            }
            Ok(())
        });
    }
    tasks.join_all().await.into_iter().collect::<Result<()>>()?;
    sender.close().await
}
