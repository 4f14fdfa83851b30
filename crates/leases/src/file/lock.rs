use std::{
    fs::{File, TryLockError},
    io,
    path::PathBuf,
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// A lock that is held until this is dropped, or its process is gone.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "closing the file gives the lock back")] File);

/// Takes the lock, or gives up at the deadline.
///
/// It asks again and again, instead of waiting in the operating system: a thread that waits there cannot be called
/// back, and threads would pile up behind a holder that is stopped.
pub(crate) async fn lock(path: PathBuf, deadline: Instant) -> io::Result<Option<Lock>> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    let mut pause = Duration::from_micros(500);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(Lock(file))),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return Ok(None),
            Err(TryLockError::WouldBlock) => sleep_until(deadline.min(Instant::now() + pause)).await,
        }
        pause = (pause * 2).min(Duration::from_millis(8));
    }
}
