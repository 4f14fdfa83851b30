//! What others write is read, and what we write is read by others: payload and attributes as documented. Case 15.

use bytes::Bytes;
use integration_tests::{
    emulators::fresh,
    queues::{python, take},
    sqs::{connect, endpoint, options},
};
use serde_json::{Value, json};
use strait_core::{Id, Key, Message, Producer as _, Received};
use strait_emulators::Emulator;
use strait_kit::QueueSettings;
use strait_sqs::{Client, SnsProducer, SqsProducer, SqsQueue, create_queue, create_topic};

/// As boto.py has it.
const TRACE: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1";

/// The script beside this file, run by the Python of LocalStack's installation, which pins boto3.
async fn boto(arguments: &[&str]) -> Vec<Value> {
    let endpoint = endpoint();
    python(Emulator::LocalStack, "sqs/boto.py", &[&[&*endpoint], arguments].concat()).await
}

async fn queue(client: &Client, suffix: &str) -> (String, String) {
    let name = format!("{}{suffix}", fresh("others"));
    let url = create_queue(client, &name, &[]).await.unwrap();
    (name, url)
}

async fn receive(client: &Client, name: &str, count: usize) -> Vec<Received> {
    let consumer = SqsQueue::open(client, name, options()).await.unwrap().consumer(QueueSettings::default());
    let mut all = take(consumer, count).await;
    all.sort_by_key(|received| received.origin.stored_at());
    all
}

async fn what_boto3_writes_is_read(suffix: &str) {
    let client = connect(&endpoint()).await.unwrap();
    let (name, url) = queue(&client, suffix).await;
    boto(&["write", &url]).await;
    let received = receive(&client, &name, 3).await;
    let find = |payload: &[u8]| &received.iter().find(|it| it.message.payload == payload).unwrap().message;

    let plain = find(b"{\"order\": 1}");
    assert_eq!((plain.id, plain.headers.len()), (None, 0));
    let key = |number: usize| (!suffix.is_empty()).then(|| Key::new(&format!("customer-{number}")).unwrap());
    assert_eq!(plain.key, key(0));
    let attributed = find(b"with attributes");
    let headers: Vec<_> = attributed.headers.iter().map(|(name, value)| (name, &value[..])).collect();
    let expected: [(&str, &[u8]); 6] = [
        ("AWSTraceHeader", TRACE.as_bytes()),
        ("content-type", b"application/json"),
        ("count", b"7"),
        ("raw", b"\0\xff"),
        ("strait-headers", b"not ours"),
        ("strait-types", b"{\"count\":\"Number.int\"}"),
    ];
    assert_eq!(headers, expected);
    let native = find(b"\0\x01binary");
    assert_eq!((native.id, &native.key), (Some(Id::from_bytes([1; 16])), &key(2)));
    assert!(received.iter().all(|it| it.origin.redeliveries() == 0 && it.origin.stored_at().is_some()));
}

#[tokio::test]
async fn what_boto3_writes_to_a_standard_queue_is_read() {
    what_boto3_writes_is_read("").await;
}

#[tokio::test]
async fn what_boto3_writes_to_a_fifo_queue_is_read() {
    what_boto3_writes_is_read(".fifo").await;
}

async fn boto3_reads_what_we_write(suffix: &str) {
    let client = connect(&endpoint()).await.unwrap();
    let (name, url) = queue(&client, suffix).await;
    let producer = SqsProducer::open(&client, &name).await.unwrap();
    let id = |byte| Id::from_bytes([byte; 16]);
    let mut many = Message::new("many").with_id(id(4));
    for number in 0..12 {
        many.headers.append(format!("h{number}"), "v");
    }
    let messages = [
        Message::new("{\"order\": 1}").with_id(id(1)).with_key(Key::new("customer-7").unwrap()),
        Message::new(Bytes::from_static(b"\0\xff")).with_id(id(2)).with_header("raw", Bytes::from_static(b"\0")),
        Message::new("").with_id(id(3)).with_header("content-type", "text/plain"),
        many,
        Message::new("-").with_id(id(5)).with_header("AWSTraceHeader", TRACE),
    ];
    for outcome in producer.send(&messages).await {
        outcome.unwrap();
    }
    let read = boto(&["read", &url, "5"]).await;
    let of = |byte| {
        let id = id(byte).to_string();
        read.iter().find(|message| message["attributes"]["strait-id"] == json!(id)).unwrap()
    };
    let fifo = !suffix.is_empty();
    let text = |byte| json!(id(byte).to_string());

    assert_eq!((&of(1)["body"], &of(1)["group"]), (&json!("{\"order\": 1}"), &json!("customer-7")));
    assert_eq!(of(1)["attributes"], json!({ "strait-id": text(1) }));
    assert_eq!(of(1)["dedup"], if fifo { text(1) } else { Value::Null });
    assert_eq!(of(2)["body"], "-");
    let binary = json!({ "strait-id": text(2), "strait-body": { "base64": "AP8=" }, "raw": { "base64": "AA==" } });
    assert_eq!(of(2)["attributes"], binary);
    assert_eq!(of(2)["group"], if fifo { text(2) } else { Value::Null });
    assert_eq!(of(3)["body"], "-");
    let empty = json!({ "strait-id": text(3), "strait-body": "empty", "content-type": "text/plain" });
    assert_eq!(of(3)["attributes"], empty);
    assert_eq!((&of(5)["body"], &of(5)["trace"]), (&json!("-"), &json!(TRACE)));
    assert_eq!(of(5)["attributes"], json!({ "strait-id": text(5), "strait-body": { "base64": "LQ==" } }));
    let attributes = of(4)["attributes"].as_object().unwrap();
    assert_eq!(attributes.len(), 10);
    assert!((0..8).all(|number| attributes[&format!("h{number}")] == "v"));
    // Two bytes for the length of a name, four for that of a value: h8 to h11.
    let packed = "AAJoOAAAAAF2AAJoOQAAAAF2AANoMTAAAAABdgADaDExAAAAAXY=";
    assert_eq!(attributes["strait-headers"], json!({ "base64": packed }));
}

