//! The files that an index keeps beside its images: the model, and how it is used. Those of a folder lie in it; the model of
//! a collection is copied once into the user's cache folder.

use crate::index_address::{IndexAddress, Kept};
use crate::{LoadedModel, Result};
use r2former_index::attachment_path;
use r2former_model::checkpoint;
use std::io::Read;

/// The model's copy inside the index.
pub(crate) const MODEL_FILE: &str = "model.safetensors";

/// How images are preprocessed for it.
pub(crate) const SETTINGS_FILE: &str = "settings.json";

/// The attachments of an index.
pub(crate) struct Attached<'a>(&'a IndexAddress);

impl<'a> Attached<'a> {
    pub(crate) fn of(address: &'a IndexAddress) -> Self {
        Self(address)
    }

    /// The document of the settings.
    ///
    /// # Errors
    /// [`EngineError::Data`](crate::EngineError::Data) for a file that cannot be read, or the cluster's.
    pub(crate) fn settings(&self) -> Result<Vec<u8>> {
        match self.0.kept() {
            Kept::Folder => {
                let path = attachment_path(self.0.as_path(), SETTINGS_FILE);
                Ok(std::fs::read(&path).map_err(|e| r2former_data::DataError::io(&path, e))?)
            }
            #[cfg(feature = "cluster")]
            Kept::Collection(collection) => Ok(r2former_cluster::attachment(collection, SETTINGS_FILE)?),
        }
    }

    /// The model; that of a folder may have another fingerprint.
    ///
    /// # Errors
    /// [`EngineError::Model`](crate::EngineError::Model) for a copy that is missing or damaged, or the cluster's.
    pub(crate) fn model(
        &self,
        #[cfg_attr(not(feature = "cluster"), expect(unused_variables, reason = "a folder has one model"))]
        fingerprint: &str,
    ) -> Result<LoadedModel> {
        match self.0.kept() {
            Kept::Folder => LoadedModel::open(&attachment_path(self.0.as_path(), MODEL_FILE)),
            #[cfg(feature = "cluster")]
            Kept::Collection(collection) => crate::model_cache::model(collection, fingerprint),
        }
    }

    /// The model's file, for a copy. Reading fails at the end of one that has another fingerprint.
    ///
    /// # Errors
    /// As [`model`](Self::model).
    pub(crate) fn model_file(&self, fingerprint: &str) -> Result<Box<dyn Read>> {
        let path = match self.0.kept() {
            Kept::Folder => attachment_path(self.0.as_path(), MODEL_FILE),
            #[cfg(feature = "cluster")]
            Kept::Collection(collection) => crate::model_cache::file(collection, fingerprint)?,
        };
        Ok(Box::new(checkpoint::reopen(&path, fingerprint)?))
    }
}
