//! What fuzz targets run: bytes from outside, and what holds of whatever is read from them.

use bytes::Bytes;
use strait_core::ErrorKind;

use crate::{key, place::Place, record};

/// What may lie in the place of a row, the name of a file or an object, and a URL. What is read of them is what would have
/// been written.
pub fn records(input: &[u8]) {
    let bytes = Bytes::copy_from_slice(input);
    if let Some(value) = record::value(&bytes) {
        let nonce = record::nonce(input).expect("a value has a nonce");
        // Whoever wrote it may have spelt the nonce otherwise.
        assert!(record::encode(nonce, &value).eq_ignore_ascii_case(&bytes), "a record");
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(read) = key::decode(text) {
        match key::encode(&read) {
            Ok(name) => assert_eq!(name, text, "a key"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{error}"),
        }
    }
    let _ = Place::parse(text);
}

#[cfg(test)]
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    #[test]
    fn the_seeds_hold() {
        super::seeds::each("records", super::records);
    }
}
