//! What the rows hold, as they are stored: compact JSON with the version of its schema, and a nonce. What is large is
//! compressed.
//!
//! No two writes are equal, since stores that name versions after the content would take them for one: `by` is the
//! incarnation that wrote, and `n` counts its writes.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error as _},
};
use strait_core::{Error, ErrorKind, Position};

use super::packed::{pack, unpack};
use crate::{Identity, Start, Suspect, compare};

/// The schema that is written, and the newest that is understood.
const SCHEMA: u32 = 1;

/// The name of an incarnation, and of a partition.
pub(super) type Name = Arc<str>;

/// Which write it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Nonce {
    pub(super) by: Name,
    pub(super) n: u64,
}

/// `member/X`: that X lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MemberRow {
    pub(super) nonce: Nonce,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) heir_of: Option<Name>,
}

/// `part/p`: who owns p, and how far it is settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartRow {
    pub(super) nonce: Nonce,
    pub(super) owner: Option<Name>,
    #[serde(deserialize_with = "epoch")]
    pub(super) epoch: u64,
    /// Everything up to here is settled.
    pub(super) checkpoint: Option<Place>,
    /// Where it starts while there is no checkpoint.
    pub(super) from: From,
    /// Where it goes on instead of behind the checkpoint: up to here it had nothing more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) resume: Option<Resume>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) finished: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    /// What has to be finished before it is first taken.
    pub(super) parents: Vec<Name>,
    /// How many owners in a row died without having settled anything.
    #[serde(default)]
    pub(super) stuck: u32,
    /// The checkpoint when it was last taken.
    #[serde(default)]
    pub(super) taken: Option<Place>,
    /// What its owner works on, alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) suspect: Option<SuspectRow>,
}

/// One that leaves room for those behind it: no group counts so far, and a row that says so was spoilt.
fn epoch<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let epoch = u64::deserialize(from)?;
    if epoch > u64::MAX / 2 { Err(D::Error::custom("the epoch is too large")) } else { Ok(epoch) }
}

impl PartRow {
    /// The first row of a partition, whose epochs begin at `epoch`.
    pub(super) fn new(nonce: Nonce, epoch: u64, from: From, parents: Vec<Name>) -> Self {
        Self {
            nonce,
            owner: None,
            epoch,
            checkpoint: None,
            from,
            resume: None,
            finished: false,
            parents,
            stuck: 0,
            taken: None,
            suspect: None,
        }
    }
}

/// A message that may have killed its process, and how many owners began to work on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SuspectRow {
    pub(super) at: Place,
    pub(super) attempts: u32,
}

impl SuspectRow {
    /// One attempt fewer: its owner did not die of it.
    pub(super) fn spared(self) -> Option<Self> {
        let attempts = self.attempts.checked_sub(1).filter(|attempts| *attempts > 0)?;
        Some(Self { attempts, ..self })
    }
}

impl std::convert::From<&Suspect> for SuspectRow {
    fn from(Suspect { position, attempts }: &Suspect) -> Self {
        Self { at: position.into(), attempts: *attempts }
    }
}

impl std::convert::From<&SuspectRow> for Suspect {
    fn from(SuspectRow { at, attempts }: &SuspectRow) -> Self {
        Self { position: at.into(), attempts: *attempts }
    }
}

/// `plan`: who is to own what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PlanRow {
    pub(super) nonce: Nonce,
    /// Which log the group reads, once a member could tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) log: Option<Identity>,
    /// Where the partitions of the group's birth start. Written once.
    pub(super) start: From,
    pub(super) members: Vec<Name>,
    /// Who was a member, and is not to be taken for one while its row is still listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) gone: Vec<Name>,
    /// Each partition, and the index of who is to own it.
    pub(super) parts: BTreeMap<Name, Option<u32>>,
    /// The partitions that came after the birth: they start at their beginning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) late: Vec<Name>,
}

