//! Configuration: what is wrong with it, and a message through it.

use strait_config::{Bus, Registry};
use strait_core::{Key, Message};
use strait_eventhubs::EventHubs;

use crate::Scene;

pub(crate) fn build(text: &str) -> Result<Bus, String> {
    let builder = Bus::builder(Registry::new().with(EventHubs)).environment(|_| None);
    builder.text("strait.toml", text).build().map_err(|error| error.to_string())
}

fn problems(connection: &str, sender: &str, receiver: &str) -> String {
    let text = format!(
        "provider = \"eventhubs\"\n[connections.eventhubs]\n{connection}\n[senders.out.on.eventhubs]\n{sender}\n\
         [receivers.app]\ndead_letter = \"discard\"\n[receivers.app.on.eventhubs]\n{receiver}\n"
    );
    build(&text).err().unwrap_or_default()
}

const CONNECTION: &str = r#"connection_string = "Endpoint=sb://h/;SharedAccessKeyName=n;SharedAccessKey=hidden""#;
const SENDER: &str = "hub = \"orders\"";
pub(crate) const RECEIVER: &str = "hub = \"orders\"\ngroup = \"$Default\"\nleases = \"memory:leases\"";

#[test]
fn each_value_that_is_wrong_is_named() {
    assert_eq!(problems(CONNECTION, SENDER, RECEIVER), "");
    let of_connection = |text: &str| problems(text, SENDER, RECEIVER);
    let of_sender = |text: &str| problems(CONNECTION, text, RECEIVER);
    let of_receiver = |text: &str| problems(CONNECTION, SENDER, &format!("{RECEIVER}\n{text}"));
    let plain = "Endpoint=sb://emulator.lan;SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true";
    let plain = format!("connection_string = \"{plain}\"");
    assert_eq!(of_connection(&format!("{plain}\nallow_insecure = true")), "");
    for (found, part) in [
        (of_connection(""), "connections.eventhubs.connection_string: is missing"),
        (of_connection("connection_string = \"hidden\""), "connections.eventhubs.connection_string: has no Endpoint"),
        (of_connection(&plain), "connection_string: would send plaintext to another machine"),
        (of_connection(&format!("{CONNECTION}\nport = 5671")), "connections.eventhubs.port"),
        (of_sender(""), "senders.out.on.eventhubs.hub"),
        (of_sender("hub = \"or ders\""), "must be 1 to 256 letters"),
        (of_sender("hub = \"orders\"\nrouting = \"key\""), "routing"),
        (of_sender("event_hub_name = \"orders\""), "hub"),
        (of_receiver("trimmed = \"stop\""), "trimmed"),
        (of_receiver("expiry = \"1s\""), "expiry: must be 2s to a day"),
        (of_receiver("consumer_group = \"a\""), "group"),
    ] {
        assert!(found.contains(part) && !found.contains("hidden"), "{part}: {found}");
    }
}

#[cfg(feature = "entra")]
#[test]
fn each_value_of_a_credential_that_is_wrong_is_named() {
    let of = |text: &str| problems(text, SENDER, RECEIVER);
    let namespace = "namespace = \"orders.servicebus.windows.net\"";
    let secret = "credential = \"client-secret\"\ntenant = \"t\"\nclient_id = \"c\"\nclient_secret = \"hidden\"";
    for text in [secret, "credential = \"managed-identity\"", "credential = \"workload-identity\"\ntoken_file = \"/f\""]
    {
        assert_eq!(of(&format!("{namespace}\n{text}")), "");
    }
    for (found, part) in [
        (of(namespace), "credential: is missing"),
        (of(secret), "namespace: is missing"),
        (of(&format!("{namespace}\ncredential = \"azure-cli\"")), "credential: expected one of"),
        (of(&format!("namespace = \"http://h\"\n{secret}")), "namespace: is not a host"),
        (of(&format!("namespace = \"amqp://emulator.lan\"\n{secret}")), "namespace: would send plaintext"),
        (of(&format!("{namespace}\n{secret}\n{CONNECTION}")), "connection_string: cannot be used beside"),
        (
            of(&format!("{namespace}\ncredential = \"client-secret\"\ntenant = \"t\"\nclient_secret = \"hidden\"")),
            "client_id: is missing",
        ),
        (
            of(&format!("{namespace}\n{}", secret.replace("client_secret = \"hidden\"", ""))),
            "client_secret: is missing",
        ),
        (
            of(&format!("{namespace}\ncredential = \"managed-identity\"\ntenant = \"t\"")),
            "tenant: does not go with the other settings",
        ),
    ] {
        assert!(found.contains(part) && !found.contains("hidden"), "{part}: {found}");
    }
}

#[cfg(not(feature = "entra"))]
#[test]
fn a_credential_needs_the_feature() {
    let found = problems("namespace = \"h\"\ncredential = \"managed-identity\"", SENDER, RECEIVER);
    assert!(found.contains("credential: needs the feature eventhubs-entra"), "{found}");
    assert!(!found.contains("unknown"), "{found}");
}

#[tokio::test]
async fn a_message_goes_through_a_file() {
    let scene = Scene::new().await;
    let text = format!(
        "provider = \"eventhubs\"\n[connections.eventhubs]\nconnection_string = \"{}\"\n[senders.out.on.eventhubs]\n\
         hub = \"orders\"\n[receivers.app]\nordering = \"key\"\ndead_letter = \"discard\"\n\
         [receivers.app.on.eventhubs]\n{RECEIVER}\n",
        scene.emulator.connection_string("orders")
    );
    let bus = build(&text).unwrap();
    let (sender, receiver) = (bus.sender("out").await.unwrap(), bus.receiver("app").await.unwrap());
    let message = Message::new("1").with_key("customer-7").with_header("content-type", "text/plain");
    sender.send(message).await.unwrap();
    let delivery = receiver.recv().await.unwrap().unwrap();
    assert_eq!(
        (&delivery.message().payload[..], delivery.message().headers.get_str("content-type")),
        (&b"1"[..], Some("text/plain"))
    );
    assert_eq!(delivery.message().key.as_ref().map(Key::as_str), Some("customer-7"));
    delivery.ack_confirmed().await.unwrap();
    bus.close().await.unwrap();
}

#[tokio::test]
async fn a_string_for_one_hub_opens_no_other() {
    let scene = Scene::new().await;
    let text = format!(
        "provider = \"eventhubs\"\n[connections.eventhubs]\nconnection_string = \"{}\"\n[senders.out.on.eventhubs]\nhub = \"bills\"\n",
        scene.emulator.connection_string("orders")
    );
    let error = build(&text).unwrap().sender("out").await.unwrap_err();
    assert!(error.to_string().contains("is not the EntityPath of the connection string, \"orders\""), "{error}");
}
