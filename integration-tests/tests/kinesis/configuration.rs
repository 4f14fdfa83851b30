//! What files say that open a stream.

use std::path::Path;

use integration_tests::emulators::LocalStack;

/// The connection to LocalStack.
pub(crate) fn connection() -> String {
    connection_to(&LocalStack::get().endpoint())
}

/// The connection to a server.
pub(crate) fn connection_to(endpoint: &str) -> String {
    format!(
        r#"
provider = "kinesis"
[connections.kinesis]
region = "us-east-1"
endpoint = "{endpoint}"
access_key_id = "test"
secret_access_key = "test"
timeout = "30s"
"#
    )
}

/// The URL of leases in a folder.
pub(crate) fn folder(path: &Path) -> String {
    format!("file:{}", path.display())
}

/// A receiver that has the name of its group, with leases by their URL, and more of what a receiver may say.
pub(crate) fn receiver(group: &str, stream: &str, leases: &str, more: &str) -> String {
    format!(
        r#"
[receivers.{group}]
ordering = "key"
dead_letter = "discard"
[receivers.{group}.on.kinesis]
stream = "{stream}"
group = "{group}"
leases = "{leases}"
{more}
"#
    )
}
