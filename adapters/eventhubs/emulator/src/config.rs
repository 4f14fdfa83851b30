use std::{
    collections::BTreeMap,
    fmt, fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{
    clock::Clock,
    hub::{HubSettings, Retention},
};

/// The name and the value of the default shared access key. It is no secret.
pub const DEFAULT_KEY: (&str, &str) = ("RootManageSharedAccessKey", "SAS_KEY_VALUE");

/// The settings of an emulator. By default it has no hub and listens on a free port of 127.0.0.1.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address that AMQP is served at. Without TLS it must be a loopback address, unless `plaintext_anywhere` is set.
    pub listen: SocketAddr,
    /// Allows plaintext at addresses that are not loopback. Off by default.
    pub plaintext_anywhere: bool,
    /// The address of the HTTP control port, which injects faults. Off by default.
    pub control: Option<SocketAddr>,
    /// The certificate and the private key of TLS. Plaintext by default.
    pub tls: Option<Tls>,
    /// The hubs that exist from the start.
    pub hubs: Vec<HubSettings>,
    /// The keys and tokens that are accepted.
    pub access: Access,
    /// When idle links and connections are closed.
    pub idle: Idle,
    /// The largest message in bytes, 1 MiB by default.
    pub largest_message: u64,
    /// How much each hub accepts in a second.
    pub quota: Quota,
    /// The clock: the machine's by default.
    pub clock: Clock,
}

/// The files of TLS.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The chain of certificates, in PEM.
    pub certificate: PathBuf,
    /// The private key, in PEM.
    pub key: PathBuf,
}

/// The keys and tokens that are accepted.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// Shared access keys by their names. By default [`DEFAULT_KEY`].
    pub keys: BTreeMap<String, String>,
    /// Accepts any JWT that has not expired; its signature is not verified. On by default.
    pub jwt: bool,
    /// Lets clients in without a token. Off by default.
    pub open: bool,
}

impl Default for Access {
    fn default() -> Self {
        let (name, value) = DEFAULT_KEY;
        Self { keys: BTreeMap::from([(name.to_owned(), value.to_owned())]), jwt: true, open: false }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.keys.keys().collect();
        f.debug_struct("Access").field("keys", &names).field("jwt", &self.jwt).field("open", &self.open).finish()
    }
}

/// When idle links and connections are closed, as by the service.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Idle {
    /// How long a sender link may be without a message: 30 minutes by default.
    #[serde(deserialize_with = "duration")]
    pub sender: Duration,
    /// How long a connection may be without links after its last one: 5 minutes by default.
    #[serde(deserialize_with = "duration")]
    pub connection: Duration,
    /// How long a new connection may be without a first link: a minute by default.
    #[serde(deserialize_with = "duration")]
    pub first_link: Duration,
}

impl Default for Idle {
    fn default() -> Self {
        let minutes = Duration::from_mins;
        Self { sender: minutes(30), connection: minutes(5), first_link: minutes(1) }
    }
}

/// How much a hub accepts in a second; requests above it are rejected as server-busy. Unlimited by default.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Events per second.
    pub events: Option<u32>,
    /// Bytes per second.
    pub bytes: Option<u32>,
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub(crate) String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            plaintext_anywhere: false,
            control: None,
            tls: None,
            hubs: Vec::new(),
            access: Access::default(),
            idle: Idle::default(),
            largest_message: 1 << 20,
            quota: Quota::default(),
            clock: Clock::system(),
        }
    }
}

impl ConfigError {
    /// Names the line and what is expected there: the error's own text shows values, which may be keys.
    fn without_values(text: &str, error: &toml::de::Error) -> Self {
        let reason = match (error.message().split_once(": "), error.message().rsplit_once(", expected ")) {
            (Some((kind @ ("invalid type" | "invalid value" | "invalid length"), _)), Some((_, expected))) => {
                format!("{kind}, expected {expected}")
            }
            _ => error.message().to_owned(),
        };
        let before = error.span().and_then(|span| text.get(..span.start));
        Self(match before {
            Some(before) => format!("line {}: {reason}", before.matches('\n').count() + 1),
            None => reason,
        })
    }
}

impl Config {
    /// Adds a hub.
    pub fn hub(mut self, settings: HubSettings) -> Self {
        self.hubs.push(settings);
        self
    }

