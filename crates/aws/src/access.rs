use std::{collections::BTreeMap, time::Duration};

use strait_config::{Fields, Secret};

use crate::{Service, endpoint::check_service};

/// How the services are reached, and as whom. What is absent is as the AWS command line would have it: from the
/// environment, the shared files, or the machine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Access {
    /// The region of what is named by no more than its name. A URL or an ARN says its own.
    pub region: Option<String>,
    /// Another address of all services: an emulator's, or a proxy's.
    pub endpoint: Option<String>,
    /// Other addresses of single services, such as that of an interface in a private network. Each comes before `endpoint`.
    pub endpoints: BTreeMap<Service, String>,
    /// Whether an endpoint, wherever it comes from, may be plain http to another machine. Default: no.
    pub allow_insecure: bool,
    /// The profile of the shared files.
    pub profile: Option<String>,
    /// A role to take on.
    pub role: Option<Role>,
    /// An access key, for tests.
    pub keys: Option<Keys>,
    /// How long a call may take, beyond what it is asked to wait for. Default: 10 s.
    pub timeout: Duration,
}

/// A role to take on.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// The external id that its trust asks for.
    pub external_id: Option<Secret>,
}

/// An access key, its secret, and the session token that belongs to them if they are temporary.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The id of the access key.
    pub id: Secret,
    /// The secret access key.
    pub secret: Secret,
    /// The session token.
    pub session_token: Option<Secret>,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            region: None,
            endpoint: None,
            endpoints: BTreeMap::new(),
            allow_insecure: false,
            profile: None,
            role: None,
            keys: None,
            timeout: Duration::from_secs(10),
        }
    }
}

/// What AWS and its tools call these fields.
const ELSEWHERE: [(&str, &str); 7] = [
    ("endpoint_url", "endpoint"),
    ("aws_region", "region"),
    ("role_arn", "assume_role"),
    ("aws_access_key_id", "access_key_id"),
    ("aws_secret_access_key", "secret_access_key"),
    ("aws_session_token", "session_token"),
    ("security_token", "session_token"),
];

impl Access {
    /// Reads the table of a connection that calls these services. What is wrong is among its problems.
    ///
    /// The fields are `region`; `endpoint` of all services, and one of each (`sqs_endpoint`, [`Service::field`]);
    /// `allow_insecure`; `profile`; `assume_role` with `external_id`; `access_key_id`, `secret_access_key` and
    /// `session_token`; and `timeout`.
    pub fn read(fields: &mut Fields, services: &[Service]) -> Self {
        for (theirs, ours) in ELSEWHERE {
            fields.called_elsewhere(theirs, ours);
        }
        for service in services {
            fields.called_elsewhere(service.field_elsewhere(), service.field());
        }
        let allow_insecure = fields.flag("allow_insecure").unwrap_or(false);
        let endpoint = endpoint(fields, services, None, allow_insecure);
        let own =
            |service: &Service| Some((*service, self::endpoint(fields, services, Some(*service), allow_insecure)?));
        let endpoints = services.iter().filter_map(own).collect();
        let (region, profile) = (fields.text("region"), fields.text("profile"));
        let (role, keys) = (role(fields), keys(fields));
        if keys.is_some() && profile.is_some() {
            fields.problem("profile", "and access_key_id exclude each other");
        }
        let timeout = fields.timeout("timeout").unwrap_or(Self::default().timeout);
        Self { region, endpoint, endpoints, allow_insecure, profile, role, keys, timeout }
    }
}

/// The address of a service, or of all.
fn endpoint(
    fields: &mut Fields,
    services: &[Service],
    service: Option<Service>,
    allow_insecure: bool,
) -> Option<String> {
    let name = service.map_or("endpoint", Service::field);
    let url = fields.url(name, allow_insecure)?;
    if let Err(reason) = check_service(&url, services, service) {
        fields.problem(name, reason);
    }
    Some(url)
}

fn role(fields: &mut Fields) -> Option<Role> {
    let external_id = fields.secret("external_id");
    let arn = fields.text("assume_role");
    if external_id.is_some() && arn.is_none() {
        fields.problem("external_id", "belongs to assume_role, which is missing");
    }
    Some(Role { arn: arn?, external_id })
}

fn keys(fields: &mut Fields) -> Option<Keys> {
    let session_token = fields.secret("session_token");
    let keys = match (fields.secret("access_key_id"), fields.secret("secret_access_key")) {
        (Some(id), Some(secret)) => return Some(Keys { id, secret, session_token }),
        (None, None) => None,
        (Some(_), None) => Some(("secret_access_key", "is missing: access_key_id needs it")),
        (None, Some(_)) => Some(("access_key_id", "is missing: secret_access_key needs it")),
    };
    if let Some((name, reason)) = keys {
        fields.problem(name, reason);
    }
    if session_token.is_some() {
        fields.problem("session_token", "belongs to access_key_id and secret_access_key");
    }
    None
}
