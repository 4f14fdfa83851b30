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
