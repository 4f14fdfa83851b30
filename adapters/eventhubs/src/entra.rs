//! Tokens of Microsoft Entra, by the credentials of Azure's SDK.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use azure_core::{
    credentials::{Secret as AzureSecret, TokenCredential},
    error::ErrorKind as AzureKind,
};
use azure_identity::{
    ClientSecretCredential, DeveloperToolsCredential, ManagedIdentityCredential, ManagedIdentityCredentialOptions,
    UserAssignedId, WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use strait_config::Secret;
use strait_core::ErrorKind;

use crate::error::Failed;

/// What tokens are for: Event Hubs.
const SCOPE: &str = "https://eventhubs.azure.net/.default";

/// As whom a process asks Microsoft Entra for tokens.
///
/// They are asked for at `https://login.microsoftonline.com`, or what the environment calls `AZURE_AUTHORITY_HOST`; those of
/// managed identities at the machine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Entra {
    /// The identity of a pod of Kubernetes. What is `None` is taken from the environment, where the pod's webhook puts it.
    WorkloadIdentity {
        /// The tenant. `None`: `AZURE_TENANT_ID`.
        tenant: Option<String>,
        /// The client id of the identity. `None`: `AZURE_CLIENT_ID`.
        client_id: Option<String>,
        /// The file of the pod's own token. `None`: `AZURE_FEDERATED_TOKEN_FILE`.
        token_file: Option<PathBuf>,
    },
    /// The identity of a virtual machine, or of an application of App Service.
    ManagedIdentity {
        /// The client id of an identity that a user assigned. `None`: the machine's own.
        client_id: Option<String>,
    },
    /// An application that has a secret.
    ClientSecret {
        /// The tenant.
        tenant: String,
        /// The client id of the application.
        client_id: String,
        /// Its secret.
        secret: Secret,
    },
    /// The user that is logged in to `az` or `azd` on this machine, for development.
    DeveloperTools,
}

impl Entra {
    fn credential(&self) -> azure_core::Result<Arc<dyn TokenCredential>> {
        Ok(match self.clone() {
            Self::WorkloadIdentity { tenant: tenant_id, client_id, token_file: token_file_path } => {
                let options =
                    WorkloadIdentityCredentialOptions { tenant_id, client_id, token_file_path, ..Default::default() };
                WorkloadIdentityCredential::new(Some(options))?
            }
            Self::ManagedIdentity { client_id } => {
                let user_assigned_id = client_id.map(UserAssignedId::ClientId);
                let options = ManagedIdentityCredentialOptions { user_assigned_id, ..Default::default() };
                ManagedIdentityCredential::new(Some(options))?
            }
            Self::ClientSecret { tenant, client_id, secret } => {
                ClientSecretCredential::new(&tenant, client_id, AzureSecret::new(secret.expose().to_owned()), None)?
            }
            Self::DeveloperTools => DeveloperToolsCredential::new(None)?,
        })
    }
}

/// What tokens come from: an [`Entra`], or any credential of Azure's SDK.
pub struct Credential {
    entra: Option<Entra>,
    /// Made when it is first needed, since it may read the environment and files.
    made: Mutex<Option<Arc<dyn TokenCredential>>>,
}

impl From<Entra> for Credential {
    fn from(entra: Entra) -> Self {
        Self { entra: Some(entra), made: Mutex::default() }
    }
}

impl From<Arc<dyn TokenCredential>> for Credential {
    fn from(made: Arc<dyn TokenCredential>) -> Self {
        Self { entra: None, made: Mutex::new(Some(made)) }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("entra", &self.entra).finish_non_exhaustive()
    }
}

impl Credential {
    /// A token, and until when it is valid. It is the same one until about five minutes before that. Cancel-safe.
    pub(crate) async fn token(&self) -> Result<(String, SystemTime), Failed> {
        let credential = self.made()?;
        let token = credential.get_token(&[SCOPE], None).await.map_err(|error| failed(&error))?;
        Ok((token.token.secret().to_owned(), SystemTime::from(token.expires_on)))
    }

    fn made(&self) -> Result<Arc<dyn TokenCredential>, Failed> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let (None, Some(entra)) = (&*made, &self.entra) {
            let wrong = |error: azure_core::Error| Failed::of_kind(ErrorKind::Config, one_line(&error.to_string()));
            *made = Some(entra.credential().map_err(wrong)?);
        }
        made.clone().ok_or_else(|| Failed::of_kind(ErrorKind::Config, "there is no credential"))
    }
}

/// Why there is no token: Entra refused it, or could not be asked.
fn failed(error: &azure_core::Error) -> Failed {
    let mut causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let status = causes.find_map(|cause| match cause.downcast_ref::<azure_core::Error>()?.kind() {
        AzureKind::HttpResponse { status, .. } => Some(u16::from(*status)),
        _ => None,
    });
    let kind = match status {
        Some(429) => ErrorKind::Throttled,
        Some(408) | None => ErrorKind::Unavailable,
        Some(400..500) => ErrorKind::Denied,
        Some(_) => ErrorKind::Unavailable,
    };
    Failed::of_kind(kind, one_line(&error.to_string()))
}

/// Entra's descriptions have many lines.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
