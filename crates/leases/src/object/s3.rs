use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use strait_aws::{Aws, Call, Service};
use strait_core::Result;
use strait_kit::RowStore;

use super::{Match, ObjectRows, credentials::Credentials, transport};
use crate::{Options, open::access};

/// Rows in a bucket of S3.
pub(crate) async fn open(bucket: &str, prefix: &[String], options: &Options) -> Result<Arc<dyn RowStore>> {
    let access = access("s3", options)?;
    let aws = Aws::connect("leases", &access, &[Service::S3]).await?;
    let config = aws.config(Service::S3, None)?;
    let place = format!("s3 bucket {bucket}");
    let call = Call::new(format!("leases: {place}"), "s3:GetObject", &"s3".into());
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_region(aws.region())
        .with_credentials(Arc::new(Credentials::new(aws.clone(), call)));
    if let Some(endpoint) = config.endpoint_url() {
        builder = builder.with_endpoint(endpoint);
    }
    let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
    // After the environment, which could allow plain connections, or switch off the conditions.
    let store = builder
        .with_client_options(transport::client(endpoint.as_deref(), access.allow_insecure, options)?)
        .with_retry(transport::retries(options))
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .build()
        .map_err(|_| transport::unusable("s3"))?;
    Ok(Arc::new(ObjectRows::new(Arc::new(store), place, prefix, Match::Tag, options.timeout)))
}
