//! Rows in object stores and in tables: the suite on LocalStack's S3 and DynamoDB and on Azurite, and what networks do on
//! the way there.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod access;
mod network;
mod opening;
mod patient;
mod runtimes;
mod stores;
mod tables;

/// The suite on LocalStack's S3.
mod s3 {
    strait_leases::row_store_suite!(crate::stores::handles(crate::stores::Store::s3()));
}

/// The suite on Azurite.
mod azurite {
    strait_leases::row_store_suite!(crate::stores::handles(crate::stores::Store::azurite()));
}

/// The suite on LocalStack's DynamoDB.
mod dynamodb {
    strait_leases::row_store_suite!(crate::stores::handles(crate::stores::Store::table()));
}
