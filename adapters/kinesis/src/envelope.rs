use strait_core::{Error, ErrorKind, Id, Message, Result};

use crate::kpl::{self, KEY_CHARACTERS, Opened};

/// How messages are put into records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Envelope {
    /// As the Kinesis Producer Library does: a record holds messages of one key, or of none, with their ids and headers. A
    /// consumer made with the Kinesis Client Library reads the payloads.
    #[default]
    Kpl,
    /// A record is a payload. Its message has no headers, its id is lost, and without a key it gets one.
    Plain,
}

impl Envelope {
    /// Checks one message, and says how many bytes a record of it alone has as Kinesis counts them: data and partition key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] or [`ErrorKind::Unsupported`] names the field that cannot be carried.
    pub(crate) fn measure(self, message: &Message) -> Result<usize> {
        match self {
            Self::Kpl => {
                let key = message.key.as_ref().map_or(kpl::KEYLESS.len(), |key| key.as_str().len());
                Ok(kpl::measure(message)? + key)
            }
            Self::Plain => {
                if let Some((name, _)) = message.headers.iter().next() {
                    let text = format!("headers: {name:?} cannot be carried in a plain record: see envelope = \"kpl\"");
                    return Err(Error::new(ErrorKind::Unsupported, text));
                }
                kpl::check_key(message)?;
                if let Opened::Messages(_) = kpl::open(&message.payload) {
                    let text =
                        "payload: is an aggregate of the Kinesis Producer Library, and would be opened when it is read";
                    return Err(Error::new(ErrorKind::Invalid, text));
                }
                Ok(message.payload.len() + message.key.as_ref().map_or(Id::TEXT_BYTES, |key| key.as_str().len()))
            }
        }
    }
}

const _: () = assert!(Id::TEXT_BYTES <= KEY_CHARACTERS);
