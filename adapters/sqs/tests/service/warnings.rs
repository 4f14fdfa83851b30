//! What goes on all the same, and is warned of.

use std::{
    fmt::{Debug, Write as _},
    sync::{Arc, Mutex},
};

use serde_json::json;
use strait_config::{Bus, Registry};
use strait_core::Budget;
use strait_kit::Queue as _;
use strait_sqs::{Sqs, SqsOptions, SqsProducer, SqsQueue};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::{DefaultGuard, set_default},
};

use crate::{access, connect, refused, stub};

/// The warnings of this thread, each a line.
#[derive(Clone, Debug, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN && metadata.target().starts_with("strait_sqs")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Warnings {
    fn gather() -> (Self, DefaultGuard) {
        let warnings = Self::default();
        (warnings.clone(), set_default(warnings))
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Opens a receiver from a file.
async fn receive(endpoint: &str, queue: &str, ordering: &str) {
    let text = format!(
        r#"
provider = "sqs"
[connections.sqs]
region = "eu-west-1"
endpoint = "{endpoint}"
access_key_id = "AKIA"
secret_access_key = "hunter2"
[receivers.app]
dead_letter = "discard"
ordering = "{ordering}"
[receivers.app.on.sqs]
queue = "{queue}"
wait = "0s"
"#
    );
    let bus = Bus::builder(Registry::new().with(Sqs)).environment(|_| None).text("strait.toml", &text).build().unwrap();
    bus.receiver("app").await.unwrap().close().await.unwrap();
}

#[tokio::test]
async fn a_fifo_queue_that_is_received_from_without_order_is_warned_of() {
    let stub = stub(|_| None).await;
    let (warnings, _guard) = Warnings::gather();
    receive(&stub.url(), "orders", "none").await;
    receive(&stub.url(), "orders.fifo", "key").await;
    assert_eq!(warnings.lines(), [""; 0]);
    receive(&stub.url(), "orders.fifo", "none").await;
    let lines = warnings.lines();
    assert!(lines.len() == 1 && lines[0].contains("several messages of a group at once"), "{lines:?}");
}

#[tokio::test]
async fn attributes_that_may_not_be_read_are_warned_of_with_their_permission() {
    let stub = stub(|call| (call.operation == "GetQueueAttributes").then(|| refused(400, "AccessDenied", "no"))).await;
    let client = connect(&access(&stub.url())).await;
    let (warnings, _guard) = Warnings::gather();
    SqsProducer::open(&client, "orders").await.unwrap();
    let lines = warnings.lines();
    assert!(lines.len() == 1 && lines[0].contains("sqs:GetQueueAttributes"), "{lines:?}");
}

#[tokio::test]
async fn a_payload_that_was_lost_on_the_way_is_warned_of_and_not_delivered() {
    let id = json!({ "DataType": "String", "StringValue": "01010101-0101-0101-0101-010101010101" });
    let message = |body: &str| {
        let attributes = json!({ "strait-id": id });
        json!({ "MessageId": "m-7", "ReceiptHandle": "hunter2", "Body": body, "MessageAttributes": attributes })
    };
    let messages = json!({ "Messages": [message("-"), message("whole")] }).to_string();
    let stub = stub(move |call| (call.operation == "ReceiveMessage").then(|| (200, messages.clone()))).await;
    let client = connect(&access(&stub.url())).await;
    let queue = SqsQueue::open(&client, "orders", SqsOptions::default()).await.unwrap();
    let (warnings, _guard) = Warnings::gather();
    let leased = queue.receive(Budget::new(10, 1 << 30)).await.unwrap();
    assert_eq!((leased.len(), &leased[0].message.payload[..]), (1, &b"whole"[..]));
    let lines = warnings.lines();
    assert!(lines.len() == 1 && lines[0].contains("m-7") && !lines[0].contains("hunter2"), "{lines:?}");
}
