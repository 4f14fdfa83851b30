//! Faults on demand.

pub(crate) mod control;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use tokio::sync::{broadcast, watch};

/// Injects faults into an emulator. All clones are of one emulator.
///
/// Where a hub is `None`, the fault concerns all hubs.
#[derive(Clone, Debug)]
pub struct Faults {
    state: Arc<Mutex<State>>,
    disruptions: broadcast::Sender<Disruption>,
    frozen: watch::Sender<bool>,
    paused: watch::Sender<HashSet<(String, usize)>>,
}

#[derive(Debug, Default)]
struct State {
    settle_delay: Duration,
    busy: f64,
    next: Vec<(SendFault, u64)>,
}

/// A fault of a request to send.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum SendFault {
    /// The events are stored, and the request is never settled.
    NeverSettle,
    /// The request is settled as released, and nothing is stored.
    Release,
    /// The request is settled as modified, and nothing is stored.
    Modify,
    /// The request is rejected as server-busy, and nothing is stored.
    Busy,
    /// The events are stored, and the connection drops before the request is settled.
    LoseAnswer,
}

/// A fault that happens once, to the links and connections that are open then.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disruption {
    /// Detaches receiver links with `amqp:link:detach-forced`.
    DetachReceivers {
        /// Of that hub, or all.
        hub: Option<String>,
    },
    /// Detaches sender links with `amqp:link:detach-forced`, as the service does with idle ones.
    DetachSenders {
        /// Of that hub, or all.
        hub: Option<String>,
    },
    /// Detaches receiver links with `amqp:link:stolen`, as if a reader of a higher epoch had attached.
    Steal {
        /// Of that hub, or all.
        hub: Option<String>,
        /// Of that partition, or all.
        partition: Option<usize>,
    },
    /// Drops all TCP connections.
    DropConnections,
    /// Closes all connections with `amqp:connection:forced`.
    CloseConnections,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            state: Arc::default(),
            disruptions: broadcast::Sender::new(64),
            frozen: watch::Sender::new(false),
            paused: watch::Sender::default(),
        }
    }
}

impl Faults {
    /// Disrupts at once what is open now.
    pub fn disrupt(&self, disruption: Disruption) {
        let _ = self.disruptions.send(disruption); // nobody is connected
    }

    /// Delays the settlement of each request to send, each by itself. No delay by default.
    pub fn settle_after(&self, delay: Duration) {
        self.state().settle_delay = delay;
    }

    /// Rejects this share of requests to send as server-busy: from 0, the default, to 1, which is all.
    pub fn busy(&self, share: f64) {
        self.state().busy = share;
    }

    /// Injects a fault into the next `count` requests to send, behind the faults that were asked for before.
    pub fn next_sends(&self, fault: SendFault, count: u64) {
        self.state().next.push((fault, count));
    }

    /// Freezes all connections: nothing is read or written until they are unfrozen.
    pub fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }

    /// Pauses the delivery of a partition. It still accepts events.
    pub fn pause(&self, hub: &str, partition: usize, paused: bool) {
        let of = (hub.to_lowercase(), partition);
        self.paused.send_modify(|all| {
            if paused {
                all.insert(of)
            } else {
                all.remove(&of)
            };
        });
    }

    /// Ends all lasting faults, and forgets those to come.
    pub fn clear(&self) {
        *self.state() = State::default();
        self.frozen.send_replace(false);
        self.paused.send_replace(HashSet::new());
    }

    pub(crate) fn disruptions(&self) -> Disruptions {
        Disruptions(self.disruptions.subscribe())
    }

    pub(crate) fn settle_delay(&self) -> Duration {
        self.state().settle_delay
    }

    /// What happens to this request, if not what should.
    pub(crate) fn next_send(&self) -> Option<SendFault> {
        let mut state = self.state();
        state.next.retain(|(_, count)| *count > 0);
        if let Some((fault, count)) = state.next.first_mut() {
            *count -= 1;
            return Some(*fault);
        }
        (state.busy > 0.0 && fastrand::f64() < state.busy).then_some(SendFault::Busy)
    }

    /// Waits until nothing is frozen. Cancel-safe.
    pub(crate) async fn thawed(&self) {
        // The sender is ours, so that the wait never fails.
        let _ = self.frozen.subscribe().wait_for(|frozen| !frozen).await;
    }

    /// Waits until a partition is not paused. Cancel-safe.
    pub(crate) async fn resumed(&self, hub: &str, partition: usize) {
        if self.paused.borrow().is_empty() {
            return;
        }
        let of = (hub.to_lowercase(), partition);
        let _ = self.paused.subscribe().wait_for(|paused| !paused.contains(&of)).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The disruptions from now on.
#[derive(Debug)]
pub(crate) struct Disruptions(broadcast::Receiver<Disruption>);

impl Disruptions {
    /// The next that this is the target of. Cancel-safe.
    pub(crate) async fn matching(&mut self, of: impl Fn(&Disruption) -> bool) -> Disruption {
        loop {
            match self.0.recv().await {
                Ok(disruption) if of(&disruption) => return disruption,
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_happens_so_often_and_in_order() {
        let faults = Faults::default();
        assert_eq!(faults.next_send(), None);
        faults.next_sends(SendFault::Release, 2);
        faults.next_sends(SendFault::NeverSettle, 1);
        faults.next_sends(SendFault::Modify, 0);
        let happens: Vec<_> = (0..4).map(|_| faults.next_send()).collect();
        let (release, never) = (Some(SendFault::Release), Some(SendFault::NeverSettle));
        assert_eq!(happens, [release, release, never, None]);
    }

    #[test]
    fn all_requests_are_refused_at_a_share_of_one() {
        let faults = Faults::default();
        faults.busy(1.0);
        assert!((0..50).all(|_| faults.next_send() == Some(SendFault::Busy)));
        faults.clear();
        assert_eq!(faults.next_send(), None);
    }

    #[tokio::test]
    async fn what_is_paused_and_frozen_waits_until_it_is_not() {
        let faults = Faults::default();
        faults.pause("Orders", 1, true);
        faults.freeze(true);
        faults.resumed("orders", 0).await;
        let (one, other) = (faults.clone(), faults.clone());
        let waits = tokio::spawn(async move { one.resumed("orders", 1).await });
        let frozen = tokio::spawn(async move { other.thawed().await });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished() && !frozen.is_finished());
        faults.clear();
        waits.await.unwrap();
        frozen.await.unwrap();
    }
}
