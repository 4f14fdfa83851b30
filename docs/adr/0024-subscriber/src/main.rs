//! What the official subscriber tells of a process that was frozen beyond its lease, and of an acknowledgement that is
//! lost on its way: `PUBSUB_EMULATOR_HOST=127.0.0.1:8085 cargo run`, about two minutes.

use std::{
    env,
    process::{self, Child, Command},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use google_cloud_auth::credentials::{Credentials, anonymous};
use google_cloud_pubsub::{
    client::{Publisher, Subscriber, SubscriptionAdmin, TopicAdmin},
    model::Message,
    subscriber::{MessageStream, handler::Handler},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

/// The shortest that Pub/Sub leases a message for.
const LEASE: Duration = Duration::from_secs(10);
/// The emulator can keep a message for a stream that is closed, for a minute or more.
const PATIENCE: Duration = Duration::from_secs(150);

#[tokio::main]
async fn main() -> Result<()> {
    if let Some(subscription) = env::args().nth(1) {
        return freeze(&subscription).await;
    }
    for exactly_once in [false, true] {
        frozen(exactly_once).await?;
        cut_off(exactly_once).await?;
    }
    Ok(())
}

/// A process gets a message and is frozen; another gets it; the first wakes up and acknowledges; the other gives back.
async fn frozen(exactly_once: bool) -> Result<()> {
    println!("\nfrozen beyond the lease, exactly once: {exactly_once}");
    let subscription = subscribed_with_one_message(exactly_once).await?;
    let mut frozen = Command::new(env::current_exe()?).arg(&subscription).spawn()?;
    sleep(Duration::from_secs(3)).await; // it is the only one, so that it gets the message
    let mut other = stream(&subscription, &emulator()?).await?;
    let handler = next(&mut other).await.context("the other process gets it")?;
    println!("  another process has it");
    signal(&frozen, "CONT")?;
    frozen.wait()?;
    drop(handler); // a message that is not acknowledged is refused
    comes_again(&mut other).await;
    Ok(())
}

/// The process that is frozen.
async fn freeze(subscription: &str) -> Result<()> {
    let mut stream = stream(subscription, &emulator()?).await?;
    let handler = next(&mut stream).await.context("the frozen process gets it")?;
    Command::new("kill").args(["-STOP", &process::id().to_string()]).status()?;
    acknowledge("  the frozen process wakes up:", handler).await;
    sleep(Duration::from_secs(3)).await; // what acknowledges in the background has had its time
    Ok(())
}

/// The wire breaks between a message and its acknowledgement.
async fn cut_off(exactly_once: bool) -> Result<()> {
    println!("\ncut off before the acknowledgement, exactly once: {exactly_once}");
    let subscription = subscribed_with_one_message(exactly_once).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (here, there) = (listener.local_addr()?.to_string(), emulator()?);
    let wire = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            let there = there.clone();
            connections
                .spawn(async move { copy_bidirectional(&mut client, &mut TcpStream::connect(there).await?).await });
        }
    });
    let mut first = stream(&subscription, &here).await?;
    let handler = next(&mut first).await.context("it arrives through the wire")?;
    wire.abort();
    let _ = wire.await; // cancelled: every connection is closed
    acknowledge("  acknowledged while cut off:", handler).await;
    sleep(Duration::from_secs(2)).await;
    drop(first);
    comes_again(&mut stream(&subscription, &emulator()?).await?).await;
    Ok(())
}

async fn acknowledge(who: &str, handler: Handler) {
    match handler {
        Handler::ExactlyOnce(handler) => match timeout(PATIENCE, handler.confirmed_ack()).await {
            Ok(Ok(())) => println!("{who} confirmed_ack() = Ok"),
            Ok(Err(_)) => println!("{who} confirmed_ack() = Err"),
            Err(_) => println!("{who} confirmed_ack() does not return"),
        },
        handler => {
            let () = handler.ack();
            println!("{who} ack() = ()");
        }
    }
}

async fn comes_again(stream: &mut MessageStream) {
    let began = Instant::now();
    match next(stream).await {
        Some(handler) => {
            println!("  it comes again after {:.0?}: it was not settled", began.elapsed());
            acknowledge("  settled at last:", handler).await;
        }
        None => println!("  it does not come again: it was settled"),
    }
}

async fn next(stream: &mut MessageStream) -> Option<Handler> {
    let (_, handler) = timeout(PATIENCE, stream.next()).await.ok()??.ok()?;
    Some(handler)
}

async fn stream(subscription: &str, address: &str) -> Result<MessageStream> {
    let builder = Subscriber::builder().with_endpoint(format!("http://{address}")).with_credentials(nobody());
    Ok(builder.build().await?.subscribe(subscription).set_max_lease_extension(LEASE).build())
}

async fn subscribed_with_one_message(exactly_once: bool) -> Result<String> {
    let (now, endpoint) =
        (SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros(), format!("http://{}", emulator()?));
    let (topic, subscription) = (format!("projects/demo/topics/t{now}"), format!("projects/demo/subscriptions/s{now}"));
    let topics = TopicAdmin::builder().with_endpoint(&endpoint).with_credentials(nobody()).build().await?;
    topics.create_topic().set_name(&topic).send().await?;
    let admin = SubscriptionAdmin::builder().with_endpoint(&endpoint).with_credentials(nobody()).build().await?;
    let create = admin.create_subscription().set_name(&subscription).set_topic(&topic).set_ack_deadline_seconds(10);
    create.set_enable_exactly_once_delivery(exactly_once).send().await?;
    let publisher = Publisher::builder(&topic).with_endpoint(&endpoint).with_credentials(nobody()).build().await?;
    publisher.publish(Message::new().set_data("m")).await?;
    Ok(subscription)
}

fn emulator() -> Result<String> {
    env::var("PUBSUB_EMULATOR_HOST").context("PUBSUB_EMULATOR_HOST is not set")
}

fn nobody() -> Credentials {
    anonymous::Builder::new().build()
}

fn signal(process: &Child, name: &str) -> Result<()> {
    Command::new("kill").args([&format!("-{name}"), &process.id().to_string()]).status()?;
    Ok(())
}
