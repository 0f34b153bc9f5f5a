//! What a creation of an index leaves where it is killed: a folder that is no index yet, and never held an image.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::attachment::ATTACHMENTS;
use crate::error::{At, IndexError, Result};
use crate::files::remove_dir;
use crate::lmdb::env::lock_path;
use crate::lock::{HOLDER, LOCK};
use crate::manifest::MANIFEST;
use crate::store::{Access, Store, data_path};

/// Whether everything in `dir` is of a creation: that took the lock first, and had not written the manifest yet, which makes
/// the folder an index.
pub(crate) fn is_begun(dir: &Path) -> Result<bool> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(false);
        }
        Err(error) => return Err(IndexError::io(dir, error)),
    };
    let data = data_path(dir, 1);
    let mut own = vec![dir.join(LOCK), dir.join(HOLDER), dir.join(ATTACHMENTS), lock_path(&data), data];
    own.push(dir.join(MANIFEST).with_extension("new"));
    let mut locked = false;
    for entry in entries {
        let path = entry.at(dir)?.path();
        if !own.contains(&path) {
            return Ok(false);
        }
        locked |= path == own[0];
    }
    Ok(locked)
}

/// Removes what a killed creation left in `dir`, of which the caller has the lock.
///
/// # Errors
/// [`Exists`](IndexError::Exists) where it is an index by now, or one that has lost its manifest.
pub(crate) fn clear(dir: &Path) -> Result<()> {
    let exists = || IndexError::Exists { dir: dir.into() };
    if dir.join(MANIFEST).exists() {
        return Err(exists());
    }
    let data = data_path(dir, 1);
    if data.exists() {
        let images = Store::open(dir, Access::Read).and_then(|store| Ok(store.picture()?.counters().images));
        if images.ok() != Some(0) {
            return Err(exists());
        }
        fs::remove_file(&data).at(&data)?;
        let _ = fs::remove_file(lock_path(&data));
    }
    remove_dir(&dir.join(ATTACHMENTS))
}
