//! What is asked of the ownership for each tenure: that its progress is stored, that it is handed over, that it is
//! finished, or that a message is named. One call at a time for each, so that a slow one holds up no other.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use strait_core::{ErrorKind, Measure, planted};
use tokio::time::{self, Instant};

use super::{
    Became, LogSettings, Progress, Start, Suspect,
    consumer::{Shared, later, now},
    driver::{BEAT, failed, lose, pause},
    reading::Ended,
    tenure::Tenure,
    tenures::Tenures,
};
use crate::guard::guard;

/// The longest pause between calls while a partition is handed over: its next owner waits.
const HANDING_OVER: Duration = Duration::from_secs(1);

/// How the calls for one tenure go.
#[derive(Debug, Default)]
pub(super) struct Calls {
    is_under_way: bool,
    /// How many failed in a row, and when the next is tried.
    failures: u32,
    again: Option<std::time::Instant>,
    /// How long its hand-over waits for a commit that fails.
    patience: Option<std::time::Instant>,
}

impl Calls {
    /// Whether a call may begin.
    pub(super) fn may_begin(&self, now: std::time::Instant) -> bool {
        !self.is_under_way && self.again.is_none_or(|again| again <= now)
    }

    pub(super) fn begin(&mut self) {
        self.is_under_way = true;
    }

    /// Waits no longer for the next one than a hand-over may, however long the pause has grown before.
    fn hurry(&mut self, now: std::time::Instant) {
        self.again = self.again.map(|again| again.min(later(now, HANDING_OVER)));
    }

    fn end(&mut self, done: bool, now: std::time::Instant) {
        self.is_under_way = false;
        self.failures = if done { 0 } else { self.failures.saturating_add(1) };
        let again = later(now, pause(self.failures));
        // A hand-over whose patience ends meanwhile goes on then.
        let again = self.patience.filter(|end| *end > now).map_or(again, |end| again.min(end));
        self.again = (!done).then_some(again);
    }
}

/// What is asked for next for a tenure: that `progress` is stored, and `then` what follows from it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) number: u32,
    pub(super) partition: Arc<str>,
    pub(super) epoch: u64,
    pub(super) progress: Option<Progress>,
    /// Where it is to be resumed at, once that is stored.
    pub(super) resume: Option<Start>,
    pub(super) then: Then,
}

#[derive(Debug)]
pub(super) enum Then {
    /// It is kept.
    Keep,
    /// It is handed over, once its reader is closed; `regardless` of whether its progress could be stored.
    Release { reader: Option<Ended>, regardless: bool },
    /// It is done with, once its reader is closed.
    Finish { reader: Option<Ended>, became: Became },
    /// A message of it is named. Its progress is stored along with that.
    Name(Suspect),
}

impl Tenures {
    /// What may be asked for now, each marked as being under way. `commit` says whether it is time to store progress.
    fn jobs(&mut self, now: std::time::Instant, commit: bool, settings: &LogSettings) -> Vec<Job> {
        let grace = settings.grace;
        let mut jobs = Vec::new();
        for (number, tenure) in self.iter_mut() {
            if tenure.is_drained(now) {
                tenure.calls.hurry(now);
            }
            if !tenure.calls.may_begin(now) {
                continue;
            }
            let rests = tenure.is_resting_for(settings.resume_interval, now);
            let then = if (tenure.deadline.is_none() || planted!("finished-before-delivered"))
                && let Some(became) = tenure.finished()
            {
                Then::Finish { reader: tenure.stop_reading(), became }
            } else if tenure.is_drained(now) {
                tenure.grant.lose(); // out of time, or nobody holds a claim
                let patience = *tenure.calls.patience.get_or_insert_with(|| later(now, grace));
                Then::Release { reader: tenure.stop_reading(), regardless: patience <= now }
            } else if commit || tenure.calls.failures > 0 || tenure.became.is_some() || rests {
                Then::Keep
            } else {
                continue;
            };
            let progress = tenure.progress();
            let resume = match then {
                Then::Keep if rests => tenure.rests_at(),
                Then::Release { .. } => tenure.rests_at(),
                _ => None,
            };
            if progress.is_none() && resume.is_none() && matches!(then, Then::Keep) {
                continue;
            }
            tenure.calls.begin();
            let (partition, epoch) = (Arc::clone(&tenure.partition), tenure.epoch);
            jobs.push(Job { number, partition, epoch, progress, resume, then });
        }
        jobs.extend(self.next_trial(now, grace));
        jobs
    }

