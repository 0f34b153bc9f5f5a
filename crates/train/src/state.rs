//! Checkpoints of a run, which are complete or absent, and resuming from them.
//!
//! A checkpoint is a folder `checkpoints/step-N`, written under another name and then renamed; `last` names the latest.
//! A process that is killed leaves at most an unfinished folder behind, which the next one removes.

use crate::config::TrainConfig;
use crate::mining::Mined;
use crate::optim::Optimizer;
use crate::{Result, TrainError};
use r2former_model::checkpoint::{Storage, save, write_atomically};
use r2former_model::weights::Tensors;
use r2former_model::{Checkpoint, ModelConfig, load};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The state of a run between two steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunState {
    /// Steps so far.
    pub(crate) step: u64,
    /// The best validation so far.
    pub(crate) best: Option<BestRecall>,
    /// The deciding recall of the start model.
    pub(crate) baseline: Option<f64>,
    /// Validations since the best.
    pub(crate) since_best: u64,
    /// Epochs that have ended, validation included.
    pub(crate) validated: u64,
    /// Sums since the epoch began: steps, total loss, global loss, reranker's loss, reranker's accuracy.
    pub(crate) sums: [f64; 5],
}

/// The validation result that a run's best model has.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BestRecall {
    /// The recall, 0 to 1.
    pub recall: f64,
    /// N of the recall@N.
    pub n: usize,
    /// The recall@1 of the same ranking, which decides among equal recalls.
    #[serde(default)]
    pub first: f64,
    /// The ranking that it is of.
    pub ranking: Ranking,
    /// The epoch, from 0.
    pub epoch: u64,
}

/// The ranking of references that a recall is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ranking {
    /// By global descriptors.
    Global,
    /// By the reranker.
    Reranked,
    /// By RANSAC over local features, in stage `local`.
    Ransac,
}

impl Ranking {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Reranked => "reranked",
            Self::Ransac => "RANSAC",
        }
    }
}

/// A run's folder.
#[derive(Debug, Clone)]
pub(crate) struct RunDir(PathBuf);

/// What a checkpoint holds besides weights.
#[derive(Debug, Serialize, Deserialize)]
struct StateFile {
    config: TrainConfig,
    state: RunState,
    mined: Option<Mined>,
}

/// A checkpoint that was read.
pub(crate) struct Resumed {
    pub(crate) model: Checkpoint,
    pub(crate) ema: Option<Checkpoint>,
    pub(crate) optimizer: Optimizer,
    pub(crate) state: RunState,
    pub(crate) mined: Option<Mined>,
}

/// A checkpoint to write.
pub(crate) struct Snapshot<'a> {
    pub(crate) config: &'a TrainConfig,
    pub(crate) model_config: &'a ModelConfig,
    pub(crate) tensors: &'a Tensors,
    pub(crate) ema: Option<&'a Tensors>,
    pub(crate) optimizer: &'a Optimizer,
    pub(crate) state: &'a RunState,
    pub(crate) mined: Option<&'a Mined>,
}

impl RunDir {
    /// Creates the folder of a new run, or opens that of an interrupted one; it can be written.
    pub(crate) fn open(path: &Path, resume: bool) -> Result<Self> {
        let dir = Self(path.to_owned());
        let there = dir.0.join("last").is_file();
        if resume && !there {
            return Err(TrainError::run(path, "has no checkpoint to resume from: omit --resume"));
        }
        if !resume && there {
            return Err(TrainError::run(
                path,
                "already holds a run: continue it with --resume, or choose another --out",
            ));
        }
        std::fs::create_dir_all(dir.checkpoints()).map_err(TrainError::io(path))?;
        probe(path).map_err(TrainError::io(path))?;
        Ok(dir)
    }

    /// A file of the run.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn checkpoints(&self) -> PathBuf {
        self.0.join("checkpoints")
    }

    /// Writes a checkpoint and deletes old ones; `stays` keeps it beyond the next.
    pub(crate) fn save(&self, snapshot: &Snapshot<'_>, stays: bool) -> Result<()> {
        let step = snapshot.state.step;
        let name = format!("step-{step:08}{}", if stays { "-epoch" } else { "" });
        let (temporary, done) =
            (self.checkpoints().join(format!("{name}.part")), self.checkpoints().join(&name));
        if temporary.exists() {
            std::fs::remove_dir_all(&temporary).map_err(TrainError::io(&temporary))?;
        }
        std::fs::create_dir(&temporary).map_err(TrainError::io(&temporary))?;
        save(&temporary.join("model.safetensors"), snapshot.model_config, snapshot.tensors, Storage::F32)?;
        if let Some(ema) = snapshot.ema {
            save(&temporary.join("ema.safetensors"), snapshot.model_config, ema, Storage::F32)?;
        }
        snapshot.optimizer.save(&temporary)?;
        let file = StateFile {
            config: snapshot.config.clone(),
            state: snapshot.state.clone(),
            mined: snapshot.mined.cloned(),
        };
        let path = temporary.join("state.json");
        let json = serde_json::to_vec(&file).map_err(|e| TrainError::run(&path, e.to_string()))?;
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
        self.delete_old(&name, snapshot.config.checkpoint.epochs)
    }

    /// Deletes all but the newest checkpoint and the newest `epochs` of those that stay, and what a killed process
    /// left.
    fn delete_old(&self, newest: &str, epochs: usize) -> Result<()> {
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

    /// The latest checkpoint of a run with this configuration.
    pub(crate) fn resume(&self, config: &TrainConfig) -> Result<Resumed> {
        let path = self.file("last");
        let name = std::fs::read_to_string(&path).map_err(TrainError::io(&path))?;
        let dir = self.checkpoints().join(name.trim());
        let path = dir.join("state.json");
        let bytes = std::fs::read(&path).map_err(TrainError::io(&path))?;
        let file: StateFile = serde_json::from_slice(&bytes).map_err(|e| {
            TrainError::run(
                &path,
                format!("is not a state of this version of r2former ({e}): start the run again"),
            )
        })?;
        // A run may be made longer; everything else changes its results.
        let same = |c: &TrainConfig| {
            let mut c = c.clone();
            c.schedule.epochs = 0;
            c.checkpoint = config.checkpoint;
            c
        };
        if same(&file.config) != same(config) {
            return Err(TrainError::run(
                &dir,
                "was made with another configuration: resume with that in config.toml, or choose another --out",
            ));
        }
        let model = load(&dir.join("model.safetensors"))?;
        let ema = match config.optimizer.ema_decay > 0.0 {
            true => Some(load(&dir.join("ema.safetensors"))?),
            false => None,
        };
        let optimizer = Optimizer::new(config.optimizer, &model.tensors).load(&dir)?;
        Ok(Resumed { model, ema, optimizer, state: file.state, mined: file.mined })
    }
}

/// Checks that a file can be written, before the work that makes its content.
pub(crate) fn check_writable(file: &Path) -> Result<()> {
    if file.is_dir() {
        return Err(TrainError::run(file, "is a folder: name a file"));
    }
    let folder = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    probe(folder).map_err(TrainError::io(file))
}

/// Writes and deletes a file in a folder.
fn probe(folder: &Path) -> std::io::Result<()> {
    let path = folder.join(format!(".r2former-{}", std::process::id()));
    std::fs::write(&path, b"r2former")?;
    std::fs::remove_file(&path)
}
