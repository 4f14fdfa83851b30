use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use object_store::{CredentialProvider, aws::AwsCredential};
use strait_aws::{Aws, Call, Keys};
use tokio::{sync::Mutex, time::Instant};

/// The credentials of a connection to AWS, in the client's form, kept until shortly before they expire.
#[derive(Debug)]
pub(super) struct Credentials {
    aws: Aws,
    /// How errors call what needs them.
    call: Call,
    kept: Mutex<Option<Kept>>,
}

#[derive(Debug)]
struct Kept {
    credential: Arc<AwsCredential>,
    until: Instant,
}

/// How long before they expire they are fetched anew.
const EARLY: Duration = Duration::from_secs(60);
/// For how long those are kept that do not say when they expire: a file may have changed.
const UNSAID: Duration = Duration::from_secs(900);

impl Credentials {
    pub(super) fn new(aws: Aws, call: Call) -> Self {
        Self { aws, call, kept: Mutex::new(None) }
    }
}

#[async_trait]
impl CredentialProvider for Credentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| Instant::now() < kept.until) {
            return Ok(Arc::clone(&kept.credential));
        }
        let failed = |error| object_store::Error::Generic { store: "S3", source: Box::new(error) };
        let (Keys { id, secret, session_token }, valid) = self.aws.credentials(&self.call).await.map_err(failed)?;
        let valid = valid.map_or(UNSAID, |valid| valid.saturating_sub(EARLY));
        let credential = Arc::new(AwsCredential {
            key_id: id.expose().to_owned(),
            secret_key: secret.expose().to_owned(),
            token: session_token.map(|token| token.expose().to_owned()),
        });
        *kept = Some(Kept { credential: Arc::clone(&credential), until: Instant::now() + valid });
        Ok(credential)
    }
}
