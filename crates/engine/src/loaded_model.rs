//! A model in memory, with the bits of its file.

use crate::Result;
use r2former_model::checkpoint::{self, StoredCheckpoint};
use r2former_model::weights::{StoredTensors, Tensors, expanded};
use r2former_model::{Checkpoint, Device, ModelConfig, R2Former};
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

/// A model in memory, not yet on a device.
#[derive(Debug, Clone)]
pub struct LoadedModel {
    /// The model's configuration.
    pub config: ModelConfig,
    /// SHA-256 of its file.
    pub fingerprint: String,
    tensors: StoredTensors,
    source: Source,
}

/// Where the bytes of a model's file are, which are not kept beside its tensors.
#[derive(Debug, Clone)]
enum Source {
    BuiltIn,
    File(PathBuf),
    /// They are what the tensors are written as.
    Tensors,
}

/// The model that comes with the program.
static BUILT_IN: &[u8] = include_bytes!("../../../models/r2former-tiny.safetensors");

impl LoadedModel {
    /// Reads a checkpoint of this project.
    ///
    /// # Errors
    /// [`EngineError::Model`](crate::EngineError::Model) for a file that is missing, damaged, or no r2former model.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self::new(checkpoint::load_stored(path)?, Source::File(path.to_path_buf())))
    }

    /// The model that comes with the program, described in `models/README.md`.
    ///
    /// # Errors
    /// [`EngineError::Model`](crate::EngineError::Model), never in a sound build.
    pub fn built_in() -> Result<Self> {
        Ok(Self::new(checkpoint::parse_stored(BUILT_IN, Path::new("built-in model"))?, Source::BuiltIn))
    }

    /// A model of random weights, for measurements; its answers are meaningless.
    ///
    /// # Errors
    /// [`EngineError::Model`](crate::EngineError::Model) for an invalid configuration.
    pub fn random(config: &ModelConfig, seed: u64) -> Result<Self> {
        Self::of(config, &R2Former::random(config, seed, &Device::flex())?.to_tensors()?)
    }

    /// A model from tensors in memory, as in training.
    ///
    /// # Errors
    /// [`EngineError::Model`](crate::EngineError::Model) for tensors that do not fit the configuration.
    pub fn of(config: &ModelConfig, tensors: &Tensors) -> Result<Self> {
        let name = Path::new(&config.name);
        let bytes = checkpoint::serialize(name, config, tensors, checkpoint::Storage::F32)?;
        Ok(Self::new(checkpoint::parse_stored(&bytes, name)?, Source::Tensors))
    }

    /// The same weights under another configuration, for ablations: another model, with a fingerprint of its own.
    ///
    /// # Errors
    /// [`EngineError::Model`](crate::EngineError::Model) for an invalid configuration, or one that needs tensors of other shapes.
    pub fn with(&self, change: impl FnOnce(&mut ModelConfig, &mut Tensors)) -> Result<Self> {
        let (mut config, mut tensors) = (self.config.clone(), expanded(self.tensors.clone()));
        change(&mut config, &mut tensors);
        Self::of(&config, &tensors)
    }

    fn new(checkpoint: StoredCheckpoint, source: Source) -> Self {
        let StoredCheckpoint { config, tensors, fingerprint } = checkpoint;
        Self { config, fingerprint, tensors, source }
    }

    /// Its parameters by name, as its file stores them.
    pub fn tensors(&self) -> &StoredTensors {
        &self.tensors
    }

    /// Its parts, with parameters in 32 bits.
    pub fn into_checkpoint(self) -> Checkpoint {
        self.into_stored().expanded()
    }

    pub(crate) fn into_stored(self) -> StoredCheckpoint {
        let Self { config, fingerprint, tensors, .. } = self;
        StoredCheckpoint { config, tensors, fingerprint }
    }

    /// The model's file, for a copy.
    ///
    /// # Errors
    /// [`EngineError::Model`](crate::EngineError::Model) for a file that cannot be opened any more. Reading fails at the end of one that has changed.
    pub fn file(&self) -> Result<Box<dyn Read>> {
        Ok(match &self.source {
            Source::BuiltIn => Box::new(BUILT_IN),
            Source::File(path) => Box::new(checkpoint::reopen(path, &self.fingerprint)?),
            Source::Tensors => {
                let name = Path::new(&self.config.name);
                let storage = checkpoint::Storage::F32;
                let tensors = expanded(self.tensors.clone());
                Box::new(Cursor::new(checkpoint::serialize(name, &self.config, &tensors, storage)?))
            }
        })
    }
}
