use std::time::Duration;

use aws_sdk_dynamodb::{
    operation::{create_table::CreateTableError, describe_table::DescribeTableError},
    types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus},
};
use strait_core::{Error, ErrorKind, Result};
use tokio::time::{Instant, sleep};

use super::{GROUP, KEY, TableRows};

/// How long a table may take until it can be used. Most take some seconds.
const LONGEST: Duration = Duration::from_secs(60);
/// How long to wait between two looks at it.
const PAUSE: Duration = Duration::from_millis(250);

impl TableRows {
    /// Makes the table unless there is one, paid by request, and waits until it can be used. Several may do so at once.
    ///
    /// # Errors
    ///
    /// What the service says; [`ErrorKind::Unavailable`] if it cannot be used after a minute.
    pub(crate) async fn create_if_missing(&self) -> Result<()> {
        let end = Instant::now() + LONGEST;
        loop {
            match self.status().await? {
                None => self.create().await?,
                Some(TableStatus::Creating | TableStatus::Deleting) => {}
                Some(_) => return Ok(()),
            }
            if Instant::now() >= end {
                return Err(self.calls.look.error(ErrorKind::Unavailable, "it cannot be used yet"));
            }
            sleep(PAUSE).await;
        }
    }

    async fn status(&self) -> Result<Option<TableStatus>> {
        match self.client.describe_table().table_name(&self.table).send().await {
            Ok(found) => Ok(found.table.and_then(|table| table.table_status)),
            Err(error) if error.as_service_error().is_some_and(DescribeTableError::is_resource_not_found_exception) => {
                Ok(None)
            }
            Err(error) => Err(self.calls.look.failed(&error)),
        }
    }

    async fn create(&self) -> Result<()> {
        let unusable = |_| Error::new(ErrorKind::Other, "leases: the description of a table cannot be made");
        let mut request = self.client.create_table().table_name(&self.table).billing_mode(BillingMode::PayPerRequest);
        for (name, role) in [(GROUP, KeyType::Hash), (KEY, KeyType::Range)] {
            let key = KeySchemaElement::builder().attribute_name(name).key_type(role).build().map_err(unusable)?;
            let text = AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S);
            request = request.key_schema(key).attribute_definitions(text.build().map_err(unusable)?);
        }
        match request.send().await {
            Ok(_) => Ok(()),
            // Another process was faster.
            Err(error) if error.as_service_error().is_some_and(CreateTableError::is_resource_in_use_exception) => {
                Ok(())
            }
            Err(error) => Err(self.calls.create.failed(&error)),
        }
    }
}
