//! Who may depend on whom: the layering of ARCHITECTURE.md, checked.

use std::collections::BTreeSet;

use crate::step::{Steps, cargo};

/// Crates, and all that they may depend on at most, besides the standard library.
const ALLOWED: [(&str, &[&str]); 4] = [
    ("strait-core", &["async-trait", "bytes", "tokio", "uuid"]),
    ("strait-lanes", &["hashbrown"]),
    (
        "strait-runtime",
        &[
            "async-trait",
            "bytes",
            "fastrand",
            "futures-util",
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
            "serde",
            "serde_json",
            "slab",
            "strait-core",
            "tokio",
            "tracing",
            "uuid",
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
        Ok(())
    })
}
