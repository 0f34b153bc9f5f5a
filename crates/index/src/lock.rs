//! One writer at a time: a lock of the operating system, which ends with the process however it ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::clock::now_utc;
use crate::error::{At, IndexError, Result};

pub(crate) const LOCK: &str = "writer.lock";

/// The holder's description lies beside the lock: some systems refuse to read a locked file.
pub(crate) const HOLDER: &str = "writer.txt";

/// How often a lock that nobody claims is tried again, and after which pause. A process that another thread starts has a copy
/// of an ended lock until it runs its own program, and a writer says who it is a moment after it has taken the lock.
const TRIES: usize = 25;
const PAUSE: Duration = Duration::from_millis(10);

/// The right to write to an index, until it is dropped.
#[derive(Debug)]
pub(crate) struct WriterLock {
    _file: File,
    holder: PathBuf,
}

impl WriterLock {
    /// Takes the lock of the index at `dir`, or says who has it.
    pub(crate) fn take(dir: &Path) -> Result<Self> {
        let path = dir.join(LOCK);
        let file =
            OpenOptions::new().create(true).read(true).write(true).truncate(false).open(&path).at(dir)?;
        let holder = dir.join(HOLDER);
        let mut left = TRIES;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    let words = fs::read_to_string(&holder).unwrap_or_default();
                    if words.is_empty() && left > 0 {
                        left -= 1;
                        thread::sleep(PAUSE);
                        continue;
                    }
                    let holder = if words.is_empty() { "it has not said who it is".into() } else { words };
                    return Err(IndexError::Busy { dir: dir.into(), holder });
                }
                Err(TryLockError::Error(source)) => return Err(IndexError::io(&path, source)),
            }
        }
        let words = format!("process {}, since {}", std::process::id(), now_utc());
        fs::write(&holder, words).at(&holder)?;
        Ok(Self { _file: file, holder })
    }
}

impl Drop for WriterLock {
    fn drop(&mut self) {
        // The words are a courtesy: the next writer replaces them if they stay.
        let _ = fs::remove_file(&self.holder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_nobody_claims_is_waited_for_a_moment() {
        let dir = tempfile::tempdir().unwrap();
        let first = WriterLock::take(dir.path()).unwrap();
        let holder = |found: Result<WriterLock>| match found {
            Err(IndexError::Busy { holder, .. }) => holder,
            other => panic!("{other:?}"),
        };
        assert!(holder(WriterLock::take(dir.path())).contains(&format!("process {}", std::process::id())));
        // As a copy that a new process still has: the words are gone, the lock goes a little later.
        fs::remove_file(dir.path().join(HOLDER)).unwrap();
        let waits = thread::scope(|scope| {
            let next = scope.spawn(|| WriterLock::take(dir.path()));
            thread::sleep(PAUSE * 3);
            drop(first);
            next.join().unwrap()
        });
        let second = waits.unwrap();
        fs::remove_file(dir.path().join(HOLDER)).unwrap();
        assert!(holder(WriterLock::take(dir.path())).contains("has not said"));
        drop(second);
    }
}
