//! Writing to an index of a directory.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::attachment;
use crate::error::{At, IndexError, Result};
use crate::files::{disk_bytes, need_room, remove_dir, sync_dir};
use crate::generation::{self, Share, State};
use crate::journal::{Change, Journal};
use crate::lock::WriterLock;
use crate::manifest::{IndexConfig, Manifest};
use crate::place::{Extent, Filter, Hit, LocalFeatures, NewPlace, Page, Place, SearchMode, place_id};
use crate::query::SearchRequest;
use crate::shard::Shard;
use crate::summary::summary;
use crate::traits::{Info, ReadPlaces, WritePlaces};
use crate::view;

const WORK: &str = "work";

/// Journal bytes after which [`WritePlaces::add`] commits by itself. It bounds the time that recovery
/// takes and the store's own log, which takes about three times as much room.
const COMMIT_AFTER: u64 = 96 << 20;

/// Journal bytes after which a commit also starts a new log of the store.
const REOPEN_AFTER: u64 = 24 << 20;

/// Room that must be left besides what a change takes: the store grows its files in steps.
const MARGIN: u64 = 32 << 20;

/// Room that a change takes, in multiples of its own bytes: journal, store, and the store's log.
const ROOM_FACTOR: u64 = 6;

/// The one writer of an index. It also reads, and sees its own changes at once.
///
/// Dropping it commits what it can and keeps quiet about the rest: [`close`](Self::close) reports.
#[derive(Debug)]
pub struct Writer {
    /// None once a failure has left the store in an unknown state.
    shard: Option<Shard>,
    journal: Journal,
    generation: u64,
    dir: PathBuf,
    manifest: Manifest,
    // Last: the lock outlives everything it protects.
    _lock: WriterLock,
}

impl Writer {
    /// Creates an empty index in `dir`, which must not exist or be empty, and opens it.
    ///
    /// # Errors
    /// [`Exists`](IndexError::Exists), [`Request`](IndexError::Request) for a shape that cannot be stored,
    /// or the system's.
    pub fn create(dir: impl AsRef<Path>, config: IndexConfig) -> Result<Self> {
        Self::create_with(dir, config, &[])
    }

    /// Like [`create`](Self::create), with files that stay in the index and travel with its export
    /// ([`attachment_path`](crate::attachment_path) finds them): name and content.
    ///
    /// # Errors
    /// As for [`create`](Self::create); [`Request`](IndexError::Request) for a name with folders in it.
    pub fn create_with(
        dir: impl AsRef<Path>,
        config: IndexConfig,
        attachments: &[(&str, &[u8])],
    ) -> Result<Self> {
        let dir = dir.as_ref();
        let manifest = Manifest::new(dir, config)?;
        prepare_empty(dir)?;
        let lock = WriterLock::take(dir)?;
        need_room(dir, MARGIN)?;
        attachment::write(dir, attachments)?;
        let work = empty_work(dir)?;
        let shard = Shard::create(dir, &work, &manifest.config)?;
        shard.flush()?;
        generation::write(dir, 1, &work, State { next_operation: shard.next_operation() })?;
        let journal = Journal::create(&generation::journal_of(dir, 1))?;
        generation::set_current(dir, 1)?;
        // The manifest makes it an index: it comes last.
        manifest.write(dir)?;
        Ok(Self { shard: Some(shard), journal, generation: 1, dir: dir.into(), manifest, _lock: lock })
    }

    /// Opens the index at `dir` for the model with this fingerprint, and brings back what a killed writer
    /// had acknowledged.
    ///
    /// # Errors
    /// [`NotAnIndex`](IndexError::NotAnIndex), [`OtherModel`](IndexError::OtherModel),
    /// [`Busy`](IndexError::Busy), [`ReadOnly`](IndexError::ReadOnly), [`Damaged`](IndexError::Damaged).
    pub fn open(dir: impl AsRef<Path>, fingerprint: &str) -> Result<Self> {
        let dir = dir.as_ref();
        Manifest::read(dir)?.expect_model(dir, fingerprint)?;
        Self::open_any(dir)
    }

