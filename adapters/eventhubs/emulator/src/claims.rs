//! What the tokens of a connection grant.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::sleep};

use crate::{address, clock::Clock};

/// How many grants a connection may have: each of a client's links may have its own.
const MOST: usize = 10_000;

/// The grants of a connection, by path.
#[derive(Clone, Debug)]
pub(crate) struct Claims {
    grants: Arc<Mutex<HashMap<String, i64>>>,
    changed: watch::Sender<()>,
    clock: Clock,
    /// Whether everything is granted to everybody.
    open: bool,
}

impl Claims {
    pub(crate) fn new(clock: Clock, open: bool) -> Self {
        Self { grants: Arc::default(), changed: watch::Sender::default(), clock, open }
    }

    /// Grants a resource, and all below it, until then. `false` if there are too many.
    pub(crate) fn grant(&self, resource: &str, until: i64) -> bool {
        let mut grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        if grants.len() >= MOST {
            grants.retain(|_, until| *until > now);
        }
        let path = address::path(resource).to_lowercase();
        if grants.len() >= MOST && !grants.contains_key(&path) {
            return false;
        }
        grants.insert(path, until);
        drop(grants);
        self.changed.send_replace(());
        true
    }

    /// Until when a path is granted, if it is.
    fn until(&self, path: &str) -> Option<i64> {
        let (path, now) = (path.to_lowercase(), self.clock.now());
        let covers = |granted: &str| {
            granted.is_empty()
                || path.strip_prefix(granted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let grants = self.grants.lock().unwrap_or_else(PoisonError::into_inner);
        let covering = grants.iter().filter(|(granted, until)| covers(granted) && **until > now);
        covering.map(|(_, until)| *until).max()
    }

    pub(crate) fn allow(&self, path: &str) -> bool {
        self.open || self.until(path).is_some()
    }

    /// Waits until a path is granted no more. Cancel-safe.
    pub(crate) async fn expired(&self, path: &str) {
        if self.open {
            return std::future::pending().await;
        }
        let mut changed = self.changed.subscribe();
        loop {
            let clock = self.clock.changed();
            let Some(until) = self.until(path) else { return };
            let left = u64::try_from(until.saturating_sub(self.clock.now())).unwrap_or(0).clamp(1, 3_600_000);
            tokio::select! {
                () = sleep(Duration::from_millis(left)) => {}
                () = clock => {}
                _ = changed.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_for_a_resource_and_what_is_below_it() {
        let claims = Claims::new(Clock::at(0), false);
        assert!(claims.grant("sb://host:5672/Orders", 10));
        assert!(claims.allow("orders") && claims.allow("orders/Partitions/0") && claims.allow("ORDERS/$management"));
        assert!(!claims.allow("orders2") && !claims.allow("other"));
        assert!(Claims::new(Clock::at(0), true).allow("other"));
        claims.grant("sb://host", 10);
        assert!(claims.allow("other"));
    }

    #[tokio::test]
    async fn a_grant_ends_by_the_clock_unless_it_is_renewed() {
        let clock = Clock::at(0);
        let claims = Claims::new(clock.clone(), false);
        claims.grant("sb://host/orders", 10);
        let other = claims.clone();
        let ends = tokio::spawn(async move { other.expired("orders").await });
        claims.grant("sb://host/orders", 20);
        clock.set(15);
        tokio::task::yield_now().await;
        assert!(claims.allow("orders") && !ends.is_finished());
        clock.set(20);
        ends.await.unwrap();
        assert!(!claims.allow("orders"));
    }
}
