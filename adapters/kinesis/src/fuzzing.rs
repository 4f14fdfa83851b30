//! What fuzz targets run: bytes from outside, and what holds of whatever is read from them.

use bytes::Bytes;
use md5::{Digest as _, Md5};
use strait_core::{ErrorKind, Message};

use crate::kpl::{Aggregate, MAGIC, Opened, measure, open};

/// A record: it is read as something, always the same. What can be sent of it comes out as it went in, and is as large as
/// it was said to be.
pub fn records(input: &[u8]) {
    let data = Bytes::copy_from_slice(input);
    if let Opened::Messages(messages) = open(&data) {
        let (count, all): (_, Vec<_>) = (messages.len(), messages.collect());
        assert_eq!(all.len(), count, "a message is lost");
        all.iter().for_each(again);
    }
    again(&Message::new(data));
}

/// The content of an aggregate, to which its beginning and its checksum are added.
pub fn aggregates(content: &[u8]) {
    let checksum = Md5::digest(content);
    records(&[&MAGIC, content, &checksum].concat());
}

fn again(message: &Message) {
    let mut aggregate = message.key.as_ref().map_or_else(|| Aggregate::keyless(u128::MAX), Aggregate::of);
    match measure(message) {
        Ok(size) => {
            assert!(aggregate.push_within(message, size).expect("it was measured"), "it is larger than was said");
            let (said, data) = (aggregate.bytes(), Bytes::from(aggregate.finish()));
            // One without an id is measured with the one that it is to get.
            assert!(data.len() == said && (said == size || message.id.is_none() && said < size), "its size");
            let Opened::Messages(mut messages) = open(&data) else { panic!("what was written cannot be read") };
            assert!(messages.len() == 1 && messages.next().as_ref() == Some(message), "a message comes out otherwise");
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{error}"),
    }
}

#[cfg(test)]
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// What a good aggregate may have inside.
    const CONTENT: &[u8] = include_bytes!("../../../fuzz/seeds/kinesis_aggregates/keyed");

    proptest! {
        #[test]
        fn what_is_nearly_an_aggregate_holds(changes in vec((0..CONTENT.len(), any::<u8>()), 0..4), end in 0..=CONTENT.len()) {
            let mut content = CONTENT.to_vec();
            for (place, byte) in changes {
                content[place] = byte;
            }
            aggregates(&content[..end]);
        }

        #[test]
        fn anything_holds(content in vec(any::<u8>(), 0..100)) {
            aggregates(&content);
        }
    }

    #[test]
    fn the_seeds_hold() {
        seeds::each("kinesis_records", records);
        seeds::each("kinesis_aggregates", aggregates);
    }
}
