use std::time::{Duration, SystemTime};

use futures_util::{StreamExt as _, stream::FuturesOrdered};
use strait_core::{Error, Receipt, Result};
use tokio::time::{Instant, sleep_until};

use crate::{Delivery, Receiver, Sender};

/// How long nothing must come until no dead letter is left, by default. A poll of a queue takes up to 20 s, and a group of
/// a log may be taken over after a lease of 10 s.
const QUIET: Duration = Duration::from_secs(30);

/// Sends dead letters again, as the messages that they were.
///
/// Each is settled once its message is stored, so that none is lost. If the process dies in between, the message is sent
/// twice, under one id for providers that store each once. Messages of a key go in the order in which they died.
///
/// It ends at the limit, or when nothing has come for a while. What becomes a dead letter again meanwhile, by the time at
/// which it was stored, stays: it ends even if every message fails again.
///
/// A sender to a topic or a log reaches every group that receives from it, also those that processed the message before.
/// Where that is not wanted, redrive to a sender that reaches the one receiver alone, such as its queue; a log has none.
#[derive(Debug)]
#[must_use = "it begins with `run`"]
pub struct Redrive {
    from: Receiver,
    to: Sender,
    limit: u64,
    quiet: Duration,
}

/// What a [`Redrive`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redriven {
    /// How many messages were sent again.
    pub sent: u64,
    /// How many dead letters it met that were stored since it began: they stay, and on a queue that keeps order so do
    /// those of their keys behind them.
    pub left: u64,
}

impl Redrive {
    /// Sends what `from` receives by `to`. The receiver is closed in the end; it is to retry for ever and to block, lest it
    /// gives up a letter that cannot be sent.
    pub fn new(from: Receiver, to: Sender) -> Self {
        Self { from, to, limit: u64::MAX, quiet: QUIET }
    }

    /// Sends at most `limit` messages. Default: all there are.
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// Ends when nothing has come for `quiet`. Default: 30 s.
    pub fn quiet(mut self, quiet: Duration) -> Self {
        self.quiet = quiet;
        self
    }

    /// Runs to its end, and closes the receiver. Dropped, it has sent some: letters that are not settled come again.
    ///
    /// # Errors
    ///
    /// The first message that cannot be sent ends it, with the sender's error: its letter stays, and so do those after
    /// it. What the receiver reports if it cannot receive or close.
    pub async fn run(self) -> Result<Redriven> {
        let (began, receiver) = (SystemTime::now(), self.from.clone());
        let mut run = Run { redriven: Redriven::default(), left: Vec::new() };
        let ran = run.all(&self, began).await;
        let Run { redriven, left } = run;
        receiver.stop();
        drop(left);
        let closed = receiver.close().await;
        ran.and(closed).map(|()| redriven)
    }
}

struct Run {
    redriven: Redriven,
    /// Letters of messages that died again. They are held until the end, since a released message is redelivered at once.
    left: Vec<Delivery>,
}

impl Run {
    async fn all(&mut self, redrive: &Redrive, began: SystemTime) -> Result<()> {
        let Redrive { from, to, limit, quiet } = redrive;
        let mut sending = FuturesOrdered::new();
        let mut taken = 0;
        let mut quiet_at = Instant::now() + *quiet;
        let mut more = *limit > 0;
        while more || !sending.is_empty() {
            tokio::select! {
                Some(sent) = sending.next() => self.sent(sent)?,
                delivery = from.recv(), if more => match delivery? {
                    Some(delivery) if is_later(&delivery, began) => {
                        self.redriven.left += 1;
                        self.left.push(delivery);
                    }
                    Some(delivery) => {
                        quiet_at = Instant::now() + *quiet;
                        taken += 1;
                        more = taken < *limit;
                        let pending = to.enqueue(delivery.message().redrive()).await?;
                        sending.push_back(async move { (delivery, pending.await.into_result()) });
                    }
                    None => more = false,
                },
                () = sleep_until(quiet_at), if more && sending.is_empty() => more = false,
            }
        }
        Ok(())
    }

    fn sent(&mut self, (letter, outcome): (Delivery, Result<Receipt>)) -> Result<(), Error> {
        outcome?;
        letter.ack();
        self.redriven.sent += 1;
        Ok(())
    }
}

/// Whether a letter was stored since the redrive began, as the provider's clock has it.
fn is_later(letter: &Delivery, began: SystemTime) -> bool {
    letter.origin().stored_at().is_some_and(|stored| stored > began)
}
