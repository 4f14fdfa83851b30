use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use strait_core::Result;
use strait_kit::RowStore;

use super::{Match, ObjectRows, transport};
use crate::Options;

/// Rows in a bucket of S3.
pub(crate) fn open(bucket: &str, prefix: &[String], options: &Options) -> Result<Arc<dyn RowStore>> {
    let environment = AmazonS3Builder::from_env();
    let mut builder = match &options.credentials {
        None => environment,
        // Without the environment's session token, which belongs to another key.
        Some(credentials) => {
            let mut builder = AmazonS3Builder::new()
                .with_access_key_id(&credentials.name)
                .with_secret_access_key(credentials.secret.expose());
            for key in [AmazonS3ConfigKey::DefaultRegion, AmazonS3ConfigKey::Region, AmazonS3ConfigKey::Endpoint] {
                if let Some(value) = environment.get_config_value(&key) {
                    builder = builder.with_config(key, value);
                }
            }
            builder
        }
    };
    builder = builder.with_bucket_name(bucket);
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &options.region {
        builder = builder.with_region(region);
    }
    let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
    // After the environment, which could allow plain connections, or switch off the conditions.
    let store = builder
        .with_client_options(transport::client(endpoint.as_deref(), options)?)
        .with_retry(transport::retries(options))
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .build()
        .map_err(|_| transport::unusable("s3"))?;
    let place = format!("s3 bucket {bucket}");
    Ok(Arc::new(ObjectRows::new(Arc::new(store), place, prefix, Match::Tag, options.timeout)))
}
