//! A small client, on the same AMQP library.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use fe2o3_amqp::{
    Connection, Receiver, Sendable, Sender, Session,
    connection::ConnectionHandle,
    link::{ReceiverAttachError, delivery::Delivery},
    sasl_profile::SaslProfile,
    session::SessionHandle,
    types::{
        definitions::{Error, Fields, ReceiverSettleMode},
        messaging::{
            AmqpValue, ApplicationProperties, Body, Data, FilterSet, Message, MessageAnnotations, Outcome, Properties,
            Source, annotations::OwnedKey,
        },
        primitives::{Binary, OrderedMap, SimpleValue, Symbol, Value},
    },
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use strait_eventhubs_emulator::{Config, DEFAULT_KEY, Emulator, HubSettings};
use tokio::{net::TcpStream, time::timeout};

/// How long anything may take.
pub const TIMEOUT: Duration = Duration::from_secs(30);

pub const EARLIEST: &str = "amqp.annotation.x-opt-offset > '-1'";

pub type Event = Delivery<Body<Value>>;

/// An emulator with the hub `orders` of four partitions and the group `billing`.
pub async fn emulator(config: Config) -> Emulator {
    let hub = HubSettings { groups: vec!["billing".into()], ..HubSettings::new("orders", 4) };
    Emulator::start(config.hub(hub)).await.unwrap()
}

pub struct Client {
    pub connection: ConnectionHandle<()>,
    pub session: SessionHandle<()>,
    links: u32,
}

impl Client {
    /// Connects, and puts a token for everything.
    pub async fn connect(emulator: &Emulator) -> Self {
        let mut client = Self::anonymous(emulator).await;
        assert_eq!(client.put(&sas("sb://localhost/", DEFAULT_KEY.1, 4_000_000_000), "sb://localhost/").await, 202);
        client
    }

