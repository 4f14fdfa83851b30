//! How a message travels as an event.
//!
//! | event | message |
//! |---|---|
//! | data | the payload |
//! | `message-id` | the id |
//! | `x-opt-partition-key` | the key |
//! | `content-type`, `correlation-id` | the headers of these names |
//! | application properties | all other headers, in order: text where a value is UTF-8, else binary |

mod decode;
mod encode;
mod value;

pub(crate) use decode::{Event, Undecodable, decode};
pub(crate) use encode::{ENTRY, Encoded, encode, measure};

/// The annotation that holds the key.
pub(crate) const KEY: &str = "x-opt-partition-key";
const CONTENT_TYPE: &str = "content-type";
const CORRELATION_ID: &str = "correlation-id";
/// Most bytes of a partition key.
pub(crate) const KEY_BYTES: usize = 128;

/// The descriptors of the sections of a message.
mod section {
    pub(super) const HEADER: u8 = 0x70;
    pub(super) const DELIVERY_ANNOTATIONS: u8 = 0x71;
    pub(super) const ANNOTATIONS: u8 = 0x72;
    pub(super) const PROPERTIES: u8 = 0x73;
    pub(super) const APPLICATION_PROPERTIES: u8 = 0x74;
    pub(super) const DATA: u8 = 0x75;
    pub(super) const SEQUENCE: u8 = 0x76;
    pub(super) const VALUE: u8 = 0x77;
    pub(super) const FOOTER: u8 = 0x78;
}
