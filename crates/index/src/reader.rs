//! Reading an index of a directory, also while a writer is at work.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::error::{IndexError, Result};
use crate::files::need_room;
use crate::generation::{self, current, journal_of};
use crate::journal::pending_bytes;
use crate::manifest::{IndexConfig, Manifest};
use crate::place::{Extent, Filter, Hit, LocalFeatures, Page, Place, SearchMode};
use crate::query::SearchRequest;
use crate::shard::Shard;
use crate::summary::summary;
use crate::traits::{Info, ReadPlaces};
use crate::view::View;
use crate::writer::Writer;

/// Room on the disk that opening takes.
const ROOM: u64 = 4 << 20;

/// A consistent picture of an index: what was committed when it was opened or last refreshed. Any number
/// of readers and one writer may be open at a time, in one process or several.
#[derive(Debug)]
pub struct Reader {
    // The store goes before the directory that it has open.
    shard: Shard,
    view: View,
    dir: PathBuf,
    scratch: Option<PathBuf>,
    manifest: Manifest,
}

impl Reader {
    /// Opens the index at `dir` and, with `fingerprint`, refuses an index of another model.
    ///
    /// Opening makes a directory of hard links in the index: a few dozen files, whatever their size. What a
    /// killed writer had acknowledged and not committed is committed first.
    ///
    /// # Errors
    /// [`NotAnIndex`](crate::IndexError::NotAnIndex), [`OtherModel`](crate::IndexError::OtherModel),
    /// [`Damaged`](crate::IndexError::Damaged), or [`ReadOnly`](crate::IndexError::ReadOnly): then
    /// [`open_in`](Self::open_in) helps.
    pub fn open(dir: impl AsRef<Path>, fingerprint: Option<&str>) -> Result<Self> {
        Self::open_with(dir.as_ref(), fingerprint, None)
    }

    /// Like [`open`](Self::open) with the reader's files below `scratch`, for an index in a directory that
    /// cannot be written. On another file system they are copies: opening then takes time and room for the
    /// whole index.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_in(dir: impl AsRef<Path>, scratch: &Path, fingerprint: Option<&str>) -> Result<Self> {
        Self::open_with(dir.as_ref(), fingerprint, Some(scratch))
    }

    fn open_with(dir: &Path, fingerprint: Option<&str>, scratch: Option<&Path>) -> Result<Self> {
        let manifest = Manifest::read(dir)?;
        if let Some(fingerprint) = fingerprint {
            manifest.expect_model(dir, fingerprint)?;
        }
        let pending = pending_bytes(&journal_of(dir, current(dir)?)) > 0;
        if pending {
            match Writer::open_any(dir) {
                Ok(writer) => writer.close()?,
                // A living writer commits by itself; where nothing can be written, nothing can be committed.
                Err(IndexError::Busy { .. } | IndexError::ReadOnly { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let (shard, view) = look(dir, scratch, &manifest.config)?;
        Ok(Self { shard, view, dir: dir.into(), scratch: scratch.map(Into::into), manifest })
    }

    /// Moves on to what has been committed since, and says whether that was anything.
    ///
    /// # Errors
    /// As for [`open`](Self::open); the reader then keeps what it had.
    pub fn refresh(&mut self) -> Result<bool> {
        if current(&self.dir)? == self.view.generation() {
            return Ok(false);
        }
        let (shard, view) = look(&self.dir, self.scratch.as_deref(), &self.manifest.config)?;
        self.shard = shard;
        self.view = view;
        Ok(true)
    }

    /// The index's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The index directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn request(&self) -> SearchRequest<'_> {
        SearchRequest { dir: &self.dir, config: &self.manifest.config, shard: &self.shard }
    }
}

fn look(dir: &Path, scratch: Option<&Path>, config: &IndexConfig) -> Result<(Shard, View)> {
    let view = View::open(dir, scratch)?;
    need_room(view.dir(), ROOM)?;
    let shard = Shard::open(dir, view.dir(), config, view.state().next_operation)?;
    Ok((shard, view))
}

impl ReadPlaces for Reader {
    fn config(&self) -> &IndexConfig {
        &self.manifest.config
    }

    fn search(&self, global: &[f32], top: usize, filter: &Filter, mode: SearchMode) -> Result<Vec<Hit>> {
        self.request().search(global, top, filter, mode)
    }

    fn locals(&self, ids: &[Uuid]) -> Result<Vec<Option<LocalFeatures>>> {
        self.request().locals(ids)
    }

    fn globals(&self, ids: &[Uuid]) -> Result<Vec<Option<Vec<f32>>>> {
        self.request().globals(ids)
    }

    fn list(&self, from: Option<Uuid>, limit: usize, filter: &Filter) -> Result<Page> {
        self.request().list(from, limit, filter)
    }

    fn get(&self, ids: &[Uuid]) -> Result<Vec<Option<Place>>> {
        self.request().get(ids)
    }

    fn contains(&self, ids: &[Uuid]) -> Result<Vec<bool>> {
        self.request().contains(ids)
    }

    fn count(&self, filter: &Filter) -> Result<usize> {
        self.request().count(filter)
    }

    fn extent(&self) -> Result<Option<Extent>> {
        self.request().extent()
    }

    fn bytes(&self) -> Result<u64> {
        generation::bytes(&self.dir)
    }

    fn info(&self) -> Result<Info> {
        let pending = current(&self.dir).map(|number| pending_bytes(&journal_of(&self.dir, number)))?;
        summary(self, self.request(), &self.manifest, pending)
    }
}
