//! Tokens of every type: shared access signatures, and JWTs.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::{
    config::Access,
    sas::{self, Grant, Refused},
};

/// Checks a token for what is below `name`, and says what it grants.
pub(crate) fn check(kind: &str, token: &str, name: &str, access: &Access, now: i64) -> Result<Grant, Refused> {
    if kind != "jwt" {
        return sas::verify(token, &access.keys, now);
    }
    if !access.jwt {
        return Err(Refused::Signature);
    }
    let until = expiry(token).unwrap_or(i64::MAX);
    // Nobody has signed it for us, so that it is good for whatever it is put for.
    if until <= now { Err(Refused::Expired) } else { Ok(Grant { resource: name.to_owned(), until }) }
}

/// The type of a token that comes without one.
pub(crate) fn kind(token: &str) -> &'static str {
    if token.starts_with("SharedAccessSignature ") { "servicebus.windows.net:sastoken" } else { "jwt" }
}

/// When a JWT expires, in milliseconds since 1970, if it says.
pub(crate) fn expiry(token: &str) -> Option<i64> {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    claims.get("exp")?.as_i64()?.checked_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_jwt_is_good_until_it_says() {
        let access = Access::default();
        let check = |token: &str, now| check("jwt", token, "sb://host/orders", &access, now);
        let grant = |until| Ok(Grant { resource: "sb://host/orders".into(), until });
        assert_eq!(check(&jwt(r#"{"exp":10}"#), 9_999), grant(10_000));
        assert_eq!(check(&jwt(r#"{"exp":10}"#), 10_000), Err(Refused::Expired));
        assert_eq!(check(&jwt("{}"), 0), grant(i64::MAX));
        assert_eq!(check("anything", 0), grant(i64::MAX));
    }

    #[test]
    fn jwts_may_be_refused() {
        let access = Access { jwt: false, ..Access::default() };
        assert_eq!(check("jwt", &jwt("{}"), "sb://host/orders", &access, 0), Err(Refused::Signature));
        assert_eq!([kind(&jwt("{}")), kind("SharedAccessSignature sr=")], ["jwt", "servicebus.windows.net:sastoken"]);
    }
}
