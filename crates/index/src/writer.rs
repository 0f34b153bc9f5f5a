//! Writing to an index of a directory.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use heed::MdbError;
use uuid::Uuid;

use crate::attachment::{self, Attachment};
use crate::begun;
use crate::change::{Change, Changed, Value};
use crate::copy::{self, Databases, put_counters};
use crate::error::{At, IndexError, Result};
use crate::files::{need_room, remove_dir, sync_dir};
use crate::lock::WriterLock;
use crate::manifest::{IndexConfig, Manifest};
use crate::picture::Picture;
use crate::query::Request;
use crate::schema::{SUM, Shape};
use crate::store::{self, Access, Store, data_path, remove_others};
use crate::traits::{Batch, WritePlaces};

/// Room that is left besides what a change takes: blocks and pages of trees are written again, and images can be
/// removed when no more can be added.
const MARGIN: u64 = 4 << 20;

/// The one writer of an index. It also reads, and sees its own changes at once, like every reader.
#[derive(Debug)]
pub struct Writer {
    /// None once a failure has left LMDB in an unknown state.
    open: Option<Open>,
    /// Bytes of the map at first; 0 is the usual size.
    map: usize,
    dir: PathBuf,
    manifest: Manifest,
    // Last: the lock outlives everything it protects.
    _lock: WriterLock,
}

/// The data file, open for writing.
#[derive(Debug)]
struct Open {
    store: Store,
    databases: Databases,
    /// Slots that are free.
    free: BTreeSet<u32>,
}

impl Open {
    fn new(dir: &Path, map: usize) -> Result<Self> {
        let store = Store::open(dir, Access::Write(map))?;
        remove_others(dir, store.number())?;
        let picture = store.picture()?;
        let taken = picture.taken(&store.cache)?;
        let free = (0..picture.counters().slots).filter(|&slot| !taken.contains(slot)).collect();
        let open = || {
            let env = store.env().ok_or(heed::Error::Mdb(MdbError::Invalid))?.env();
            let txn = env.read_txn()?;
            let databases = copy::databases(|db| {
                let database = env.open_database(&txn, Some(db.name()))?;
                database.ok_or(heed::Error::Mdb(MdbError::Invalid))
            })?;
            // The handles of the trees stay with the environment.
            txn.commit()?;
            Ok(databases)
        };
        let databases = open().map_err(|error| store.heed_error("opening the trees", error))?;
        Ok(Self { store, databases, free })
    }
}

impl Writer {
    /// Creates an empty index in `dir`, which must not exist or be empty, and opens it. What a creation that was killed left
    /// there does not count.
    ///
    /// # Errors
    /// [`Exists`](IndexError::Exists), [`Request`](IndexError::Request) for a shape that cannot be stored,
    /// or the system's.
    pub fn create(dir: impl AsRef<Path>, config: IndexConfig) -> Result<Self> {
        Self::create_with(dir, config, &mut [])
    }

