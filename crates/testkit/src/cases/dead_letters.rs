//! What fails for good.

use std::{collections::HashSet, sync::Arc};

use strait_core::{ErrorKind, Message, reserved};
use strait_runtime::{
    Backoff, DeadLetter, Json, Oversize, Receiver, ReceiverSettings, Retry, Sender, SenderSettings, State,
};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    Capabilities, FOREIGN, Fault, Faults, FaultyProducer, GROUP, Join, Needs, Rig, Site,
    stage::{Open, PATIENCE, Stage, expect, key, message, next, nothing, secs, take, text, until},
};

/// A channel, and one for what fails of it.
struct Both {
    stage: Stage,
    dead: Stage,
}

impl Both {
    async fn new(rig: &dyn Rig) -> Self {
        let stage = Stage::new(rig).await;
        let bytes = stage.channel.producer().limits().message_bytes;
        let needs = Needs { message_bytes: Some(bytes + 4096), ..Needs::default() };
        Self { stage, dead: Stage::with(rig, needs).await }
    }

    fn can(&self) -> Capabilities {
        self.stage.can
    }

    /// Receives, and buries by `producer`.
    async fn open(&self, change: impl FnOnce(&mut ReceiverSettings)) -> Open {
        let sender = self.dead.sender();
        self.stage
            .open_with(|settings| {
                settings.dead_letter = DeadLetter::Channel(sender);
                settings.oversize = Oversize::Truncate;
                settings.retry = Retry::new(3, Backoff::new(secs(1), secs(4)));
                change(settings);
            })
            .await
    }

    fn faulty(&self, faults: &Faults) -> Sender {
        let producer = FaultyProducer::new(self.dead.channel.producer(), faults.clone());
        let mut settings = SenderSettings::default();
        settings.deadline = secs(2);
        Sender::new(producer, settings).unwrap()
    }
}

/// A message that fails each batch that it is in becomes a dead letter, and none of its neighbours does: when a batch fails
/// as a whole, its messages are tried alone.
pub async fn c37_a_batch_that_fails_buries_no_neighbours(rig: &dyn Rig) {
    let both = Both::new(rig).await;
    let open = both.open(|settings| settings.retry.attempts = 2).await;
    let keys = ["a", "b", "c", "d", "e"];
    both.stage.send((0..20).map(|number| message(keys[number % 5], number))).await;
    until("some are there", || open.member.meter.counts().received >= 5).await;
    let (mut done, mut failures) = (Vec::new(), 0);
    while done.len() < 19 || failures < 2 {
        let batch = timeout(PATIENCE, open.recv_batch(5)).await.expect("the rest comes").unwrap().unwrap();
        let texts: Vec<_> = batch.messages().map(text).collect();
        if texts.iter().any(|text| text == "c7") {
            failures += 1;
            assert!(failures < 2 || texts.len() == 1, "{texts:?}");
            drop(batch);
        } else {
            done.extend(texts);
            batch.ack();
        }
    }
    let dead = both.dead.open().await;
    assert_eq!(take(&dead, 1).await, ["c7"]);
    both.stage.settled().await;
    assert_eq!(open.member.meter.counts().dead_lettered, 1);
}

/// Attempts are counted on after a long pause, wherever the message waited: each is tried as often as it may be, and no
/// more.
pub async fn c39_attempts_are_counted_on_after_long_pauses(rig: &dyn Rig) {
    let both = Both::new(rig).await;
    let (pause, attempts) = (both.can().long_pause(), if both.can().paused { 4 } else { 2 });
    let open = both.open(|settings| settings.retry.attempts = attempts).await;
    both.stage.send([message("a", 1), message("b", 1)]).await;
    for attempt in 1..=attempts {
        for _ in 0..2 {
            let delivery = next(&open).await;
            assert_eq!(delivery.attempt(), attempt, "of {}", text(delivery.message()));
            delivery.retry_after("not yet", pause);
        }
        if attempt < attempts {
            sleep(pause).await;
        }
    }
    let dead = both.dead.open().await;
    let mut letters = take(&dead, 2).await;
    letters.sort();
    assert_eq!(letters, ["a1", "b1"]);
    both.stage.settled().await;
}

