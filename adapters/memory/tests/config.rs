//! What is wrong with a configuration, said in sentences that name the place.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use strait_config::{Builder, Bus, Registry};
use strait_core::{ErrorKind, Message};
use strait_memory::Memory;

const GOOD: &str = r#"
provider = "memory"
[senders.orders.on.memory]
topic = "orders"
[senders.dead]
[senders.dead.on.memory]
topic = "dead"
[receivers.billing]
ordering = "key"
dead_letter = "dead"
oversize = "truncate"
[receivers.billing.on.memory]
topic = "orders"
group = "billing"
[receivers.billing.on.kinesis]
stream = "orders"
"#;

fn builder() -> Builder {
    Bus::builder(Registry::new().with(Memory)).environment(|name| (name == "SET").then(|| "7".to_owned()))
}

fn refused(text: &str) -> String {
    let error = builder().text("strait.toml", text).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

#[tokio::test(start_paused = true)]
async fn a_good_one_opens() {
    let bus = builder().text("strait.toml", GOOD).build().unwrap();
    assert_eq!(bus.left_alone(), ["receivers.billing.on.kinesis"]);
    let sender = bus.sender("orders").await.unwrap();
    sender.send(Message::new("1")).await.unwrap();
    let receiver = bus.receiver("billing").await.unwrap();
    receiver.recv().await.unwrap().unwrap().ack();
    assert_eq!(
        bus.sender("order").await.unwrap_err().to_string(),
        "no sender is called \"order\" in the configuration; did you mean \"orders\"?"
    );
    bus.close().await.unwrap();
    assert_eq!(sender.send(Message::new("2")).await.unwrap_err().kind(), ErrorKind::Closed);
}

/// The good configuration with `old` replaced by `new` is refused so.
fn with(old: &str, new: &str, expected: &str) {
    assert!(GOOD.contains(old));
    let found = refused(&GOOD.replace(old, new));
    assert!(found.contains(expected), "{new}\nexpected {expected}\nfound    {found}");
}

#[test]
fn each_value_out_of_range_is_said_with_what_was_found() {
    for (old, new, expected) in [
        (
            "ordering = \"key\"",
            "in_flight = 0",
            "strait.toml: receivers.billing.in_flight: must be 1 to 100000, found 0",
        ),
        (
            "ordering = \"key\"",
            "drain = 7",
            "strait.toml: receivers.billing.drain: expected a duration, such as \"200ms\" or \"30s\", found 7; is \"7s\" meant?",
        ),
        (
            "ordering = \"key\"",
            "drain = true",
            "strait.toml: receivers.billing.drain: expected a duration, such as \"200ms\" or \"30s\", found true",
        ),
        ("ordering = \"key\"", "drain = \"300000y\"", "strait.toml: receivers.billing.drain: must be at most 365 days"),
        (
            "ordering = \"key\"",
            "drain = \"$DRAIN\"",
            "strait.toml: receivers.billing.drain: has a \"$\" before capitals",
        ),
        (
            "ordering = \"key\"",
            "buffer = 5000000000",
            "strait.toml: receivers.billing.buffer: must be 1 to 4294967295, found 5000000000",
        ),
        ("ordering = \"key\"", "prefetch = 0", "strait.toml: receivers.billing.prefetch: must be at least 1, found 0"),
        (
            "ordering = \"key\"",
            "buffer_bytes = -1",
            "strait.toml: receivers.billing.buffer_bytes: must be at least 1, found -1",
        ),
        (
            "ordering = \"key\"",
            "buffer_bytes = \"0KiB\"",
            "strait.toml: receivers.billing.buffer_bytes: must be at least 1, found 0",
        ),
        (
            "ordering = \"key\"",
            "retry = { attempts = 4294967296 }",
            "strait.toml: receivers.billing.retry.attempts: must be 1 to 4294967295, found 4294967296",
        ),
        (
            "[senders.dead]",
            "[senders.dead]\nbuffer_bytes = \"4GiB\"",
            "strait.toml: senders.dead.buffer_bytes: must be 1 to 4294967295, found 4294967296",
        ),
        (
            "[senders.dead]",
            "[senders.dead]\ndeadline = \"0s\"",
            "strait.toml: senders.dead.deadline: must be longer than nothing",
        ),
        (
            "ordering = \"key\"",
            "in_flight = \"${SET}00000\"",
            "strait.toml: receivers.billing.in_flight: expected a positive whole number, found a text",
        ),
        (
            "ordering = \"key\"",
            "buffer_bytes = \"1MB\"",
            "strait.toml: receivers.billing.buffer_bytes: expected bytes, such as 1048576 or \"1MiB\", found \"1MB\"",
        ),
        (
            "ordering = \"key\"",
            "retry = { attempts = 0 }",
            "strait.toml: receivers.billing.retry.attempts: must be at least 1, found 0",
        ),
    ] {
        with(old, new, expected);
    }
}

#[test]
fn each_mistake_is_a_sentence_that_names_the_place() {
    for (old, new, expected) in [
        (
            "ordering = \"key\"",
            "in_fligth = 3",
            "strait.toml: receivers.billing.in_fligth: unknown key; did you mean in_flight?",
        ),
        (
            "ordering = \"key\"",
            "in_flight = \"x\"",
            "strait.toml: receivers.billing.in_flight: expected a positive whole number, found \"x\"",
        ),
        (
            "ordering = \"key\"",
            "ordering = \"keys\"",
            "strait.toml: receivers.billing.ordering: expected one of \"none\", \"key\", found \"keys\"",
        ),
        (
            "ordering = \"key\"",
            "in_flight = 9\nbuffer = 8",
            "strait.toml: receivers.billing.buffer: must be at least in_flight, which is 9, found 8",
        ),
        (
            "dead_letter = \"dead\"",
            "",
            "strait.toml: receivers.billing.dead_letter: is missing: name a sender, or say \"discard\" or \"block\"",
        ),
        (
            "dead_letter = \"dead\"",
            "dead_letter = \"daed\"",
            "strait.toml: receivers.billing.dead_letter: no sender is called \"daed\"; did you mean \"dead\"?",
        ),
        ("group = \"billing\"", "", "strait.toml: receivers.billing.on.memory.group: is missing"),
        ("group = \"billing\"", "group = \"\"", "strait.toml: receivers.billing.on.memory.group: is empty"),
        (
            "group = \"billing\"",
            "group = \"billing\"\nstart = \"yesterday\"",
            "receivers.billing.on.memory.start: expected \"earliest\", \"latest\", or a time such as 2026-01-31T12:00:00Z, \
             found \"yesterday\"",
        ),
        (
            "ordering = \"key\"",
            "drain = \"30 bananas of a length that nobody wants to read\"",
            "receivers.billing.drain: expected a duration, such as \"200ms\" or \"30s\", found a text",
        ),
        (
            "ordering = \"key\"",
            "drain = \"${SET}0 bananas\"",
            "receivers.billing.drain: expected a duration, such as \"200ms\" or \"30s\", found a text",
        ),
        (
            "ordering = \"key\"",
            "retry = { first = \"1m\", longest = \"1s\" }",
            "receivers.billing.retry.first: must not be longer than longest, which is 1s, found 1m",
        ),
        (
            "[senders.dead]",
            "[connections.memory]\ndedup = \"1m\"\n[senders.dead]",
            "connections.memory.dedup: a log has none: it belongs to shape = \"queue\"",
        ),
        (
            "[senders.dead]",
            "[connections.memory]\nshape = \"queue\"\npartitions = 4\n[senders.dead]",
            "connections.memory.partitions: a queue has none: it belongs to shape = \"log\"",
        ),
        (
            "[senders.dead]",
            "[connections.memory]\nshape = \"heap\"\n[senders.dead]",
            "strait.toml: connections.memory.shape: expected one of \"log\", \"queue\", found \"heap\"",
        ),
        ("provider = \"memory\"", "provider = ", "strait.toml: line 2: is not TOML"),
    ] {
        with(old, new, expected);
    }
    assert_eq!(
        builder().files("no-such.toml").build().unwrap_err().to_string(),
        "no-such.toml: cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn a_channel_or_provider_that_is_not_there_is_answered_with_those_that_are() {
    for (old, new, expected) in [
        (
            "provider = \"memory\"",
            "provider = \"memroy\"",
            "no connection or provider is called \"memroy\"; did you mean \"memory\"?",
        ),
        (
            "provider = \"memory\"",
            "provider = \"kinesis\"",
            "strait.toml: provider: the provider \"kinesis\" is not compiled in: enable the feature \"kinesis\" of strait",
        ),
        (
            "provider = \"memory\"",
            "provider = \"${NOT_SET}\"",
            "strait.toml: provider: the variable NOT_SET is not set",
        ),
        (
            "provider = \"memory\"",
            "provider = \"kafka\"",
            "strait.toml: provider: no connection or provider is called \"kafka\"; \
             there are eventhubs, kinesis, memory, pubsub, sqs",
        ),
        (
            "provider = \"memory\"",
            "provider = \"${SET}\"",
            "strait.toml: provider: its variable names no connection or provider",
        ),
        ("provider = \"memory\"", "provider = 7", "strait.toml: provider: expected a text, found 7"),
        ("provider = \"memory\"", "", "strait.toml: provider: is missing"),
        (
            "[senders.dead]",
            "[senders.dead]\nlinger = \"3m\"",
            "strait.toml: senders.dead.linger: must be shorter than deadline, which is 2m",
        ),
        (
            "senders.dead.on.memory",
            "senders.dead.on.sqs",
            "strait.toml: senders.dead.on: this channel is on \"memory\": add [senders.dead.on.memory]",
        ),
        ("[senders.dead]", "[sender.other]\n[senders.dead]", "strait.toml: sender: unknown key; did you mean senders?"),
        (
            "on.kinesis",
            "on.kinsis",
            "strait.toml: receivers.billing.on.kinsis: no connection or provider is called \"kinsis\"; did you mean \"kinesis\"?",
        ),
    ] {
        with(old, new, expected);
    }
}

#[test]
fn all_mistakes_are_said_at_once() {
    let found = refused(
        &GOOD.replace("ordering = \"key\"", "a = 1\nin_flight = 0").replace("group = \"billing\"", "grup = \"x\""),
    );
    assert_eq!(found.lines().count(), 4, "{found}");
    let found = refused(&GOOD.replace("senders.dead.on.memory", "senders.dead.on.memroy"));
    let once =
        "strait.toml: senders.dead.on.memroy: no connection or provider is called \"memroy\"; did you mean \"memory\"?";
    assert_eq!(found, once, "that its table is missing follows from that");
    let found = refused(&GOOD.replace("provider = \"memory\"", "provider = \"memroy\""));
    let once = "strait.toml: provider: no connection or provider is called \"memroy\"; did you mean \"memory\"?";
    assert_eq!(found, once, "what is named once for all channels is said once");
}

#[test]
fn later_files_win_and_errors_name_the_file_that_is_wrong() {
    let found =
        builder().text("base.toml", GOOD).text("prod.toml", "[receivers.billing]\nin_flight = 0").build().unwrap_err();
    assert_eq!(found.to_string(), "prod.toml: receivers.billing.in_flight: must be 1 to 100000, found 0");
    let set = |settings: &'static str| {
        Bus::builder(Registry::new().with(Memory))
            .environment(move |name| (name == "STRAIT_SET").then(|| settings.to_owned()))
            .text("strait.toml", GOOD)
            .build()
    };
    assert!(set("receivers.billing.in_flight=128; receivers.billing.ordering=none").is_ok());
    assert_eq!(
        set("receivers.billing.in_flight=0").unwrap_err().to_string(),
        "STRAIT_SET: receivers.billing.in_flight: must be 1 to 100000, found 0"
    );
    assert!(set("nonsense").unwrap_err().to_string().contains("STRAIT_SET"));
}

#[test]
fn files_are_named_in_many_forms() {
    let file = std::env::temp_dir().join(format!("strait-config-{}.toml", std::process::id()));
    std::fs::write(&file, GOOD).unwrap();
    let text = file.display().to_string();
    let ok = |builder: Builder| builder.build().is_ok();
    assert!(ok(builder().files(&*text)) && ok(builder().files(&text)) && ok(builder().files(text.clone())));
    assert!(ok(builder().files(&*file)) && ok(builder().files(&file)) && ok(builder().files(file.clone())));
    assert!(ok(builder().files([&file, &file])) && ok(builder().files(vec![text.clone(), text.clone()])));
    assert!(ok(builder().files(&[file.clone()][..])));
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn a_variable_is_a_number_where_one_is_wanted_and_is_never_shown() {
    assert!(
        builder().text("strait.toml", &GOOD.replace("ordering = \"key\"", "in_flight = \"${SET}\"")).build().is_ok()
    );
    let secret = |name: &str| (name == "TOKEN").then(|| "hunter2".to_owned());
    let number = |name: &str| (name == "TOKEN").then(|| "-31337".to_owned());
    for line in ["in_flight = \"${TOKEN}\"", "buffer_bytes = \"${TOKEN}\"", "drain = \"${TOKEN}\""] {
        let text = GOOD.replace("ordering = \"key\"", line);
        let found = Bus::builder(Registry::new().with(Memory)).environment(number).text("strait.toml", &text).build();
        let found = format!("{:?}", found.unwrap_err());
        assert!(!found.contains("31337"), "{found}");
    }
    let text = GOOD.replace("ordering = \"key\"", "in_flight = \"${TOKEN}\"");
    let found = Bus::builder(Registry::new().with(Memory)).environment(secret).text("strait.toml", &text).build();
    let found = format!("{:?}", found.unwrap_err());
    assert!(found.contains("in_flight") && !found.contains("hunter2"), "{found}");
    assert_eq!(
        format!("{:?} {}", strait_config::Secret::new("hunter2"), strait_config::Secret::new("hunter2")),
        "[secret] [secret]"
    );
}

#[tokio::test]
async fn what_a_provider_cannot_keep_is_refused_when_it_is_opened() {
    let text = format!("{GOOD}\n[connections.memory]\nshape = \"queue\"\nordering = \"none\"");
    let bus = builder().text("strait.toml", &text).build().unwrap();
    let error = bus.receiver("billing").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(
        error.to_string(),
        "strait.toml: receivers.billing.ordering: \"key\" is asked for, but memory keeps no order on \"orders/billing\""
    );

    let good = GOOD.replace("oversize = \"truncate\"", "");
    assert!(builder().text("strait.toml", &good).build().unwrap().receiver("billing").await.is_ok(), "of one size");
    let text = good
        .replace("[senders.dead]", "[senders.dead]\nprovider = \"small\"")
        .replace("[senders.dead.on.memory]", "[senders.dead.on.small]");
    let text = format!("{text}\n[connections.small]\ntype = \"memory\"\nmessage_bytes = 1000");
    let error =
        builder().text("strait.toml", &text).build().unwrap().receiver("billing").await.unwrap_err().to_string();
    assert!(error.starts_with("strait.toml: receivers.billing.dead_letter: its channel holds"), "{error}");
    let text = GOOD.replace("topic = \"dead\"", "topic = \"orders\"");
    let error =
        builder().text("strait.toml", &text).build().unwrap().receiver("billing").await.unwrap_err().to_string();
    assert!(
        error.starts_with("strait.toml: receivers.billing.dead_letter: leads back to \"orders/billing\""),
        "{error}"
    );

    let text = format!(
        "{}\n[connections.memory]\nshape = \"queue\"",
        GOOD.replace("group = \"billing\"", "group = \"billing\"\nstart = \"latest\"")
    );
    let bus = builder().text("strait.toml", &text).build().unwrap();
    assert_eq!(bus.receiver("billing").await.unwrap_err().kind(), ErrorKind::Unsupported);
}

proptest! {
    #[test]
    fn rubbish_is_refused_and_never_panics(text in "[a-z\\[\\]=.\"${}:\\n 0-9-]{0,200}") {
        let _ = builder().text("x.toml", &text).build();
        let _ = builder().text("strait.toml", GOOD).text("x.toml", &text).build();
    }
}
