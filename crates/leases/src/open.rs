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
    /// Where Azure's or Google's store is, if not at its usual place: a URL. `http` only for this machine.
    pub endpoint: Option<String>,
    /// Who asks Azure. By default what the environment says.
    pub credentials: Option<Credentials>,
    /// Accepts `http` to other machines, for Azure and Google. `false` by default.
    pub allow_insecure: bool,
    /// How S3 and DynamoDB are reached, and as whom: that of the connection whose receivers name the store. How long a
    /// call may take is `timeout` above.
    #[cfg(feature = "aws")]
    pub aws: strait_aws::Access,
    /// Makes a table of DynamoDB that is missing. `false` by default. Buckets and containers are made by nobody here.
    pub create: bool,
}

/// An account of Azure with its secret.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The name of the account.
    pub name: String,
    /// The key of the account.
    pub secret: Secret,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(3),
            endpoint: None,
            credentials: None,
            allow_insecure: false,
            #[cfg(feature = "aws")]
            aws: strait_aws::Access::default(),
            create: false,
        }
    }
}

/// Opens the store that `url` names, and asks it for a row, so that what is wrong shows at once. Cancel-safe.
///
/// `memory:name` is the same store wherever this process opens it. `file:/folder` makes the folder. Buckets and
/// containers must exist. Credentials come from `options`, else from the environment: for `s3://` and `dynamodb://` from
/// wherever AWS's own tools have them; for `az://` the `AZURE_*` variables or a managed identity; for `gs://` the
/// `GOOGLE_*` variables, the application default credentials, or the metadata service.
///
/// # Errors
///
/// - `Config`: the URL or an option is wrong; the message names it.
/// - `Unsupported`: the feature of the store is not compiled in.
/// - `NotFound`: there is no such bucket, container or table. `Denied`: the credentials do not open it.
/// - `Unavailable` or `Throttled`: it cannot be reached now.
pub async fn open(url: &str, options: &Options) -> Result<Arc<dyn RowStore>> {
    let rows = reach(url, options).await?;
    match rows.get("probe").await {
        Ok(_) => {}
        // Asked first: a table that is there needs no permission to make it.
        Err(error) if options.create && error.kind() == ErrorKind::NotFound && make(url, options).await? => {
            rows.get("probe").await?;
        }
        Err(error) => return Err(error),
    }
    Ok(rows)
}

/// As [`open`], without asking for a row: the store's connections are made by whoever calls it first.
pub(crate) async fn reach(url: &str, options: &Options) -> Result<Arc<dyn RowStore>> {
    Ok(match place(url, options)? {
        Place::Memory(name) => MemoryRows::named(&name),
        Place::File(folder) => Arc::new(FileRows::open(folder, options.timeout).await?),
        Place::Objects { service, bucket, prefix } => objects(service, &bucket, &prefix, options).await?,
        Place::Table { table, group } => table_rows(&table, &group, options).await?,
    })
}

fn place(url: &str, options: &Options) -> Result<Place> {
    let place = Place::parse(url).map_err(|reason| Error::new(ErrorKind::Config, format!("leases: url: {reason}")))?;
    if options.timeout < Duration::from_millis(50) || options.timeout > Duration::from_secs(60) {
        return Err(Error::new(ErrorKind::Config, "leases: timeout: is not between 50 ms and 60 s"));
    }
    Ok(place)
}

/// Makes what is missing, and says whether it is of those that can be made.
#[cfg(feature = "dynamodb")]
async fn make(url: &str, options: &Options) -> Result<bool> {
    let Place::Table { table, group } = place(url, options)? else { return Ok(false) };
    crate::dynamodb::TableRows::connect(&table, &group, options).await?.create_if_missing().await?;
    Ok(true)
}

#[cfg(not(feature = "dynamodb"))]
#[expect(clippy::unused_async, reason = "as with the feature")]
async fn make(_: &str, _: &Options) -> Result<bool> {
    Ok(false)
}

#[cfg(feature = "dynamodb")]
async fn table_rows(table: &str, group: &str, options: &Options) -> Result<Arc<dyn RowStore>> {
    Ok(Arc::new(crate::dynamodb::TableRows::connect(table, group, options).await?))
}

#[cfg(not(feature = "dynamodb"))]
#[expect(clippy::unused_async, reason = "as with the feature")]
async fn table_rows(_: &str, _: &str, _: &Options) -> Result<Arc<dyn RowStore>> {
    Err(not_compiled("dynamodb", "dynamodb"))
}

/// How a store of AWS is reached. What is not for such a store is refused, so that nothing is ignored.
#[cfg(feature = "aws")]
pub(crate) fn access(scheme: &str, options: &Options) -> Result<strait_aws::Access> {
    let field = match options {
        Options { endpoint: Some(_), .. } => "endpoint",
        Options { credentials: Some(_), .. } => "credentials",
        Options { allow_insecure: true, .. } => "allow_insecure",
        _ => {
            let mut access = options.aws.clone();
            access.timeout = options.timeout;
            return Ok(access);
        }
    };
    Err(Error::new(ErrorKind::Config, format!("leases: {field}: is not for {scheme}://, which `aws` reaches")))
}

#[cfg(not(feature = "objects"))]
#[expect(clippy::unused_async, reason = "as with the feature")]
async fn objects(service: Service, _: &str, _: &[String], options: &Options) -> Result<Arc<dyn RowStore>> {
    insecure(options.endpoint.as_deref(), options.allow_insecure)?;
    Err(not_compiled_objects(service))
}

#[cfg(feature = "objects")]
#[cfg_attr(not(feature = "s3"), expect(clippy::unused_async, reason = "as with the feature"))]
async fn objects(service: Service, bucket: &str, prefix: &[String], options: &Options) -> Result<Arc<dyn RowStore>> {
    insecure(options.endpoint.as_deref(), options.allow_insecure)?;
    match service {
        #[cfg(feature = "s3")]
        Service::S3 => crate::object::s3::open(bucket, prefix, options).await,
        #[cfg(feature = "azure")]
        Service::Azure => crate::object::azure::open(bucket, prefix, options),
        #[cfg(feature = "gcs")]
        Service::Gcs => crate::object::gcs::open(bucket, prefix, options),
        #[allow(unreachable_patterns, reason = "with every feature there is no other")]
        _ => {
            let _ = (bucket, prefix);
            Err(not_compiled_objects(service))
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

fn not_compiled_objects(service: Service) -> Error {
    match service {
        Service::S3 => not_compiled("s3", "s3"),
        Service::Azure => not_compiled("az", "azure"),
        Service::Gcs => not_compiled("gs", "gcs"),
    }
}

fn not_compiled(scheme: &str, feature: &str) -> Error {
    let text = format!("leases: url: {scheme}:// needs the feature `{feature}` of strait-leases");
    Error::new(ErrorKind::Unsupported, text)
}
