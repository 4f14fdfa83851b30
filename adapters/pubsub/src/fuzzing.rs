//! What fuzz targets run: bytes from outside, and what holds of whatever is read from them.

use googleapis_tonic_google_pubsub_v1::google::pubsub::v1::{PublishRequest, PubsubMessage};
use prost::Message as _;
use strait_core::ErrorKind;
use tonic::{Code, Status};

use crate::{
    codec::{decode, encode, measure},
    details,
};

/// A message as the service encodes it: it is read as something. If that can be published, it comes out as it went in,
/// and is as large as it was said to be.
pub fn messages(input: &[u8]) {
    let Ok(wire) = PubsubMessage::decode(input) else { return };
    let message = decode(wire);
    match encode(&message) {
        Ok(wire) => {
            let request = PublishRequest { topic: String::new(), messages: vec![wire] };
            let size = measure(&message).expect("it was encoded");
            // One without an id is measured with the one that it is to get.
            assert!(request.encoded_len() == size || message.id.is_none() && request.encoded_len() < size, "its size");
            let back = request.messages.into_iter().next().map(decode);
            assert!(back == Some(message), "a message comes out otherwise than it went in");
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{error}"),
    }
}

/// The details of a status: they are read as something, or are none.
pub fn details(input: &[u8]) {
    let status = Status::with_details(Code::Internal, "", input.to_vec().into());
    let _ = (details::failures(&status), details::retry_after(&status));
}

#[cfg(test)]
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_hold() {
        seeds::each("pubsub_messages", messages);
        seeds::each("pubsub_details", super::details);
    }
}
