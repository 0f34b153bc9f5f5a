//! Reading an index of a directory, also while a writer is at work.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use crate::error::Result;
use crate::manifest::Manifest;
use crate::query::Request;
use crate::store::{Access, Store};

/// An index that is open for reading. Each call sees the last commit, whole. Any number of readers and one writer may
/// be open at a time, in one process or several; none waits for another.
///
/// Where this user may write, a reader has an entry in the index's table of readers, which keeps the pages that it
/// reads. In a folder that it may not write, a writer of another user may use such a page again meanwhile: a request
/// during which that was possible is repeated with the next commit.
#[derive(Debug)]
pub struct Reader {
    store: RwLock<Arc<Store>>,
    dir: PathBuf,
    manifest: Manifest,
}

impl Reader {
    /// Opens the index at `dir` and, with `fingerprint`, refuses an index of another model. Nothing is written but the
    /// table of readers.
    ///
    /// # Errors
    /// [`NotAnIndex`](crate::IndexError::NotAnIndex), [`OtherModel`](crate::IndexError::OtherModel),
    /// [`OtherFormat`](crate::IndexError::OtherFormat), [`Damaged`](crate::IndexError::Damaged), or the system's.
    pub fn open(dir: impl AsRef<Path>, fingerprint: Option<&str>) -> Result<Self> {
        let dir = dir.as_ref();
        let manifest = Manifest::read(dir)?;
        if let Some(fingerprint) = fingerprint {
            manifest.expect_model(dir, fingerprint)?;
        }
        let store = Store::open(dir, Access::Read)?;
        store.picture()?;
        Ok(Self { store: RwLock::new(Arc::new(store)), dir: dir.into(), manifest })
    }

    /// The index's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The index directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The data file that counts.
    pub(crate) fn store(&self) -> Result<Arc<Store>> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner).clone();
        if !store.is_gone() {
            return Ok(store);
        }
        let new = Arc::new(Store::open(&self.dir, Access::Read)?);
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = new.clone();
        Ok(new)
    }

    /// Asks the last commit.
    pub(crate) fn with<T>(&self, ask: impl Fn(Request<'_>) -> Result<T>) -> Result<T> {
        let store = self.store()?;
        store.ask(|picture| ask(Request { config: &self.manifest.config, store: &store, picture }))
    }
}
