use std::net::IpAddr;

/// Refuses a plain `http://` or `amqp://` address that is not this machine, unless that was allowed.
///
/// # Errors
///
/// What is wrong, without the address: it may hold credentials.
pub fn check_url(url: &str, allow_insecure: bool) -> Result<(), &'static str> {
    let Some((scheme, rest)) = url.split_once("://") else { return Err("is not an address with a scheme") };
    if !matches!(scheme, "http" | "amqp") || allow_insecure {
        return Ok(());
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(host) => host.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if loopback {
        Ok(())
    } else {
        Err("is not encrypted and not on this machine; allow_insecure = true would allow it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_addresses_are_for_this_machine() {
        for url in ["https://sqs.example", "http://localhost:4566", "http://127.0.0.1/x", "amqp://[::1]:5672"] {
            assert_eq!(check_url(url, false), Ok(()), "{url}");
        }
        for url in
            ["http://sqs.example", "amqp://10.0.0.1", "http://localhost@evil.example", "http://localhost.evil.example"]
        {
            assert!(check_url(url, false).is_err() && check_url(url, true).is_ok(), "{url}");
        }
        assert!(check_url("localhost", true).is_err());
    }
}
