//! Shared access signatures: what a client that has a key proves it by.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;

/// What Azure's clients leave as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A token for `resource` and what is below it, which is valid until `expiry`.
pub(crate) fn sign(resource: &str, policy: &str, key: &str, expiry: SystemTime) -> String {
    let encoded = utf8_percent_encode(resource, ENCODED);
    let seconds = expiry.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("a key of any length is one");
    mac.update(format!("{encoded}\n{seconds}").as_bytes());
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    let (signature, policy) = (utf8_percent_encode(&signature, ENCODED), utf8_percent_encode(policy, ENCODED));
    format!("SharedAccessSignature sr={encoded}&sig={signature}&se={seconds}&skn={policy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by azure-eventhub 5.15.1 for Python: `generate_sas_token`.
    #[test]
    fn a_token_is_that_of_azures_client() {
        let expiry = UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        let token = sign("sb://localhost/orders", "RootManageSharedAccessKey", "c2VjcmV0", expiry);
        assert_eq!(
            token,
            "SharedAccessSignature sr=sb%3A%2F%2Flocalhost%2Forders&sig=cH%2FmagFcMXaXi6Elb2OFHDLDlN52v4gU%2FSLkh0ChYmY\
             %3D&se=1900000000&skn=RootManageSharedAccessKey"
        );
    }
}
