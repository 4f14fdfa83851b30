use serde::{Serialize, de::DeserializeOwned};
use strait_core::{Error, ErrorKind, Message, Result};

/// Makes messages of JSON, and reads them.
///
/// In scope, it gives `Message::json(&order)` and `message.parse::<Order>()`.
pub trait Json: Sized {
    /// A message whose payload is `value` as JSON, with the header `content-type: application/json`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if the value has no JSON form.
    fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self>;

    /// The payload, read as JSON.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if it is not the JSON of a `T`; the text says where, and nothing of what is there.
    fn parse<T: DeserializeOwned>(&self) -> Result<T>;
}

impl Json for Message {
    fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        let payload = serde_json::to_vec(value)
            .map_err(|error| Error::new(ErrorKind::Invalid, "payload: has no JSON form").with_source(error))?;
        Ok(Message::new(payload).with_header("content-type", "application/json"))
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.payload).map_err(|error| {
            // The error's own text may quote the payload.
            let (category, line, column) = (error.classify(), error.line(), error.column());
            let what = match category {
                serde_json::error::Category::Data => "is JSON of another form",
                serde_json::error::Category::Eof => "is JSON that ends too early",
                _ => "is not JSON",
            };
            Error::new(ErrorKind::Invalid, format!("payload: {what}, at line {line} column {column}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_does_not_quote_the_payload() {
        assert_eq!(Message::json(&vec![1, 2]).unwrap().parse::<Vec<u8>>().unwrap(), [1, 2]);
        for (payload, expected) in [
            ("\"hunter2\"", "payload: is JSON of another form, at line 1 column 9"),
            ("[1,", "payload: is JSON that ends too early, at line 1 column 3"),
            ("hunter2", "payload: is not JSON, at line 1 column 1"),
        ] {
            assert_eq!(Message::new(payload).parse::<Vec<u8>>().unwrap_err().to_string(), expected);
        }
    }
}
