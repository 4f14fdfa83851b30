use std::net::IpAddr;

/// Refuses an address of a service that is not encrypted and not of this machine, unless that was allowed. Encrypted are
/// `https` and `amqps`; other schemes than these, `http` and `amqp` are refused, in whatever case they are written.
///
/// # Errors
///
/// What is wrong, without the address: it may hold credentials.
pub fn check_url(url: &str, allow_insecure: bool) -> Result<(), &'static str> {
    let Some((scheme, rest)) = url.split_once("://") else { return Err("is not an address with a scheme") };
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    if is("https") || is("amqps") {
        return Ok(());
    }
    if !is("http") && !is("amqp") {
        return Err("has a scheme that is none of https, http, amqps and amqp");
    }
    if allow_insecure || is_of_this_machine(rest) {
        return Ok(());
    }
    Err("is not encrypted and not on this machine; allow_insecure = true would allow it")
}

/// Whether what is behind `http://` leads to this machine, as every client reads it: some take `\` for `/`.
fn is_of_this_machine(rest: &str) -> bool {
    let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(host) => host.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let local =
        |host: &str| host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    local(host) && !rest.contains('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_addresses_are_for_this_machine() {
        for url in [
            "https://sqs.example",
            "HTTPS://sqs.example",
            "http://localhost:4566",
            "HTTP://LocalHost:4566",
            "http://127.0.0.1/x",
            "amqp://[::1]:5672",
        ] {
            assert_eq!(check_url(url, false), Ok(()), "{url}");
        }
        for url in [
            "http://sqs.example",
            "HTTP://sqs.example",
            "hTTp://sqs.example",
            "AMQP://sqs.example",
            "amqp://10.0.0.1",
            "http://localhost@evil.example",
            "http://localhost.evil.example",
            "http://evil.example\\@localhost",
            "http://localhost\\@evil.example",
        ] {
            assert!(check_url(url, false).is_err() && check_url(url, true).is_ok(), "{url}");
        }
        for url in ["localhost", " http://sqs.example", "ftp://sqs.example", "\thttps://sqs.example", "://x"] {
            assert!(check_url(url, true).is_err(), "{url}");
        }
    }
}