/// After its last attempt a message goes to the dead letters, with the reason and where it came from, and nothing else
/// waits for it longer than its attempts take.
pub async fn c39_after_the_last_attempt_to_the_dead_letters(rig: &dyn Rig) {
    let both = Both::new(rig).await;
    let open = both.open(|_| {}).await;
    let doomed = message("a", 1).with_header("content-type", "text/plain");
    both.stage.send([doomed.clone(), message("b", 1), message("a", 2)]).await;
    let (mut attempts, mut others, mut source) = (0, Vec::new(), None);
    while attempts < 3 || others.len() < 2 {
        let delivery = next(&open).await;
        if text(delivery.message()) == "a1" {
            attempts += 1;
            assert!(attempts <= 3, "an attempt too many");
            source = Some((delivery.message().id, delivery.origin().position().to_string()));
            delivery.retry("card declined");
        } else {
            others.push(text(delivery.message()));
            delivery.ack();
        }
    }
    let (id, position) = source.unwrap();
    let dead = both.dead.open().await;
    let letter = next(&dead).await;
    let message = letter.message();
    assert_eq!((text(message), message.id, &message.key), ("a1".into(), id, &doomed.key));
    let header = |name| message.headers.get_str(name);
    assert_eq!(header("content-type"), Some("text/plain"));
    assert_eq!(header(reserved::REASON), Some("card declined"));
    assert_eq!(header(reserved::ATTEMPTS), Some("3"));
    assert_eq!(header(reserved::POSITION), Some(position.as_str()));
    let guarantees = open.guarantees();
    assert_eq!(header(reserved::SOURCE), Some(format!("{}:{}", guarantees.provider, guarantees.source).as_str()));
    assert_eq!(header(reserved::PARTITION).is_some(), both.can().is_log());
    letter.ack();
    nothing(&dead, both.can().watch(secs(60))).await;
    nothing(&open, both.can().watch(secs(60))).await;
    assert_eq!(open.member.meter.counts().dead_lettered, 1);
    both.stage.settled().await;
}

/// What is rejected goes there at once. A dead letter that is not stored loses nothing: it is tried again, across
/// processes too.
pub async fn c39_a_dead_letter_that_is_not_stored_loses_nothing(rig: &dyn Rig) {
    let both = Both::new(rig).await;
    let faults = Faults::scripted();
    let sender = both.faulty(&faults);
    let open = both.open(|settings| settings.dead_letter = DeadLetter::Channel(sender)).await;
    faults.always(Site::Send, Fault::Fail(ErrorKind::Unavailable));
    both.stage.send([message("a", 1)]).await;
    expect(&open, "a1").await.reject("bad");
    until("it was tried", || open.member.meter.counts().failures.contains_key("bury")).await;
    both.stage.left(1).await;
    open.member.kill();
    drop(open);
    let sender = both.faulty(&faults);
    let open = both.open(|settings| settings.dead_letter = DeadLetter::Channel(sender)).await;
    expect(&open, "a1").await.reject("bad");
    until("it was tried", || open.member.meter.counts().failures.contains_key("bury")).await;
    both.stage.left(1).await;
    faults.heal();
    let dead = both.dead.open().await;
    expect(&dead, "a1").await.ack();
    both.stage.settled().await;
    assert_eq!(open.member.meter.counts().dead_lettered, 1);
}

