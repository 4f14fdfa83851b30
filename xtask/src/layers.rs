//! Who may depend on whom: the layering of ARCHITECTURE.md, checked. And what nothing may pull in.

use std::{collections::BTreeSet, fs};

use crate::{build::cargo, step::Steps};

/// Crates, and all that they may depend on at most, besides the standard library.
const ALLOWED: [(&str, &[&str]); 5] = [
    ("strait-core", &["async-trait", "bytes", "tokio", "uuid"]),
    ("strait-lanes", &["hashbrown"]),
    (
        "strait-runtime",
        &[
            "bytes",
            "fastrand",
            "futures-util",
            "humantime",
            "serde",
            "serde_json",
            "slab",
            "strait-core",
            "strait-lanes",
            "tokio",
            "tokio-util",
            "tracing",
        ],
    ),
    (
        "strait-kit",
        &[
            "async-trait",
            "bytes",
            "futures-util",
            "hashbrown",
            "miniz_oxide",
            "serde",
            "serde_json",
            "strait-core",
            "tokio",
            "tracing",
            "uuid",
        ],
    ),
    // Of use without Strait, so that nothing of Strait is in it.
    (
        "strait-eventhubs-emulator",
        &[
            "base64",
            "bytes",
            "fastrand",
            "fe2o3-amqp",
            "fe2o3-amqp-types",
            "hmac",
            "http-body-util",
            "humantime",
            "hyper",
            "hyper-util",
            "lexopt",
            "percent-encoding",
            "serde",
            "serde_amqp",
            "serde_json",
            "sha2",
            "socket2",
            "tokio",
            "tokio-rustls",
            "tokio-util",
            "toml",
            "tracing",
        ],
    ),
];

/// Fails when a crate of the lower layers depends on something that it is not to know.
pub(crate) fn check(steps: &mut Steps) -> Result<(), String> {
    steps.check("layers", || {
        for (package, allowed) in ALLOWED {
            let mut tree = cargo(["tree", "--package", package, "--edges", "normal", "--depth", "1"]);
            let output =
                tree.args(["--prefix", "none", "--format", "{p}"]).output().map_err(|error| error.to_string())?;
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned());
            }
            let text = String::from_utf8_lossy(&output.stdout);
            let found: BTreeSet<_> = text.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
            if let Some(stranger) = found.iter().find(|name| !allowed.contains(name)) {
                return Err(format!("{package} must not depend on {stranger}"));
            }
        }
        no_other_tls(&fs::read_to_string("Cargo.lock").map_err(|error| error.to_string())?)
    })
}

/// There is one implementation of TLS, that of rustls from 0.23 on, with whatever features.
fn no_other_tls(lock: &str) -> Result<(), String> {
    for package in lock.split("[[package]]").skip(1) {
        let field = |name: &str| {
            let lines = package.lines().filter_map(|line| line.split_once(" = "));
            lines.map(|(field, value)| (field, value.trim_matches('"'))).find(|(field, _)| *field == name)
        };
        let name = field("name").map_or("", |(_, name)| name);
        let version = field("version").map_or("", |(_, version)| version);
        let old =
            |version: &str| version.strip_prefix("0.").and_then(|rest| rest.split('.').next()?.parse().ok()) < Some(23);
        if matches!(name, "openssl-sys" | "native-tls") || (name == "rustls" && old(version)) {
            return Err(format!("{name} {version} must not be pulled in"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_implementations_of_tls_are_seen() {
        let lock = |name: &str, version: &str| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
        assert_eq!(no_other_tls(&lock("rustls", "0.23.46")), Ok(()));
        assert_eq!(no_other_tls(&lock("openssl-probe", "0.1.6")), Ok(()));
        for (name, version) in [("rustls", "0.21.12"), ("openssl-sys", "0.9.1"), ("native-tls", "0.2.1")] {
            assert!(no_other_tls(&lock(name, version)).is_err(), "{name}");
        }
    }
}