    /// Opens without asking for the model: for work that adds no descriptors.
    pub(crate) fn open_any(dir: &Path) -> Result<Self> {
        let manifest = Manifest::read(dir)?;
        let lock = WriterLock::take(dir)?;
        need_room(dir, MARGIN)?;
        view::remove_abandoned(&view::root_of(dir))?;
        let number = generation::current(dir)?;
        generation::remove_others(dir, number)?;
        let committed = generation::dir_of(dir, number);
        let work = empty_work(dir)?;
        generation::share(&committed, &work, Share::Appended)?;
        let next = generation::state(&committed)?.next_operation;
        let mut shard = Shard::open(dir, &work, &manifest.config, next)?;
        let path = generation::journal_of(dir, number);
        let journal = Journal::recover(&path, &manifest.config, |change| {
            apply(&mut shard, dir, &manifest.config, &change)
        })?;
        let mut writer =
            Self { shard: Some(shard), journal, generation: number, dir: dir.into(), manifest, _lock: lock };
        writer.flush()?;
        Ok(writer)
    }

    /// Commits and ends.
    ///
    /// # Errors
    /// As for [`WritePlaces::flush`].
    pub fn close(mut self) -> Result<()> {
        self.flush()
    }

    /// The index's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The index directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Commits, and ends the store: the committed files stay as they are until the lock goes.
    pub(crate) fn freeze(&mut self) -> Result<PathBuf> {
        self.flush()?;
        self.shard = None;
        Ok(generation::dir_of(&self.dir, self.generation))
    }

    fn shard(&self) -> Result<&Shard> {
        self.shard.as_ref().ok_or_else(|| IndexError::Stopped { dir: self.dir.clone() })
    }

