//! The vocabulary and the contract of Strait.
//!
//! A provider implements [`Producer`] and [`Consumer`], five methods and four, and nothing else. The traits say only what is
//! true of *every* backend: a message is received with a [`Claim`] and ends by being settled, or its claim is lost and
//! it comes again. There is no negative acknowledgement: on a log it could mean nothing. Retries, dead letters, order
//! and batching are built above, once, in `strait-runtime`.
//!
//! The promises are numbered (`P1`, `C3`, ...), and the conformance suite in `strait-testkit` names its cases after them.
//!
//! ```
//! use strait_core::Message;
//!
//! let message = Message::new("{\"dollars\":12}").with_key("customer-7").with_header("content-type", "application/json");
//! assert_eq!(message.headers.get_str("content-type"), Some("application/json"));
//! ```

mod claim;
mod consumer;
mod error;
#[doc(hidden)]
pub mod faults;
mod headers;
mod id;
mod key;
mod message;
mod observer;
mod origin;
mod producer;

pub use claim::{Claim, ClaimState, Grant, Moment, Token, Watch};
pub use consumer::{Budget, Consumer, Guarantees, Ordering, Received};
pub use error::{Error, ErrorKind, Result};
pub use headers::{Headers, reserved};
pub use id::Id;
pub use key::Key;
pub use message::Message;
pub use observer::{Guarded, Lag, Measure, Observer, Unobserved};
pub use origin::{Origin, Position};
pub use producer::{Limits, Plan, Producer, Receipt};
