use std::{
    fmt,
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
};

use async_trait::async_trait;
use aws_sdk_kinesis::{
    primitives::Blob,
    types::{PutRecordsRequestEntry, PutRecordsResultEntry},
};
use strait_aws::Call;
use strait_core::{ErrorKind, Limits, Message, Plan, Producer, Receipt, Result};
use uuid::Uuid;

use crate::{
    Client, Envelope,
    records::{Batch, REQUEST_BYTES, REQUEST_RECORDS, Record},
    stream::Stream,
};

/// Puts records into a stream.
///
/// Of a key a request holds one record, which is stored or not: with [`Envelope::Kpl`] it may hold many messages, with
/// [`Envelope::Plain`] it is one. Records without a key are spread over the shards.
pub struct KinesisProducer {
    stream: Stream,
    envelope: Envelope,
    call: Call,
    spread: Spread,
    closed: AtomicBool,
}

impl KinesisProducer {
    /// Opens a stream by its name or its ARN. What has a region of its own is called and signed for there. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is none; otherwise what the service says. A caller that may not look at the stream
    /// opens it all the same, and a record then has 1 MiB at most.
    pub async fn open(client: &Client, stream: &str, envelope: Envelope) -> Result<Self> {
        let stream = Stream::find(client, stream).await?;
        let call = stream.call("send to", "kinesis:PutRecords");
        Ok(Self { stream, envelope, call, spread: Spread::new(), closed: AtomicBool::new(false) })
    }

    /// Another producer to the same stream, open as long as it is not closed itself.
    pub fn another(&self) -> Self {
        let (stream, call) = (self.stream.clone(), self.call.clone());
        Self { stream, envelope: self.envelope, call, spread: Spread::new(), closed: AtomicBool::new(false) }
    }

    /// The SDK's own client.
    pub fn client(&self) -> &aws_sdk_kinesis::Client {
        &self.stream.client
    }

    /// Puts records, and brings the sequence number of each, or why it was not stored.
    async fn put(&self, records: impl Iterator<Item = &mut Record>) -> Vec<Result<String>> {
        let entries: Vec<_> = records.map(entry).collect();
        let count = entries.len();
        let request = self.stream.client.put_records().set_stream_arn(self.stream.arn());
        let request = request.set_stream_name(self.stream.name_if_needed()).set_records(Some(entries));
        match request.send().await {
            Ok(reply) => outcomes(&self.call, count, reply.records),
            Err(error) => {
                let error = self.call.failed(&error);
                vec![Err(error); count]
            }
        }
    }
}

fn entry(record: &mut Record) -> PutRecordsRequestEntry {
    PutRecordsRequestEntry::builder()
        .partition_key(&record.partition_key)
        .set_explicit_hash_key(record.explicit_hash_key.take())
        .data(Blob::new(std::mem::take(&mut record.data)))
        .build()
        .expect("it has all that it needs")
}

/// What became of each of `count` records, by what is said of itself alone: the service's own count of failures is not looked
/// at. Of an answer with more or fewer results nobody knows which belongs to which.
fn outcomes(call: &Call, count: usize, results: Vec<PutRecordsResultEntry>) -> Vec<Result<String>> {
    if results.len() != count {
        let text = "the answer does not have one result for each record";
        return vec![Err(call.error(ErrorKind::Unavailable, text).into_ambiguous()); count];
    }
    let outcome = |result: PutRecordsResultEntry| match (result.error_code, result.sequence_number) {
        // A code that nobody knows may have stored it.
        (Some(code), _) => Err(call.refused(&code, result.error_message.as_deref(), 500)),
        (None, Some(sequence)) if !sequence.is_empty() => Ok(sequence),
        (None, _) => {
            let text = "the answer has neither a sequence number nor an error for a record";
            Err(call.error(ErrorKind::Unavailable, text).into_ambiguous())
        }
    };
    results.into_iter().map(outcome).collect()
}

/// Where records without a key go: each as far as possible from those before it, so that shards of equal size get as many
/// each.
struct Spread {
    start: u128,
    count: AtomicU64,
}

impl Spread {
    /// 2<sup>128</sup> divided by the golden ratio.
    const STEP: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

    fn new() -> Self {
        Self { start: Uuid::new_v4().as_u128(), count: AtomicU64::new(0) }
    }

    fn next(&self) -> u128 {
        let number = self.count.fetch_add(1, Relaxed);
        self.start.wrapping_add(Self::STEP.wrapping_mul(u128::from(number)))
    }
}

impl fmt::Debug for KinesisProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KinesisProducer").field("stream", &self.stream.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl Producer for KinesisProducer {
    fn limits(&self) -> Limits {
        let record = self.stream.record_bytes.min(REQUEST_BYTES);
        let of_a_key = match self.envelope {
            Envelope::Kpl => record,
            Envelope::Plain => 0,
        };
        Limits::new(REQUEST_RECORDS, REQUEST_BYTES).with_message_bytes(record).with_key_bytes(of_a_key)
    }

    fn destinations(&self) -> Vec<String> {
        self.stream.destination().into_iter().collect()
    }

    fn plan(&self, message: &Message) -> Result<Plan> {
        Ok(Plan::new(self.envelope.measure(message)?))
    }

    async fn send(&self, batch: &[Message]) -> Vec<Result<Receipt>> {
        if self.closed.load(SeqCst) {
            let error = self.call.error(ErrorKind::Closed, "it is closed");
            return vec![Err(error); batch.len()];
        }
        let mut batch = Batch::pack(self.envelope, self.limits().message_bytes, batch, || self.spread.next());
        loop {
            let mut request = batch.request();
            if request.is_empty() {
                break;
            }
            let outcomes = self.put(request.iter_mut().map(|(_, record)| record)).await;
            for ((lane, record), outcome) in request.into_iter().zip(outcomes) {
                batch.settle(lane, &record, outcome);
            }
        }
        let unknown = self.call.error(ErrorKind::Unavailable, "nothing is known of it").into_ambiguous();
        batch.outcomes(&unknown)
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, SeqCst);
        Ok(())
    }
}
