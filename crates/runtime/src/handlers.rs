//! Handlers of what an application works on, for [`Worker::run`](crate::Worker::run): its values, and shared state.

#[cfg(feature = "json")]
use std::future::{Ready, ready};

#[cfg(feature = "json")]
use futures_util::future::Either;
#[cfg(feature = "json")]
use serde::de::DeserializeOwned;

use crate::{Context, Delivery, Failure};

/// A handler that gets a clone of `state` with each delivery: an [`Arc`](std::sync::Arc), a pool of connections, a sender.
///
/// ```
/// use std::sync::Arc;
///
/// use strait_runtime::{Delivery, Failure, Worker, with};
/// # struct Database;
/// # impl Database { async fn store(&self, _: &[u8]) -> std::io::Result<()> { Ok(()) } }
///
/// async fn store(delivery: Delivery, database: Arc<Database>) -> Result<(), Failure> {
///     database.store(&delivery.message().payload).await?;
///     Ok(())
/// }
///
/// # async fn example(worker: Worker, database: Arc<Database>) -> strait_core::Result<()> {
/// worker.run(with(database, store)).await
/// # }
/// ```
pub fn with<S, H, F>(state: S, handler: H) -> impl Fn(Delivery, Context) -> F + Send + Sync + 'static
where
    S: Clone + Send + Sync + 'static,
    H: Fn(Delivery, S) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    move |delivery, _| handler(delivery, state.clone())
}

/// A handler of values: the payload, read as JSON. What does not decode goes to the dead letters, with its bytes as they
/// are.
///
/// ```
/// use strait_runtime::{Failure, Worker, json};
///
/// #[derive(serde::Deserialize)]
/// struct Order {
///     id: u64,
/// }
///
/// async fn bill(order: Order) -> Result<(), Failure> {
///     println!("order {}", order.id);
///     Ok(())
/// }
///
/// # async fn example(worker: Worker) -> strait_core::Result<()> {
/// worker.run(json(bill)).await
/// # }
/// ```
#[cfg(feature = "json")]
pub fn json<T, H, F>(handler: H) -> impl Fn(Delivery, Context) -> Decoded<F> + Send + Sync + 'static
where
    T: DeserializeOwned,
    H: Fn(T) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    move |delivery, _| decoded(&delivery, &handler)
}

/// As [`json`], with a clone of `state` for each value, as [`with`] has it.
///
/// ```
/// # use std::sync::Arc;
/// # use strait_runtime::{Failure, Worker, json_with};
/// # #[derive(serde::Deserialize)]
/// # struct Order;
/// # struct Database;
/// # impl Database { async fn insert(&self, _: Order) -> std::io::Result<()> { Ok(()) } }
/// async fn store(order: Order, database: Arc<Database>) -> Result<(), Failure> {
///     Ok(database.insert(order).await?)
/// }
///
/// # async fn example(worker: Worker, database: Arc<Database>) -> strait_core::Result<()> {
/// worker.run(json_with(database, store)).await
/// # }
/// ```
#[cfg(feature = "json")]
pub fn json_with<T, S, H, F>(state: S, handler: H) -> impl Fn(Delivery, Context) -> Decoded<F> + Send + Sync + 'static
where
    T: DeserializeOwned,
    S: Clone + Send + Sync + 'static,
    H: Fn(T, S) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    move |delivery, _| decoded(&delivery, |value| handler(value, state.clone()))
}

/// The future of a handler of values, or why there is no value.
#[cfg(feature = "json")]
type Decoded<F> = Either<Ready<Result<(), Failure>>, F>;

#[cfg(feature = "json")]
fn decoded<T: DeserializeOwned, F>(delivery: &Delivery, handler: impl Fn(T) -> F) -> Decoded<F> {
    match delivery.json() {
        Ok(value) => Either::Right(handler(value)),
        Err(failure) => Either::Left(ready(Err(failure))),
    }
}
