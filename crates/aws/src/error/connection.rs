//! Calls that got no answer. What is known never to have left is not ambiguous.

use std::{error::Error as StdError, io};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::{
    error::{ProvideErrorMetadata as _, SdkError},
    operation::assume_role::AssumeRoleError,
};
use hyper_util::client::legacy;
use strait_core::{Error, ErrorKind};

use super::Call;

type Cause<'a> = &'a (dyn StdError + 'static);

impl Call {
    /// What it means that a request could not be sent, or got no answer, because of this and what is beneath it.
    pub(super) fn not_answered(&self, cause: Option<Cause<'_>>, timed_out: bool) -> Error {
        if let Some(error) = chain(cause).find_map(|cause| cause.downcast_ref()) {
            return self.no_credentials(error);
        }
        let io = chain(cause).find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
        let connecting = chain(cause).find_map(|cause| cause.downcast_ref::<legacy::Error>());
        let refused = io == Some(io::ErrorKind::ConnectionRefused);
        let host = &self.host;
        let (reason, ambiguous) = if refused {
            (format!("{host} refuses connections"), false)
        } else if connecting.is_some_and(legacy::Error::is_connect) {
            // The type of the cause is private, and its text is a constant.
            let unresolved = chain(cause).any(|cause| cause.to_string() == "dns error");
            let reason = if unresolved { "cannot be resolved" } else { "cannot be reached" };
            (format!("the host {host} {reason}"), false)
        } else if timed_out {
            (format!("no answer from {host} in time"), true)
        } else {
            (format!("the connection to {host} broke off"), true)
        };
        let error = self.error(ErrorKind::Unavailable, &reason);
        let error = if ambiguous { self.ambiguous(error) } else { error };
        // The innermost says it in the words of the system, or of TLS.
        match chain(cause).last() {
            Some(last) => error.with_source(last.to_string()),
            None => error,
        }
    }

    pub(crate) fn no_credentials(&self, error: &CredentialsError) -> Error {
        if let Some(refused) = self.role_refused(error) {
            return refused;
        }
        match error {
            CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_) => {
                self.error(ErrorKind::Unavailable, "the credentials cannot be had now")
            }
            CredentialsError::InvalidConfiguration(_) => {
                self.error(ErrorKind::Config, "the configuration of the credentials cannot be used")
            }
            _ => self.error(ErrorKind::Denied, "there are no credentials"),
        }
    }

    /// STS knows who asks, and does not let them take on the role: that does not pass by itself.
    fn role_refused(&self, error: &CredentialsError) -> Option<Error> {
        let refusal =
            chain(error.source()).find_map(|cause| match cause.downcast_ref::<SdkError<AssumeRoleError>>()? {
                SdkError::ServiceError(refusal) => Some(refusal),
                _ => None,
            })?;
        let (code, sentence) = (refusal.err().code()?, refusal.err().message());
        let call = Self { action: "sts:AssumeRole", ..self.clone() };
        Some(call.refused(code, sentence, refusal.raw().status().as_u16()))
            .filter(|error| error.kind() == ErrorKind::Denied)
    }
}

/// An error and those beneath it.
fn chain(first: Option<Cause<'_>>) -> impl Iterator<Item = Cause<'_>> {
    std::iter::successors(first, |cause| (*cause).source())
}

#[cfg(test)]
mod tests {
    use super::{super::tests::sending, *};

    fn of(cause: &(dyn StdError + 'static)) -> Error {
        sending().not_answered(Some(cause), false)
    }

    #[test]
    fn what_never_left_is_not_ambiguous() {
        let refused = of(&io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!((refused.kind(), refused.is_ambiguous()), (ErrorKind::Unavailable, false));
        assert_eq!(refused.to_string(), "sqs: cannot send to \"orders\": sqs.example refuses connections");
        assert!(refused.source().unwrap().to_string().contains("refused"));
        let reset = of(&io::Error::from(io::ErrorKind::ConnectionReset));
        assert!(reset.is_ambiguous() && reset.to_string().ends_with("the connection to sqs.example broke off"));
    }

    #[test]
    fn credentials_that_are_missing_wrong_or_late_read_differently() {
        let missing = of(&CredentialsError::not_loaded("hunter2"));
        assert_eq!(missing.kind(), ErrorKind::Denied);
        assert_eq!(of(&CredentialsError::invalid_configuration("hunter2")).kind(), ErrorKind::Config);
        let late = of(&CredentialsError::provider_error("hunter2"));
        assert_eq!((late.kind(), late.is_ambiguous()), (ErrorKind::Unavailable, false));
        assert!(!format!("{missing:?} {late:?}").contains("hunter2"));
    }
}
