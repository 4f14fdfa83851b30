use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use super::{Hub, HubSettings, PartitionState};
use crate::clock::Clock;

/// How many partitions a hub may have: those of a dedicated cluster.
const MOST_PARTITIONS: usize = 1024;

/// The hubs of an emulator. They can be created, grown and deleted while it serves.
#[derive(Clone, Debug, Default)]
pub struct Namespace {
    hubs: Arc<RwLock<HashMap<String, Arc<Hub>>>>,
    clock: Clock,
}

/// Why a hub cannot be created, grown or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HubError {
    /// A hub of that name exists.
    Exists(String),
    /// No hub of that name exists.
    NotFound(String),
    /// A field is out of range. The text names the field and the range.
    Invalid(&'static str),
}

impl fmt::Display for HubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(name) => write!(f, "there is a hub {name:?} already"),
            Self::NotFound(name) => write!(f, "there is no hub {name:?}"),
            Self::Invalid(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for HubError {}

impl Namespace {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { hubs: Arc::default(), clock }
    }

    /// Creates a hub.
    ///
    /// # Errors
    ///
    /// A hub of that name exists, or a setting is out of range.
    pub fn create(&self, settings: HubSettings) -> Result<(), HubError> {
        check(&settings)?;
        let mut hubs = self.hubs.write().unwrap_or_else(PoisonError::into_inner);
        let key = settings.name.to_lowercase();
        if hubs.contains_key(&key) {
            return Err(HubError::Exists(settings.name));
        }
        hubs.insert(key, Arc::new(Hub::new(settings, self.clock.clone())));
        Ok(())
    }

    /// Deletes a hub with all its events, and detaches its links. A hub of that name can be created again: its sequence numbers
    /// start at 0 then.
    ///
    /// # Errors
    ///
    /// No hub of that name exists.
    pub fn delete(&self, name: &str) -> Result<(), HubError> {
        let removed = self.hubs.write().unwrap_or_else(PoisonError::into_inner).remove(&name.to_lowercase());
        removed.ok_or_else(|| HubError::NotFound(name.to_owned()))?.deleted.cancel();
        Ok(())
    }

    /// Adds partitions to a hub until it has `partitions`. Keys map to other partitions from then on, as on the service.
    ///
    /// # Errors
    ///
    /// No hub of that name exists, it has more partitions already, or 1024 would be exceeded.
    pub fn grow(&self, name: &str, partitions: usize) -> Result<(), HubError> {
        let hub = self.hub(name).ok_or_else(|| HubError::NotFound(name.to_owned()))?;
        if partitions > MOST_PARTITIONS || partitions < hub.count() {
            return Err(HubError::Invalid("a hub has 1 to 1024 partitions, and never fewer than before"));
        }
        hub.grow(partitions);
        Ok(())
    }

    /// The state of a partition, or `None` if it does not exist.
    pub fn partition(&self, hub: &str, index: usize) -> Option<PartitionState> {
        Some(self.hub(hub)?.partition(index)?.state())
    }

    pub(crate) fn hub(&self, name: &str) -> Option<Arc<Hub>> {
        self.hubs.read().unwrap_or_else(PoisonError::into_inner).get(&name.to_lowercase()).map(Arc::clone)
    }
}

fn check(settings: &HubSettings) -> Result<(), HubError> {
    let named = |name: &str, most: usize| !name.is_empty() && name.chars().count() <= most && !name.contains('/');
    if !named(&settings.name, 256) {
        return Err(HubError::Invalid("the name of a hub has 1 to 256 characters, and no slash"));
    }
    if !settings.groups.iter().all(|group| named(group, 50)) {
        return Err(HubError::Invalid("the name of a consumer group has 1 to 50 characters, and no slash"));
    }
    if !(1..=MOST_PARTITIONS).contains(&settings.partitions) {
        return Err(HubError::Invalid("a hub has 1 to 1024 partitions"));
    }
    if settings.georeplication_factor < 1 {
        return Err(HubError::Invalid("the georeplication factor is 1 or more"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{hub::Position, wire::message::Message};

    #[test]
    fn hubs_are_made_grown_deleted_and_made_again() {
        let namespace = Namespace::new(Clock::at(5));
        namespace.create(HubSettings::new("Orders", 2)).unwrap();
        assert_eq!(namespace.create(HubSettings::new("orders", 2)), Err(HubError::Exists("orders".into())));
        let hub = namespace.hub("ORDERS").unwrap();
        let message = Message::parse(&Bytes::from_static(b"\0\x53\x77\x40")).unwrap();
        hub.partition(1).unwrap().append(&[message]);
        assert_eq!(namespace.partition("orders", 1).unwrap().last, 0);

        namespace.grow("orders", 4).unwrap();
        assert!(namespace.partition("orders", 3).unwrap().empty);
        assert!(matches!(namespace.grow("orders", 3), Err(HubError::Invalid(_))));
        assert_eq!(namespace.partition("orders", 1).unwrap().last, 0);

        namespace.delete("orders").unwrap();
        assert!(hub.deleted.is_cancelled());
        assert_eq!(namespace.delete("orders"), Err(HubError::NotFound("orders".into())));
        namespace.create(HubSettings::new("orders", 2)).unwrap();
        let again = namespace.hub("orders").unwrap().partition(1).unwrap();
        assert!(again.find(&Position::Sequence { number: 0, inclusive: false }).is_err());
    }

    #[test]
    fn settings_out_of_their_ranges_are_refused() {
        let namespace = Namespace::new(Clock::at(5));
        let hub = |name: &str, partitions, groups: &[&str], factor| HubSettings {
            groups: groups.iter().map(ToString::to_string).collect(),
            georeplication_factor: factor,
            ..HubSettings::new(name, partitions)
        };
        for settings in [
            hub("", 1, &[], 1),
            hub("a/b", 1, &[], 1),
            hub(&"a".repeat(257), 1, &[], 1),
            hub("a", 0, &[], 1),
            hub("a", 1025, &[], 1),
            hub("a", 1, &[&"g".repeat(51)], 1),
            hub("a", 1, &[], 0),
        ] {
            assert!(matches!(namespace.create(settings.clone()), Err(HubError::Invalid(_))), "{settings:?}");
        }
        assert_eq!(namespace.create(hub(&"a".repeat(256), 1024, &[&"g".repeat(50)], 3)), Ok(()));
    }

    #[test]
    fn keys_stay_in_their_partition_and_others_take_turns() {
        let namespace = Namespace::new(Clock::at(5));
        namespace.create(HubSettings::new("orders", 4)).unwrap();
        let hub = namespace.hub("orders").unwrap();
        assert_eq!([hub.route(Some("7")), hub.route(Some("7"))], [3, 3]);
        assert_eq!([hub.route(None), hub.route(None), hub.route(None)], [0, 1, 2]);
        assert!(hub.has_group("$default") && !hub.has_group("billing"));
    }
}
