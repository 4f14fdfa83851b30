//! From a file to open channels.
//!
//! Code names what it needs, configuration says where it is. One line, `provider`, moves an application from one
//! service to another; a [`Bus`] opens its channels by name. Everything that is wrong with the files is said at once,
//! each in a sentence that names the file and the key path, before anything is opened. No value of a variable or a
//! secret is ever shown.
//!
//! A text may hold `${NAME}`, which is a variable of the environment, `${NAME:-default}`, with a default where that is not set
//! or empty, and `${file:/path}`, which is what a file holds. A default and a path may hold more of them. `$$` is a dollar; a
//! dollar before a name in capitals is refused. Where a number is wanted, a text that is a single one is read as a number.

mod builder;
mod bus;
mod describe;
mod document;
mod expand;
mod fields;
mod files;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod provider;
mod schema;
mod secret;
mod tries;
mod url;

pub use builder::Builder;
pub use bus::Bus;
pub use describe::Described;
pub use fields::{Field, Fields, StartAt};
pub use files::IntoFiles;
pub use health::BusHealth;
pub use provider::{Connection, Needs, Provider, Registry};
pub use secret::Secret;
pub use url::check_url;