    /// When the next of what failed may be tried again.
    fn again(&self, now: std::time::Instant) -> Option<std::time::Instant> {
        self.iter().filter_map(|(_, tenure)| tenure.calls.again).filter(|again| *again > now).min()
    }

    /// When the next partition is due of which nothing was stored for so long. What is stored meanwhile makes it later, and
    /// what begins meanwhile is not due before.
    fn rest(&self, now: std::time::Instant, interval: Duration) -> std::time::Instant {
        let due = self.iter().filter_map(|(_, tenure)| Some(later(tenure.stored?, interval)));
        due.filter(|due| *due > now).min().unwrap_or_else(|| later(now, interval))
    }

    /// Whether something may have to be asked for at any moment, without anybody saying so.
    fn is_restless(&self) -> bool {
        self.is_on_trial() || self.iter().any(|(_, tenure)| tenure.deadline.is_some() || tenure.became.is_some())
    }

    fn called(&mut self, job: &Job, done: bool, now: std::time::Instant) {
        self.naming.take_if(|naming| *naming == job.number);
        if let Some(tenure) = self.of_job(job) {
            tenure.calls.end(done, now);
        }
    }

    /// The number that the tenure has now that a call was for: it may have begun again meanwhile.
    fn current(&self, job: &Job) -> Option<u32> {
        self.get(job.number).map(|_| job.number).or_else(|| self.find(&job.partition, job.epoch))
    }

    fn of_job(&mut self, job: &Job) -> Option<&mut Tenure> {
        let number = self.current(job)?;
        self.get_mut(number)
    }
}

/// Asks for all of it, for ever. Sleeps while there is nothing to ask for: an interval begins with the first progress that
/// is not stored, and what makes progress or work says so.
pub(super) async fn call(shared: &Shared) {
    let interval = shared.settings.commit_interval;
    let mut calls = FuturesUnordered::new();
    let mut commit = None;
    loop {
        let now = now();
        let is_time = commit.take_if(|commit| *commit <= now).is_some();
        let (jobs, let_out, wake) = {
            let mut tenures = shared.tenures();
            let let_out = tenures.let_out(now, shared.settings.grace);
            let jobs = tenures.jobs(now, is_time, &shared.settings);
            // What is being stored counts too: there may be more of it by the time that it is.
            if commit.is_none() && tenures.has_progress() {
                commit = Some(later(now, interval));
            }
            tenures.awaits_progress = commit.is_none();
            let beat = tenures.is_restless().then(|| later(now, BEAT));
            let rest = tenures.rest(now, shared.settings.resume_interval);
            (jobs, let_out, [commit, tenures.again(now), beat, Some(rest)].into_iter().flatten().min())
        };
        if let_out {
            shared.ready.notify_one();
        }
        calls.extend(jobs.into_iter().map(|job| make(shared, job)));
        let mut wake = std::pin::pin!(sleep_until(wake));
        loop {
            tokio::select! {
                Some((job, done)) = calls.next(), if !calls.is_empty() => {
                    shared.tenures().called(&job, done, self::now());
                    if !done {
                        break; // it says when it is tried again
                    }
                }
                () = &mut wake => break,
                () = shared.work.notified() => break,
            }
        }
    }
}

async fn sleep_until(wake: Option<std::time::Instant>) {
    match wake {
        Some(wake) => time::sleep_until(Instant::from_std(wake)).await,
        None => std::future::pending().await,
    }
}

/// Makes the calls of one job. Returns whether nothing is to be tried again.
async fn make(shared: &Shared, job: Job) -> (Job, bool) {
    let done = match job.then {
        Then::Keep => store(shared, &job).await == Stored::Done,
        Then::Name(ref suspect) => name(shared, &job, suspect).await,
        Then::Release { ref reader, regardless } => {
            let (stored, ()) = tokio::join!(store(shared, &job), end(reader.clone()));
            match stored {
                Stored::Lost => true,
                Stored::Failed if !regardless && !planted!("released-without-its-commit") => false,
                Stored::Failed | Stored::Done => release(shared, &job).await,
            }
        }
        Then::Finish { ref reader, ref became } => {
            let (stored, ()) = tokio::join!(store(shared, &job), end(reader.clone()));
            match stored {
                Stored::Lost => true,
                Stored::Failed => false,
                Stored::Done => finish(shared, &job, became.clone()).await,
            }
        }
    };
    (job, done)
}

