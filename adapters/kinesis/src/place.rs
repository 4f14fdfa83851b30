//! Where reading goes on in a shard.

use std::time::SystemTime;

use aws_sdk_kinesis::types::ShardIteratorType;
use strait_core::{Error, ErrorKind, Position, Result};
use strait_kit::Start;

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
        }
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
