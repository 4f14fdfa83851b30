//! What clients are told: the service's conditions, in its words, since clients look for them.

use fe2o3_amqp_types::{
    definitions::{AmqpError, ConnectionError, Error, ErrorCondition, LinkError},
    primitives::Symbol,
};

use crate::{
    connection::fields,
    hub::{Invalid, Refused},
};

pub(crate) fn unauthorized(words: &str) -> Error {
    error(AmqpError::UnauthorizedAccess, words.to_owned())
}

pub(crate) fn no_claim(path: &str) -> Error {
    unauthorized(&format!(
        "Unauthorized access. Claim(s) for the resource '{path}' are required to perform this operation."
    ))
}

pub(crate) fn not_found(name: &str) -> Error {
    error(AmqpError::NotFound, format!("The messaging entity '{name}' could not be found."))
}

pub(crate) fn no_partition(index: &str, count: usize) -> Error {
    let last = count.saturating_sub(1);
    custom(
        "com.microsoft:argument-out-of-range",
        format!(
            "The specified partition is invalid for an EventHub partition sender or receiver. It should be between 0 and {last}. '{index}' was given."
        ),
    )
}

pub(crate) fn detached() -> Error {
    let words = "The link is force detached by the emulator, as it was asked to.".to_owned();
    error(LinkError::DetachForced, words)
}

pub(crate) fn idle_link(name: &str, millis: u128) -> Error {
    let words = format!("Idle link tracker, link {name} has been idle for {millis}ms");
    error(LinkError::DetachForced, words)
}

pub(crate) fn stolen(epoch: Option<i64>) -> Error {
    let epoch = epoch.map_or_else(|| "nil".to_owned(), |epoch| epoch.to_string());
    let words = format!(
        "New receiver with higher epoch of '{epoch}' is created hence current receiver is getting disconnected."
    );
    error(LinkError::Stolen, words)
}

pub(crate) fn refused(why: Refused, epoch: Option<i64>) -> Error {
    match why {
        Refused::Epoch(other) => {
            let this =
                epoch.map_or_else(|| "non-epoch receiver".to_owned(), |epoch| format!("receiver with epoch '{epoch}'"));
            let words = format!(
                "At least one receiver for the endpoint is created with epoch of '{other}', and so {this} is not allowed. Either reconnect with a higher epoch, or make sure all epoch receivers are closed or disconnected."
            );
            error(LinkError::Stolen, words)
        }
        Refused::TooMany => {
            let words =
                "Exceeded the maximum number of allowed receivers per partition in a consumer group which is 5.";
            error(AmqpError::ResourceLimitExceeded, words.to_owned())
        }
    }
}

pub(crate) fn invalid(position: &Invalid) -> Error {
    custom(
        "com.microsoft:argument-error",
        match position {
            Invalid::Sequence { supplied, last } => format!(
                "The supplied sequence number '{supplied}' is invalid. The last sequence number in the system is '{last}'"
            ),
            Invalid::Offset { supplied, last } => {
                format!("The supplied offset '{supplied}' is invalid. The last offset in the system is '{last}'")
            }
        },
    )
}

pub(crate) fn argument(words: &str) -> Error {
    custom("com.microsoft:argument-error", words.to_owned())
}

pub(crate) fn busy() -> Error {
    let words = "The request was terminated because the entity is being throttled. Error code : 50002. Please wait 4 seconds and try again.";
    custom("com.microsoft:server-busy", words.to_owned())
}

pub(crate) fn malformed() -> Error {
    error(AmqpError::DecodeError, "The message is not well-formed.".to_owned())
}

pub(crate) fn too_large(size: u64, limit: u64) -> Error {
    let words = format!(
        "The received message (size:{size} bytes) exceeds the limit ({limit} bytes) currently allowed on the link."
    );
    error(LinkError::MessageSizeExceeded, words)
}

pub(crate) fn second_cbs() -> Error {
    error(AmqpError::NotAllowed, "A connection has one link to $cbs.".to_owned())
}

pub(crate) fn forced(words: &str) -> Error {
    error(ConnectionError::ConnectionForced, words.to_owned())
}

fn custom(condition: &str, words: String) -> Error {
    error(ErrorCondition::Custom(Symbol::from(condition)), words)
}

/// An error with its last field: Azure's client for Python reads it, and waits for ever where it is left out.
fn error(condition: impl Into<ErrorCondition>, words: String) -> Error {
    Error::new(condition, words, Some(fields("com.microsoft:tracking-id", "strait")))
}
