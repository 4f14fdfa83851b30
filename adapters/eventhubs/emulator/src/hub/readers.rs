use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, timeout_at},
};

/// How many readers without an epoch a partition may have in a consumer group.
const MOST: usize = 5;
/// How long a link waits for another to leave before it is refused.
///
/// The AMQP library confirms a Detach before the link's own task learns of it. A client that detaches one link and
/// attaches the next must not find the first one still there.
pub(crate) const LEAVING: Duration = Duration::from_millis(200);

/// The readers of a partition, by consumer group.
#[derive(Debug, Default)]
pub(crate) struct Readers(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified whenever a reader leaves.
    left: Notify,
}

#[derive(Debug, Default)]
struct State {
    groups: HashMap<String, Vec<Reader>>,
    next: u64,
}

#[derive(Debug)]
struct Reader {
    id: u64,
    epoch: Option<i64>,
    /// Tells it the epoch of the reader that steals its partition.
    steal: oneshot::Sender<Option<i64>>,
}

/// Why a reader is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// A reader of this epoch, which is higher, has the partition.
    Epoch(i64),
    /// Five readers have it.
    TooMany,
}

/// The right to read, until it is dropped or stolen.
#[derive(Debug)]
pub(crate) struct Registration {
    readers: Arc<Shared>,
    group: String,
    id: u64,
    stolen: oneshot::Receiver<Option<i64>>,
}

impl Readers {
    /// Registers a reader. One with an epoch steals from all whose epoch is not higher, and from those without one.
    ///
    /// Cancel-safe.
    pub(crate) async fn register(&self, group: &str, epoch: Option<i64>) -> Result<Registration, Refused> {
        let deadline = Instant::now() + LEAVING;
        loop {
            let left = self.0.left.notified();
            tokio::pin!(left);
            left.as_mut().enable(); // before the look, so that nobody leaves unnoticed in between
            let refused = match self.try_register(group, epoch) {
                Ok(registration) => return Ok(registration),
                Err(refused) => refused,
            };
            if timeout_at(deadline, left).await.is_err() {
                return Err(refused);
            }
        }
    }

    fn try_register(&self, group: &str, epoch: Option<i64>) -> Result<Registration, Refused> {
        let mut state = self.0.lock();
        let id = state.next;
        let readers = state.groups.get(group).map_or(&[][..], |readers| readers);
        let highest = readers.iter().filter_map(|reader| reader.epoch).max();
        match (highest, epoch) {
            (Some(highest), epoch) if epoch.is_none_or(|epoch| epoch < highest) => return Err(Refused::Epoch(highest)),
            (None, None) if readers.len() >= MOST => return Err(Refused::TooMany),
            _ => {}
        }
        let readers = state.groups.entry(group.to_owned()).or_default();
        if epoch.is_some() {
            for reader in readers.drain(..) {
                let _ = reader.steal.send(epoch); // a reader that is about to leave does not listen
            }
        }
        let (steal, stolen) = oneshot::channel();
        readers.push(Reader { id, epoch, steal });
        state.next += 1;
        Ok(Registration { readers: Arc::clone(&self.0), group: group.to_owned(), id, stolen })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    /// Waits until another reader steals the partition, and returns its epoch.
    ///
    /// Cancel-safe. Not to be called again once it has returned.
    pub(crate) async fn stolen(&mut self) -> Option<i64> {
        (&mut self.stolen).await.unwrap_or_default()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.readers.lock();
        if let Some(readers) = state.groups.get_mut(&self.group) {
            readers.retain(|reader| reader.id != self.id);
            if readers.is_empty() {
                state.groups.remove(&self.group);
            }
        }
        drop(state);
        self.readers.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sixth_reader_without_an_epoch_is_refused() {
        let readers = Readers::default();
        let mut registered: Vec<_> = (0..MOST).map(|_| readers.try_register("a", None).unwrap()).collect();
        assert_eq!(readers.try_register("a", None).unwrap_err(), Refused::TooMany);
        assert!(readers.try_register("b", None).is_ok());
        registered.pop();
        assert!(readers.try_register("a", None).is_ok());
    }

    #[test]
    fn lower_epochs_and_none_are_refused() {
        let readers = Readers::default();
        let _reader = readers.try_register("a", Some(5)).unwrap();
        assert_eq!(readers.try_register("a", Some(4)).unwrap_err(), Refused::Epoch(5));
        assert_eq!(readers.try_register("a", None).unwrap_err(), Refused::Epoch(5));
        assert!(readers.try_register("b", Some(1)).is_ok());
    }

    #[tokio::test]
    async fn equal_and_higher_epochs_steal() {
        let readers = Readers::default();
        let mut without = readers.try_register("a", None).unwrap();
        let mut first = readers.try_register("a", Some(5)).unwrap();
        assert_eq!(without.stolen().await, Some(5));
        let mut second = readers.try_register("a", Some(5)).unwrap();
        assert_eq!(first.stolen().await, Some(5));
        drop(first); // the reader that stole the partition keeps it
        assert_eq!(readers.try_register("a", Some(4)).unwrap_err(), Refused::Epoch(5));
        let _third = readers.try_register("a", Some(6)).unwrap();
        assert_eq!(second.stolen().await, Some(6));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_waits_for_one_that_leaves_and_no_longer() {
        let readers = Arc::new(Readers::default());
        let leaving = readers.try_register("a", Some(5)).unwrap();
        let shared = Arc::clone(&readers);
        let next = tokio::spawn(async move { shared.register("a", None).await });
        tokio::task::yield_now().await;
        assert!(!next.is_finished());
        drop(leaving);
        let _registered = next.await.unwrap().unwrap();

        let _holder = readers.try_register("b", Some(5)).unwrap();
        let before = Instant::now();
        assert_eq!(readers.register("b", None).await.unwrap_err(), Refused::Epoch(5));
        assert_eq!(before.elapsed(), LEAVING);
    }
}
