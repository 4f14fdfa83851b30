use std::{error, fmt::Write as _};

use strait_core::{Error, ErrorKind, Result};

/// What the store was asked to do when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Read,
    Create,
    Replace,
    Delete,
}

/// What a failure means.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no such object.
    Absent,
    /// The object is not as expected.
    Refused,
    /// Anything else.
    Failed(Error),
}

impl Failure {
    /// Reads an error of the client.
    ///
    /// The client's error is not passed on: it holds the address that was asked, and what the server answered. Our own
    /// says the status, and the code that S3 and Azure put into an answer.
    pub(crate) fn of(error: &object_store::Error, asked: Asked, place: &str) -> Self {
        use object_store::Error as Client;

        if let Some(own) = own(error) {
            return Self::Failed(Error::new(own.kind(), own.to_string()));
        }
        let answer = Answer::read(error);
        let bucket = matches!(answer.code.as_deref(), Some("NoSuchBucket" | "ContainerNotFound"));
        // Azure answers 409 to much that has nothing to do with the condition.
        let conflict = matches!(answer.code.as_deref(), Some(code) if code.starts_with("Container") || code.starts_with("Account"));
        let kind = match error {
            _ if bucket => ErrorKind::NotFound,
            _ if conflict => ErrorKind::Unavailable,
            Client::NotFound { .. } => match asked {
                Asked::Create => ErrorKind::NotFound,
                Asked::Replace => return Self::Refused,
                Asked::Read | Asked::Delete => return Self::Absent,
            },
            Client::AlreadyExists { .. } | Client::Precondition { .. } => return Self::Refused,
            Client::PermissionDenied { .. } | Client::Unauthenticated { .. } => ErrorKind::Denied,
            Client::NotSupported { .. } | Client::NotImplemented { .. } => ErrorKind::Unsupported,
            _ => match answer.status {
                Some(429) => ErrorKind::Throttled,
                Some(503) if answer.code.as_deref() == Some("SlowDown") => ErrorKind::Throttled,
                Some(501) => ErrorKind::Unsupported,
                Some(400..=499) => ErrorKind::Other,
                _ => ErrorKind::Unavailable,
            },
        };
        let mut message = format!("leases: {place}: {}", reason(kind));
        match (answer.status, &answer.code) {
            (Some(status), Some(code)) => write!(message, " (HTTP {status}, {code})"),
            (Some(status), None) => write!(message, " (HTTP {status})"),
            _ => Ok(()),
        }
        .unwrap_or_default(); // writing to a string does not fail
        let sentence = Error::new(kind, message);
        let certain = match answer.status {
            // 408: it had begun to read.
            Some(status) => (400..500).contains(&status) && status != 408,
            None => answer.never_left || !matches!(kind, ErrorKind::Unavailable),
        };
        let changes = matches!(asked, Asked::Create | Asked::Replace | Asked::Delete);
        Self::Failed(if changes && !certain { sentence.into_ambiguous() } else { sentence })
    }

    /// Fine if there is nothing there.
    pub(crate) fn absent(self) -> Result<()> {
        if matches!(self, Self::Absent) { Ok(()) } else { Err(self.into_error()) }
    }

    /// Fine if the object is not as expected.
    pub(crate) fn refused(self) -> Result<()> {
        if matches!(self, Self::Refused) { Ok(()) } else { Err(self.into_error()) }
    }

    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Failed(error) => error,
            // A listing or a read that answers so answers what was not asked.
            Self::Absent | Self::Refused => {
                Error::new(ErrorKind::Other, "leases: the store answered a condition that was not set")
            }
        }
    }
}

fn reason(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "there is no such bucket or container",
        ErrorKind::Denied => "the credentials are missing or not allowed to do this",
        ErrorKind::Unsupported => "it cannot do what was asked",
        ErrorKind::Throttled => "it asks for patience",
        ErrorKind::Other => "it refused the request",
        _ => "it could not be reached, or failed",
    }
}

/// What can be told of the server's answer.
#[derive(Debug, Default)]
struct Answer {
    status: Option<u16>,
    code: Option<String>,
    /// No connection came about.
    never_left: bool,
}

impl Answer {
    /// The client keeps the type that holds the status to itself, but not its text.
    fn read(error: &object_store::Error) -> Self {
        let mut answer = Self::default();
        let mut next: Option<&(dyn error::Error + 'static)> = Some(error);
        while let Some(error) = next {
            #[cfg(any(feature = "s3", feature = "azure", feature = "gcs"))]
            if let Some(http) = error.downcast_ref::<object_store::client::HttpError>() {
                answer.never_left = http.kind() == object_store::client::HttpErrorKind::Connect;
            }
            let text = error.to_string();
            answer.status = answer.status.or_else(|| between(&text, "status code: ", 3)?.parse().ok());
            answer.code = answer.code.or_else(|| code(&text));
            next = error.source();
        }
        answer
    }
}

/// Our own error, by which the credentials said that they are not there: nothing was sent.
fn own(error: &object_store::Error) -> Option<&Error> {
    let first: &(dyn error::Error + 'static) = error;
    std::iter::successors(Some(first), |error| error.source()).find_map(|error| error.downcast_ref())
}

fn between<'a>(text: &'a str, after: &str, length: usize) -> Option<&'a str> {
    let (_, rest) = text.split_once(after)?;
    rest.get(..length)
}

/// The code of an error document: one word, or it is none.
fn code(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let word = (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    word.then(|| code.to_owned())
}
