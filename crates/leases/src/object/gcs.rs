use std::sync::Arc;

use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use strait_core::{Error, ErrorKind, Result};
use strait_kit::RowStore;

use super::{Match, ObjectRows, transport};
use crate::Options;

/// Rows in a bucket of Google Cloud Storage.
pub(crate) fn open(bucket: &str, prefix: &[String], options: &Options) -> Result<Arc<dyn RowStore>> {
    if options.credentials.is_some() {
        let message = "leases: credentials: gs:// takes them from the environment only";
        return Err(Error::new(ErrorKind::Config, message));
    }
    let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_base_url(endpoint);
    }
    let endpoint = builder.get_config_value(&GoogleConfigKey::BaseUrl);
    // After the environment, which could allow plain connections.
    let store = builder
        .with_client_options(transport::client(endpoint.as_deref(), options.allow_insecure, options)?)
        .with_retry(transport::retries(options))
        .build()
        .map_err(|_| transport::unusable("gs"))?;
    let place = format!("gcs bucket {bucket}");
    Ok(Arc::new(ObjectRows::new(Arc::new(store), place, prefix, Match::Generation, options.timeout)))
}