impl PlanRow {
    pub(super) fn owner(&self, partition: &str) -> Option<&Name> {
        self.members.get(usize::try_from((*self.parts.get(partition)?)?).ok()?)
    }
}

/// A position as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Place {
    Number(u64),
    Text(Name),
}

impl std::convert::From<&Position> for Place {
    fn from(position: &Position) -> Self {
        match position {
            Position::Number(number) => Self::Number(*number),
            Position::Text(text) => Self::Text(Arc::clone(text)),
        }
    }
}

impl std::convert::From<&Place> for Position {
    fn from(place: &Place) -> Self {
        match place {
            Place::Number(number) => Self::Number(*number),
            Place::Text(text) => Self::Text(Arc::clone(text)),
        }
    }
}

/// Where a partition starts that has no checkpoint. There is no `latest`: it becomes a time, once for all partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum From {
    Earliest,
    /// Milliseconds after the Unix epoch.
    At(u64),
}

/// Where an idle partition is resumed: behind its checkpoint, which the provider may have trimmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Resume {
    /// Milliseconds after the Unix epoch.
    At(u64),
    After(Place),
}

impl Resume {
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if it is no place.
    pub(super) fn new(start: &Start) -> Result<Self, Error> {
        match start {
            Start::At(time) => Ok(Self::At(millis(*time))),
            Start::After(position) => Ok(Self::After(position.into())),
            Start::Earliest | Start::Latest => {
                Err(Error::new(ErrorKind::Invalid, format!("coordination: {start:?} is no place to resume at")))
            }
        }
    }

    pub(super) fn start(&self) -> Start {
        match self {
            Self::At(millis) => From::At(*millis).start(),
            Self::After(place) => Start::After(place.into()),
        }
    }

    /// Whether it is before `other`. A time and a position cannot be compared: what is told later holds.
    pub(super) fn is_before(&self, other: &Self) -> Result<bool, Error> {
        match (self, other) {
            (Self::At(one), Self::At(other)) => Ok(one < other),
            (Self::After(one), Self::After(other)) => Ok(compare(&one.into(), &other.into())?.is_lt()),
            _ => Ok(false),
        }
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl From {
    pub(super) fn new(start: &Start, now: SystemTime) -> Self {
        match start {
            Start::Latest => Self::at(now),
            Start::At(time) => Self::at(*time),
            Start::Earliest | Start::After(_) => Self::Earliest,
        }
    }

    fn at(time: SystemTime) -> Self {
        Self::At(millis(time))
    }

    pub(super) fn start(self) -> Start {
        match self {
            Self::Earliest => Start::Earliest,
            // What does not fit in a time is no time that a record was stored at.
            Self::At(millis) => {
                SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis)).map_or(Start::Earliest, Start::At)
            }
        }
    }
}

/// A row that cannot be used as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is not what was written.
    Corrupt,
    /// A newer version of this library wrote it.
    Newer(u32),
}

impl Unreadable {
    pub(super) fn error(self, key: &str) -> Error {
        match self {
            Self::Corrupt => Error::new(ErrorKind::Other, format!("coordination: the row {key:?} is corrupt")),
            Self::Newer(schema) => Error::new(
                ErrorKind::Unsupported,
                format!("coordination: the row {key:?} has schema {schema}, and this version knows up to {SCHEMA}"),
            ),
        }
    }
}

#[derive(Deserialize)]
struct Schema {
    v: u32,
}

#[derive(Serialize)]
struct Stored<'a, T> {
    v: u32,
    #[serde(flatten)]
    row: &'a T,
}

pub(super) fn encode<T: Serialize>(row: &T) -> Bytes {
    // Maps with text as keys, numbers and text: nothing of it can be refused.
    serde_json::to_vec(&Stored { v: SCHEMA, row }).map(pack).unwrap_or_default()
}

