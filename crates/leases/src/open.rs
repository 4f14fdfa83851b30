use std::{sync::Arc, time::Duration};

use strait_config::{Secret, check_url};
use strait_core::{Error, ErrorKind, Result};
use strait_kit::RowStore;

use crate::{
    file::FileRows,
    memory::MemoryRows,
    place::{Place, Service},
};

/// How to reach a store. What is `None` comes from the environment, as the store's own tools read it.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a call may take, or a page of a listing: 50 ms to 60 s, 3 s by default. A heartbeat must fit well into
    /// the time for which a member believes in itself.
    pub timeout: Duration,
    /// Where an object store is, if not at its usual place: a URL. `http` only for this machine.
    pub endpoint: Option<String>,
    /// The region of an S3 bucket.
    pub region: Option<String>,
    /// Who asks. S3: an access key; Azure: an account with its key. By default what the environment says.
    pub credentials: Option<Credentials>,
    /// Accepts `http` to other machines. `false` by default.
    pub allow_insecure: bool,
}

/// A name with its secret.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The id of the access key, or the name of the account.
    pub name: String,
    /// The secret access key, or the key of the account.
    pub secret: Secret,
}

impl Default for Options {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(3), endpoint: None, region: None, credentials: None, allow_insecure: false }
    }
}

/// Opens the store that `url` names, and asks it for a row, so that what is wrong shows at once. Cancel-safe.
///
/// `memory:name` is the same store wherever this process opens it. `file:/folder` makes the folder. Buckets and
/// containers must exist. Credentials come from `options`, else from the environment: for `s3://` the `AWS_*` variables,
/// a web identity, or the metadata service of the task or machine (profiles in `~/.aws` are not read); for `az://` the
/// `AZURE_*` variables or a managed identity; for `gs://` the `GOOGLE_*` variables, the application default
/// credentials, or the metadata service.
///
/// # Errors
///
/// - `Config`: the URL or an option is wrong; the message names it.
/// - `Unsupported`: the feature of the store is not compiled in.
/// - `NotFound`: there is no such bucket or container. `Denied`: the credentials do not open it.
/// - `Unavailable` or `Throttled`: it cannot be reached now.
pub async fn open(url: &str, options: &Options) -> Result<Arc<dyn RowStore>> {
    let rows = reach(url, options).await?;
    rows.get("probe").await?;
    Ok(rows)
}

/// As [`open`], without asking for a row: the store's connections are made by whoever calls it first.
pub(crate) async fn reach(url: &str, options: &Options) -> Result<Arc<dyn RowStore>> {
    let place = Place::parse(url).map_err(wrong_url)?;
    if options.timeout < Duration::from_millis(50) || options.timeout > Duration::from_secs(60) {
        return Err(Error::new(ErrorKind::Config, "leases: timeout: is not between 50 ms and 60 s"));
    }
    Ok(match place {
        Place::Memory(name) => MemoryRows::named(&name),
        Place::File(folder) => Arc::new(FileRows::open(folder, options.timeout).await?),
        Place::Objects { service, bucket, prefix } => objects(service, &bucket, &prefix, options)?,
    })
}

fn wrong_url(reason: &str) -> Error {
    Error::new(ErrorKind::Config, format!("leases: url: {reason}"))
}

#[cfg(not(feature = "objects"))]
fn objects(service: Service, _: &str, _: &[String], options: &Options) -> Result<Arc<dyn RowStore>> {
    insecure(options.endpoint.as_deref(), options.allow_insecure)?;
    Err(not_compiled(service))
}

#[cfg(feature = "objects")]
fn objects(service: Service, bucket: &str, prefix: &[String], options: &Options) -> Result<Arc<dyn RowStore>> {
    insecure(options.endpoint.as_deref(), options.allow_insecure)?;
    match service {
        #[cfg(feature = "s3")]
        Service::S3 => crate::object::s3::open(bucket, prefix, options),
        #[cfg(feature = "azure")]
        Service::Azure => crate::object::azure::open(bucket, prefix, options),
        #[cfg(feature = "gcs")]
        Service::Gcs => crate::object::gcs::open(bucket, prefix, options),
        #[allow(unreachable_patterns, reason = "with every feature there is no other")]
        _ => {
            let _ = (bucket, prefix);
            Err(not_compiled(service))
        }
    }
}

/// Refuses an address that is not encrypted, and says whether it is plain and allowed.
pub(crate) fn insecure(endpoint: Option<&str>, allow: bool) -> Result<bool> {
    let Some(endpoint) = endpoint else { return Ok(false) };
    let Some((scheme, rest)) = endpoint.split_once("://") else {
        return Err(Error::new(ErrorKind::Config, "leases: endpoint: is not an address with a scheme"));
    };
    if !matches!(scheme, "http" | "https") {
        return Err(Error::new(ErrorKind::Config, "leases: endpoint: is neither https nor http"));
    }
    if rest.contains(['@', '?', '#']) {
        return Err(Error::new(ErrorKind::Config, "leases: endpoint: has one of @ ? #; no credentials belong there"));
    }
    check_url(endpoint, allow).map_err(|why| Error::new(ErrorKind::Config, format!("leases: endpoint: {why}")))?;
    Ok(scheme == "http")
}

fn not_compiled(service: Service) -> Error {
    let (scheme, feature) = match service {
        Service::S3 => ("s3", "s3"),
        Service::Azure => ("az", "azure"),
        Service::Gcs => ("gs", "gcs"),
    };
    let text = format!("leases: url: {scheme}:// needs the feature `{feature}` of strait-leases");
    Error::new(ErrorKind::Unsupported, text)
}
