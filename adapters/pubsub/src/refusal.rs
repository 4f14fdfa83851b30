//! What the service says of a call that failed, by either of its protocols.

use std::time::Duration;

use google_cloud_gax::error::{Error as AdminError, rpc::StatusDetails};
use tonic::{Code, Status};

use crate::details;

/// The most that is repeated of what the service says.
const WORDS: usize = 300;

/// A call that failed, as the service tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    /// Google's own name for why: `IAM_PERMISSION_DENIED`, `ACCESS_TOKEN_EXPIRED`.
    pub(crate) reason: Option<String>,
    /// The permission that is missing, if the service names it.
    pub(crate) permission: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    /// What the service says in words, if that may be repeated.
    words: String,
}

impl Refusal {
    fn new(code: Code, words: &str) -> Self {
        Self { code, reason: None, permission: None, retry_after: None, words: words.to_owned() }
    }

    /// There was no answer in time.
    pub(crate) fn late() -> Self {
        Self::new(Code::DeadlineExceeded, "")
    }

    /// Whether what is missing is a permission of somebody whom the service knows. It says nothing of what was asked for
    /// if the credentials are wrong, or the service is not enabled.
    pub(crate) fn lacks_permission(&self) -> bool {
        let by_iam = self.reason.as_deref().is_none_or(|reason| reason == "IAM_PERMISSION_DENIED");
        self.code == Code::PermissionDenied && by_iam
    }

    /// What the service says, on one line, not too long. Empty where that could repeat what an acknowledgement is made by.
    pub(crate) fn words(&self) -> String {
        let words = self.words.split_whitespace().collect::<Vec<_>>().join(" ");
        words.trim_end_matches('.').chars().filter(|c| !c.is_control()).take(WORDS).collect()
    }

    fn with_info(mut self, reason: &str, permission: Option<&String>) -> Self {
        let is_name = |text: &str, more: &[u8]| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || more.contains(&byte);
            !text.is_empty() && text.len() <= 100 && text.bytes().all(known)
        };
        self.reason = is_name(reason, b"_").then(|| reason.to_owned());
        self.permission = permission.filter(|name| is_name(name, b".")).cloned();
        self
    }
}

impl From<&Status> for Refusal {
    fn from(status: &Status) -> Self {
        // Others may repeat what an acknowledgement is made by.
        let not_allowed = matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated);
        let mut refusal = Self::new(status.code(), if not_allowed { status.message() } else { "" });
        refusal.retry_after = details::retry_after(status);
        match details::reason(status) {
            Some((reason, metadata)) => refusal.with_info(&reason, metadata.get("permission")),
            None => refusal,
        }
    }
}

impl From<&AdminError> for Refusal {
    fn from(error: &AdminError) -> Self {
        let Some(status) = error.status() else {
            let code = match error.http_status_code() {
                Some(401) => Code::Unauthenticated,
                Some(403) => Code::PermissionDenied,
                Some(404) => Code::NotFound,
                Some(429) => Code::ResourceExhausted,
                _ if error.is_timeout() => Code::DeadlineExceeded,
                _ => Code::Unavailable,
            };
            return Self::new(code, "");
        };
        let refusal = Self::new(Code::from(status.code as i32), &status.message);
        let info = status.details.iter().find_map(|detail| match detail {
            StatusDetails::ErrorInfo(info) => Some(info),
            _ => None,
        });
        match info {
            Some(info) => refusal.with_info(&info.reason, info.metadata.get("permission")),
            None => refusal,
        }
    }
}

#[cfg(test)]
mod tests {
    use google_cloud_gax::error::rpc::{Code as AdminCode, Status as AdminStatus};

    use super::*;

    #[test]
    fn codes_of_both_protocols_are_the_same() {
        for code in [AdminCode::NotFound, AdminCode::PermissionDenied, AdminCode::AlreadyExists, AdminCode::Unavailable]
        {
            let status = AdminStatus::default().set_code(code).set_message("no");
            let refusal = Refusal::from(&AdminError::service(status));
            assert_eq!(format!("{:?}", refusal.code), format!("{code:?}"));
        }
        let proxys = AdminError::http(403, http::HeaderMap::new(), bytes::Bytes::from_static(b"<html>"));
        assert_eq!(Refusal::from(&proxys).code, Code::PermissionDenied);
        assert_eq!(Refusal::from(&AdminError::io("reset")).code, Code::Unavailable);
        assert_eq!(Refusal::from(&AdminError::timeout("late")).code, Code::DeadlineExceeded);
    }

    #[test]
    fn only_a_missing_permission_is_one() {
        let of = |code, reason: &str| Refusal::new(code, "").with_info(reason, None).lacks_permission();
        assert!(of(Code::PermissionDenied, "") && of(Code::PermissionDenied, "IAM_PERMISSION_DENIED"));
        for reason in ["SERVICE_DISABLED", "BILLING_DISABLED", "CONSUMER_INVALID"] {
            assert!(!of(Code::PermissionDenied, reason), "{reason}");
        }
        assert!(!of(Code::Unauthenticated, "ACCESS_TOKEN_EXPIRED"));
    }

    #[test]
    fn what_is_no_name_is_not_repeated_and_words_are_one_line() {
        let odd = Refusal::new(Code::PermissionDenied, "a\n b\u{7}\tc.").with_info("no name", Some(&"x y".to_owned()));
        assert_eq!((&odd.reason, &odd.permission, &*odd.words()), (&None, &None, "a b c"));
        assert_eq!(Refusal::new(Code::PermissionDenied, &"x".repeat(1000)).words().len(), WORDS);
    }
}