pub(super) fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T, Unreadable> {
    let value = &*unpack(value).ok_or(Unreadable::Corrupt)?;
    let Schema { v } = serde_json::from_slice(value).map_err(|_| Unreadable::Corrupt)?;
    if v > SCHEMA {
        return Err(Unreadable::Newer(v));
    }
    serde_json::from_slice(value).map_err(|_| Unreadable::Corrupt)
}

pub(super) const MEMBERS: &str = "member/";
pub(super) const PARTS: &str = "part/";
pub(super) const PLAN: &str = "plan";

pub(super) fn member_key(id: &str) -> String {
    format!("{MEMBERS}{id}")
}

pub(super) fn part_key(partition: &str) -> String {
    format!("{PARTS}{partition}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn row() -> PartRow {
        PartRow {
            nonce: Nonce { by: "x".into(), n: 7 },
            owner: Some("x".into()),
            epoch: 3,
            checkpoint: Some(Place::Text("495".into())),
            from: From::At(12),
            resume: None,
            finished: false,
            parents: vec!["p0".into()],
            stuck: 0,
            taken: None,
            suspect: None,
        }
    }

    /// The largest row: a plan for as many shards as a Kinesis account may have, all found after the group had started.
    /// DynamoDB has room for 407,552 bytes, less than any other store.
    #[test]
    fn a_plan_of_twenty_thousand_partitions_fits_every_store() {
        let name = |number: u32| Name::from(format!("shardId-{number:012}"));
        let member = |_| Name::from(Uuid::new_v4().to_string());
        let plan = PlanRow {
            nonce: row().nonce,
            log: Some(Identity::new("arn:aws:kinesis:eu-west-1:123456789012:stream/orders").with_made("1764403200")),
            start: From::Earliest,
            members: (0..500).map(member).collect(),
            gone: Vec::new(),
            parts: (0..20_000).map(|number| (name(number), Some(number * 7_919 % 500))).collect(),
            late: (0..20_000).map(name).collect(),
        };
        let stored = encode(&plan);
        assert!(stored.len() < 407_552, "{} bytes", stored.len());
        assert_eq!(decode(&stored), Ok(plan));
    }

    #[test]
    fn what_is_written_is_read() {
        let text = encode(&row());
        assert_eq!(decode::<PartRow>(&text), Ok(row()));
        let resume = PartRow { resume: Some(Resume::After(Place::Text("496".into()))), ..row() };
        assert_eq!(decode::<PartRow>(&encode(&resume)), Ok(resume));
        let suspect = PartRow { suspect: Some(SuspectRow { at: Place::Number(7), attempts: 2 }), ..row() };
        assert_eq!(decode::<PartRow>(&encode(&suspect)), Ok(suspect));
        assert_eq!(
            std::str::from_utf8(&text).unwrap(),
            r#"{"v":1,"nonce":{"by":"x","n":7},"owner":"x","epoch":3,"checkpoint":"495","from":{"at":12},"parents":["p0"],"stuck":0,"taken":null}"#
        );
    }

    #[test]
    fn what_is_newer_or_corrupt_is_told_apart() {
        assert_eq!(decode::<PartRow>(br#"{"v":2,"anything":true}"#), Err(Unreadable::Newer(2)));
        assert_eq!(decode::<PartRow>(br#"{"v":1}"#), Err(Unreadable::Corrupt));
        assert_eq!(decode::<PlanRow>(b""), Err(Unreadable::Corrupt));
        let last = PartRow { epoch: u64::MAX, ..row() };
        assert_eq!(decode::<PartRow>(&encode(&last)), Err(Unreadable::Corrupt), "there is none behind it");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(value in prop::collection::vec(any::<u8>(), 0..80), cut in 0usize..120) {
            let _ = decode::<MemberRow>(&value);
            let text = encode(&row());
            let _ = decode::<PartRow>(&text[..cut.min(text.len())]);
        }

        #[test]
        fn no_time_makes_it_panic(millis in any::<u64>()) {
            let _ = From::At(millis).start();
        }
    }
}
