//! The data file, mapped for reading.

#![allow(unsafe_code, reason = "memory maps: see the comments at each")]

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::{Mmap, MmapOptions};

use super::Corrupt;
use super::meta::Meta;

/// Room for growth in a map: a file that grows by less needs no new one.
const SLACK: u64 = 1 << 30;

/// What distinguishes two files of the same path, on systems that number files.
pub(super) fn identity(about: &std::fs::Metadata) -> (u64, u64) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        (about.dev(), about.ino())
    }
    #[cfg(not(unix))]
    {
        let _ = about;
        (0, 0)
    }
}

/// The data file of an index, open for reading.
#[derive(Debug)]
pub(crate) struct DataFile {
    path: PathBuf,
    file: File,
    current: Mutex<Option<(Arc<Mmap>, u64)>>,
}

/// The first bytes of the file: those that it had when it was looked at.
#[derive(Debug, Clone)]
pub(crate) struct Mapped {
    map: Arc<Mmap>,
    length: usize,
}

impl Mapped {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map[..self.length]
    }
}

impl DataFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.into(), file: File::open(path)?, current: Mutex::new(None) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Whether this file is no longer the one at its path.
    pub(crate) fn is_gone(&self) -> bool {
        let there = std::fs::metadata(&self.path).ok().map(|about| identity(&about));
        there.is_none() || there != self.file.metadata().ok().map(|about| identity(&about))
    }

    /// The meta pages, by ordinary reading: no map is touched.
    pub(crate) fn read_metas(&self) -> io::Result<Result<[Meta; 2], Corrupt>> {
        let mut head = Vec::new();
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        file.take(2 * 65_536).read_to_end(&mut head)?;
        Ok(Meta::both(&head))
    }

    /// The file in memory, with at least its first `need` bytes if it has them.
    pub(crate) fn map(&self, need: u64) -> io::Result<Mapped> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((map, length)) = &*current
            && *length >= need
        {
            return Ok(Mapped { map: map.clone(), length: *length as usize });
        }
        let length = self.length()?;
        if let Some((map, known)) = &mut *current
            && map.len() as u64 >= length
        {
            *known = (*known).max(length);
            return Ok(Mapped { map: map.clone(), length: *known as usize });
        }
        let map = |bytes: u64| {
            // SAFETY: the bytes change only as LMDB changes them. Its commits never write to pages that an
            // older commit in use consists of; what changes nevertheless (in a folder without a table of
            // readers, or by a failing disk) are bytes, which any number may be, and whose checksums then
            // differ. The map reaches beyond the file's end, and `Mapped` gives out only what is before it.
            // A file that is cut while it is open ends the process, like every mapped file.
            unsafe { MmapOptions::new().len(bytes as usize).map(&self.file) }
        };
        let slack = if cfg!(unix) { SLACK.max(length) } else { 0 };
        let map = Arc::new(map((length + slack).max(1)).or_else(|_| map(length.max(1)))?);
        *current = Some((map.clone(), length));
        Ok(Mapped { map, length: length as usize })
    }
}
