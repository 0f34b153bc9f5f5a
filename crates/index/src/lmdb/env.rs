//! LMDB's environment: the one writer's transactions, and the table of readers.
//!
//! A process opens a file once, however many readers and writers it has: LMDB demands it.

#![allow(unsafe_code, reason = "LMDB maps its file: see the comments at each")]

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use super::file::identity;
use heed::{EnvFlags, EnvOpenOptions, MdbError, RoTxn, WithoutTls};

/// Virtual memory that the map of an environment takes: room to grow without a new one.
const MAP: usize = 1 << 40;

/// Step by which a map grows where address space is scarce, and its least size.
const LEAST_MAP: usize = 1 << 20;

/// Bytes of the table of readers: 2046 of them.
const LOCK_BYTES: usize = 128 << 10;

/// Named trees in a file.
const TREES: u32 = 16;

/// An entry of the table of readers: the pages of one commit are not used again while it is there.
pub(crate) type ReaderSlot = RoTxn<'static, WithoutTls>;

/// An open environment.
#[derive(Debug)]
pub(crate) struct SharedEnv {
    env: heed::Env<WithoutTls>,
    /// Which file it is.
    file: (u64, u64),
    /// Held for reading while a transaction begins, for writing while the map moves.
    moving: RwLock<()>,
}

static OPEN: Mutex<Vec<(PathBuf, Weak<SharedEnv>)>> = Mutex::new(Vec::new());

/// Opens the environment of the data file at `path`, which exists, perhaps empty. A `map` of 0 bytes is one of
/// the usual size.
pub(crate) fn open(path: &Path, map: usize) -> heed::Result<Arc<SharedEnv>> {
    let path = path.canonicalize()?;
    prepare_lock(&path)?;
    let mut all = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|(_, env)| env.strong_count() > 0);
    let file = identity(&path.metadata()?);
    if let Some(env) = all.iter().find(|(other, _)| *other == path).and_then(|(_, env)| env.upgrade()) {
        // A folder that was removed and made again while it was open here: the one that is gone is not this one.
        return if env.file == file { Ok(env) } else { Err(heed::Error::EnvAlreadyOpened) };
    }
    let env = Arc::new(SharedEnv { env: open_with_room(&path, map)?, file, moving: RwLock::new(()) });
    all.push((path, Arc::downgrade(&env)));
    Ok(env)
}

/// Where LMDB keeps the table of readers of the file at `path`.
pub(crate) fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-lock");
    name.into()
}

/// Makes the table of readers if it is missing: whole, so that a full disk is an error now and not a crash when
/// its map is written, and with the rights of a usual file.
fn prepare_lock(path: &Path) -> io::Result<()> {
    let lock = lock_path(path);
    match File::create_new(&lock) {
        Ok(mut file) => file.write_all(&vec![0; LOCK_BYTES]).inspect_err(|_| {
            let _ = std::fs::remove_file(&lock);
        }),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Opens with a map of the usual size; where the address space is too small for it, with one that leaves most of the
/// space to the rest of the program.
fn open_with_room(path: &Path, map: usize) -> heed::Result<heed::Env<WithoutTls>> {
    // LMDB opens its files for writing: say so before it makes anything of a folder that is only read.
    OpenOptions::new().read(true).write(true).open(path)?;
    let least =
        usize::try_from(path.metadata()?.len()).unwrap_or(MAP).next_multiple_of(LEAST_MAP).max(LEAST_MAP);
    let mut size = if map > 0 { map.next_multiple_of(64 << 10) } else { MAP };
    let (mut patience, mut scarce) = (100, false);
    loop {
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(size).max_readers(2046).max_dbs(TREES);
        // SAFETY: the flags are none that weaken LMDB: one file instead of a folder, no reading ahead. The map
        // is safe as long as the file is a sound one: callers read its meta pages and its length first, and a
        // writer walks through all of its structure. The file is opened once in this process (`OPEN`, and
        // heed's own list), and this crate never opens the table of readers, whose locks would go.
        let opened = unsafe {
            options.flags(EnvFlags::NO_SUB_DIR | EnvFlags::NO_READ_AHEAD);
            options.open(path)
        };
        match opened {
            // Another thread is about to close it.
            Err(heed::Error::EnvAlreadyOpened) if patience > 0 => {
                patience -= 1;
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(heed::Error::Io(error)) if error.kind() == io::ErrorKind::OutOfMemory && size > least => {
                size = (size / 2).max(least);
                scarce = true;
            }
            Ok(env) if scarce && size > least => {
                drop(env);
                size = (size / 4).max(least);
                scarce = false;
            }
            opened => return opened,
        }
    }
}

impl SharedEnv {
    pub(crate) fn env(&self) -> &heed::Env<WithoutTls> {
        &self.env
    }

    /// Takes an entry in the table of readers, for the last commit.
    pub(crate) fn reader_slot(&self) -> heed::Result<ReaderSlot> {
        let mut tries = 3;
        loop {
            let held = self.moving.read().unwrap_or_else(PoisonError::into_inner);
            let slot = self.env.clone().static_read_txn();
            drop(held);
            tries -= 1;
            match slot {
                Err(heed::Error::Mdb(MdbError::MapResized)) if tries > 0 => self.resize(0)?,
                Err(heed::Error::Mdb(MdbError::ReadersFull)) if tries > 0 => self.clear_stale_readers()?,
                slot => return slot,
            }
        }
    }

    /// Removes the entries of readers whose processes have ended.
    pub(crate) fn clear_stale_readers(&self) -> heed::Result<()> {
        self.env.clear_stale_readers().map(drop)
    }

    /// Doubles the map. No transaction that writes may be open.
    pub(crate) fn grow(&self) -> heed::Result<()> {
        let size = self.env.info().map_size;
        match self.resize(size.saturating_mul(2)) {
            Err(heed::Error::Io(error)) if error.kind() == io::ErrorKind::OutOfMemory => {
                self.resize(size + (size / 4).next_multiple_of(LEAST_MAP))
            }
            done => done,
        }
    }

    /// Gives the map another size; 0 takes the one that another process gave it.
    fn resize(&self, size: usize) -> heed::Result<()> {
        let _held = self.moving.write().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: no transaction begins meanwhile, and the one writer calls this between its transactions.
        // Readers' transactions may be open: they are entries in the table of readers, and nothing is read
        // through LMDB's map in this crate.
        unsafe { self.env.resize(size) }
    }
}
