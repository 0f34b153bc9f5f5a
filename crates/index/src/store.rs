//! The data file of an index: which one it is, opening it, and pictures of its last commit.
//!
//! `places-N.mdb` with the highest N counts. A compaction writes the next number, whole, and removes the one
//! before; LMDB's table of readers lies beside each file under its name with `-lock` at the end.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{At, IndexError, Result};
use crate::lmdb::Corrupt;
use crate::lmdb::env::{self, SharedEnv, lock_path};
use crate::lmdb::file::{DataFile, Mapped};
use crate::lmdb::meta::Meta;
use crate::lmdb::pages::Pages;
use crate::lmdb::walk::{Used, walk};
use crate::picture::Picture;
use crate::schema::{Db, SUM, sum};
use crate::slots::SlotSet;

/// How often a picture is tried again: a commit may be changing the head of the file.
const TRIES: u32 = 100;

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    /// With a map of so many bytes at first; 0 is the usual size.
    Write(usize),
}

/// An open data file.
#[derive(Debug)]
pub(crate) struct Store {
    dir: Arc<Path>,
    number: u64,
    file: DataFile,
    page_size: u64,
    /// None where the table of readers cannot be written.
    env: Option<Arc<SharedEnv>>,
    pub(crate) cache: Cache,
}

impl Store {
    /// Opens the data file of the index at `dir`.
    pub(crate) fn open(dir: &Path, access: Access) -> Result<Self> {
        let mut tries = 0;
        loop {
            let number = current(dir)?;
            let path = data_path(dir, number);
            match Self::open_file(dir, number, &path, access) {
                // A compaction has just replaced it.
                Err(IndexError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound && tries < TRIES =>
                {
                    tries += 1;
                }
                store => return store,
            }
        }
    }

    /// Opens a data file outside of an index.
    pub(crate) fn open_file(dir: &Path, number: u64, path: &Path, access: Access) -> Result<Self> {
        let file = DataFile::open(path).at(path)?;
        // By ordinary reading, before any map is touched: a file that was cut is an error and not a crash.
        let damaged = |Corrupt(problem)| IndexError::damaged(dir, format!("{}: {problem}", path.display()));
        let metas = (0..TRIES).find_map(|_| match file.read_metas() {
            Ok(Err(_)) => None,
            metas => Some(metas),
        });
        let metas = metas.unwrap_or_else(|| file.read_metas()).at(path)?.map_err(damaged)?;
        let last = Meta::last(metas);
        let page_size = last.page_size as u64;
        let mut store = Self { dir: dir.into(), number, file, page_size, env: None, cache: Cache::default() };
        let needed = last.last_page.saturating_add(1).saturating_mul(page_size);
        if store.file.length().at(path)? < needed {
            // Free pages at the end may never have been written. Then every page up to the last is one that is used, and
            // there, or one that is free.
            store.ask(|picture| match store.walk(picture)?.leaves(picture.meta()) {
                0 => Ok(()),
                _ => Err(picture
                    .damaged("the file is shorter than its head says: it was cut, or the head changed")),
            })?;
        }
        store.env = match access {
            Access::Write(map) => {
                Some(env::open(path, map).map_err(|error| heed_error(dir, "opening", error))?)
            }
            Access::Read => match env::open(path, 0) {
                Ok(env) => Some(env),
                Err(heed::Error::Io(error)) if cannot_write(&error) => None,
                // The folder was removed and made again while it was open here.
                Err(heed::Error::EnvAlreadyOpened) => None,
                Err(error) => return Err(heed_error(dir, "opening", error)),
            },
        };
        if let Some(env) = &store.env {
            env.clear_stale_readers()
                .map_err(|error| heed_error(dir, "clearing the table of readers", error))?;
        }
        if access != Access::Read {
            // LMDB follows what it finds when it writes: everything is looked at first.
            store.walk(&store.picture()?)?;
        }
        Ok(store)
    }

    /// The last commit. What it consists of stays while the picture lives.
    pub(crate) fn picture(&self) -> Result<Picture> {
        let mut problem = Corrupt(String::new());
        for i in 0..TRIES {
            if i > TRIES / 2 {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            let slot = match &self.env {
                Some(env) => {
                    Some(env.reader_slot().map_err(|error| self.heed_error("taking a picture", error))?)
                }
                None => None,
            };
            let head = self.map(2 * self.page_size)?;
            match Meta::both(head.bytes()) {
                Err(found) => problem = found,
                Ok(metas) => {
                    let meta = match &slot {
                        Some(slot) => metas.into_iter().find(|meta| meta.transaction == slot.id() as u64),
                        None => Some(Meta::last(metas)),
                    };
                    let steady = Meta::both(head.bytes()).as_ref() == Ok(&metas);
                    if let Some(meta) = meta.filter(|_| steady) {
                        let mapped =
                            self.map(meta.last_page.saturating_add(1).saturating_mul(self.page_size))?;
                        let locked = slot.is_some();
                        let picture = Picture::new(self.dir.clone(), mapped, meta, slot);
                        let stays = || Meta::both(head.bytes()).map(Meta::last) == Ok(meta);
                        if picture.is_ok() || locked || stays() {
                            return picture;
                        }
                    }
                    problem = Corrupt("no meta page is that of the last commit".into());
                }
            }
        }
        Err(IndexError::damaged(&self.dir, problem.0))
    }

    fn map(&self, need: u64) -> Result<Mapped> {
        self.file.map(need).at(self.file.path())
    }

    /// Looks through the structure of a picture.
    pub(crate) fn walk(&self, picture: &Picture) -> Result<Used> {
        let used = walk(Pages::new(picture.bytes(), picture.meta()), picture.meta());
        used.map_err(|Corrupt(problem)| IndexError::damaged(&self.dir, problem))
    }

    /// Whether another file has taken the place of this one.
    pub(crate) fn is_gone(&self) -> bool {
        self.file.is_gone()
    }

    /// Whether pages of a picture cannot change while it lives.
    pub(crate) fn is_locked(&self) -> bool {
        self.env.is_some()
    }

    /// Asks pictures of the last commit until one stayed as it was meanwhile. With an entry in the table of readers,
    /// that is the first. Without one, LMDB may write to pages of commit N once commit N + 2 has been made: what was
    /// answered since then is not trusted.
    pub(crate) fn ask<T>(&self, ask: impl Fn(&Arc<Picture>) -> Result<T>) -> Result<T> {
        for _ in 0..TRIES {
            let picture = Arc::new(self.picture()?);
            let answer = ask(&picture);
            if self.is_locked() || self.picture()?.meta().transaction <= picture.meta().transaction + 1 {
                return answer;
            }
        }
        let holder = "it commits faster than a reader without the right to write here can answer".into();
        Err(IndexError::Busy { dir: self.dir.to_path_buf(), holder })
    }

    pub(crate) fn env(&self) -> Option<&SharedEnv> {
        self.env.as_deref()
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn file_bytes(&self) -> Result<u64> {
        self.file.length().at(self.file.path())
    }

    pub(crate) fn heed_error(&self, doing: &'static str, error: heed::Error) -> IndexError {
        heed_error(&self.dir, doing, error)
    }
}

/// Where in the file a sound block lies, and its checksum.
type Checked = (usize, [u8; SUM]);

/// What was found to be sound, and what was worked out, since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    checked: Mutex<HashMap<(Db, u32), Checked>>,
    taken: Mutex<Option<(u64, Arc<SlotSet>)>>,
}

impl Cache {
    /// Whether a block is what was stored. A block that lies where it lay, with the checksum that it had, is not
    /// read again.
    pub(crate) fn is_sound(&self, picture: &Picture, db: Db, number: u32, stored: &[u8]) -> bool {
        let Some((found, value)) = stored.split_first_chunk::<SUM>() else { return false };
        let place = (stored.as_ptr() as usize - picture.bytes().as_ptr() as usize, *found);
        if lock(&self.checked).get(&(db, number)) == Some(&place) {
            return true;
        }
        let sound = sum(db, &crate::schema::number_key(number), value) == *found;
        if sound {
            lock(&self.checked).insert((db, number), place);
        }
        sound
    }

    /// The slots that are taken in a commit.
    pub(crate) fn taken(&self, picture: &Picture) -> Result<Arc<SlotSet>> {
        let transaction = picture.meta().transaction;
        if let Some((known, taken)) = &*lock(&self.taken)
            && *known == transaction
        {
            return Ok(taken.clone());
        }
        let taken = Arc::new(picture.taken(self)?);
        *lock(&self.taken) = Some((transaction, taken.clone()));
        Ok(taken)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Path of a data file.
pub(crate) fn data_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("places-{number}.mdb"))
}

/// Number of the data file that counts.
pub(crate) fn current(dir: &Path) -> Result<u64> {
    let highest = numbers(dir)?.into_iter().max();
    highest.ok_or_else(|| IndexError::damaged(dir, "the data file places-N.mdb is missing"))
}

fn numbers(dir: &Path) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir).at(dir)? {
        let name = entry.at(dir)?.file_name();
        let name = name.to_string_lossy();
        let number = name.strip_prefix("places-").and_then(|name| name.strip_suffix(".mdb"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    Ok(numbers)
}

/// Removes what an ended compaction left: older data files, and what is not finished. Files that cannot be removed
/// because they are open stay.
pub(crate) fn remove_others(dir: &Path, keep: u64) -> Result<()> {
    for entry in fs::read_dir(dir).at(dir)? {
        let entry = entry.at(dir)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let Some(rest) = name.strip_prefix("places-") else { continue };
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, end) = rest.split_at(digits);
        let ours = matches!(end, ".mdb" | ".mdb-lock" | ".part" | ".part-lock");
        if ours && (number.parse() != Ok(keep) || end.starts_with(".part")) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// Removes a data file and its table of readers.
pub(crate) fn remove_data(path: &Path) {
    let _ = fs::remove_file(path);
    let _ = fs::remove_file(lock_path(path));
}

fn cannot_write(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | StorageFull | QuotaExceeded)
}

/// Less than this is left on a disk that has just cut a write short.
const CUT_SHORT: u64 = 64 << 10;

/// LMDB reports a write of which a part found room as a failing device. Elsewhere than on Unix the number means another error.
fn is_cut_by_a_full_disk(path: &Path, error: &std::io::Error) -> bool {
    const EIO: i32 = 5;
    let folder = if path.is_dir() { Some(path) } else { path.parent() };
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    cfg!(unix)
        && error.raw_os_error() == Some(EIO)
        && fs4::available_space(folder).is_ok_and(|free| free < CUT_SHORT)
}

/// Sorts an error of LMDB by its kind.
pub(crate) fn heed_error(dir: &Path, doing: &'static str, error: heed::Error) -> IndexError {
    use heed::MdbError::{Corrupted, Invalid, MapFull, PageNotFound, VersionMismatch};
    match error {
        heed::Error::Io(source) if is_cut_by_a_full_disk(dir, &source) => {
            IndexError::Full { dir: dir.into(), problem: "the disk is full".into() }
        }
        heed::Error::Io(source) => IndexError::io(dir, source),
        heed::Error::Mdb(Corrupted | Invalid | PageNotFound | VersionMismatch) => {
            IndexError::damaged(dir, format!("{error} while {doing}"))
        }
        heed::Error::EnvAlreadyOpened => IndexError::Store {
            dir: dir.into(),
            doing,
            problem: "an index that was removed from here is still open in this process: close it first"
                .into(),
        },
        heed::Error::Mdb(MapFull) => IndexError::Full {
            dir: dir.into(),
            problem: "the address space has no more room for its map".into(),
        },
        error => IndexError::Store { dir: dir.into(), doing, problem: error.to_string() },
    }
}
