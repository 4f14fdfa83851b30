use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// The clock by which events are stamped and trimmed, and tokens expire.
///
/// It is the machine's, unless a test sets it. Idle rules and delays run on tokio's clock.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<watch::Sender<i64>>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still at this many milliseconds since 1970 until it is set.
    pub fn at(millis: i64) -> Self {
        Self(Some(watch::Sender::new(millis)))
    }

    /// Sets a clock that stands still, and all its clones. Does nothing to the machine's clock.
    pub fn set(&self, millis: i64) {
        if let Some(standing) = &self.0 {
            standing.send_replace(millis);
        }
    }

    /// Milliseconds since 1970.
    pub fn now(&self) -> i64 {
        if let Some(standing) = &self.0 {
            return *standing.borrow();
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    /// The next time that a clock that stands is set, from this call on; never on the machine's.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> + use<> {
        let standing = self.0.as_ref().map(watch::Sender::subscribe);
        async move {
            let set = match standing {
                Some(mut standing) => standing.changed().await.is_ok(),
                None => false,
            };
            if !set {
                std::future::pending::<()>().await; // nobody is left to set it
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_stands_is_set_for_all_clones() {
        let clock = Clock::at(5);
        let other = clock.clone();
        clock.set(7);
        assert_eq!(other.now(), 7);
    }

    #[test]
    fn the_machines_clock_is_not_set() {
        let clock = Clock::system();
        clock.set(7);
        assert!(clock.now() > 1_600_000_000_000);
    }
}
