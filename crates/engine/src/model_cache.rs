//! Models of collections on this machine: each is fetched once, and read from the user's cache folder from then on.

use crate::attached::MODEL_FILE;
use crate::user_cache::user_cache;
use crate::{EngineError, LoadedModel, Result};
use r2former_cluster::Address;
use r2former_data::DataError;
use r2former_index::IndexError;
use r2former_model::checkpoint;
use std::io;
use std::path::{Path, PathBuf};

/// The model of a collection.
///
/// # Errors
/// [`EngineError::Model`] for an attachment that is no model, or another one; the cluster's, or the system's.
pub(crate) fn model(collection: &Address, fingerprint: &str) -> Result<LoadedModel> {
    let path = cached(fingerprint);
    // A file that was changed or cut short is fetched again.
    match LoadedModel::open(&path) {
        Ok(loaded) if loaded.fingerprint == fingerprint => Ok(loaded),
        _ => {
            fetch(collection, fingerprint, &path)?;
            LoadedModel::open(&path)
        }
    }
}

/// The file of that model.
///
/// # Errors
/// As [`model`].
pub(crate) fn file(collection: &Address, fingerprint: &str) -> Result<PathBuf> {
    let path = cached(fingerprint);
    if !is_whole(&path, fingerprint) {
        fetch(collection, fingerprint, &path)?;
    }
    Ok(path)
}

/// Where a model lies. Its fingerprint is a hexadecimal number; whatever it is, it becomes no other path.
fn cached(fingerprint: &str) -> PathBuf {
    let name: String = fingerprint.chars().filter(char::is_ascii_alphanumeric).collect();
    // Without a home, other users may have put something there: that is why every use compares fingerprints.
    let folder = user_cache().unwrap_or_else(|| std::env::temp_dir().join("r2former"));
    folder.join("models").join(format!("{name}.safetensors"))
}

fn is_whole(path: &Path, fingerprint: &str) -> bool {
    let read = |path| checkpoint::reopen(path, fingerprint).ok();
    read(path).is_some_and(|mut file| io::copy(&mut file, &mut io::sink()).is_ok())
}

/// Fetches a model under a name of its own, and gives it its name once it is whole.
fn fetch(collection: &Address, fingerprint: &str, path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| no_cache(folder, error))?;
    let part = tempfile::Builder::new()
        .prefix(".fetching-")
        .tempdir_in(folder)
        .map_err(|error| no_cache(folder, error))?;
    let file = part.path().join(MODEL_FILE);
    r2former_cluster::attachment_to(collection, MODEL_FILE, &file)?;
    if !is_whole(&file, fingerprint) {
        return Err(EngineError::Index(IndexError::Damaged {
            dir: collection.to_string().into(),
            problem: format!("its {MODEL_FILE} is not the model of its images ({fingerprint})"),
        }));
    }
    std::fs::rename(&file, path).map_err(|error| no_cache(path, error))
}

fn no_cache(path: &Path, error: io::Error) -> EngineError {
    DataError::io(path, error).into()
}