    /// Like [`create`](Self::create), with files that stay in the index and travel with its export
    /// ([`attachment_path`](crate::attachment_path) finds them): name and content. A
    /// content that cannot be read to its end leaves no index.
    ///
    /// # Errors
    /// As for [`create`](Self::create); [`Request`](IndexError::Request) for a name with folders in it.
    pub fn create_with(
        dir: impl AsRef<Path>,
        config: IndexConfig,
        attachments: &mut [Attachment<'_>],
    ) -> Result<Self> {
        let dir = dir.as_ref();
        let mut manifest = Manifest::new(dir, config)?;
        let existed = dir.exists();
        if !begun::is_begun(dir)? {
            prepare_empty(dir)?;
        }
        let lock = WriterLock::take(dir)?;
        begun::clear(dir)?;
        let open = Self::fill(dir, &mut manifest, attachments).inspect_err(|_| {
            // What cannot be removed is taken for a creation that was killed.
            let _ = if existed { begun::clear(dir) } else { remove_dir(dir) };
        })?;
        Ok(Self { open: Some(open), map: 0, dir: dir.into(), manifest, _lock: lock })
    }

    /// Makes the files of a new index in an empty folder of which the caller has the lock.
    fn fill(dir: &Path, manifest: &mut Manifest, attachments: &mut [Attachment<'_>]) -> Result<Open> {
        need_room(dir, MARGIN)?;
        manifest.attachments = attachment::write(dir, attachments)?;
        let created = copy::create(dir, &data_path(dir, 1), 0)?;
        sync_dir(dir)?;
        // The manifest makes it an index: it comes last.
        manifest.write(dir)?;
        let open = Open::new(dir, 0)?;
        drop(created);
        Ok(open)
    }

    /// Opens the index at `dir` for the model with this fingerprint, after a look through the file's structure.
    ///
    /// # Errors
    /// [`NotAnIndex`](IndexError::NotAnIndex), [`OtherModel`](IndexError::OtherModel),
    /// [`OtherFormat`](IndexError::OtherFormat), [`Busy`](IndexError::Busy), [`ReadOnly`](IndexError::ReadOnly),
    /// [`Damaged`](IndexError::Damaged).
    pub fn open(dir: impl AsRef<Path>, fingerprint: &str) -> Result<Self> {
        Self::open_with_map(dir, fingerprint, 0)
    }

    /// Like [`open`](Self::open) with a map of so many bytes at first, which grows: for tests of that.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    #[doc(hidden)]
    pub fn open_with_map(dir: impl AsRef<Path>, fingerprint: &str, bytes: usize) -> Result<Self> {
        let dir = dir.as_ref();
        let manifest = Manifest::read(dir)?;
        manifest.expect_model(dir, fingerprint)?;
        let lock = WriterLock::take(dir)?;
        let open = Open::new(dir, bytes)?;
        Ok(Self { open: Some(open), map: bytes, dir: dir.into(), manifest, _lock: lock })
    }

    /// Ends. Everything that was acknowledged is durable already.
    ///
    /// # Errors
    /// None today.
    pub fn close(self) -> Result<()> {
        Ok(())
    }

    /// The index's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The index directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn opened(&self) -> Result<&Open> {
        self.open.as_ref().ok_or_else(|| IndexError::Stopped { dir: self.dir.clone() })
    }

    pub(crate) fn with<T>(&self, ask: impl FnOnce(Request<'_>) -> Result<T>) -> Result<T> {
        let store = &self.opened()?.store;
        let picture = Arc::new(store.picture()?);
        ask(Request { config: &self.manifest.config, store, picture: &picture })
    }

    /// Works a change out, and makes it one commit.
    fn change<'n, T>(
        &mut self,
        picture: &Picture,
        work: impl FnOnce(&mut Change<'_, 'n>) -> Result<T>,
    ) -> Result<T> {
        let open = self.opened()?;
        let mut change = Change::new(picture, &open.store.cache, &self.manifest.config, &open.free);
        let done = work(&mut change)?;
        let changed = change.finish();
        let committed = commit(open, &changed);
        let Changed { taken, freed, .. } = changed;
        match committed {
            Ok(()) => {
                if let Some(open) = &mut self.open {
                    for slot in taken {
                        open.free.remove(&slot);
                    }
                    open.free.extend(freed);
                }
                Ok(done)
            }
            Err(error) => {
                let error = self.sort(error);
                if !matches!(error, IndexError::Full { .. }) {
                    self.open = None;
                }
                Err(error)
            }
        }
    }

    /// An error of a commit: a disk that fills up in the middle of a page is an input/output error to LMDB.
    fn sort(&self, error: heed::Error) -> IndexError {
        match need_room(&self.dir, MARGIN) {
            Err(no_room @ IndexError::Full { .. }) if matches!(&error, heed::Error::Io(_)) => no_room,
            _ => store::heed_error(&self.dir, "writing", error),
        }
    }
}

/// Makes a change durable: all of it or nothing.
fn commit(open: &Open, changed: &Changed<'_>) -> heed::Result<()> {
    let shared = open.store.env().ok_or(heed::Error::Mdb(MdbError::Invalid))?;
    loop {
        match try_commit(shared.env(), &open.databases, changed) {
            Err(heed::Error::Mdb(MdbError::MapFull)) => shared.grow()?,
            done => return done,
        }
    }
}

fn try_commit(
    env: &heed::Env<heed::WithoutTls>,
    databases: &Databases,
    changed: &Changed<'_>,
) -> heed::Result<()> {
    let mut txn = env.write_txn()?;
    for edit in &changed.edits {
        let database = &databases[edit.db as usize];
        match &edit.value {
            None => drop(database.delete(&mut txn, &edit.key)?),
            Some(Value::Rows(rows)) => database.put(&mut txn, &edit.key, rows)?,
            Some(Value::Sealed(sum, value)) => {
                database.put_reserved(&mut txn, &edit.key, SUM + value.len(), |space| {
                    use std::io::Write as _;
                    space.write_all(sum)?;
                    space.write_all(value)
                })?;
            }
        }
    }
    put_counters(&mut txn, databases, changed.counters)?;
    txn.commit()
}

impl WritePlaces for Writer {
    fn write(&mut self, batch: &Batch<'_>) -> Result<()> {
        let &Batch { add, describe, sources } = batch;
        if add.is_empty() && describe.is_empty() && sources.is_empty() {
            return Ok(());
        }
        let checked = batch.check(&self.manifest.config);
        let units = checked.map_err(|problem| IndexError::request(&self.dir, problem))?;
        let bytes = add.iter().map(|new| 5 * new.global.len() + new.local.len() + 1024).sum::<usize>()
            + 2048 * describe.len();
        let picture = self.opened()?.store.picture()?;
        // What removed images left is used first.
        let needed = 2 * bytes as u64 + MARGIN / 4;
        if needed > picture.free_bytes() {
            need_room(&self.dir, needed + MARGIN)?;
        }
        self.change(&picture, |change| {
            sources.iter().for_each(|source| change.source(source));
            describe.iter().try_for_each(|place| change.describe(place))?;
            add.iter().zip(&units).try_for_each(|(new, unit)| change.add(new, unit))
        })
    }