/// What does not decode goes to the dead letters at once, with its bytes as they are, and the stream goes on.
pub async fn c38_what_does_not_decode_is_kept_as_it_is(rig: &dyn Rig) {
    let both = Both::new(rig).await;
    let open = both.open(|_| {}).await;
    let broken: &[u8] = b"\xff{\"n\": \0";
    let sent = [Message::json(&1).unwrap(), Message::new(broken), Message::json(&2).unwrap()];
    both.stage.send(sent.map(|message| message.with_key(key("a")))).await;
    let mut read = Vec::new();
    let mut rejected = 0;
    while read.len() < 2 || rejected < 1 {
        let delivery = next(&open).await;
        match delivery.json::<u32>() {
            Ok(number) => {
                read.push(number);
                delivery.ack();
            }
            Err(failure) => {
                rejected += 1;
                delivery.fail(failure);
            }
        }
    }
    read.sort_unstable();
    assert_eq!(read, [1, 2]);
    let dead = both.dead.open().await;
    let letter = next(&dead).await;
    assert_eq!(letter.message().payload, broken);
    assert_eq!(letter.message().headers.get_str(reserved::ATTEMPTS), Some("1"), "it is not tried again");
    letter.ack();
    both.stage.settled().await;
}

/// Without a channel for dead letters it is as policy says: discarded and counted, or kept and visible. Never silent.
pub async fn c41_without_dead_letters_as_policy_says(rig: &dyn Rig) {
    let both = Both::new(rig).await;
    let retry = Retry::new(2, Backoff::new(secs(1), secs(10)));
    let discards = both.stage.open_with(|settings| {
        settings.dead_letter = DeadLetter::Discard;
        settings.retry = retry;
    });
    let open = discards.await;
    both.stage.send([message("a", 1)]).await;
    for _ in 0..2 {
        expect(&open, "a1").await.retry("no");
    }
    both.stage.settled().await;
    assert_eq!(open.member.meter.counts().dead_lettered, 1);
    open.close().await.unwrap();

    let open = both.stage.open_with(|settings| settings.retry = retry).await;
    both.stage.send([message("a", 2), message("b", 1)]).await;
    let mut attempts = 0;
    while attempts < 6 {
        let delivery = next(&open).await;
        if text(delivery.message()) == "a2" {
            attempts += 1;
            delivery.retry("no");
        } else {
            delivery.ack();
        }
    }
    until("it is seen", || open.health().state == State::Degraded).await;
    let counts = open.health().counts;
    assert_eq!((counts.stalled, counts.dead_lettered), (1, 0));
    expect(&open, "a2").await.ack();
    both.stage.settled().await;
    assert_eq!((open.health().state, open.health().counts.stalled), (State::Up, 0));
}

/// A dead letter that is refused for good stalls its key, visibly; others go on, and a close does not wait for it.
pub async fn c83_a_refused_dead_letter_stalls_visibly(rig: &dyn Rig) {
    let both = Both::new(rig).await;
    let faults = Faults::scripted();
    faults.always(Site::Send, Fault::Fail(ErrorKind::Invalid));
    let sender = both.faulty(&faults);
    let change = |settings: &mut ReceiverSettings| {
        settings.dead_letter = DeadLetter::Channel(sender);
        settings.drain = secs(10);
        settings.retry = Retry::new(3, Backoff::new(secs(1), secs(60)));
    };
    let open = both.open(change).await;
    both.stage.send([message("a", 1)]).await;
    expect(&open, "a1").await.reject("bad");
    until("it stalls", || open.health().counts.stalled == 1).await;
    assert_eq!(open.health().state, State::Degraded);
    both.stage.send([message("b", 1)]).await;
    expect(&open, "b1").await.ack();
    nothing(&open, both.can().watch(secs(60))).await;
    let start = Instant::now();
    timeout(secs(40), open.close()).await.expect("it does not wait for ever").unwrap();
    assert!(start.elapsed() <= secs(5) + both.can().slack(), "{:?}", start.elapsed());
    let next = both.open(|_| {}).await;
    expect(&next, "a1").await.ack();
    both.stage.settle_rest(&next).await;
}

