//! One writer at a time: a lock of the operating system, which ends with the process however it ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use crate::clock::now_utc;
use crate::error::{At, IndexError, Result};

const LOCK: &str = "writer.lock";

/// The holder's description lies beside the lock: some systems refuse to read a locked file.
const HOLDER: &str = "writer.txt";

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
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let words = fs::read_to_string(&holder).unwrap_or_default();
                let holder = if words.is_empty() { "it has not said who it is".into() } else { words };
                return Err(IndexError::Busy { dir: dir.into(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(IndexError::io(&path, source)),
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
