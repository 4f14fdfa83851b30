//! What fuzz targets run: bytes from outside, and what holds of all that is read from them.

use bytes::{Bytes, BytesMut};
use strait_core::Id;

use crate::{client::undecoded, codec};

/// An event: what was read of it can be sent again, and is read as it was, unless Strait could not send it in this way.
pub fn events(input: &[u8]) {
    let Ok(mut event) = codec::decode(&Bytes::copy_from_slice(input)) else { return };
    // Escapes take six bytes for one, and an array may have elements without bytes.
    let size: usize = event.message.headers.iter().map(|(_, value)| value.len()).sum();
    assert!(size + event.message.payload.len() <= 100 * input.len(), "{} bytes became {size}", input.len());
    event.message.id.get_or_insert(Id::from_bytes([7; 16])); // a sender gives one to what has none
    let Ok(measured) = codec::measure(&event.message) else { return };
    let encoded = codec::encode(&event.message);
    assert_eq!(codec::ENTRY + encoded.len(), measured, "the size is known before");
    let Ok(again) = codec::decode(&encoded.into()) else { panic!("what was sent cannot be read") };
    assert_eq!((&again.message.payload, &again.message.key), (&event.message.payload, &event.message.key));
    assert_eq!(again.message.headers.len(), event.message.headers.len());
}

/// What the service sends: each frame is handed on as one.
pub fn frames(input: &[u8]) {
    let mut buffer = BytesMut::from(input);
    while let Ok(Some(frame)) = undecoded::take(&mut buffer) {
        let mut handed_on = BytesMut::new();
        undecoded::hand_on(&frame, &mut handed_on);
        if handed_on.starts_with(b"AMQP") {
            assert_eq!(handed_on.len(), 8);
            continue;
        }
        let size = handed_on.first_chunk().map_or(0, |size| u32::from_be_bytes(*size));
        assert_eq!(usize::try_from(size), Ok(handed_on.len()), "a frame is as long as it says");
        assert!(handed_on.len() <= undecoded::FRAME + undecoded::ENVELOPE);
    }
}

#[cfg(test)]
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_hold() {
        seeds::each("eventhubs_events", events);
        seeds::each("eventhubs_frames", frames);
    }
}
