use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_sdk_kinesis::types::{RecordDistributionStrategy, StreamDescriptionSummary, StreamStatus};
use strait_aws::{Arn, Call, Regional, is_access_denied};
use strait_core::{ErrorKind, Result};

use crate::{Client, clock::Clock, error};

/// Most bytes of a record of a stream that says nothing else.
const RECORD_BYTES: usize = 1 << 20;
/// How long records are kept at most, in a stream that says nothing else.
const LONGEST_RETENTION: Duration = Duration::from_hours(365 * 24);
/// What a record's age may be wrong by.
const MARGIN: Duration = Duration::from_mins(10);

/// A stream, and what is known of it.
#[derive(Clone)]
pub(crate) struct Stream {
    pub(crate) client: aws_sdk_kinesis::Client,
    host: Arc<str>,
    region: Option<Arc<str>>,
    pub(crate) name: Arc<str>,
    /// How every call names it. Absent if it was given by its name and may not be looked at.
    pub(crate) arn: Option<Arc<str>>,
    /// Most bytes of a record: data and partition key.
    pub(crate) record_bytes: usize,
    /// How long records are kept, as it was when it was opened.
    retention: Duration,
    /// When it was made: a stream of the same name that was made at another time is another stream.
    pub(crate) created: Option<SystemTime>,
    /// When it was opened, by the time of the service.
    pub(crate) opened: Option<SystemTime>,
    /// Whether a partition key decides on the shard, so that there is an order by key.
    pub(crate) by_key: bool,
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
        let region = given.region.map(Arc::from);
        let mut stream = Self {
            client,
            host,
            region,
            name,
            arn,
            record_bytes: RECORD_BYTES,
            retention: LONGEST_RETENTION,
            created: None,
            opened: None,
            by_key: true,
        };
        let clock = Clock::default();
        let call = stream.call("open", "kinesis:DescribeStreamSummary");
        let request = stream.client.describe_stream_summary();
        let request = request.set_stream_arn(stream.arn()).set_stream_name(stream.name_if_needed());
        let answer = request.customize().interceptor(clock.clone()).send().await;
        stream.opened = clock.now();
        match answer {
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
                    "it may not be looked at: records are taken to have 1 MiB at most, and whether it exists, or is the one that a \
                     group began with, is not known"
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
        self.created = SystemTime::try_from(summary.stream_creation_timestamp).ok();
        let kib = summary.max_record_size_in_kib.and_then(|kib| usize::try_from(kib).ok()).filter(|kib| *kib > 0);
        self.record_bytes = kib.map_or(RECORD_BYTES, |kib| kib << 10);
        let hours = u64::try_from(summary.retention_period_hours).ok().filter(|hours| *hours > 0);
        self.retention = hours.map_or(LONGEST_RETENTION, Duration::from_hours);
        self.by_key = summary.record_distribution_strategy != Some(RecordDistributionStrategy::Auto);
        Ok(())
    }

    /// This stream by the connections of another client.
    ///
    /// # Errors
    ///
    /// As [`Client::regional`].
    pub(crate) async fn by(&self, client: &Client) -> Result<Self> {
        let Regional { client, host } = client.regional(self.region.as_deref()).await?;
        Ok(Self { client, host, ..self.clone() })
    }

    /// Checks that it is still the stream that was opened, as far as that can be told.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if it is being deleted, or there is another one of its name; otherwise what the service says.
    pub(crate) async fn check(&self) -> Result<()> {
        let Some(created) = self.created else { return Ok(()) };
        let call = self.call("look at", "kinesis:DescribeStreamSummary");
        let request = self.client.describe_stream_summary().set_stream_arn(self.arn());
        let mut now = self.clone();
        match request.send().await.map(|reply| reply.stream_description_summary) {
            Ok(Some(summary)) => now.learn(summary, &call)?,
            Err(error) if !is_access_denied(&error) => return Err(call.failed(&error)),
            _ => return Ok(()),
        }
        if now.created.is_some_and(|now| now != created) {
            return Err(call.error(ErrorKind::NotFound, "it was deleted, and another one of its name was made"));
        }
        Ok(())
    }

    /// Whether what was stored at this time may no longer be, at that time of the service.
    pub(crate) fn forgot(&self, time: SystemTime, now: SystemTime) -> bool {
        let Some(horizon) = now.checked_sub(self.retention) else { return false };
        time < horizon && self.created.is_some_and(|created| created < horizon)
    }

    /// Whether what is so far behind is about to be forgotten.
    pub(crate) fn forgets_within(&self, behind: Duration) -> bool {
        behind.saturating_add(MARGIN) >= self.retention
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

/// Checks the name or the ARN of a stream, or says what is wrong with it.
pub(crate) fn check_name(text: &str) -> Result<(), String> {
    place(text).map(drop)
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
