//! What files say that open a stream of LocalStack.

use std::path::Path;

use integration_tests::{emulators::LocalStack, kinesis::Stream};

/// The connection.
pub(crate) fn connection() -> String {
    format!(
        r#"
provider = "kinesis"
[connections.kinesis]
region = "us-east-1"
endpoint = "{}"
access_key_id = "test"
secret_access_key = "test"
timeout = "30s"
"#,
        LocalStack::get().endpoint()
    )
}

/// A receiver that has the name of its group, with rows in a folder.
pub(crate) fn receiver(group: &str, stream: &Stream, leases: &Path) -> String {
    format!(
        r#"
[receivers.{group}]
ordering = "key"
dead_letter = "discard"
[receivers.{group}.on.kinesis]
stream = "{}"
group = "{group}"
leases = "file:{}"
"#,
        stream.0,
        leases.display()
    )
}
