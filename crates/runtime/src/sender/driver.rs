use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use strait_core::{Error, ErrorKind, Producer, Receipt, Result, planted};
use tokio::time::{self, Instant, MissedTickBehavior};
use tracing::Instrument as _;

use super::{
    Shared,
    state::{Request, State},
};

/// How often messages that are out of time are looked for.
const SWEEP: Duration = Duration::from_millis(500);

/// How much longer than its messages a request may take: an outcome is known a second after the deadline.
const GRACE: Duration = Duration::from_millis(400);

/// Ends every message if the task is dropped, by the runtime or because the last waits for nothing.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        let abandoned = self.0.change(State::abandon);
        if abandoned > 0 {
            tracing::warn!(sender = %self.0.name, abandoned, "messages were accepted and not sent");
        }
        self.0.end(Err(Error::new(
            ErrorKind::Closed,
            format!("{}: its task was dropped before it was closed", self.0.name),
        )));
    }
}

/// The task behind a [`Sender`](super::Sender): takes requests out and brings their outcomes, until it is closed and
/// empty.
pub(super) async fn drive(shared: Arc<Shared>, producer: Arc<dyn Producer>, requests: usize) {
    let ending = Ending(Arc::clone(&shared));
    let mut under_way = FuturesUnordered::new();
    let mut spare: Vec<Request> = Vec::new();
    let mut sweep = time::interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let due = {
            let mut state = shared.state();
            let mut request = spare.pop().unwrap_or_default();
            while under_way.len() < requests && state.next_request(&mut request) {
                under_way.push(send(Arc::clone(&producer), request));
                request = spare.pop().unwrap_or_default();
            }
            spare.push(request);
            let planted = planted!("close-without-flush") && state.closed;
            if planted || (state.closed && state.is_empty()) {
                break;
            }
            state.idle = under_way.is_empty();
            if under_way.len() < requests { state.due() } else { None }
        };
        tokio::select! {
            biased;
            Some((mut request, outcomes)) = under_way.next() => {
                shared.change(|state, news| {
                    state.tick(false, news);
                    state.finish(&mut request, outcomes, news);
                });
                spare.push(request);
            }
            () = shared.work.notified() => {}
            () = sleep_until(due) => shared.change(|state, news| state.tick(false, news)),
            _ = sweep.tick() => shared.change(|state, news| state.tick(true, news)),
        }
    }
    let closed = producer.close().await;
    shared.end(closed);
    drop(ending);
}

/// One request, in bounded time, whatever the provider does.
async fn send(producer: Arc<dyn Producer>, mut request: Request) -> (Request, Vec<Result<Receipt>>) {
    if planted!("drop-last-of-full-batch") && request.messages.len() == producer.limits().messages {
        request.messages.pop();
    }
    let patience =
        request.deadline.map_or(SWEEP, |deadline| deadline.saturating_duration_since(Instant::now())) + GRACE;
    let span = tracing::debug_span!("send", messages = request.messages.len());
    let calling = AssertUnwindSafe(producer.send(&request.messages)).catch_unwind();
    let lost = |kind, text: &str| vec![Err(Error::new(kind, text).into_ambiguous()); request.messages.len()];
    let outcomes = match time::timeout(patience, calling).instrument(span).await {
        Ok(Ok(outcomes)) => outcomes,
        Ok(Err(_)) => lost(ErrorKind::Other, "the provider panicked while sending"),
        Err(_) => lost(ErrorKind::Unavailable, "the provider did not answer before the deadline"),
    };
    (request, outcomes)
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
