//! Making streams, for tests and demonstrations.

use std::time::Duration;

use aws_sdk_kinesis::{error::ProvideErrorMetadata as _, types::StreamStatus};
use strait_core::{ErrorKind, Result};
use tokio::time::{Instant, sleep};

use crate::{Client, error::call};

/// How often it is looked whether a stream is there.
const LOOK: Duration = Duration::from_millis(250);
/// How long a stream may take until it is there.
const MAKING: Duration = Duration::from_mins(2);

/// Makes a stream of so many shards, and waits until it can be used. It may exist, with other shards too. Cancel-safe: what is
/// dropped may have made it.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] if it is not there after two minutes; otherwise what the service says.
pub async fn create_stream(client: &Client, name: &str, shards: usize) -> Result<()> {
    let regional = client.regional(None).await?;
    let of = |verb: &str, action| call(format!("kinesis: cannot {verb} {name:?}"), action, &regional.host);
    let count = i32::try_from(shards).unwrap_or(i32::MAX);
    let begun = Instant::now();
    // Tried again while the service cannot answer, or has enough to make.
    while let Err(error) = regional.client.create_stream().stream_name(name).shard_count(count).send().await {
        if error.code() == Some("ResourceInUseException") {
            break;
        }
        let error = of("create", "kinesis:CreateStream").failed(&error);
        if !error.is_transient() || begun.elapsed() >= MAKING {
            return Err(error);
        }
        sleep(LOOK).await;
    }
    let look = of("wait for", "kinesis:DescribeStreamSummary");
    loop {
        let summary = regional.client.describe_stream_summary().stream_name(name).send().await;
        let status = match summary {
            Ok(reply) => reply.stream_description_summary.map(|summary| summary.stream_status),
            Err(error) => {
                let error = look.failed(&error);
                // One that is just made may not be known everywhere.
                if !(error.is_transient() || error.kind() == ErrorKind::NotFound) || begun.elapsed() >= MAKING {
                    return Err(error);
                }
                None
            }
        };
        if matches!(status, Some(StreamStatus::Active | StreamStatus::Updating)) {
            return Ok(());
        }
        if begun.elapsed() >= MAKING {
            return Err(look.error(ErrorKind::Unavailable, "it is not active after two minutes"));
        }
        sleep(LOOK).await;
    }
}
