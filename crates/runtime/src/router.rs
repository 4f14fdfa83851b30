use std::{collections::HashMap, fmt, sync::Arc};

use futures_util::{FutureExt as _, future::BoxFuture};
use strait_core::Message;

use crate::{Context, Delivery, Failure};

/// Which handler a message goes to.
///
/// First the conditions of [`when`](Self::when), in their order; then the handler of the message's route, which is a header,
/// a place in its JSON or what a closure says; then [`otherwise`](Self::otherwise), which every router needs.
///
/// ```
/// use strait_runtime::{Failure, Router, Worker, json};
///
/// #[derive(serde::Deserialize)]
/// struct Order {
///     id: u64,
/// }
///
/// async fn charge(order: Order) -> Result<(), Failure> {
///     println!("charge order {}", order.id);
///     Ok(())
/// }
///
/// async fn refund(order: Order) -> Result<(), Failure> {
///     println!("refund order {}", order.id);
///     Ok(())
/// }
///
/// # async fn example(worker: Worker) -> strait_core::Result<()> {
/// let router = Router::by_header("type").on("order.placed", json(charge)).on("order.cancelled", json(refund));
/// worker.run(router.otherwise_reject()).await
/// # }
/// ```
pub struct Router {
    route: Route,
    conditions: Vec<(Condition, Handler)>,
    routes: HashMap<String, Handler>,
}

type Handler = Arc<dyn Fn(Delivery, Context) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync>;
type Route = Box<dyn Fn(&Message) -> Option<String> + Send + Sync>;
type Condition = Box<dyn Fn(&Message) -> bool + Send + Sync>;

fn boxed<H, F>(handler: H) -> Handler
where
    H: Fn(Delivery, Context) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    Arc::new(move |delivery, context| handler(delivery, context).boxed())
}

impl Router {
    /// Routes by what `route` says of a message; `None` goes to [`otherwise`](Self::otherwise).
    pub fn by(route: impl Fn(&Message) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { route: Box::new(route), conditions: Vec::new(), routes: HashMap::new() }
    }

    /// Routes by the header `name`, if it is a text.
    pub fn by_header(name: impl Into<String>) -> Self {
        let name = name.into();
        Self::by(move |message| message.headers.get_str(&name).map(str::to_owned))
    }

    /// Routes by the text at a JSON pointer ([RFC 6901](https://www.rfc-editor.org/rfc/rfc6901)) in the payload, such as
    /// `/event/type`. A payload that is no JSON, or has no text there, goes to [`otherwise`](Self::otherwise).
    #[cfg(feature = "json")]
    pub fn by_json(pointer: impl Into<String>) -> Self {
        let pointer = pointer.into();
        Self::by(move |message| {
            let payload: serde_json::Value = serde_json::from_slice(&message.payload).ok()?;
            payload.pointer(&pointer)?.as_str().map(str::to_owned)
        })
    }

    /// Handles messages of `route`. A later handler of the same route replaces the earlier.
    pub fn on<H, F>(mut self, route: impl Into<String>, handler: H) -> Self
    where
        H: Fn(Delivery, Context) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.routes.insert(route.into(), boxed(handler));
        self
    }

    /// Handles messages of which `condition` holds, whatever their route. The first that holds counts.
    pub fn when<H, F>(mut self, condition: impl Fn(&Message) -> bool + Send + Sync + 'static, handler: H) -> Self
    where
        H: Fn(Delivery, Context) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.conditions.push((Box::new(condition), boxed(handler)));
        self
    }

    /// The handler for [`Worker::run`](crate::Worker::run); what has no other goes to `handler`.
    pub fn otherwise<H, F>(
        self,
        handler: H,
    ) -> impl Fn(Delivery, Context) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync + 'static
    where
        H: Fn(Delivery, Context) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let otherwise = boxed(handler);
        move |delivery, context| {
            let handler = self.handler(delivery.message()).unwrap_or(&otherwise);
            handler(delivery, context)
        }
    }

    /// As [`otherwise`](Self::otherwise); what has no handler goes to the dead letters.
    pub fn otherwise_reject(
        self,
    ) -> impl Fn(Delivery, Context) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync + 'static {
        self.otherwise(|_, _| async { Err(Failure::reject("no route has a handler for this message")) })
    }

    /// As [`otherwise`](Self::otherwise); what has no handler is acknowledged.
    pub fn otherwise_ignore(
        self,
    ) -> impl Fn(Delivery, Context) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync + 'static {
        self.otherwise(|_, _| async { Ok(()) })
    }

    fn handler(&self, message: &Message) -> Option<&Handler> {
        let condition = self.conditions.iter().find(|(condition, _)| condition(message)).map(|(_, handler)| handler);
        condition.or_else(|| self.routes.get(&(self.route)(message)?))
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("routes", &self.routes.keys())
            .field("conditions", &self.conditions.len())
            .finish_non_exhaustive()
    }
}