    /// Connects, and puts no token.
    pub async fn anonymous(emulator: &Emulator) -> Self {
        let stream = TcpStream::connect(emulator.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut connection = Connection::builder()
            .container_id("test")
            .hostname("localhost")
            .scheme("amqp")
            .sasl_profile(SaslProfile::Anonymous)
            .open_with_stream(stream)
            .await
            .unwrap();
        let session = Session::begin(&mut connection).await.unwrap();
        Self { connection, session, links: 0 }
    }

    fn name(&mut self) -> String {
        self.links += 1;
        format!("link-{}", self.links)
    }

    /// Puts a token, and says the status.
    pub async fn put(&mut self, token: &str, name: &str) -> i32 {
        let properties = [("operation", "put-token"), ("type", "servicebus.windows.net:sastoken"), ("name", name)];
        let answer = self.ask("$cbs", &properties, Value::String(token.to_owned())).await;
        status(&answer)
    }

    /// Reads properties: of the hub, or of a partition of it.
    pub async fn read(&mut self, hub: &str, partition: Option<&str>) -> (i32, OrderedMap<Value, Value>) {
        let kind = if partition.is_some() { "com.microsoft:partition" } else { "com.microsoft:eventhub" };
        let mut properties = vec![("operation", "READ"), ("type", kind), ("name", hub)];
        properties.extend(partition.map(|partition| ("partition", partition)));
        let answer = self.ask("$management", &properties, Value::Null).await;
        let status = status(&answer);
        let Body::Value(AmqpValue(Value::Map(map))) = answer.into_body() else { return (status, OrderedMap::new()) };
        (status, map)
    }

    async fn ask(&mut self, node: &str, properties: &[(&str, &str)], body: Value) -> Event {
        let address = self.name();
        let mut receiver = Receiver::builder()
            .name(self.name())
            .source(node)
            .target(address.clone())
            .attach(&mut self.session)
            .await
            .unwrap();
        let mut sender = self.sender(node).await;
        let mut application = ApplicationProperties::default();
        for (name, value) in properties {
            application.0.insert((*name).to_owned(), SimpleValue::String((*value).to_owned()));
        }
        let message = Message::builder()
            .properties(Properties::builder().message_id("m".to_owned()).reply_to(address).build())
            .application_properties(application)
            .body(Body::Value(AmqpValue(body)))
            .build();
        sender.send(message).await.unwrap();
        let answer = timeout(TIMEOUT, receiver.recv()).await.unwrap().unwrap();
        sender.close().await.unwrap();
        receiver.close().await.unwrap();
        answer
    }

    pub async fn sender(&mut self, address: &str) -> Sender {
        let name = self.name();
        Sender::attach(&mut self.session, name, address).await.unwrap()
    }

    /// Attaches to a partition of `orders`.
    pub async fn receiver(&mut self, partition: u32, group: &str, selector: &str, epoch: Option<i64>) -> Receiver {
        let address = format!("orders/ConsumerGroups/{group}/Partitions/{partition}");
        self.receiver_of(&address, selector, epoch).await.unwrap()
    }

    pub async fn receiver_of(
        &mut self,
        address: &str,
        selector: &str,
        epoch: Option<i64>,
    ) -> Result<Receiver, ReceiverAttachError> {
        let mut filter = FilterSet::new();
        filter.insert(Symbol::from("apache.org:selector-filter:string"), Value::String(selector.to_owned()));
        let mut properties = Fields::new();
        if let Some(epoch) = epoch {
            properties.insert(Symbol::from("com.microsoft:epoch"), Value::Long(epoch));
        }
        Receiver::builder()
            .name(self.name())
            .source(Source::builder().address(address).filter(filter).build())
            .properties(properties)
            .receiver_settle_mode(ReceiverSettleMode::First)
            .attach(&mut self.session)
            .await
    }
}

pub fn sas(resource: &str, key: &str, expiry: i64) -> String {
    let encoded = resource.replace(':', "%3A").replace('/', "%2F");
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(format!("{encoded}\n{expiry}").as_bytes());
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("SharedAccessSignature sr={encoded}&sig={signature}&se={expiry}&skn={}", DEFAULT_KEY.0)
}

fn status(answer: &Event) -> i32 {
    match answer.message().application_properties.as_ref().unwrap().0.get("status-code") {
        Some(SimpleValue::Int(status)) => *status,
        other => panic!("{other:?}"),
    }
}

pub fn event(text: &str) -> Message<Data> {
    Message::builder().data(Binary::from(text.as_bytes().to_vec())).build()
}

pub fn keyed(text: &str, key: &str) -> Message<Data> {
    let mut annotations = MessageAnnotations::default();
    annotations.0.insert(OwnedKey::from(Symbol::from("x-opt-partition-key")), Value::String(key.to_owned()));
    Message { message_annotations: Some(annotations), ..event(text) }
}

/// Sends, which has to be accepted.
pub async fn send(sender: &mut Sender, message: Message<Data>) {
    let outcome = timeout(TIMEOUT, sender.send(message)).await.unwrap().unwrap();
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
}

/// What a message is refused with.
pub async fn refusal(sender: &mut Sender, message: impl Into<Sendable<Data>>) -> Error {
    match timeout(TIMEOUT, sender.send(message)).await.unwrap() {
        Ok(Outcome::Rejected(rejected)) => rejected.error.unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The next event, and its text.
pub async fn next(receiver: &mut Receiver) -> (i64, String) {
    let event: Event = timeout(TIMEOUT, receiver.recv()).await.unwrap().unwrap();
    let text = match event.body() {
        Body::Data(data) => data.iter().flat_map(|data| data.0.iter().copied()).collect::<Vec<u8>>(),
        other => panic!("{other:?}"),
    };
    let Some(Value::Long(sequence)) = annotation(&event, "x-opt-sequence-number") else { panic!("no sequence number") };
    (sequence, String::from_utf8(text).unwrap())
}

pub fn annotation(event: &Event, name: &str) -> Option<Value> {
    let annotations = event.message().message_annotations.as_ref()?;
    annotations.0.get(&OwnedKey::from(Symbol::from(name))).cloned()
}

/// What ends a link that receives.
pub async fn end(receiver: &mut Receiver) -> String {
    let end = timeout(TIMEOUT, receiver.recv::<Body<Value>>()).await.unwrap();
    format!("{:?}", end.unwrap_err())
}

pub async fn send_end(sender: &mut Sender) -> String {
    format!("{:?}", timeout(TIMEOUT, sender.on_detach()).await.unwrap())
}