/// A dead letter that its channel cannot hold is cut off where that is allowed, and says how long it was. Otherwise it is
/// refused, and nothing smaller is.
pub async fn c83_an_oversize_dead_letter_is_cut_off_where_that_is_allowed(rig: &dyn Rig) {
    let both = Both::new(rig).await;
    let dead = Stage::new(rig).await; // no larger than its source: a message of the largest size does not fit
    let sender = dead.sender();
    let bytes = sender.limits().message_bytes - 100; // so little is not enough for why it is dead
    let large = Message::new(vec![7; bytes]).with_key(key("a"));

    let to = |oversize| {
        let sender = sender.clone();
        move |settings: &mut ReceiverSettings| {
            (settings.dead_letter, settings.oversize) = (DeadLetter::Channel(sender), oversize);
        }
    };
    let whole = both.stage.open_with(to(Oversize::Refuse)).await;
    both.stage.send([message("b", 1), large]).await;
    for _ in 0..2 {
        next(&whole).await.reject("r".repeat(700));
    }
    let buried = dead.open().await;
    expect(&buried, "b1").await.ack();
    until("it stalls", || whole.health().counts.stalled == 1).await;
    nothing(&buried, both.can().watch(secs(60))).await;
    whole.close().await.unwrap();

    let cut = both.stage.open_with(to(Oversize::Truncate)).await;
    next(&cut).await.reject("r".repeat(700));
    let letter = next(&buried).await;
    let message = letter.message();
    assert!(message.payload.len() < bytes && message.payload.len() > bytes - 8192);
    assert_eq!(message.headers.get_str(reserved::TRUNCATED), Some(bytes.to_string().as_str()));
    letter.ack();
    both.stage.settled().await;
}

/// What a channel cannot carry of a message is left out of its dead letter, which is stored all the same: what may be
/// received is wider than what may be sent.
pub async fn c83_what_may_be_received_has_a_dead_letter(rig: &dyn Rig) {
    let both = Both::new(rig).await;
    let open = both.open(|_| {}).await;
    both.stage.channel.send_foreign().await.unwrap();
    expect(&open, FOREIGN).await.reject("of somebody else");
    let dead = both.dead.open().await;
    let letter = expect(&dead, FOREIGN).await;
    let header = |name| letter.message().headers.get_str(name);
    assert_eq!((header(reserved::REASON), header("strait-foreign")), (Some("of somebody else"), None));
    assert!(header(reserved::LEFT_OUT).is_some_and(|list| list.contains("strait-foreign")), "and it says so");
    letter.ack();
    both.stage.settled().await;
    // The same of what is sent on.
    both.stage.channel.send_foreign().await.unwrap();
    if both.can().dedup.is_none() {
        let delivery = expect(&open, FOREIGN).await;
        both.dead.sender().send(delivery.forward()).await.unwrap();
        delivery.ack();
        expect(&dead, FOREIGN).await.ack();
    }
    both.stage.settled().await;
}

/// Dead letters that would lead back to where their receiver receives from are refused when it opens.
pub async fn c39_dead_letters_do_not_lead_to_their_source(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let member = stage.member().await;
    let mut settings = ReceiverSettings::new(DeadLetter::Channel(stage.sender()));
    settings.oversize = Oversize::Truncate;
    if member.consumer.guarantees().fed_by.iter().any(|place| stage.channel.producer().destinations().contains(place)) {
        let refused = Receiver::new(Arc::clone(&member.consumer), settings).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
        assert!(refused.to_string().contains("dead_letter: leads back to"), "{refused}");
    } else {
        assert!(!stage.can.receipts, "only behind a topic the provider may not tell");
    }
    member.consumer.close().await.unwrap();
}

