use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use crate::Emulator;

/// Where emulators are kept: `$STRAIT_EMULATORS`, else `$XDG_CACHE_HOME/strait`, else `~/.cache/strait`.
///
/// # Errors
///
/// None of these is set, or not to an absolute folder.
pub fn folder() -> Result<PathBuf, String> {
    let named = |variable: &str| env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = named("STRAIT_EMULATORS")
        .or_else(|| named("XDG_CACHE_HOME").map(|cache| cache.join("strait")))
        .or_else(|| named("HOME").map(|home| home.join(".cache/strait")))
        .ok_or("none of STRAIT_EMULATORS, XDG_CACHE_HOME and HOME is set")?;
    if folder.is_absolute() { Ok(folder) } else { Err(format!("{} is not an absolute folder", folder.display())) }
}

/// The folder of an emulator's pins and scripts, in the project.
pub(crate) fn scripts(emulator: Emulator) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(emulator.name())
}

/// Names what is pinned: another pin is another folder.
pub(crate) fn fingerprint(emulator: Emulator) -> io::Result<String> {
    let mut files: Vec<_> =
        fs::read_dir(scripts(emulator))?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|file| file.file_name().is_some_and(|name| name != "start.sh"));
    files.sort();
    // FNV-1a, since the standard library promises none that stays the same.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for file in files {
        for byte in fs::read(file)? {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    Ok(format!("{hash:016x}"))
}
