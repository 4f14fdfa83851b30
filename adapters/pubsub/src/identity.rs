use std::path::PathBuf;

use google_cloud_auth::{
    build_errors,
    credentials::{Builder, Credentials, external_account, impersonated, service_account, user_account},
};
use serde_json::Value;
use strait_core::{Error, ErrorKind, Result};

/// As whom the service is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Identity {
    /// As Google's own clients look for it: `GOOGLE_APPLICATION_CREDENTIALS`, what `gcloud` wrote, or the machine.
    #[default]
    Default,
    /// A file of credentials: of a service account, a user, an external account, or one that is impersonated.
    File(PathBuf),
    /// As nobody: for emulators.
    Anonymous,
}

impl Identity {
    /// The credentials, or none. Nothing is asked for yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if there are none, or the file cannot be read.
    pub(crate) fn credentials(&self) -> Result<Option<Credentials>> {
        match self {
            Self::Anonymous => Ok(None),
            Self::Default => Builder::default().build().map(Some).map_err(|error| unusable(&error)),
            Self::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| wrong(&format!("credentials_file cannot be read: {}", error.kind())))?;
                of_json(&text).map(Some)
            }
        }
    }
}

fn of_json(text: &str) -> Result<Credentials> {
    // What serde says of it may show a piece of it.
    let json: Value = serde_json::from_str(text).map_err(|_| wrong("credentials_file is no JSON"))?;
    let credentials = match json.get("type").and_then(Value::as_str) {
        Some("service_account") => service_account::Builder::new(json).build(),
        Some("authorized_user") => user_account::Builder::new(json).build(),
        Some("impersonated_service_account") => impersonated::Builder::new(json).build(),
        Some("external_account") => external_account::Builder::new(json).build(),
        _ => return Err(wrong("credentials_file is of no known type")),
    };
    credentials.map_err(|error| unusable(&error))
}

fn unusable(error: &build_errors::Error) -> Error {
    let reason = match error {
        error if error.is_loading() => "cannot be found or read",
        error if error.is_missing_field() => "lack a field",
        error if error.is_unknown_type() || error.is_not_supported() => "are of an unknown type",
        _ => "cannot be used",
    };
    wrong(&format!("the credentials {reason}"))
}

fn wrong(text: &str) -> Error {
    Error::new(ErrorKind::Config, format!("pubsub: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_wrong_with_a_file_is_said_without_what_is_in_it() {
        for text in
            ["hunter2", "{\"type\": \"hunter2\"}", "{\"type\": \"service_account\", \"private_key\": \"hunter2\"}"]
        {
            let refused = of_json(text).map(drop).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Config);
            assert!(!format!("{refused} {refused:?}").contains("hunter2"), "{refused:?}");
        }
        let missing = Identity::File("/no/such/file".into()).credentials().map(drop).unwrap_err();
        assert_eq!(missing.to_string(), "pubsub: credentials_file cannot be read: entity not found");
        assert!(Identity::Anonymous.credentials().unwrap().is_none());
    }
}
