//! Records that hold several messages: the aggregates of the Kinesis Producer Library (KPL).
//!
//! An aggregate is four bytes of [`MAGIC`], a protobuf message, and the MD5 of that:
//!
//! | field | of | holds |
//! |---|---|---|
//! | 1, repeated string | aggregate | the partition keys of its sub-records |
//! | 2, repeated string | aggregate | their explicit hash keys |
//! | 3, repeated message | aggregate | the sub-records, in order |
//! | 1, `uint64` | sub-record | the index of its partition key |
//! | 2, optional `uint64` | sub-record | the index of its explicit hash key |
//! | 3, bytes | sub-record | the payload |
//! | 4, repeated message | sub-record | tags: `1` the name, `2` the value, both strings |
//!
//! [`Aggregate`] writes one, of messages that share a partition key: a KCL drops a whole aggregate if the hash of any
//! sub-record lies outside the shard that it was read from, which after a split or a merge can only happen to aggregates of
//! several keys. What decides on the shard stands inside too, for the same reason. Ids and headers are tags, which the other
//! readers of the format skip. [`open`] reads what anybody wrote.
//!
//! | tag | holds |
//! |---|---|
//! | `strait-id` | the message's id, as text |
//! | `strait-keyless` | nothing: the message has no key, and its partition key was made up |
//! | any other | the header of that name. A value that is not UTF-8, or begins with `base64:`, is `base64:` and its base64 |

mod open;
mod seal;
mod tags;
mod wire;

pub use open::{Flaw, Messages, Opened, open};
pub use seal::{Aggregate, KEY_CHARACTERS, measure};
pub(crate) use seal::{KEYLESS, check_key};

/// What an aggregate begins with.
pub const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
/// How long the checksum behind it is.
const CHECKSUM: usize = 16;
