//! Small rows changed by compare-and-swap, over what people already run.
//!
//! A group that shares a log keeps its members, its plan and its checkpoints in a [`RowStore`]. [`Group`] is what an
//! adapter reads of it from the table of a receiver, and makes the process a member. [`open`] makes a store of a URL:
//!
//! | URL | feature | for |
//! |---|---|---|
//! | `memory:name` | - | several members in one process; lives as long as the process |
//! | `file:/folder` | - | several processes on one machine: tests, demonstrations |
//! | `s3://bucket/prefix` | `s3` | Amazon S3, and what answers `If-Match` and `If-None-Match` as it does |
//! | `az://container/prefix` | `azure` | Azure Blob Storage |
//! | `gs://bucket/prefix` | `gcs` | Google Cloud Storage |
//! | `dynamodb://table/group` | `dynamodb` | a table of DynamoDB, with the keys `pk` and `sk` |
//!
//! ```
//! use strait_kit::{Expect, Put};
//! use strait_leases::{Options, open};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let rows = open("memory:billing", &Options::default()).await?;
//! let Put::Done(version) = rows.put("plan", Expect::Absent, "1".into()).await? else { panic!("it is new") };
//! assert_eq!(rows.put("plan", Expect::Absent, "2".into()).await?, Put::Refused);
//! assert!(matches!(rows.put("plan", Expect::Is(version), "2".into()).await?, Put::Done(_)));
//! # Ok::<_, strait_core::Error>(())
//! # }).unwrap();
//! ```
//!
//! **What all of them keep.** R1 to R5 of [`RowStore`]. A version is made anew at every put, so that equal values have
//! different ones, also where the store names a version by its content. No call is retried here: what failed for a
//! moment is the caller's to repeat. A key has 1 to 600 bytes once what is not a lower-case letter, a digit, `-`, `_` or
//! `/` counts three; what lies between two `/` at most 240. A value has at most 1 MiB, on DynamoDB 398 KiB
//! ([`RowStore::value_bytes`]). What breaks these limits is refused as [`Invalid`](strait_core::ErrorKind::Invalid).

mod deadline;
mod deferred;
#[cfg(feature = "dynamodb")]
mod dynamodb;
#[cfg(feature = "suite")]
mod faulty;
mod file;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod group;
mod key;
mod memory;
#[cfg(feature = "objects")]
mod object;
mod open;
mod place;
mod prefixed;
mod record;
#[cfg(feature = "suite")]
pub mod suite;

#[cfg(feature = "suite")]
pub use faulty::{Faults, FaultyRows, Fired};
pub use group::Group;
pub use open::{Credentials, Options, open};
pub use strait_kit::{Expect, Put, Row, RowStore, Version};
