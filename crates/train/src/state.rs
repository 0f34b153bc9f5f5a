//! What a run keeps on disk: checkpoints that are whole or not there, and the way back into an interrupted run.
//!
//! A checkpoint is a folder `checkpoints/step-N`, written under another name and renamed; `last` names the newest.
//! A process that is killed leaves at most an unnamed folder behind, which the next one removes.

use crate::config::TrainConfig;
use crate::mining::Mined;
use crate::optim::Optimizer;
use crate::{Result, TrainError};
use r2former_model::checkpoint::{Storage, save, write_atomically};
use r2former_model::weights::Tensors;
use r2former_model::{Checkpoint, ModelConfig, load};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progressed {
    /// Steps that were taken.
    pub(crate) step: u64,
    /// The best recall so far.
    pub(crate) best: Option<f64>,
    /// Epochs since.
    pub(crate) since_best: u64,
    /// Epochs whose validation is done.
    pub(crate) validated: u64,
    /// The loss's running sums since the epoch began: steps, total, global, rerank, right.
    pub(crate) sums: [f64; 5],
}

/// A run's folder.
#[derive(Debug, Clone)]
pub(crate) struct RunDir(PathBuf);

/// What is written besides the weights.
#[derive(Debug, Serialize, Deserialize)]
struct StateFile {
    config: TrainConfig,
    progressed: Progressed,
    mined: Option<Mined>,
}

/// What a checkpoint gives back.
pub(crate) struct Resumed {
    pub(crate) model: Checkpoint,
    pub(crate) average: Option<Checkpoint>,
    pub(crate) optimizer: Optimizer,
    pub(crate) progressed: Progressed,
    pub(crate) mined: Option<Mined>,
}

/// What goes into a checkpoint.
pub(crate) struct Snapshot<'a> {
    pub(crate) config: &'a TrainConfig,
    pub(crate) model_config: &'a ModelConfig,
    pub(crate) tensors: &'a Tensors,
    pub(crate) average: Option<&'a Tensors>,
    pub(crate) optimizer: &'a Optimizer,
    pub(crate) progressed: &'a Progressed,
    pub(crate) mined: Option<&'a Mined>,
}

impl RunDir {
    /// Makes a new run's folder, or opens an interrupted one's.
    pub(crate) fn open(path: &Path, resume: bool) -> Result<Self> {
        let dir = Self(path.to_owned());
        let there = dir.0.join("last").is_file();
        if resume && !there {
            return Err(TrainError::run(path, "has no checkpoint to resume from: leave --resume out"));
        }
        if !resume && there {
            return Err(TrainError::run(
                path,
                "already holds a run: go on with --resume, or choose another --out",
            ));
        }
        std::fs::create_dir_all(dir.checkpoints()).map_err(TrainError::io(path))?;
        Ok(dir)
    }

    /// A file of the run.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn checkpoints(&self) -> PathBuf {
        self.0.join("checkpoints")
    }

    /// Writes a checkpoint and forgets old ones; `stays` keeps it beyond the next.
    pub(crate) fn save(&self, snapshot: &Snapshot<'_>, stays: bool) -> Result<()> {
        let step = snapshot.progressed.step;
        let name = format!("step-{step:08}{}", if stays { "-epoch" } else { "" });
        let (temporary, done) =
            (self.checkpoints().join(format!("{name}.part")), self.checkpoints().join(&name));
        if temporary.exists() {
            std::fs::remove_dir_all(&temporary).map_err(TrainError::io(&temporary))?;
        }
        std::fs::create_dir(&temporary).map_err(TrainError::io(&temporary))?;
        save(&temporary.join("model.safetensors"), snapshot.model_config, snapshot.tensors, Storage::F32)?;
        if let Some(average) = snapshot.average {
            save(&temporary.join("average.safetensors"), snapshot.model_config, average, Storage::F32)?;
        }
        snapshot.optimizer.save(&temporary)?;
        let state = StateFile {
            config: snapshot.config.clone(),
            progressed: snapshot.progressed.clone(),
            mined: snapshot.mined.cloned(),
        };
        let path = temporary.join("state.json");
        let json = serde_json::to_vec(&state).map_err(|e| TrainError::run(&path, e.to_string()))?;
        std::fs::write(&path, json).map_err(TrainError::io(&path))?;
        for entry in std::fs::read_dir(&temporary).map_err(TrainError::io(&temporary))?.flatten() {
            let sync = std::fs::File::open(entry.path()).and_then(|file| file.sync_all());
            sync.map_err(TrainError::io(entry.path()))?;
        }
        if done.exists() {
            std::fs::remove_dir_all(&done).map_err(TrainError::io(&done))?;
        }
        std::fs::rename(&temporary, &done).map_err(TrainError::io(&done))?;
        write_atomically(&self.file("last"), name.as_bytes())?;
        self.forget(&name, snapshot.config.keep.epochs)
    }

    /// Removes all but the newest checkpoint, the newest `epochs` of those that stay, and what a killed process
    /// left.
    fn forget(&self, newest: &str, epochs: usize) -> Result<()> {
        let dir = self.checkpoints();
        let mut names: Vec<String> = std::fs::read_dir(&dir)
            .map_err(TrainError::io(&dir))?
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name != newest)
            .collect();
        names.sort();
        let stay: Vec<String> =
            names.iter().rev().filter(|n| n.ends_with("-epoch")).take(epochs).cloned().collect();
        for name in names.into_iter().filter(|name| !stay.contains(name)) {
            std::fs::remove_dir_all(dir.join(&name)).map_err(TrainError::io(dir.join(&name)))?;
        }
        Ok(())
    }

    /// The newest checkpoint of a run with this configuration.
    pub(crate) fn resume(&self, config: &TrainConfig) -> Result<Resumed> {
        let path = self.file("last");
        let name = std::fs::read_to_string(&path).map_err(TrainError::io(&path))?;
        let dir = self.checkpoints().join(name.trim());
        let path = dir.join("state.json");
        let bytes = std::fs::read(&path).map_err(TrainError::io(&path))?;
        let state: StateFile =
            serde_json::from_slice(&bytes).map_err(|e| TrainError::run(&path, e.to_string()))?;
        // A run may be made longer; everything else decides what its numbers mean.
        let same = |c: &TrainConfig| {
            let mut c = c.clone();
            c.schedule.epochs = 0;
            c.keep = config.keep;
            c
        };
        if same(&state.config) != same(config) {
            return Err(TrainError::run(
                &dir,
                "was made with another configuration: resume with the one in config.toml, or start anew in another \
                 folder",
            ));
        }
        let model = load(&dir.join("model.safetensors"))?;
        let average = match config.optimizer.average > 0.0 {
            true => Some(load(&dir.join("average.safetensors"))?),
            false => None,
        };
        let optimizer = Optimizer::new(config.optimizer, &model.tensors).load(&dir)?;
        Ok(Resumed { model, average, optimizer, progressed: state.progressed, mined: state.mined })
    }
}