#[tokio::test]
async fn boto3_reads_what_we_write_to_a_standard_queue() {
    Box::pin(boto3_reads_what_we_write("")).await;
}

#[tokio::test]
async fn boto3_reads_what_we_write_to_a_fifo_queue() {
    Box::pin(boto3_reads_what_we_write(".fifo")).await;
}

/// What somebody else wrote has the attributes of the original when it is sent again from the dead letters.
#[tokio::test]
async fn a_redrive_keeps_the_types_of_attributes() {
    let client = connect(&endpoint()).await.unwrap();
    let ((name, url), (again, again_url)) = (queue(&client, "").await, queue(&client, "").await);
    boto(&["write", &url]).await;
    let received = receive(&client, &name, 3).await;
    let attributed = received.iter().find(|it| it.message.payload == b"with attributes"[..]).unwrap();
    let mut redriven = attributed.message.redrive().with_id(Id::from_bytes([9; 16]));
    // A sender refuses it under a name of ours, which is another matter.
    redriven.headers.retain(|name, _| name != "strait-headers");
    let producer = SqsProducer::open(&client, &again).await.unwrap();
    producer.send(&[redriven]).await.remove(0).unwrap();
    let read = boto(&["read", &again_url, "1"]).await;
    assert_eq!(read[0]["types"]["count"], "Number.int");
    assert_eq!((&read[0]["attributes"]["count"], &read[0]["trace"]), (&json!("7"), &json!(TRACE)));
}

/// A standard queue carries any key, since its groups order nothing.
#[tokio::test]
async fn a_standard_queue_carries_a_key_that_is_no_group_id() {
    let client = connect(&endpoint()).await.unwrap();
    let (name, _) = queue(&client, "").await;
    let producer = SqsProducer::open(&client, &name).await.unwrap();
    let key = Key::new("customer 7, ключ").unwrap();
    let sent = Message::new("1").with_id(Id::from_bytes([1; 16])).with_key(key.clone());
    producer.send(&[sent]).await.remove(0).unwrap();
    assert_eq!(receive(&client, &name, 1).await[0].message.key, Some(key));
}

/// A subscription that is not raw: the envelope of SNS is delivered as it is.
#[tokio::test]
async fn an_envelope_of_sns_is_delivered_as_it_is() {
    let client = connect(&endpoint()).await.unwrap();
    let (name, url) = queue(&client, "").await;
    let topic = create_topic(&client, &fresh("topic")).await.unwrap();
    let request = client.sqs().get_queue_attributes().queue_url(&url).attribute_names("QueueArn".into());
    let attributes = request.send().await.unwrap().attributes.unwrap();
    let arn = &attributes[&"QueueArn".into()];
    client.sns().subscribe().topic_arn(&topic).protocol("sqs").endpoint(arn).send().await.unwrap();
    // By its name too, which is looked for in the account.
    let producer = SnsProducer::open(&client, topic.rsplit(':').next().unwrap()).await.unwrap();
    for outcome in producer.send(&[Message::new("inside").with_id(Id::from_bytes([1; 16]))]).await {
        outcome.unwrap();
    }
    let received = receive(&client, &name, 1).await;
    let envelope: Value = serde_json::from_slice(&received[0].message.payload).unwrap();
    assert_eq!((&envelope["Type"], &envelope["Message"]), (&json!("Notification"), &json!("inside")));
    assert_eq!((received[0].message.id, received[0].message.headers.len()), (None, 0));
}
