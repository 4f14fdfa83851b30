//! What fuzz targets run: bytes from outside, and what holds of all that is read from them.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use crate::{
    address::{self, Node},
    config::Config,
    faults::control,
    hub::Position,
    sas, token,
    wire::{frame, message::Message},
};

/// What a peer sends: each frame passes on as one whole frame, in both directions, or ends the connection.
pub fn frames(input: &[u8]) {
    let mut buffer = BytesMut::from(input);
    while let Ok(Some(frame)) = frame::take(&mut buffer) {
        let mut inward = BytesMut::new();
        if frame::inward(&frame, &mut inward).is_ok() {
            whole(&inward);
        }
        let mut outward = BytesMut::new();
        frame::outward(&frame, 1 << 20, &mut outward);
        whole(&outward);
    }
}

fn whole(frame: &[u8]) {
    if frame.starts_with(b"AMQP") {
        return assert_eq!(frame.len(), 8);
    }
    let size = frame.first_chunk().map_or(0, |size| u32::from_be_bytes(*size));
    assert_eq!(usize::try_from(size), Ok(frame.len()), "a frame is as long as it says");
}

/// A message: stamped by the service it is a message again, with the same key, and stamped again it is the same.
pub fn messages(input: &[u8]) {
    let Ok(message) = Message::parse(&Bytes::copy_from_slice(input)) else { return };
    let _ = message.unpack();
    let stamped = message.stamped(7, "4096", 1_700_000_000_000);
    let Ok(again) = Message::parse(&stamped) else { panic!("what was stored is no message") };
    assert_eq!(again.partition_key(), message.partition_key());
    assert_eq!(again.stamped(7, "4096", 1_700_000_000_000), stamped);
}

/// Texts: a selector, an address, a token, a configuration, a request to the control port. All are read or refused.
pub fn texts(input: &[u8]) {
    let _ = control::parse(input);
    let Ok(text) = std::str::from_utf8(input) else { return };
    let _ = Position::parse(text);
    let _ = Node::parse(address::path(text));
    let keys = BTreeMap::from([("key".to_owned(), "secret".to_owned())]);
    assert!(sas::verify(text, &keys, 0).is_err(), "a token without a signature is accepted");
    let _ = token::expiry(text);
    if let Err(error) = Config::parse(text) {
        assert!(text.len() < 40 || !error.to_string().contains(text), "the error shows the file");
    }
}

#[cfg(test)]
#[path = "../../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_hold() {
        seeds::each("eventhubs_frames", frames);
        seeds::each("eventhubs_messages", messages);
        seeds::each("eventhubs_texts", texts);
    }
}
