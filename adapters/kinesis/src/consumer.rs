//! The registered consumer of a group: whom a stream pushes records to.

use std::{sync::Arc, time::Duration};

use aws_sdk_kinesis::{error::ProvideErrorMetadata as _, types::ConsumerStatus};
use strait_core::{ErrorKind, Result};
use tokio::time::{Instant, sleep};

use crate::{error::wrong, stream::Stream};

/// How often it is looked whether a consumer is there.
const LOOK: Duration = Duration::from_millis(250);
/// How long a consumer may take until it is there.
const MAKING: Duration = Duration::from_mins(2);

/// A consumer that is registered with a stream. It stays so: what reads by it next may be another process.
#[derive(Debug)]
pub(crate) struct RegisteredConsumer {
    pub(crate) arn: Arc<str>,
}

impl RegisteredConsumer {
    /// Finds a consumer by its name, and waits until it can be used; `create` registers one that is missing. Cancel-safe: what
    /// is dropped may have registered it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if it is not registered, or the stream's ARN is not known; [`ErrorKind::Unavailable`] if it
    /// cannot be used after two minutes; otherwise what the service says.
    pub(crate) async fn find(stream: &Stream, name: &str, create: bool) -> Result<Self> {
        let Some(arn) = stream.arn() else {
            return Err(wrong(
                "read: fan_out needs the ARN of the stream, which may not be looked at: name it by its ARN",
            ));
        };
        let call = stream.call(&format!("look for the consumer {name:?} of"), "kinesis:DescribeStreamConsumer");
        let begun = Instant::now();
        loop {
            let request = stream.client.describe_stream_consumer().stream_arn(&arn).consumer_name(name);
            match request.send().await {
                Ok(reply) => match reply.consumer_description {
                    Some(found) if found.consumer_status == ConsumerStatus::Active => {
                        return Ok(Self { arn: found.consumer_arn.into() });
                    }
                    _ => {}
                },
                Err(error) if error.code() == Some("ResourceNotFoundException") => {
                    if !create {
                        let text = format!(
                            "consumer: {name:?} is not registered with {:?}: create = true registers it",
                            stream.name
                        );
                        return Err(wrong(&text));
                    }
                    register(stream, &arn, name, begun).await?;
                }
                Err(error) => {
                    let error = call.failed(&error);
                    if !error.is_transient() || begun.elapsed() >= MAKING {
                        return Err(error);
                    }
                }
            }
            if begun.elapsed() >= MAKING {
                return Err(call.error(ErrorKind::Unavailable, "it is not active after two minutes"));
            }
            sleep(LOOK).await;
        }
    }
}

/// Registers it, unless that is to be tried again: others register it too, and few are registered at once.
async fn register(stream: &Stream, arn: &str, name: &str, begun: Instant) -> Result<()> {
    let registered = stream.client.register_stream_consumer().stream_arn(arn).consumer_name(name).send().await;
    let Err(error) = registered else { return Ok(()) };
    let call = stream.call(&format!("register the consumer {name:?} of"), "kinesis:RegisterStreamConsumer");
    let error = call.failed(&error);
    if error.is_transient() && begun.elapsed() < MAKING { Ok(()) } else { Err(error) }
}

/// Checks the name of a consumer, or says what is wrong with it.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if (1..=128).contains(&name.len()) && name.bytes().all(known) {
        return Ok(());
    }
    Err("must be the name of a consumer, 1 to 128 letters, digits, '_', '.' and '-'".to_owned())
}
