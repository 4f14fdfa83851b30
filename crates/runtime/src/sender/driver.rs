use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use strait_core::{Error, ErrorKind, Producer, Receipt, Result, planted};
use tokio::time::{self, Instant, MissedTickBehavior};
use tracing::Instrument as _;

use super::{
    shared::Shared,
    state::{GRACE, Request},
};

/// How often messages that are out of time are looked for.
const SWEEP: Duration = Duration::from_millis(500);

/// How long a provider may take to disconnect, and how long at least where the time to close is over.
const CLOSE: Duration = Duration::from_secs(30);
const LEAST: Duration = Duration::from_millis(900);

/// Ends every message if the task is dropped: by the runtime, even before its first turn, or because it panicked.
pub(super) struct Ending(pub(super) Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        let reason = "its task was dropped before the message was sent";
        let abandoned = self.0.change(|state, news| state.abandon(reason, news));
        if abandoned > 0 {
            tracing::warn!(sender = %self.0.name, abandoned, "messages were accepted and not sent");
        }
        self.0.end(Err(self.0.error(ErrorKind::Closed, "its task was dropped before it was closed")));
    }
}

/// The task behind a [`Sender`](super::Sender): takes requests out and brings their outcomes, until it is closed and
/// empty.
pub(super) async fn drive(ending: Ending, producer: Arc<dyn Producer>, requests: usize) {
    let shared = &ending.0;
    let mut under_way = FuturesUnordered::new();
    let mut finished: Option<(Request, Vec<Result<Receipt>>)> = None;
    let mut ended: Option<Request> = None;
    let mut sweep = time::interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut swept, mut is_failing) = (false, false);
    loop {
        let rest = shared.change(|state, news| {
            state.tick(std::mem::take(&mut swept), news);
            if let Some((mut request, outcomes)) = finished.take() {
                state.finish(&mut request, outcomes, news);
                ended = Some(request);
            }
            while under_way.len() < requests
                && let Some(request) = state.next_request(news)
            {
                under_way.push(send(Arc::clone(&producer), request));
            }
            state.rest(under_way.len() < requests)
        });
        if let Some(mut request) = ended.take() {
            request.clear(); // here, since to drop what it held may call code that is not ours
            shared.state().recycle(request);
        }
        let Some(rest) = rest else { break };
        tokio::select! {
            biased;
            Some(request) = under_way.next() => {
                tell_outage(&mut is_failing, &shared.name, &request.1);
                finished = Some(request);
            }
            () = shared.work.notified() => {}
            () = sleep_until(rest.due) => {}
            () = sleep_until(rest.ends_by) => {}
            _ = sweep.tick(), if rest.holds => swept = true,
        }
    }
    drop(under_way);
    let reason = "was closed before the message was sent";
    let abandoned = shared.change(|state, news| state.abandon(reason, news));
    let closed = close(&*producer, shared).await;
    let in_time = if abandoned == 0 {
        Ok(())
    } else {
        let text = format_args!("{abandoned} messages had no outcome when the time to close was over");
        Err(shared.error(ErrorKind::Unavailable, text))
    };
    shared.end(in_time.and(closed));
}

/// One request, until its last message is late, whatever the provider does.
async fn send(producer: Arc<dyn Producer>, mut request: Request) -> (Request, Vec<Result<Receipt>>) {
    if planted!("drop-last-of-full-batch") && request.messages.len() == producer.limits().messages {
        request.messages.pop();
    }
    let patience = request.last_deadline.saturating_duration_since(Instant::now()) + GRACE;
    let span = tracing::debug_span!("send", messages = request.messages.len());
    // Called inside, since a provider may panic before there is a future.
    let calling = AssertUnwindSafe(async { producer.send(&request.messages).await }).catch_unwind();
    let lost = |kind, text: &str| vec![Err(Error::new(kind, text).into_ambiguous()); request.messages.len()];
    let outcomes = match time::timeout(patience, calling).instrument(span).await {
        Ok(Ok(outcomes)) => outcomes,
        Ok(Err(_)) => lost(ErrorKind::Other, "the provider panicked while sending"),
        Err(_) => lost(ErrorKind::Unavailable, "the provider did not answer before the deadline"),
    };
    (request, outcomes)
}

/// Tells of an outage when it begins and when it ends, and not of each request that fails meanwhile.
#[inline]
fn tell_outage(is_failing: &mut bool, sender: &str, outcomes: &[Result<Receipt>]) {
    let is_sent = outcomes.iter().any(Result::is_ok);
    match outcomes.first() {
        _ if is_sent && !*is_failing => {}
        _ if is_sent => {
            *is_failing = false;
            tracing::info!(%sender, "sends again");
        }
        Some(Err(error)) if error.is_transient() && *is_failing => {
            tracing::debug!(%sender, %error, "still cannot send");
        }
        Some(Err(error)) if error.is_transient() => {
            *is_failing = true;
            tracing::warn!(%sender, %error, "cannot send, and tries again");
        }
        _ => {}
    }
}

/// Disconnects, in bounded time, whatever the provider does.
async fn close(producer: &dyn Producer, shared: &Shared) -> Result<()> {
    let closing = AssertUnwindSafe(async { producer.close().await }).catch_unwind();
    let ends_by = shared.state().ends_by;
    let limit = ends_by.map_or(CLOSE, |end| end.saturating_duration_since(Instant::now()).clamp(LEAST, CLOSE));
    match time::timeout(limit, closing).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(shared.error(ErrorKind::Other, "the provider panicked while closing")),
        Err(_) => Err(shared.error(ErrorKind::Unavailable, format_args!("did not close within {limit:?}"))),
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