/// Dead letters that lead in a circle end: what has died too often is not buried again, and stalls visibly.
pub async fn c39_dead_letters_in_a_circle_end(rig: &dyn Rig) {
    let (one, other) = (Stage::new(rig).await, Stage::new(rig).await);
    let to = |stage: &Stage| {
        let sender = stage.sender();
        move |settings: &mut ReceiverSettings| {
            (settings.dead_letter, settings.oversize) = (DeadLetter::Channel(sender), Oversize::Truncate);
        }
    };
    let both = [one.open_with(to(&other)).await, other.open_with(to(&one)).await];
    one.send([message("a", 1)]).await;
    let mut deaths = 0;
    for receiver in both.iter().cycle() {
        expect(receiver, "a1").await.reject("nobody wants it");
        deaths += 1;
        let buried = |open: &Open| open.health().counts.dead_lettered;
        let stalled = || both.iter().any(|open| open.health().counts.stalled > 0);
        until("it is buried, or not any more", || stalled() || both.iter().map(buried).sum::<u64>() == deaths).await;
        if stalled() {
            break;
        }
        assert!(deaths < 100, "it goes on and on");
    }
    assert!(deaths > 3, "chains of a few are fine: {deaths}");
    for open in both {
        open.close().await.unwrap();
    }
}

/// Of a message that several groups cannot process there is a dead letter of each, also where messages of one id are
/// stored once: what they are told apart by is the same only for the same death.
pub async fn c85_each_group_has_its_own_dead_letter(rig: &dyn Rig) {
    let groups = vec![GROUP, "other"];
    let stage = Stage::with(rig, Needs { groups: groups.clone(), ..Needs::default() }).await;
    let bytes = stage.channel.producer().limits().message_bytes;
    let needs = Needs { message_bytes: Some(bytes + 4096), ..Needs::default() };
    let dead = Stage::with(rig, needs).await;
    let mut open = Vec::new();
    for group in groups {
        let sender = dead.sender();
        let change = |settings: &mut ReceiverSettings| {
            (settings.dead_letter, settings.oversize) = (DeadLetter::Channel(sender), Oversize::Truncate);
        };
        open.push(stage.open_as(Join::group(group), change).await);
    }
    stage.send([message("a", 1), message("b", 1)]).await;
    for group in &open {
        for _ in 0..2 {
            next(group).await.reject("not for us");
        }
    }
    let buried = dead.open().await;
    let (mut names, mut letters) = (Vec::new(), HashSet::new());
    for _ in 0..4 {
        let letter = next(&buried).await;
        names.push(text(letter.message()));
        letters.insert(letter.message().dedup_id());
        letter.ack();
    }
    names.sort();
    assert_eq!((names, letters.len()), (["a1", "a1", "b1", "b1"].map(str::to_owned).to_vec(), 4));
    nothing(&buried, secs(5)).await;
    for group in open {
        group.close().await.unwrap();
    }
}

/// What is forwarded or sent again from the dead letters is stored, also where messages of one id are stored once.
pub async fn c85_what_is_redriven_or_forwarded_is_stored(rig: &dyn Rig) {
    let both = Both::new(rig).await;
    let open = both.open(|_| {}).await;
    let sender = both.stage.sender();
    both.stage.send([message("a", 1).with_header("content-type", "text/plain")]).await;
    let dead = both.dead.open().await;
    let mut original = None;
    for round in 0..3 {
        let delivery = expect(&open, "a1").await;
        let received = delivery.message().clone();
        assert_eq!(received.redrives(), round);
        assert_eq!(received.headers.get_str("content-type"), Some("text/plain"));
        assert!(received.headers.get(reserved::REASON).is_none());
        let original = original.get_or_insert(received.id);
        assert_eq!((*original, &received.key), (received.id, &Some(key("a"))));
        delivery.reject("not today");
        let letter = next(&dead).await;
        sender.send(letter.message().redrive()).await.unwrap();
        letter.ack();
    }
    let delivery = expect(&open, "a1").await;
    for _ in 0..2 {
        sender.send(delivery.forward()).await.unwrap();
    }
    delivery.ack();
    assert_eq!(take(&open, 2).await, ["a1", "a1"]);

    // The same id once more: once where that is declared, else twice.
    let id = strait_core::Id::from_bytes([5; 16]);
    for _ in 0..2 {
        sender.send(message("b", 1).with_id(id)).await.unwrap();
    }
    expect(&open, "b1").await.ack();
    if both.can().dedup.is_none() {
        expect(&open, "b1").await.ack();
    }
    nothing(&open, secs(5)).await;
    both.stage.settled().await;
}
