/// Who chooses the partition of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Routing {
    /// The producer, by the hash of the service: messages of all keys of a partition share a request. The order of a key holds
    /// while the hub has as many partitions.
    #[default]
    Partition,
    /// The service: a request has messages of one key. For hubs that others send to who may choose otherwise.
    Service,
}
