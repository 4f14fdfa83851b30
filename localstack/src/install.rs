use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{self, Command},
};

use crate::{Emulator, cache};

/// Where a complete installation is.
///
/// # Errors
///
/// There is none. Nothing is installed here: that is for [`install`], which may take minutes and the network.
pub fn installed(emulator: Emulator) -> Result<PathBuf, String> {
    let target = Installation::of(emulator)?.target();
    let missing = || format!("{} is not installed: run cargo xtask emulators install", emulator.name());
    if target.is_dir() { Ok(target) } else { Err(missing()) }
}

/// Installs an emulator, unless that was done; takes a minute, and the network.
///
/// It is made in a folder of another name, which gets its own when complete: an installation that was interrupted is
/// none, and is cleared by the next. Of several at a time one installs, and the others wait for it.
///
/// # Errors
///
/// What is missing on this machine, or how the script ended.
pub fn install(emulator: Emulator) -> Result<PathBuf, String> {
    Installation::of(emulator)?.make()
}

/// What is to be where.
#[derive(Debug)]
struct Installation {
    cache: PathBuf,
    name: String,
    fingerprint: String,
    script: PathBuf,
}

impl Installation {
    fn of(emulator: Emulator) -> Result<Self, String> {
        let fingerprint = cache::fingerprint(emulator)
            .map_err(|error| format!("the pins of {} cannot be read: {error}", emulator.name()))?;
        let script = cache::scripts(emulator).join("install.sh");
        Ok(Self { cache: cache::folder()?, name: emulator.name().to_owned(), fingerprint, script })
    }

    fn target(&self) -> PathBuf {
        self.cache.join(format!("{}-{}", self.name, self.fingerprint))
    }

    /// What the folders of incomplete installations are called, before a number.
    fn partial(&self) -> String {
        format!(".{}-partial-", self.name)
    }

    fn make(&self) -> Result<PathBuf, String> {
        let target = self.target();
        if target.is_dir() {
            return Ok(target);
        }
        let failed = |what: &Path, error: io::Error| format!("{}: {error}", what.display());
        fs::create_dir_all(&self.cache).map_err(|error| failed(&self.cache, error))?;
        let path = self.cache.join(format!("{}.lock", self.name));
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.and_then(|lock| lock.lock().map(|()| lock)).map_err(|error| failed(&path, error))?;
        if target.is_dir() {
            return Ok(target); // somebody else's
        }
        self.clear();
        let partial = self.cache.join(format!("{}{}", self.partial(), process::id()));
        fs::create_dir(&partial).map_err(|error| failed(&partial, error))?;
        let status = Command::new("bash")
            .arg(&self.script)
            .arg(&partial)
            // The script holds the lock too: should we be killed, nobody clears what it still writes.
            .stdin(lock.try_clone().map_err(|error| failed(&path, error))?)
            .status()
            .map_err(|error| failed(&self.script, error))?;
        if !status.success() {
            self.clear();
            return Err(format!("{} was not installed: {status}", self.name));
        }
        fs::rename(&partial, &target).map_err(|error| failed(&target, error))?;
        drop(lock);
        Ok(target)
    }

    /// Removes what interrupted installations left. Whoever calls this holds the lock.
    fn clear(&self) {
        let Ok(entries) = fs::read_dir(&self.cache) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(&self.partial()) {
                // What cannot be removed takes room, and nothing else.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// An installation by a script of one line; it runs in the folder above the one that it is given.
    fn installation(folder: &Path, script: &str) -> Installation {
        let file = folder.join("install.sh");
        fs::write(&file, format!("set -e; cd \"$1/..\"; {script}")).unwrap();
        Installation { cache: folder.join("cache"), name: "fake".into(), fingerprint: "0".into(), script: file }
    }

    fn left(installation: &Installation) -> Vec<String> {
        let entries = fs::read_dir(&installation.cache).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn of_many_at_a_time_one_installs() {
        let folder = tempfile::tempdir().unwrap();
        let installation = installation(folder.path(), "echo x >> ../runs; echo made > \"$1/what\"");
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(installation.make().unwrap(), installation.target()));
            }
        });
        assert_eq!(fs::read_to_string(folder.path().join("runs")).unwrap(), "x\n");
        assert_eq!(fs::read_to_string(installation.target().join("what")).unwrap(), "made\n");
        assert_eq!(left(&installation), ["fake-0", "fake.lock"]);
    }

    #[test]
    fn what_failed_or_was_interrupted_is_none_and_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let broken = installation(folder.path(), "echo half > \"$1/what\"; exit 3");
        assert!(broken.make().unwrap_err().starts_with("fake was not installed: exit status: 3"));
        assert_eq!(left(&broken), ["fake.lock"]);

        // Killed with us: nobody was left to clear it.
        fs::create_dir(broken.cache.join(".fake-partial-1")).unwrap();
        fs::write(broken.cache.join(".fake-partial-1/what"), "half").unwrap();
        let whole = installation(folder.path(), "echo made > \"$1/what\"");
        assert_eq!(fs::read_to_string(whole.make().unwrap().join("what")).unwrap(), "made\n");
        assert_eq!(left(&whole), ["fake-0", "fake.lock"]);
    }
}
