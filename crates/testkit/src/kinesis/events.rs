//! What is pushed, as a stream of events.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    Fault, Shared,
    consumers::{Feed, Next},
};

/// How often an event comes where nothing is stored.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Where events go.
pub(super) trait Sink {
    async fn send(&mut self, bytes: Bytes) -> io::Result<()>;

    /// Ends once nobody takes them any more.
    async fn gone(&mut self);
}

/// How a stream ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    InOrder,
    /// The connection is to break.
    Cut,
}

/// Sends what is pushed until that ends, or nobody takes it.
pub(super) async fn send(
    shared: &Shared,
    mut feed: Feed,
    fault: Option<Fault>,
    sink: &mut impl Sink,
) -> io::Result<Ended> {
    let _open = Counted::new(shared, &shared.subscriptions);
    let mut changed = shared.changed.subscribe();
    if fault != Some(Fault::Silence(0)) {
        sink.send(encode("event", "initial-response", &json!({}))).await?;
    }
    let (mut sent, mut always, mut last) = (0, true, SystemTime::UNIX_EPOCH);
    loop {
        changed.mark_unchanged();
        let now = shared.world().now();
        // By its own clock too, which may have been moved.
        always |= now.duration_since(last).unwrap_or_default() >= HEARTBEAT;
        let next = match fault {
            Some(Fault::Silence(events)) if events == sent => Next::Nothing,
            Some(Fault::Throw(events, code)) if events == sent => Next::Refused(code),
            Some(Fault::Empty) if sent == 0 => Next::Event(json!({ "Records": [], "MillisBehindLatest": 0 }), false),
            _ => shared.world().push(&mut feed, always),
        };
        match next {
            Next::Event(mut event, is_last) => {
                if let (Some(Fault::Without(field)), Some(fields)) = (&fault, event.as_object_mut()) {
                    fields.remove(*field);
                }
                let event = encode("event", "SubscribeToShardEvent", &event);
                if fault == Some(Fault::Cut(sent)) {
                    sink.send(event.slice(..event.len() / 2)).await?;
                    return Ok(Ended::Cut);
                }
                let sending = Counted::new(shared, &shared.sending);
                sink.send(event).await?;
                drop(sending);
                (sent, always, last) = (sent + 1, false, now);
                if is_last {
                    return Ok(Ended::InOrder);
                }
            }
            Next::Refused(code) => {
                sink.send(encode("exception", code, &json!({ "message": "as planned" }))).await?;
                return Ok(Ended::InOrder);
            }
            Next::End => return Ok(Ended::InOrder),
            Next::Nothing => {
                let is_silent = matches!(fault, Some(Fault::Silence(events)) if events == sent);
                tokio::select! {
                    _ = changed.changed(), if !is_silent => {}
                    () = sleep(HEARTBEAT), if !is_silent => always = true,
                    () = sink.gone() => return Ok(Ended::InOrder),
                }
            }
        }
    }
}

/// Counts something as long as it is there.
pub(super) struct Counted<'a> {
    shared: &'a Shared,
    count: &'a AtomicUsize,
}

impl<'a> Counted<'a> {
    pub(super) fn new(shared: &'a Shared, count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        shared.changed.send_replace(());
        Self { shared, count }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Relaxed);
        self.shared.changed.send_replace(());
    }
}

fn encode(kind: &str, name: &str, payload: &Value) -> Bytes {
    let text = |text: &str| HeaderValue::String(text.to_owned().into());
    let named = if kind == "event" { ":event-type" } else { ":exception-type" };
    let message = Message::new(payload.to_string())
        .add_header(Header::new(":message-type", text(kind)))
        .add_header(Header::new(named, text(name)))
        .add_header(Header::new(":content-type", text("application/json")));
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).unwrap();
    bytes.into()
}
