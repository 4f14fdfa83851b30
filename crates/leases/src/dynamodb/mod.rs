//! Rows as items of a table of DynamoDB: the group of rows is the partition key, the key of a row is the sort key.
//!
//! Each put makes a version of its own. Nothing else of DynamoDB is used: no index, no time to live, no stream.

mod create;

use std::{collections::HashMap, fmt};

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    Client,
    operation::put_item::PutItemError,
    primitives::Blob,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use bytes::Bytes;
use strait_aws::{Aws, Call, Service, host};
use strait_core::{ErrorKind, Result};
use strait_kit::{Expect, Put, Row, RowStore, Version};
use uuid::Uuid;

use crate::{Options, key, open::access, record};

/// The attributes of an item: its keys, and what a row has.
const GROUP: &str = "pk";
const KEY: &str = "sk";
const VERSION: &str = "version";
const VALUE: &str = "value";

/// Most bytes of a value. An item has 400 KiB, names and keys among them, of which the longest have less than 2 KiB.
const LONGEST_VALUE: usize = (400 << 10) - (2 << 10);

type Item = HashMap<String, AttributeValue>;

/// The rows of a group in a table.
pub(crate) struct TableRows {
    client: Client,
    table: String,
    group: String,
    calls: Calls,
}

struct Calls {
    get: Call,
    list: Call,
    put: Call,
    delete: Call,
    look: Call,
    create: Call,
}

impl TableRows {
    /// Finds out where the table is; nothing is asked of it.
    ///
    /// # Errors
    ///
    /// As [`Aws::connect`].
    pub(crate) async fn connect(table: &str, group: &str, options: &Options) -> Result<Self> {
        let aws = Aws::connect("leases", &access("dynamodb", options)?, &[Service::DynamoDb]).await?;
        let config = aws.config(Service::DynamoDb, None)?;
        let host = host!(aws_sdk_dynamodb, &config)?;
        let call = |cannot: &str, action| {
            Call::new(format!("leases: cannot {cannot} the table {table:?}"), action, &host).with_codes(codes)
        };
        let calls = Calls {
            get: call("read a row of", "dynamodb:GetItem").read_only(),
            list: call("list the rows of", "dynamodb:Query").read_only(),
            put: call("write a row to", "dynamodb:PutItem"),
            delete: call("delete a row of", "dynamodb:DeleteItem"),
            look: call("look at", "dynamodb:DescribeTable").read_only(),
            create: call("create", "dynamodb:CreateTable"),
        };
        Ok(Self { client: Client::new(&config), table: table.to_owned(), group: group.to_owned(), calls })
    }

    fn group(&self) -> AttributeValue {
        AttributeValue::S(self.group.clone())
    }
}

/// What DynamoDB's codes mean here. It checks the shape of a request against the keys of the table; the sizes are checked
/// before.
fn codes(code: &str) -> Option<(ErrorKind, &'static str)> {
    Some(match code {
        "ResourceNotFound" => {
            let make =
                "it is to be made, with the keys pk and sk of type string, or by create = true: it does not exist";
            (ErrorKind::NotFound, make)
        }
        "Validation" => (ErrorKind::Config, "it is another table: its keys are not pk and sk of type string"),
        "ReplicatedWriteConflict" | "TransactionConflict" => (ErrorKind::Unavailable, "the row is being changed"),
        _ => return None,
    })
}

/// The version that an item has, if it is a row.
fn version(item: &Item) -> Option<&String> {
    item.get(VERSION)?.as_s().ok()
}

impl fmt::Debug for TableRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, group, .. } = self;
        f.debug_struct("TableRows").field("table", table).field("group", group).finish_non_exhaustive()
    }
}

#[async_trait]
impl RowStore for TableRows {
    fn value_bytes(&self) -> usize {
        LONGEST_VALUE
    }

    async fn get(&self, key: &str) -> Result<Option<Row>> {
        key::encode(key)?;
        let request = self.client.get_item().table_name(&self.table).consistent_read(true);
        let request = request.key(GROUP, self.group()).key(KEY, AttributeValue::S(key.to_owned()));
        let found = request.send().await.map_err(|error| self.calls.get.failed(&error))?;
        let Some(mut item) = found.item else { return Ok(None) };
        let Some(AttributeValue::S(version)) = item.remove(VERSION) else { return Err(record::foreign(&self.table)) };
        let Some(AttributeValue::B(value)) = item.remove(VALUE) else { return Err(record::foreign(&self.table)) };
        Ok(Some(Row { version: Version::new(version), value: value.into_inner().into() }))
    }

    async fn versions(&self, prefix: &str) -> Result<Vec<(String, Version)>> {
        if prefix.len() > key::LONGEST {
            return Ok(Vec::new()); // DynamoDB refuses what no key can begin with
        }
        let mut request = self.client.query().table_name(&self.table);
        request = request.expression_attribute_values(":group", self.group()).projection_expression("sk, #version");
        request = request.expression_attribute_names("#version", VERSION);
        request = match prefix {
            "" => request.key_condition_expression("pk = :group"),
            _ => request
                .key_condition_expression("pk = :group AND begins_with(sk, :prefix)")
                .expression_attribute_values(":prefix", AttributeValue::S(prefix.to_owned())),
        };
        let (mut found, mut last) = (Vec::new(), None);
        loop {
            let page = request.clone().set_exclusive_start_key(last).send().await;
            let page = page.map_err(|error| self.calls.list.failed(&error))?;
            for mut item in page.items.unwrap_or_default() {
                // What is no row is somebody else's.
                let (Some(AttributeValue::S(key)), Some(AttributeValue::S(version))) =
                    (item.remove(KEY), item.remove(VERSION))
                else {
                    continue;
                };
                found.push((key, Version::new(version)));
            }
            match page.last_evaluated_key {
                Some(key) if !key.is_empty() => last = Some(key),
                _ => return Ok(found),
            }
        }
    }

    async fn put(&self, key: &str, expect: Expect, value: Bytes) -> Result<Put> {
        key::encode(key)?;
        record::check(&value, LONGEST_VALUE)?;
        let ours = Uuid::new_v4().to_string();
        let request = self.client.put_item().table_name(&self.table);
        let request = request.item(GROUP, self.group()).item(KEY, AttributeValue::S(key.to_owned()));
        let request = request
            .item(VERSION, AttributeValue::S(ours.clone()))
            .item(VALUE, AttributeValue::B(Blob::new(value)))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let request = match expect {
            Expect::Absent => request.condition_expression("attribute_not_exists(sk)"),
            Expect::Is(version) => request
                .condition_expression("#version = :version")
                .expression_attribute_names("#version", VERSION)
                .expression_attribute_values(":version", AttributeValue::S(version.as_str().to_owned())),
        };
        let Err(error) = request.send().await else { return Ok(Put::Done(Version::new(ours))) };
        let Some(PutItemError::ConditionalCheckFailedException(refused)) = error.as_service_error() else {
            return Err(self.calls.put.failed(&error));
        };
        // A connection that broke may have been asked twice: then it is the first attempt that is in the way.
        let stored = refused.item().and_then(version);
        Ok(if stored == Some(&ours) { Put::Done(Version::new(ours)) } else { Put::Refused })
    }

    async fn delete(&self, key: &str) -> Result<()> {
        key::encode(key)?;
        let request = self.client.delete_item().table_name(&self.table);
        let request = request.key(GROUP, self.group()).key(KEY, AttributeValue::S(key.to_owned()));
        request.send().await.map(drop).map_err(|error| self.calls.delete.failed(&error))
    }
}
