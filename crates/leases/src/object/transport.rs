use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use strait_core::{Error, ErrorKind, Result};

use crate::{Options, open::insecure};

/// How to talk to the server that `endpoint` names: every request has a deadline.
pub(crate) fn client(endpoint: Option<&str>, allow_insecure: bool, options: &Options) -> Result<ClientOptions> {
    let plain = insecure(endpoint, allow_insecure)?;
    Ok(ClientOptions::new().with_allow_http(plain).with_timeout(options.timeout).with_connect_timeout(options.timeout))
}

/// None: a put is repeated by whoever knows what its refusal means then.
pub(crate) fn retries(options: &Options) -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: 0, retry_timeout: options.timeout }
}

/// The builder refused what it was given. Its own words may hold a part of a key.
pub(crate) fn unusable(scheme: &str) -> Error {
    let message = format!("leases: credentials: those for {scheme}:// are incomplete or cannot be read");
    Error::new(ErrorKind::Config, message)
}
