#[cfg(feature = "entra")]
use std::path::PathBuf;
use std::sync::Arc;

use strait_config::Fields;
use strait_kit::Trimmed;
use strait_leases::Group;

#[cfg(feature = "entra")]
use crate::Entra;
use crate::{Access, Routing};

/// Most bytes of the name of a hub, and of a consumer group.
const HUB_BYTES: usize = 256;
const GROUP_BYTES: usize = 50;

/// What Azure and its tools call the fields.
const ELSEWHERE: [(&str, &str); 9] = [
    ("event_hub", "hub"),
    ("event_hub_name", "hub"),
    ("eventhub_name", "hub"),
    ("entity_path", "hub"),
    ("topic", "hub"),
    ("stream", "hub"),
    ("consumer_group", "group"),
    ("checkpoint_store", "leases"),
    ("initial_position", "start"),
];

fn hub(fields: &mut Fields) -> String {
    for (theirs, ours) in ELSEWHERE {
        fields.called_elsewhere(theirs, ours);
    }
    let hub = fields.required("hub");
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if !hub.is_empty() && (hub.len() > HUB_BYTES || !hub.bytes().all(known)) {
        fields.problem("hub", format!("must be 1 to {HUB_BYTES} letters, digits, '_', '.' and '-'"));
    }
    hub
}

/// The fields of a connection by a credential of Microsoft Entra, and their types.
const OF_ENTRA: [(&str, &str); 6] = [
    ("namespace", "text"),
    ("credential", CREDENTIALS),
    ("tenant", "text"),
    ("client_id", "text"),
    ("client_secret", "secret"),
    ("token_file", "text"),
];
const CREDENTIALS: &str = "\"workload-identity\" or \"managed-identity\" or \"client-secret\" or \"developer-tools\"";

/// The table of a connection.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionTable {
    /// None if it is wrong.
    pub(crate) access: Option<Arc<Access>>,
}

impl ConnectionTable {
    pub(crate) fn read(fields: &mut Fields) -> Self {
        fields.called_elsewhere("endpoint", "connection_string");
        let allow_insecure = fields.flag("allow_insecure").unwrap_or(false);
        let timeout = fields.timeout("timeout");
        for (name, kind) in OF_ENTRA {
            fields.expect(name, kind);
        }
        let is_entra = fields.has("namespace") || fields.has("credential");
        let access = match fields.secret("connection_string") {
            Some(_) if is_entra => {
                fields.problem("connection_string", "cannot be used beside namespace and credential");
                by_entra(fields);
                None
            }
            Some(text) => Access::parse(text.expose()).map_err(|error| fields.problem("connection_string", error)).ok(),
            None if is_entra => by_entra(fields),
            None => {
                fields.problem("connection_string", "is missing, and there is no namespace with a credential");
                None
            }
        };
        let access = access.map(|mut access| {
            access.allow_insecure = allow_insecure;
            access.timeout = timeout.unwrap_or(access.timeout);
            if access.is_exposed() {
                let field = if is_entra { "namespace" } else { "connection_string" };
                fields.problem(field, "would send plaintext to another machine: allow_insecure = true allows it");
            }
            Arc::new(access)
        });
        Self { access }
    }
}

/// A namespace by a credential of Microsoft Entra.
#[cfg(feature = "entra")]
fn by_entra(fields: &mut Fields) -> Option<Access> {
    #[derive(Clone, Copy)]
    enum Kind {
        WorkloadIdentity,
        ManagedIdentity,
        ClientSecret,
        DeveloperTools,
    }
    let choices = [
        ("workload-identity", Kind::WorkloadIdentity),
        ("managed-identity", Kind::ManagedIdentity),
        ("client-secret", Kind::ClientSecret),
        ("developer-tools", Kind::DeveloperTools),
    ];
    let namespace = fields.required("namespace");
    if !fields.has("credential") {
        fields.problem("credential", "is missing: how this process proves itself to Microsoft Entra");
    }
    let entra = match fields.choice("credential", &choices)? {
        Kind::WorkloadIdentity => Entra::WorkloadIdentity {
            tenant: fields.text("tenant"),
            client_id: fields.text("client_id"),
            token_file: fields.text("token_file").map(PathBuf::from),
        },
        Kind::ManagedIdentity => Entra::ManagedIdentity { client_id: fields.text("client_id") },
        Kind::ClientSecret => {
            let (tenant, client_id) = (fields.required("tenant"), fields.required("client_id"));
            let secret = fields.secret("client_secret");
            if secret.is_none() {
                fields.problem("client_secret", "is missing");
            }
            Entra::ClientSecret { tenant, client_id, secret: secret? }
        }
        Kind::DeveloperTools => Entra::DeveloperTools,
    };
    if namespace.is_empty() {
        return None;
    }
    Access::entra(&namespace, entra).map_err(|error| fields.problem("namespace", error)).ok()
}

#[cfg(not(feature = "entra"))]
fn by_entra(fields: &mut Fields) -> Option<Access> {
    for (name, _) in OF_ENTRA {
        if fields.has(name) {
            fields.secret(name); // which is read, and not unknown
            fields.problem(name, "needs the feature eventhubs-entra, which is not built in");
        }
    }
    None
}

/// The table of a sender.
#[derive(Clone, Debug)]
pub(crate) struct SenderTable {
    pub(crate) hub: String,
    pub(crate) routing: Routing,
}

impl SenderTable {
    pub(crate) fn read(fields: &mut Fields) -> Self {
        let choices = [("partition", Routing::Partition), ("service", Routing::Service)];
        Self { hub: hub(fields), routing: fields.choice("routing", &choices).unwrap_or_default() }
    }
}

/// The table of a receiver.
#[derive(Clone, Debug)]
pub(crate) struct ReceiverTable {
    pub(crate) hub: String,
    pub(crate) group: Group,
    pub(crate) trimmed: Trimmed,
}

impl ReceiverTable {
    pub(crate) fn read(fields: &mut Fields) -> Self {
        let (hub, group) = (hub(fields), Group::read(fields));
        if group.name.len() > GROUP_BYTES {
            fields.problem("group", format!("has {} characters, and may have {GROUP_BYTES}", group.name.len()));
        }
        let choices = [("fail", Trimmed::Fail), ("skip", Trimmed::Skip)];
        let trimmed = fields.choice("trimmed", &choices).unwrap_or_default();
        Self { hub, group, trimmed }
    }
}
