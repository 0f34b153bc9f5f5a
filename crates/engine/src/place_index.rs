//! A place index together with the model that fills it: one folder is all that a query needs.

use crate::{EngineError, LoadedModel, Result, Settings};
use r2former_index::{Index, Manifest, NewIndex, Reader, Writer};
use r2former_model::checkpoint::write_atomically;
use std::path::{Path, PathBuf};

/// The model's copy inside the index.
const MODEL_FILE: &str = "model.safetensors";

/// A place index on disk.
#[derive(Debug, Clone)]
pub struct PlaceIndex {
    dir: PathBuf,
    /// Fingerprint, settings and sizes.
    pub manifest: Manifest,
    /// How images are fed to the model, for every image that is in the index or asks it.
    pub settings: Settings,
}

impl PlaceIndex {
    /// Creates an empty index for a model, and keeps a copy of the model in it.
    ///
    /// # Errors
    /// A folder that holds an index already, or cannot be written; an unusable model or image size.
    pub fn create(dir: &Path, loaded: &LoadedModel, settings: Settings) -> Result<Self> {
        loaded.config.check_size(settings.height, settings.width)?;
        if Index::exists(dir) {
            return Err(EngineError::Request(format!(
                "{}: holds an index already; add to it, or choose another folder",
                dir.display()
            )));
        }
        // The manifest comes last: a folder without one is no index yet.
        std::fs::create_dir_all(dir).map_err(|e| r2former_data::DataError::io(dir, e))?;
        write_atomically(&dir.join(MODEL_FILE), loaded.bytes())?;
        let new = NewIndex {
            fingerprint: loaded.fingerprint.clone(),
            model_name: loaded.config.name.clone(),
            settings: serde_json::to_value(settings).map_err(|e| EngineError::Request(e.to_string()))?,
            global_dim: loaded.config.global_dim(),
            local_row: loaded.config.local_row(),
            local_count: loaded.config.local_count(settings.height, settings.width),
        };
        Index::create(dir, &new)?;
        Self::open(dir)
    }

    /// Opens an existing index.
    ///
    /// # Errors
    /// A folder that holds none, or one written by another version.
    pub fn open(dir: &Path) -> Result<Self> {
        let manifest = Index::manifest(dir)?;
        let settings = serde_json::from_value(manifest.settings.clone()).map_err(|e| {
            EngineError::Request(format!("{}: its settings are not understood: {e}", dir.display()))
        })?;
        Ok(Self { dir: dir.to_path_buf(), manifest, settings })
    }

    /// The model that belongs to the index.
    ///
    /// # Errors
    /// When the copy in the folder is missing, damaged or another model's.
    pub fn model(&self) -> Result<LoadedModel> {
        let loaded = LoadedModel::open(&self.dir.join(MODEL_FILE))?;
        self.check_model(&loaded)?;
        Ok(loaded)
    }

    /// Refuses a model other than the index's own: their descriptors do not compare.
    ///
    /// # Errors
    /// A message that names both models.
    pub fn check_model(&self, loaded: &LoadedModel) -> Result<()> {
        if loaded.fingerprint == self.manifest.fingerprint {
            return Ok(());
        }
        let short = |fingerprint: &str| fingerprint.chars().take(12).collect::<String>();
        Err(EngineError::Request(format!(
            "{}: was built with model {} ({}), not with {} ({}); descriptors of different models do not compare: use the index's own model, or build another index",
            self.dir.display(),
            self.manifest.model_name,
            short(&self.manifest.fingerprint),
            loaded.config.name,
            short(&loaded.fingerprint)
        )))
    }

    /// Opens for queries; any number of readers may work while one writer adds.
    ///
    /// # Errors
    /// A damaged index.
    pub fn reader(&self) -> Result<Reader> {
        Ok(Index::open_reader(&self.dir)?)
    }

    /// Opens for adding and removing; one writer at a time.
    ///
    /// # Errors
    /// When another process writes already, or the folder cannot be written.
    pub fn writer(&self) -> Result<Writer> {
        Ok(Index::open_writer(&self.dir, Some(&self.manifest.fingerprint))?)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
