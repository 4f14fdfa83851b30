use std::sync::Arc;

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use strait_core::Result;
use strait_kit::RowStore;

use super::{Match, ObjectRows, transport};
use crate::Options;

/// Rows in a container of Azure Blob Storage.
pub(crate) fn open(container: &str, prefix: &[String], options: &Options) -> Result<Arc<dyn RowStore>> {
    let environment = MicrosoftAzureBuilder::from_env();
    let mut builder = match &options.credentials {
        None => environment,
        // Without the environment's tokens, which would be taken first.
        Some(credentials) => {
            let builder = MicrosoftAzureBuilder::new()
                .with_account(&credentials.name)
                .with_access_key(credentials.secret.expose());
            match environment.get_config_value(&AzureConfigKey::Endpoint) {
                Some(endpoint) => builder.with_endpoint(endpoint),
                None => builder,
            }
        }
    };
    builder = builder.with_container_name(container);
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
    // After the environment, which could allow plain connections.
    let store = builder
        .with_client_options(transport::client(endpoint.as_deref(), options.allow_insecure, options)?)
        .with_retry(transport::retries(options))
        .build()
        .map_err(|_| transport::unusable("az"))?;
    let place = format!("azure container {container}");
    Ok(Arc::new(ObjectRows::new(Arc::new(store), place, prefix, Match::Tag, options.timeout)))
}
