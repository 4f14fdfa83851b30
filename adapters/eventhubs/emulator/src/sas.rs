//! Shared access signatures: what a client that has a key proves it by.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::percent_decode_str;
use sha2::Sha256;

/// What a token grants: a resource, until a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// As it stands in the token, decoded: `sb://host/hub`.
    pub(crate) resource: String,
    /// Milliseconds since 1970.
    pub(crate) until: i64,
}

/// Why a token is refused, in words for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Malformed,
    Key,
    Signature,
    Expired,
}

impl Refused {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Malformed => "InvalidSignature: The token is malformed.",
            Self::Key => "InvalidSignature: The token names an unknown key.",
            Self::Signature => "InvalidSignature: The token has an invalid signature.",
            Self::Expired => "ExpiredToken: The token is expired.",
        }
    }
}

/// Checks a token: `SharedAccessSignature sr=..&sig=..&se=..&skn=..`, in any order.
pub(crate) fn verify(token: &str, keys: &BTreeMap<String, String>, now: i64) -> Result<Grant, Refused> {
    let fields = token.strip_prefix("SharedAccessSignature ").ok_or(Refused::Malformed)?;
    let field = |name: &str| {
        let mut fields = fields.split('&').filter_map(|field| field.split_once('='));
        fields.find(|(field, _)| *field == name).map(|(_, value)| value).ok_or(Refused::Malformed)
    };
    let decoded =
        |value: &str| percent_decode_str(value).decode_utf8().map(String::from).map_err(|_| Refused::Malformed);
    let (resource, expiry) = (field("sr")?, field("se")?);
    let key = keys.get(&decoded(field("skn")?)?).ok_or(Refused::Key)?;
    let signature = BASE64_STANDARD.decode(decoded(field("sig")?)?).map_err(|_| Refused::Malformed)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).map_err(|_| Refused::Key)?;
    mac.update(resource.as_bytes());
    mac.update(b"\n");
    mac.update(expiry.as_bytes());
    mac.verify_slice(&signature).map_err(|_| Refused::Signature)?;
    let seconds: i64 = expiry.parse().map_err(|_| Refused::Malformed)?;
    let until = seconds.saturating_mul(1000);
    if until <= now { Err(Refused::Expired) } else { Ok(Grant { resource: decoded(resource)?, until }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> BTreeMap<String, String> {
        BTreeMap::from([("RootManageSharedAccessKey".to_owned(), "c2VjcmV0".to_owned())])
    }

    /// Made by azure-eventhub 5.15.1 for Python: `generate_sas_token`.
    const TOKEN: &str = "SharedAccessSignature sr=sb%3A%2F%2Flocalhost%2Forders&sig=cH%2FmagFcMXaXi6Elb2OFHDLDlN52v4gU%2FSLkh0ChYmY%3D&se=1900000000&skn=RootManageSharedAccessKey";
    const UNTIL: i64 = 1_900_000_000_000;

    #[test]
    fn a_token_of_azures_client_is_verified() {
        let grant = verify(TOKEN, &keys(), 0).unwrap();
        assert_eq!(grant, Grant { resource: "sb://localhost/orders".into(), until: UNTIL });
    }

    #[test]
    fn other_tokens_are_refused() {
        assert_eq!(verify(TOKEN, &keys(), UNTIL), Err(Refused::Expired));
        assert_eq!(verify(TOKEN, &BTreeMap::new(), 0), Err(Refused::Key));
        let other = BTreeMap::from([("RootManageSharedAccessKey".to_owned(), "other".to_owned())]);
        assert_eq!(verify(TOKEN, &other, 0), Err(Refused::Signature));
        assert_eq!(verify(&TOKEN.replace("orders", "others"), &keys(), 0), Err(Refused::Signature));
        assert_eq!(verify(&TOKEN.replace("1900000000", "1900000001"), &keys(), 0), Err(Refused::Signature));
        for token in [
            "",
            "SharedAccessSignature ",
            "SharedAccessSignature sr=a&se=1&skn=RootManageSharedAccessKey",
            &TOKEN[22..],
        ] {
            assert_eq!(verify(token, &keys(), 0), Err(Refused::Malformed), "{token}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused(text in ".{0,80}", sr in ".{0,20}", sig in ".{0,20}", se in "[0-9]{0,25}") {
            prop_assert!(verify(&text, &keys(), 0).is_err());
            let token = format!("SharedAccessSignature sr={sr}&sig={sig}&se={se}&skn=RootManageSharedAccessKey");
            prop_assert!(verify(&token, &keys(), 0).is_err());
        }
    }
}
