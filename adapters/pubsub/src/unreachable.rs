//! Why there is no connection to the service.

use std::{error::Error as StdError, io};

use strait_core::{Error, ErrorKind};

use crate::operation::Operation;

/// An error for a call that never left: which host it was for, and what came of looking for it.
pub(crate) fn unreachable(operation: Operation<'_>, cause: &(dyn StdError + 'static)) -> Error {
    let chain = || std::iter::successors(Some(cause), |error| (*error).source());
    let io = chain().find_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind);
    // What a resolver says has no kind of its own.
    let unresolved = chain().any(|error| error.to_string() == "dns error");
    let why = match io {
        _ if unresolved => "has no address",
        Some(io::ErrorKind::ConnectionRefused) => "refuses connections",
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => "cannot be reached",
        Some(io::ErrorKind::TimedOut) => "does not answer",
        _ => "cannot be connected to",
    };
    let error = Error::new(ErrorKind::Unavailable, format!("{operation}: {:?} {why}", operation.host));
    match chain().last() {
        // The last cause is the system's, or that of TLS. Those before it repeat the whole address.
        Some(last) => error.with_source(last.to_string()),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(cause: &(dyn StdError + 'static)) -> (String, String) {
        let operation = Operation { asks: "open topic", name: "orders", host: "pubsub.example:443", permission: "" };
        let error = unreachable(operation, cause);
        assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Unavailable, false));
        (error.to_string(), error.source().unwrap().to_string())
    }

    #[test]
    fn refused_unreachable_and_unanswered_read_differently_and_name_the_host() {
        for (kind, why) in [
            (io::ErrorKind::ConnectionRefused, "refuses connections"),
            (io::ErrorKind::NetworkUnreachable, "cannot be reached"),
            (io::ErrorKind::TimedOut, "does not answer"),
            (io::ErrorKind::InvalidData, "cannot be connected to"),
        ] {
            let expected = format!("pubsub: cannot open topic \"orders\": \"pubsub.example:443\" {why}");
            let (text, source) = text(&io::Error::new(kind, "as planned"));
            assert_eq!((&*text, &*source), (&*expected, "as planned"));
        }
    }
}
