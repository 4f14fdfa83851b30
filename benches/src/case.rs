use std::{fmt, str::FromStr};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// The memory backend through the engines and the runtime.
    Strait(Strait),
    /// Something else, for scale.
    Peer(Peer),
}

/// One way through Strait. Its name is its parts, such as `e2e-log-keyed-batch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strait {
    /// How messages get in.
    pub way: Way,
    /// Into what.
    pub shape: Shape,
    /// Their keys. Where they have any, they are processed in their order.
    pub keys: Keys,
    /// How they are taken out.
    pub taking: Taking,
}

/// Which keys messages have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// None.
    None,
    /// One of 1,000.
    Thousand,
    /// Each its own.
    Unique,
}

/// How messages get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// They are all stored before: what is measured is receive, handler, ack.
    Stored,
    /// `Producer::send` in batches of 256, with at most 1,024 messages unread.
    Direct,
    /// `Sender::enqueue`, with at most 1,024 outcomes awaited and as many messages unread.
    EndToEnd,
}

/// Which shape of the memory backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Four partitions.
    Log,
    /// Leases.
    Queue,
}

/// How messages are taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taking {
    /// `recv`, `ack`.
    One,
    /// `recv_batch(256)`, `ack`.
    Batch,
    /// A `Worker` with `in_flight` 4.
    Pool,
}

/// What Strait is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// `tokio::sync::mpsc`, bounded to 1,024, one by one.
    Mpsc,
    /// The same with `recv_many(256)`.
    MpscMany,
    /// `kanal`'s bounded async channel.
    Kanal,
    /// `omniqueue` in memory. It copies the payload at the send and at the receive.
    Omniqueue,
    /// A `RustStream` service on its memory broker. It copies the payload at the publish.
    RustStream,
    /// The same with four workers.
    RustStreamPool,
    /// A `RustStream` service with everything published before.
    RustStreamStored,
    /// The same with four workers.
    RustStreamStoredPool,
}

impl Peer {
    const NAMES: [(&str, Self); 8] = [
        ("mpsc", Self::Mpsc),
        ("mpsc-many", Self::MpscMany),
        ("kanal", Self::Kanal),
        ("omniqueue", Self::Omniqueue),
        ("ruststream", Self::RustStream),
        ("ruststream-pool", Self::RustStreamPool),
        ("stored-ruststream", Self::RustStreamStored),
        ("stored-ruststream-pool", Self::RustStreamStoredPool),
    ];
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(peer) => {
                f.pad(Peer::NAMES.iter().find(|(_, other)| other == peer).map_or("?", |(name, _)| name))
            }
            Self::Strait(Strait { way, shape, keys, taking }) => {
                let way = match way {
                    Way::Stored => "stored-",
                    Way::Direct => "",
                    Way::EndToEnd => "e2e-",
                };
                let shape = if *shape == Shape::Log { "log" } else { "queue" };
                let keys = match keys {
                    Keys::None => "",
                    Keys::Thousand => "-keyed",
                    Keys::Unique => "-unique",
                };
                let taking = match taking {
                    Taking::One => "",
                    Taking::Batch => "-batch",
                    Taking::Pool => "-pool",
                };
                f.pad(&format!("{way}{shape}{keys}{taking}"))
            }
        }
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if let Some((_, peer)) = Peer::NAMES.iter().find(|(other, _)| *other == name) {
            return Ok(Self::Peer(*peer));
        }
        let mut case = Strait { way: Way::Direct, shape: Shape::Log, keys: Keys::None, taking: Taking::One };
        for part in name.split('-') {
            match part {
                "stored" => case.way = Way::Stored,
                "e2e" => case.way = Way::EndToEnd,
                "log" => case.shape = Shape::Log,
                "queue" => case.shape = Shape::Queue,
                "keyed" => case.keys = Keys::Thousand,
                "unique" => case.keys = Keys::Unique,
                "batch" => case.taking = Taking::Batch,
                "pool" => case.taking = Taking::Pool,
                _ => return Err(format!("{name}: there is no such case")),
            }
        }
        let case = Self::Strait(case);
        if case.to_string() == name { Ok(case) } else { Err(format!("{name}: is called {case}")) }
    }
}