async fn end(reader: Option<Ended>) {
    if let Some(reader) = reader {
        reader.wait().await;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    /// There was nothing to store, or it is stored.
    Done,
    Failed,
    /// The tenure is lost, and is none any more.
    Lost,
}

async fn store(shared: &Shared, job: &Job) -> Stored {
    let stored = commit(shared, job).await;
    match &job.resume {
        Some(start) if stored == Stored::Done => resume_at(shared, job, start).await,
        _ => stored,
    }
}

/// Stores where it is resumed at. What fails is tried again when it is next due: only a partition that is idle for as long
/// as its provider keeps records needs it.
async fn resume_at(shared: &Shared, job: &Job, start: &Start) -> Stored {
    match guard(|| shared.ownership.resume_at(&job.partition, job.epoch, start)).await {
        Ok(()) => {
            let mut tenures = shared.tenures();
            if let Some(tenure) = tenures.of_job(job) {
                (tenure.resumed, tenure.stored) = (Some(start.clone()), Some(now()));
            }
        }
        Err(error) if error.kind() == ErrorKind::Lost => {
            lose_of(shared, job);
            return Stored::Lost;
        }
        Err(error) => {
            failed(shared, "resume", error.kind());
            tracing::warn!(partition = %job.partition, %error, "where a partition is resumed at could not be stored");
            let mut tenures = shared.tenures();
            if let Some(tenure) = tenures.of_job(job) {
                tenure.stored = Some(now());
            }
        }
    }
    Stored::Done
}

/// The partition is somebody else's by now.
fn lose_of(shared: &Shared, job: &Job) {
    let number = shared.tenures().current(job);
    if let Some(number) = number {
        lose(shared, number);
    }
}

async fn commit(shared: &Shared, job: &Job) -> Stored {
    let Some(progress) = &job.progress else { return Stored::Done };
    let is_last = matches!(job.then, Then::Release { .. });
    if planted!("settled-and-not-stored") || (is_last && planted!("last-commit-left-out")) {
        return Stored::Done;
    }
    match guard(|| shared.ownership.commit(progress)).await {
        Ok(()) => {
            let mut tenures = shared.tenures();
            if let Some(number) = tenures.current(job) {
                tenures.committed(number, progress.position.clone(), now());
            }
            Stored::Done
        }
        Err(error) if error.kind() == ErrorKind::Lost => {
            lose_of(shared, job);
            Stored::Lost
        }
        Err(error) => {
            failed(shared, "commit", error.kind());
            tracing::warn!(partition = %job.partition, %error, "progress could not be committed, and is tried again");
            Stored::Failed
        }
    }
}

async fn name(shared: &Shared, job: &Job, suspect: &Suspect) -> bool {
    let settled = job.progress.as_ref().map(|progress| &progress.position);
    match guard(|| shared.ownership.suspect(&job.partition, job.epoch, settled, suspect)).await {
        Ok(()) => {
            shared.tenures().named(job.number, settled, now());
            shared.ready.notify_one();
            true
        }
        Err(error) if error.kind() == ErrorKind::Lost => {
            lose_of(shared, job);
            true
        }
        Err(error) => {
            failed(shared, "suspect", error.kind());
            tracing::warn!(partition = %job.partition, %error, "a message in quarantine could not be named, and waits");
            false
        }
    }
}

async fn release(shared: &Shared, job: &Job) -> bool {
    if let Err(error) = guard(|| shared.ownership.release(&job.partition, job.epoch)).await {
        failed(shared, "release", error.kind());
        if !is_gone(error.kind()) {
            tracing::warn!(partition = %job.partition, %error, "a partition could not be handed over, which is tried again");
            return false;
        }
    }
    over(shared, job);
    true
}

async fn finish(shared: &Shared, job: &Job, became: Became) -> bool {
    let is_unknown = became.is_unknown();
    if let Err(error) = guard(|| shared.ownership.finish(&job.partition, job.epoch, became)).await {
        failed(shared, "finish", error.kind());
        if !is_gone(error.kind()) {
            let mut tenures = shared.tenures();
            if let Some(tenure) = tenures.of_job(job) {
                tenure.doubted = is_unknown;
            }
            drop(tenures);
            tracing::warn!(partition = %job.partition, %error, "the end of a partition could not be stored, which is tried again");
            return false;
        }
    }
    over(shared, job);
    true
}

/// Whether nothing is left to be handed over.
fn is_gone(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Lost | ErrorKind::NotFound | ErrorKind::Closed)
}

fn over(shared: &Shared, job: &Job) {
    shared.tenures().end(job.number);
    shared.settings.observer.observe(Measure::Released(&job.partition));
}
