use std::fmt;

/// What the permission is called that a call needs: people grant it by this name.
pub(crate) mod permission {
    pub(crate) const PUBLISH: &str = "pubsub.topics.publish";
    /// To pull, to settle, to extend leases, and to seek.
    pub(crate) const CONSUME: &str = "pubsub.subscriptions.consume";
    pub(crate) const GET_TOPIC: &str = "pubsub.topics.get";
    pub(crate) const GET_SUBSCRIPTION: &str = "pubsub.subscriptions.get";
    pub(crate) const CREATE_TOPIC: &str = "pubsub.topics.create";
    /// And `pubsub.topics.attachSubscription` on the topic: the service says which of the two is missing.
    pub(crate) const CREATE_SUBSCRIPTION: &str = "pubsub.subscriptions.create";
}

/// A call, as errors name it: `pubsub: cannot publish to "orders"`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation<'a> {
    /// What is asked for, before the name: `publish to`.
    pub(crate) asks: &'static str,
    /// The short name of the topic or the subscription.
    pub(crate) name: &'a str,
    /// Host and port of the service.
    pub(crate) host: &'a str,
    /// The permission that it needs.
    pub(crate) permission: &'static str,
}

impl fmt::Display for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pubsub: cannot {} {:?}", self.asks, self.name)
    }
}
