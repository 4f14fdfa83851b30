use std::{fs, path::Path};

use strait_core::Result;
use strait_kit::Version;

use super::{CURRENT, ROW, failed, is_absent, swap::read_version, version};
use crate::key;

/// The rows below `root` whose key begins with `prefix`.
pub(crate) fn list(root: &Path, prefix: &str) -> Result<Vec<(String, Version)>> {
    let mut found = Vec::new();
    // Folders that are still to be read: their name in encoded keys.
    let mut waiting = vec![key::folder(prefix).unwrap_or_default()];
    while let Some(name) = waiting.pop() {
        let entries = match fs::read_dir(root.join(&name)) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => continue,
            Err(error) => return Err(failed("be listed", error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| failed("be listed", error))?;
            let Ok(segment) = entry.file_name().into_string() else { continue };
            let below = |segment: &str| if name.is_empty() { segment.to_owned() } else { format!("{name}/{segment}") };
            let Some(segment) = segment.strip_suffix(ROW) else {
                waiting.push(below(&segment));
                continue;
            };
            let Some(key) = key::decode(&below(segment)).filter(|key| key.starts_with(prefix)) else { continue };
            // One that is gone by now was not there all the time.
            if let Some(nonce) = read_version(&entry.path().join(CURRENT))? {
                found.push((key, version(nonce)));
            }
        }
    }
    Ok(found)
}