    /// Reads a TOML file.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is not as [`Config::parse`] wants it.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(file).map_err(|error| ConfigError(format!("{}: {error}", file.display())))?;
        Self::parse(&text).map_err(|ConfigError(reason)| ConfigError(format!("{}: {reason}", file.display())))
    }

    /// Reads TOML. Fields that are left out have their defaults; durations are like `30m`.
    ///
    /// # Errors
    ///
    /// The text is not TOML, or a field is unknown or of another type. No value is in the error.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(|error| ConfigError::without_values(text, &error))?;
        let default = Self::default();
        Ok(Self {
            listen: file.listen.unwrap_or(default.listen),
            plaintext_anywhere: file.plaintext_anywhere,
            control: file.control,
            tls: file.tls,
            hubs: file.hubs.into_iter().map(HubSettings::from).collect(),
            access: file.access,
            idle: file.idle,
            largest_message: file.largest_message.unwrap_or(default.largest_message),
            quota: file.quota,
            clock: default.clock,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<SocketAddr>,
    #[serde(default)]
    plaintext_anywhere: bool,
    control: Option<SocketAddr>,
    tls: Option<Tls>,
    #[serde(default)]
    hubs: Vec<HubTable>,
    #[serde(default)]
    access: Access,
    #[serde(default)]
    idle: Idle,
    largest_message: Option<u64>,
    #[serde(default)]
    quota: Quota,
}

/// A hub, in a file or in a request to make it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HubTable {
    pub(crate) name: String,
    #[serde(default = "four")]
    partitions: usize,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    retention: RetentionTable,
    #[serde(default = "one")]
    georeplication_factor: i32,
}

fn four() -> usize {
    4
}

fn one() -> i32 {
    1
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RetentionTable {
    age: Option<Span>,
    events: Option<usize>,
    bytes: Option<usize>,
}

impl From<HubTable> for HubSettings {
    fn from(table: HubTable) -> Self {
        let default = Retention::default();
        let retention = Retention {
            age: table.retention.age.map_or(default.age, |Span(age)| age),
            events: table.retention.events.unwrap_or(default.events),
            bytes: table.retention.bytes.unwrap_or(default.bytes),
        };
        Self {
            name: table.name,
            partitions: table.partitions,
            groups: table.groups,
            retention,
            georeplication_factor: table.georeplication_factor,
        }
    }
}

struct Span(Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        duration(deserializer).map(Self)
    }
}

pub(crate) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|_| D::Error::custom("a duration is like \"30s\" or \"5m\""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_says_how_the_emulator_is() {
        let config = Config::parse(
            r#"
            listen = "127.0.0.1:5672"
            control = "127.0.0.1:5673"
            largest_message = 262144
            quota = { events = 1000 }
            idle = { sender = "2s" }
            access = { keys = { reader = "secret" }, jwt = false }
            [[hubs]]
            name = "orders"
            partitions = 8
            groups = ["billing"]
            retention = { age = "1h", events = 10 }
            [[hubs]]
            name = "other"
            georeplication_factor = 2
            "#,
        )
        .unwrap();
        assert_eq!((config.listen.port(), config.control.unwrap().port()), (5672, 5673));
        assert_eq!((config.largest_message, config.quota.events, config.quota.bytes), (262_144, Some(1000), None));
        assert_eq!((config.idle.sender, config.idle.connection), (Duration::from_secs(2), Duration::from_mins(5)));
        assert!(!config.access.jwt && !format!("{config:?}").contains("secret"));
        let [orders, other] = &config.hubs[..] else { panic!("two hubs") };
        assert_eq!((orders.partitions, &orders.groups[..]), (8, &["billing".to_owned()][..]));
        assert_eq!((orders.retention.events, orders.retention.age), (10, Duration::from_hours(1)));
        assert_eq!((other.partitions, other.georeplication_factor), (4, 2));
    }

    #[test]
    fn what_is_unknown_or_of_another_type_is_refused_without_its_value() {
        for text in ["listen = 5", "lissten = \"a\"", "[[hubs]]\npartitions = 4", "idle = { sender = \"soon\" }", "= ="]
        {
            assert!(Config::parse(text).is_err(), "{text}");
        }
        for text in [
            "{ keys = { a = \"secret\", b = 5 } }",
            "{ keys = \"secret\" }",
            "{ jwt = \"secret\" }",
            "\"secret\"",
            "secret",
        ] {
            let error = Config::parse(&format!("\naccess = {text}")).unwrap_err().to_string();
            assert!(error.starts_with("line 2: ") && !error.contains("secret"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_configuration_or_an_error(text in ".{0,200}") {
            let _ = Config::parse(&text);
        }
    }
}
