use std::collections::BTreeMap;

use strait_runtime::{Health, SenderHealth, State};

/// How the channels of a bus are: those that are open.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct BusHealth {
    /// Each open sender, by name.
    pub senders: BTreeMap<String, SenderHealth>,
    /// The open receivers, by name: one for each call that opened one.
    pub receivers: BTreeMap<String, Vec<Health>>,
}

impl BusHealth {
    /// The worst state of the channels that are not closed, and [`State::Closed`] once all are; [`State::Up`] if none was
    /// opened.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// use strait_config::{Bus, Registry};
    /// use strait_runtime::State;
    ///
    /// let bus = Bus::builder(Registry::new()).text("strait.toml", r#"provider = "memory""#).build()?;
    /// let is_ready = bus.health().state() == State::Up;
    /// assert!(is_ready);
    /// # Ok::<_, strait_core::Error>(()) }).unwrap();
    /// ```
    pub fn state(&self) -> State {
        let senders = self.senders.values().map(|sender| sender.state);
        let receivers = self.receivers.values().flatten().map(|receiver| receiver.state);
        senders.chain(receivers).max_by_key(|state| severity(*state)).unwrap_or(State::Up)
    }
}

/// What was closed on purpose says nothing of the others.
fn severity(state: State) -> u8 {
    match state {
        State::Closed => 0,
        State::Up => 1,
        State::Degraded => 2,
        _ => 3,
    }
}
