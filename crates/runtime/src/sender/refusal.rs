use std::{error, fmt};

use strait_core::{Error, Message};

/// Why [`Sender::try_enqueue`](crate::Sender::try_enqueue) did not accept a message.
#[derive(Debug)]
#[non_exhaustive]
pub enum TryEnqueueError {
    /// There is no room now, or its key is throttled and such keys hold half of the buffer. The message is given back.
    Full(Message),
    /// It cannot be sent.
    Refused(Error),
}

impl fmt::Display for TryEnqueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("the sender's buffer is full"),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl error::Error for TryEnqueueError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Full(_) => None,
            Self::Refused(error) => error.source(),
        }
    }
}
