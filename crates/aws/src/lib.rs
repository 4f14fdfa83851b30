//! How the adapters for AWS reach their services: where, as whom, for how long, and what an error of the SDK means.
//!
//! An adapter reads [`Access`] from the table of its connection, opens [`Aws`] with it, and makes each client of a
//! configuration that is complete: region, endpoint, credentials, time-outs, and no retries. A [`Call`] turns what such a
//! client fails with into a [`strait_core::Error`].
//!
//! ```
//! use strait_aws::{Access, Aws, Call, Regional, Service};
//! # use strait_aws::Keys;
//! # use strait_config::Secret;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! // In an adapter: Access::read(&mut fields, &[Service::Sts]), of the table of a connection.
//! let mut access = Access::default();
//! access.region = Some("eu-west-1".to_owned());
//! # access.keys = Some(Keys { id: Secret::new("AKIA"), secret: Secret::new("x"), session_token: None });
//! let aws = Aws::connect("sts", &access, &[Service::Sts]).await?;
//! let Regional { client, host } = strait_aws::regional!(aws_sdk_sts, &aws, Service::Sts, None)?;
//! assert_eq!(&*host, "sts.eu-west-1.amazonaws.com");
//!
//! let call = Call::new("sts: cannot say who asks", "sts:GetCallerIdentity", &host);
//! let who = async { client.get_caller_identity().send().await.map_err(|error| call.failed(&error)) };
//! # drop(who);
//! # Ok::<_, strait_core::Error>(())
//! # }).unwrap();
//! ```
//!
//! **One client, one runtime.** A connection is driven by the runtime that made it, and so are those by which credentials
//! are fetched. A client that is called on another runtime hangs until its time-out if the first one does not run. What
//! works on a runtime of its own therefore connects there: [`Aws::connect`] and all after it.

mod access;
mod arn;
mod connect;
mod endpoint;
mod error;
mod service;

pub use access::{Access, Keys, Role};
pub use arn::{Arn, is_of_aws};
pub use aws_config::SdkConfig;
pub use connect::{Aws, timeouts};
pub use endpoint::Regional;
#[doc(hidden)]
pub use endpoint::resolved;
pub use error::{Call, Codes, is_access_denied};
pub use service::Service;