    fn remove(&mut self, ids: &[Uuid]) -> Result<usize> {
        let picture = self.opened()?.store.picture()?;
        let mut there = BTreeSet::new();
        for &id in ids {
            if picture.slot_of(id)?.is_some() {
                there.insert(id);
            }
        }
        if there.is_empty() {
            return Ok(0);
        }
        self.change(&picture, |change| {
            there.iter().try_for_each(|&id| change.remove(id).map(drop))?;
            Ok(there.len())
        })
    }

    fn compact(&mut self) -> Result<()> {
        let open = self.opened()?;
        let picture = open.store.picture()?;
        let number = open.store.number();
        let used = open.store.walk(&picture)?;
        need_room(&self.dir, used.pages * used.page_size + MARGIN)?;
        let part = self.dir.join(format!("places-{}.part", number + 1));
        copy::copy(&picture, Shape::new(self.manifest.config.global_dim), &part)?;
        fs::rename(&part, data_path(&self.dir, number + 1)).at(&self.dir)?;
        sync_dir(&self.dir)?;
        // From here on the new file counts.
        drop(picture);
        self.open = None;
        self.open = Some(Open::new(&self.dir, self.map)?);
        Ok(())
    }
}

/// Makes `dir` if it is missing, and refuses it if anything is in it.
pub(crate) fn prepare_empty(dir: &Path) -> Result<()> {
    // What the system says of a file in the way names neither it nor what is wrong.
    if let Some(file) = dir.ancestors().find(|path| path.is_file()) {
        let problem = match file == dir {
            true => "this is a file, and an index is a folder: choose another name".to_owned(),
            false => {
                format!("{} is a file, and the index would be in it: choose another folder", file.display())
            }
        };
        return Err(IndexError::request(dir, problem));
    }
    fs::create_dir_all(dir).at(dir)?;
    if fs::read_dir(dir).at(dir)?.next().is_some() {
        return Err(IndexError::Exists { dir: dir.into() });
    }
    dir.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_dir)
}