    fn request(&self) -> Result<SearchRequest<'_>> {
        Ok(SearchRequest { dir: &self.dir, config: &self.manifest.config, shard: self.shard()? })
    }

    /// Journals a change, then applies it. A change that cannot be applied is taken back.
    fn make(&mut self, change: &Change, bytes: u64) -> Result<()> {
        self.shard()?;
        need_room(&self.dir, ROOM_FACTOR * bytes + MARGIN)?;
        let before = self.journal.length();
        if let Err(error) = self.journal.append(change) {
            if !matches!(&error, IndexError::Full { .. }) {
                self.shard = None;
            }
            return Err(error);
        }
        let Some(shard) = &mut self.shard else { return Ok(()) };
        if let Err(error) = apply(shard, &self.dir, &self.manifest.config, change) {
            self.shard = None;
            self.journal.cut_to(before)?;
            return Err(error);
        }
        if self.journal.length() >= COMMIT_AFTER {
            // The change is durable already: a failure to commit shows at the next flush.
            let _ = self.flush();
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        let shard = self.shard()?;
        need_room(&self.dir, MARGIN)?;
        shard.flush()?;
        let (next, work) = (self.generation + 1, self.dir.join(WORK));
        let state = State { next_operation: shard.next_operation() };
        generation::write(&self.dir, next, &work, state)?;
        let journal = Journal::create(&generation::journal_of(&self.dir, next))?;
        generation::set_current(&self.dir, next)?;
        let long = self.journal.length() >= REOPEN_AFTER;
        self.journal = journal;
        self.generation = next;
        generation::remove_others(&self.dir, next)?;
        if long {
            self.shard = None;
            let wal = work.join("wal");
            remove_dir(&wal)?;
            self.shard = Some(Shard::open(&self.dir, &work, &self.manifest.config, state.next_operation)?);
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.flush();
        self.shard = None;
        let _ = remove_dir(&self.dir.join(WORK));
    }
}

impl WritePlaces for Writer {
    fn add(&mut self, places: &[NewPlace]) -> Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        let request = self.request()?;
        let mut names = HashSet::new();
        for new in places {
            let wrong = check(request, new).err().or_else(|| {
                (!names.insert(new.place.name.as_str())).then(|| "it is twice in one batch".to_owned())
            });
            if let Some(problem) = wrong {
                return Err(IndexError::request(
                    &self.dir,
                    format!("the image {:?}: {problem}", new.place.name),
                ));
            }
        }
        let bytes = places.iter().map(|new| 4 * new.global.len() + new.local.len() + 1024).sum::<usize>();
        self.make(&Change::Add(places.to_vec()), bytes as u64)
    }

    fn remove(&mut self, ids: &[Uuid]) -> Result<usize> {
        let known = self.request()?.contains(ids)?;
        let there: HashSet<Uuid> =
            ids.iter().zip(known).filter(|(_, known)| *known).map(|(&id, _)| id).collect();
        if there.is_empty() {
            return Ok(0);
        }
        let count = there.len();
        self.make(&Change::Remove(there.into_iter().collect()), 64 * count as u64)?;
        Ok(count)
    }

    fn optimize(&mut self) -> Result<bool> {
        self.flush()?;
        need_room(&self.dir, disk_bytes(&self.dir.join(WORK))? + MARGIN)?;
        let Some(shard) = &mut self.shard else { return Err(IndexError::Stopped { dir: self.dir.clone() }) };
        match shard.optimize() {
            Ok(changed) => {
                self.commit()?;
                Ok(changed)
            }
            Err(error) => {
                // The committed generation is whole: the next opening starts from it.
                self.shard = None;
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> Result<()> {
        if self.journal.is_empty() { self.shard().map(drop) } else { self.commit() }
    }
}

impl ReadPlaces for Writer {
    fn config(&self) -> &IndexConfig {
        &self.manifest.config
    }

    fn search(&self, global: &[f32], top: usize, filter: &Filter, mode: SearchMode) -> Result<Vec<Hit>> {
        self.request()?.search(global, top, filter, mode)
    }

    fn locals(&self, ids: &[Uuid]) -> Result<Vec<Option<LocalFeatures>>> {
        self.request()?.locals(ids)
    }

    fn globals(&self, ids: &[Uuid]) -> Result<Vec<Option<Vec<f32>>>> {
        self.request()?.globals(ids)
    }

    fn list(&self, from: Option<Uuid>, limit: usize, filter: &Filter) -> Result<Page> {
        self.request()?.list(from, limit, filter)
    }

    fn get(&self, ids: &[Uuid]) -> Result<Vec<Option<Place>>> {
        self.request()?.get(ids)
    }

    fn contains(&self, ids: &[Uuid]) -> Result<Vec<bool>> {
        self.request()?.contains(ids)
    }

    fn count(&self, filter: &Filter) -> Result<usize> {
        self.request()?.count(filter)
    }

    fn extent(&self) -> Result<Option<Extent>> {
        self.request()?.extent()
    }

    fn bytes(&self) -> Result<u64> {
        generation::bytes(&self.dir)
    }

    fn info(&self) -> Result<Info> {
        let pending = crate::journal::pending_bytes(self.journal.path());
        summary(self, self.request()?, &self.manifest, pending)
    }
}

/// Brings a journalled change into the store. Doing it twice is the same as once.
fn apply(shard: &mut Shard, dir: &Path, config: &IndexConfig, change: &Change) -> Result<()> {
    match change {
        Change::Remove(ids) => shard.remove(ids),
        Change::Add(places) => {
            // Never overwrite: committed generations share the files of vectors.
            let ids: Vec<Uuid> = places.iter().map(|new| place_id(&new.place.name)).collect();
            let known = SearchRequest { dir, config, shard }.contains(&ids)?;
            let old: Vec<Uuid> =
                ids.into_iter().zip(known).filter(|(_, known)| *known).map(|(id, _)| id).collect();
            shard.remove(&old)?;
            shard.insert(places, config.row_width)
        }
    }
}

fn check(request: SearchRequest<'_>, new: &NewPlace) -> Result<(), String> {
    let (place, config) = (&new.place, request.config);
    if place.name.is_empty() {
        return Err("it has no name".into());
    }
    if place.position.is_some_and(|position| !position.is_valid()) {
        return Err("its position is outside the globe: latitude -90 to 90, longitude -180 to 180".into());
    }
    if [place.heading, place.altitude].into_iter().flatten().any(|number| !number.is_finite()) {
        return Err("its heading or altitude is not finite".into());
    }
    if place.tags.keys().any(|key| key.is_empty() || key.contains('=')) {
        return Err("the key of a tag is empty or holds '='".into());
    }
    request.check_global(&new.global)?;
    let most = config.row_width * config.max_rows;
    let whole = config.row_width == 0 || new.local.len().is_multiple_of(config.row_width);
    if new.local.len() > most || !whole {
        let (rows, width) = (config.max_rows, config.row_width);
        return Err(format!("{} bytes of local features; up to {rows} rows of {width} fit", new.local.len()));
    }
    Ok(())
}

/// Makes `dir` if it is missing, and refuses it if anything is in it.
pub(crate) fn prepare_empty(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).at(dir)?;
    if fs::read_dir(dir).at(dir)?.next().is_some() {
        return Err(IndexError::Exists { dir: dir.into() });
    }
    dir.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_dir)
}

fn empty_work(dir: &Path) -> Result<PathBuf> {
    let work = dir.join(WORK);
    remove_dir(&work)?;
    fs::create_dir(&work).at(&work)?;
    Ok(work)
}
