//! Where reading goes on in a shard.

use std::time::SystemTime;

use aws_sdk_kinesis::types::ShardIteratorType;
use strait_core::{Error, ErrorKind, Position, Result};
use strait_kit::Start;
use tokio::time::Instant;

/// Where reading goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the oldest record.
    Oldest,
    /// Behind the newest one.
    Newest,
    /// At the first record that was stored then or later.
    Time(SystemTime),
    /// Behind a message.
    ///
    /// Its record is read again: if another one comes first, it is no longer stored, and who knows what else is not. The
    /// service says nothing of that.
    Behind {
        /// The record's sequence number.
        sequence: String,
        /// How many of its messages are behind us; none: all.
        messages: Option<usize>,
    },
    /// Behind a number up to which all was read, though no record may have it. That none is missing behind it is known as long
    /// as records are kept.
    Passed {
        /// The number.
        sequence: String,
        /// Since when it is known, by our clock.
        since: Instant,
    },
}

impl Place {
    /// Reads where an engine wants to start.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if it is a position of something else.
    pub(crate) fn of(start: &Start) -> Result<Self> {
        Ok(match start {
            Start::Earliest => Self::Oldest,
            Start::Latest => Self::Newest,
            Start::At(time) => Self::Time(*time),
            Start::After(Position::Text(text)) => Self::behind(text).ok_or_else(unknown)?,
            _ => return Err(unknown()),
        })
    }

    fn behind(text: &str) -> Option<Self> {
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let (sequence, messages) = match text.split_once('.') {
            Some((sequence, place)) if is_number(place) => {
                (sequence, Some(place.parse::<usize>().ok()?.checked_add(1)?))
            }
            Some(_) => return None,
            None => (text, None),
        };
        is_number(sequence).then(|| Self::Behind { sequence: sequence.to_owned(), messages })
    }

    /// The time to start at, if that is what it is.
    pub(crate) fn time(&self) -> Option<SystemTime> {
        if let Self::Time(time) = self { Some(*time) } else { None }
    }

    /// The kind of iterator that it takes.
    pub(crate) fn kind(&self) -> ShardIteratorType {
        match self {
            Self::Oldest => ShardIteratorType::TrimHorizon,
            Self::Newest => ShardIteratorType::Latest,
            Self::Time(_) => ShardIteratorType::AtTimestamp,
            Self::Behind { .. } => ShardIteratorType::AtSequenceNumber,
            Self::Passed { .. } => ShardIteratorType::AfterSequenceNumber,
        }
    }
}

/// Whether a number that the service goes on behind is none before this place. Some of its servers say `0`, or nothing, where
/// they have none.
pub(crate) fn is_behind(sequence: &str, place: &Place) -> bool {
    let is_number = !sequence.is_empty() && sequence.bytes().all(|byte| byte.is_ascii_digit()) && sequence != "0";
    let order = |sequence: &str| (sequence.len(), sequence.to_owned());
    is_number
        && match place {
            Place::Behind { sequence: before, .. } | Place::Passed { sequence: before, .. } => {
                order(sequence) >= order(before)
            }
            Place::Oldest | Place::Newest | Place::Time(_) => true,
        }
}

fn unknown() -> Error {
    Error::new(ErrorKind::Config, "kinesis: a stored position is none of a shard")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::position;

    #[test]
    fn a_number_to_go_on_behind_is_not_before_the_place() {
        let behind = Place::Behind { sequence: "49".into(), messages: None };
        let passed = Place::Passed { sequence: "49".into(), since: Instant::now() };
        for place in [behind, passed] {
            assert!(is_behind("49", &place) && is_behind("50", &place) && is_behind("100", &place));
            assert!(["", "0", "48", "9", "x", "49.1"].iter().all(|number| !is_behind(number, &place)));
        }
        assert!(is_behind("49", &Place::Oldest) && !is_behind("0", &Place::Newest) && !is_behind("", &Place::Newest));
    }

    #[test]
    fn positions_say_how_much_of_a_record_is_behind() {
        let of = |position| Place::of(&Start::After(position));
        let behind = |messages| Place::Behind { sequence: "49".into(), messages };
        assert_eq!(of(position("49", 0, 1)).unwrap(), behind(None));
        assert_eq!(of(position("49", 0, 3)).unwrap(), behind(Some(1)));
        assert_eq!(of(position("49", 1, 3)).unwrap(), behind(Some(2)));
        assert_eq!(of(position("49", 2, 3)).unwrap(), behind(None));
        for text in ["", ".", "49.", ".1", "x", "49.x", "49.1.2", "-1", "49.99999999999999999999999"] {
            assert_eq!(of(Position::from(text)).unwrap_err().kind(), ErrorKind::Config, "{text}");
        }
        assert_eq!(of(Position::Number(7)).unwrap_err().kind(), ErrorKind::Config);
    }
}
