#[cfg(feature = "entra")]
use std::sync::Arc;
use std::{
    fmt,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use strait_config::Secret;

#[cfg(feature = "entra")]
use crate::entra::Credential;
use crate::{error::Failed, sas};

/// How long a token is valid.
const TOKEN_LIFE: Duration = Duration::from_hours(1);
/// The ports of AMQP with and without TLS.
const PORTS: [u16; 2] = [5671, 5672];

/// How a namespace is reached, and as whom: what a connection string says, or a credential of Microsoft Entra.
#[derive(Clone, Debug)]
pub struct Access {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    identity: Identity,
    /// The hub that the string is for; none: all of the namespace.
    pub(crate) hub: Option<String>,
    /// How long a call may take. Default: 10 s.
    pub timeout: Duration,
    /// Whether plaintext to another machine is allowed. Default: no.
    pub allow_insecure: bool,
    /// How long a token that is signed here is valid. Azure's clients sign for an hour.
    pub(crate) token_life: Duration,
}

/// By what a namespace is told who this is.
#[derive(Clone, Debug)]
enum Identity {
    /// The key of a shared access policy.
    Key { policy: String, key: Secret },
    #[cfg(feature = "entra")]
    Entra(Arc<Credential>),
}

/// A token, and until when it is valid.
pub(crate) struct Token {
    /// What `$cbs` calls its kind.
    pub(crate) kind: &'static str,
    pub(crate) text: String,
    pub(crate) expiry: SystemTime,
}

/// What is wrong with a connection string. It does not show the string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionStringError(&'static str);

impl fmt::Display for ConnectionStringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for ConnectionStringError {}

impl Access {
    /// Reads a connection string: `Endpoint=sb://host[:port]/;SharedAccessKeyName=..;SharedAccessKey=..`, with
    /// `EntityPath=..` if it is for one hub, and `UseDevelopmentEmulator=true` for plaintext, as emulators serve it.
    ///
    /// ```
    /// use strait_eventhubs::Access;
    ///
    /// let text = "Endpoint=sb://orders.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=c2VjcmV0";
    /// assert!(Access::parse(text).is_ok());
    /// assert_eq!(Access::parse("Endpoint=sb://orders/").unwrap_err().to_string(), "has no SharedAccessKeyName");
    /// ```
    ///
    /// # Errors
    ///
    /// What is missing or wrong. The string is not shown.
    pub fn parse(text: &str) -> Result<Self, ConnectionStringError> {
        let wrong = ConnectionStringError;
        let field = |name: &str| {
            let mut fields = text.split(';').filter_map(|field| field.split_once('='));
            let found = fields.find(|(field, _)| field.trim().eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
        };
        let endpoint = field("Endpoint").ok_or(wrong("has no Endpoint"))?;
        let tls = !field("UseDevelopmentEmulator").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let (host, port) = address(endpoint).ok_or(wrong("has an Endpoint that is not sb://host or sb://host:port"))?;
        if field("SharedAccessSignature").is_some() {
            return Err(wrong("has a SharedAccessSignature, which cannot be renewed: a SharedAccessKey is needed"));
        }
        let policy = field("SharedAccessKeyName").ok_or(wrong("has no SharedAccessKeyName"))?;
        let key = field("SharedAccessKey").ok_or(wrong("has no SharedAccessKey"))?;
        let identity = Identity::Key { policy: policy.to_owned(), key: Secret::new(key) };
        let hub = field("EntityPath").map(str::to_owned);
        Ok(Self { hub, ..Self::new(host, port, tls, identity) })
    }

    fn new(host: &str, port: Option<u16>, tls: bool, identity: Identity) -> Self {
        Self {
            host: host.to_owned(),
            port: port.unwrap_or(PORTS[usize::from(!tls)]),
            tls,
            identity,
            hub: None,
            timeout: Duration::from_secs(10),
            allow_insecure: false,
            token_life: TOKEN_LIFE,
        }
    }

    /// A namespace, such as `orders.servicebus.windows.net`, by a credential of Microsoft Entra. `amqp://host:port` is plaintext,
    /// as emulators serve it. The credential is first used when a hub is opened.
    ///
    /// # Errors
    ///
    /// The namespace is no host, or host and port.
    #[cfg(feature = "entra")]
    pub fn entra(namespace: &str, credential: impl Into<Credential>) -> Result<Self, ConnectionStringError> {
        let whole = if namespace.contains("://") { namespace.to_owned() } else { format!("sb://{namespace}") };
        let wrong = ConnectionStringError("is not a host, host:port or amqp://host:port");
        let (host, port) = address(&whole).ok_or(wrong)?;
        let tls = !whole.to_ascii_lowercase().starts_with("amqp:");
        Ok(Self::new(host, port, tls, Identity::Entra(Arc::new(credential.into()))))
    }

    /// Whether keys and events would leave this machine unencrypted, and that was not allowed.
    pub(crate) fn is_exposed(&self) -> bool {
        let is_local = self.host.eq_ignore_ascii_case("localhost")
            || self.host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        !self.tls && !is_local && !self.allow_insecure
    }

    /// What tokens and claims are for: the URI of an entity of the namespace.
    pub(crate) fn audience(&self, entity: &str) -> String {
        format!("sb://{}/{entity}", self.host)
    }

    /// A token for an entity and what is below it. Cancel-safe.
    #[cfg_attr(not(feature = "entra"), allow(clippy::unused_async, reason = "others are asked for"))]
    pub(crate) async fn token(&self, entity: &str) -> Result<Token, Failed> {
        match &self.identity {
            Identity::Key { policy, key } => {
                let expiry = SystemTime::now() + self.token_life;
                let text = sas::sign(&self.audience(entity), policy, key.expose(), expiry);
                Ok(Token { kind: "servicebus.windows.net:sastoken", text, expiry })
            }
            #[cfg(feature = "entra")]
            Identity::Entra(credential) => {
                let (text, expiry) = credential.token().await?;
                Ok(Token { kind: "jwt", text, expiry })
            }
        }
    }
}

fn address(endpoint: &str) -> Option<(&str, Option<u16>)> {
    let (scheme, rest) = endpoint.split_once("://")?;
    let host = rest.trim_end_matches('/');
    let is_known = ["sb", "amqps", "amqp"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    if !is_known || host.is_empty() || host.contains(['/', '@', '?', '#', ' ']) {
        return None;
    }
    match host.rsplit_once(':') {
        // An address of IP version 6 has colons of its own.
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
            Some((name, Some(port.parse().ok().filter(|port| *port > 0)?))).filter(|_| !name.is_empty())
        }
        _ => Some((host, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(endpoint: &str) -> Result<Access, ConnectionStringError> {
        Access::parse(&format!("Endpoint={endpoint};SharedAccessKeyName=name;SharedAccessKey=a2V5=;"))
    }

    #[test]
    fn a_connection_string_says_where_and_as_whom() {
        let access = with("sb://orders.servicebus.windows.net/").unwrap();
        assert_eq!((&*access.host, access.port, access.tls), ("orders.servicebus.windows.net", 5671, true));
        #[allow(irrefutable_let_patterns, reason = "there are others with a feature")]
        let Identity::Key { policy, key } = &access.identity else { panic!("{access:?}") };
        assert_eq!((&**policy, key.expose(), &access.hub), ("name", "a2V5=", &None));
        let local = "Endpoint=sb://localhost:9999;SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true;EntityPath=orders";
        let access = Access::parse(local).unwrap();
        assert_eq!(
            (&*access.host, access.port, access.tls, access.hub.as_deref()),
            ("localhost", 9999, false, Some("orders"))
        );
        assert!(!access.is_exposed());
        let spaced = " endpoint = sb://localhost ; sharedaccesskeyname = n ; sharedaccesskey = k ";
        assert_eq!(Access::parse(spaced).unwrap().port, 5671);
        assert_eq!(with("sb://[::1]:5672").unwrap().port, 5672);
    }

    #[test]
    fn what_is_wrong_is_said_without_the_string() {
        for (text, reason) in [
            ("", "has no Endpoint"),
            ("Endpoint=sb://h", "has no SharedAccessKeyName"),
            ("Endpoint=sb://h;SharedAccessKeyName=n", "has no SharedAccessKey"),
            ("Endpoint=sb://h;SharedAccessKeyName=;SharedAccessKey=k", "has no SharedAccessKeyName"),
        ] {
            assert_eq!(Access::parse(text).unwrap_err().to_string(), reason, "{text}");
        }
        for endpoint in ["h", "http://h", "sb://", "sb://h/hub", "sb://h:0", "sb://h:x", "sb://:5671", "sb://u@h"] {
            assert!(with(endpoint).is_err(), "{endpoint}");
        }
        let secret = "Endpoint=sb://h;SharedAccessKeyName=n;SharedAccessKey=hidden";
        assert!(!format!("{:?}", Access::parse(secret).unwrap()).contains("hidden"));
    }

    #[test]
    fn plaintext_stays_on_this_machine_unless_it_is_allowed() {
        let plain = |host: &str| {
            let text = "SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true";
            Access::parse(&format!("Endpoint=sb://{host};{text}")).unwrap()
        };
        assert!(plain("emulator.lan").is_exposed());
        assert!(!plain("127.0.0.1").is_exposed());
        assert!(!plain("[::1]").is_exposed());
        assert!(!Access { allow_insecure: true, ..plain("emulator.lan") }.is_exposed());
    }
}
