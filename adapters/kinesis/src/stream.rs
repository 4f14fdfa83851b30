use std::{fmt, sync::Arc};

use aws_sdk_kinesis::types::{StreamDescriptionSummary, StreamStatus};
use strait_aws::{Arn, Call, Regional, is_access_denied};
use strait_core::{ErrorKind, Result};

use crate::{Client, error};

/// Most bytes of a record of a stream that says nothing else.
const RECORD_BYTES: usize = 1 << 20;

/// A stream, and what is known of it.
#[derive(Clone)]
pub(crate) struct Stream {
    pub(crate) client: aws_sdk_kinesis::Client,
    host: Arc<str>,
    pub(crate) name: Arc<str>,
    /// How every call names it. Absent if it was given by its name and may not be looked at.
    pub(crate) arn: Option<Arc<str>>,
    /// Most bytes of a record: data and partition key.
    pub(crate) record_bytes: usize,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("name", &self.name).field("arn", &self.arn).finish_non_exhaustive()
    }
}

impl Stream {
    /// Finds a stream by its name or its ARN. What has a region of its own is called and signed for there. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is none, or it is being deleted; otherwise what the service says. A caller that may
    /// not look at the stream finds it all the same.
    pub(crate) async fn find(client: &Client, text: &str) -> Result<Self> {
        let given = place(text).map_err(|reason| error::wrong(&format!("stream: {reason}")))?;
        let Regional { client, host } = client.regional(given.region).await?;
        let arn = given.region.is_some().then(|| Arc::from(text));
        let name = Arc::from(given.name);
        let mut stream = Self { client, host, name, arn, record_bytes: RECORD_BYTES };
        let call = stream.call("open", "kinesis:DescribeStreamSummary");
        let request = stream.client.describe_stream_summary();
        let request = request.set_stream_arn(stream.arn()).set_stream_name(stream.name_if_needed());
        match request.send().await {
            Ok(reply) => {
                let Some(summary) = reply.stream_description_summary else {
                    return Err(call.error(ErrorKind::Unavailable, "the answer describes no stream"));
                };
                stream.learn(summary, &call)?;
            }
            Err(error) if is_access_denied(&error) => {
                tracing::warn!(
                    stream = &*stream.name,
                    missing = "kinesis:DescribeStreamSummary",
                    "it may not be looked at: records are taken to have 1 MiB at most, and whether it exists is not known"
                );
            }
            Err(error) => return Err(call.failed(&error)),
        }
        Ok(stream)
    }

    fn learn(&mut self, summary: StreamDescriptionSummary, call: &Call) -> Result<()> {
        if summary.stream_status == StreamStatus::Deleting {
            return Err(call.error(ErrorKind::NotFound, "it is being deleted"));
        }
        self.arn = Some(summary.stream_arn.into());
        let kib = summary.max_record_size_in_kib.and_then(|kib| usize::try_from(kib).ok()).filter(|kib| *kib > 0);
        self.record_bytes = kib.map_or(RECORD_BYTES, |kib| kib << 10);
        Ok(())
    }

    /// The ARN of calls, if it is known.
    pub(crate) fn arn(&self) -> Option<String> {
        self.arn.as_deref().map(str::to_owned)
    }

    /// The name of calls that have no ARN.
    pub(crate) fn name_if_needed(&self) -> Option<String> {
        self.arn.is_none().then(|| self.name.to_string())
    }

    /// A call that cannot do `verb` with the stream if it fails.
    pub(crate) fn call(&self, verb: &str, action: &'static str) -> Call {
        error::call(format!("kinesis: cannot {verb} {:?}", self.name), action, &self.host)
    }

    /// As destinations and sources are called.
    pub(crate) fn destination(&self) -> Option<String> {
        self.arn.as_ref().map(|arn| format!("kinesis:{arn}"))
    }
}

/// What the name or the ARN of a stream says.
struct Place<'a> {
    region: Option<&'a str>,
    name: &'a str,
}

/// Reads the name or the ARN of a stream, or says what is wrong with it.
fn place(text: &str) -> Result<Place<'_>, String> {
    let (region, name) = match Arn::of(text, "kinesis")? {
        Some(Arn { region, name, .. }) => match name.strip_prefix("stream/") {
            Some(name) => (Some(region), name),
            None => {
                return Err("is no ARN of a stream like arn:aws:kinesis:eu-west-1:123456789012:stream/orders".into());
            }
        },
        None => (None, text),
    };
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(known) {
        return Err("must be the name of a stream, 1 to 128 letters, digits, '_', '.' and '-', or its ARN".into());
    }
    Ok(Place { region, name })
}
