//! What a run writes: models, checkpoints, tables and plots.

use super::Run;
use crate::config::Stage;
use crate::mining::Mined;
use crate::record::{read, write_csv};
use crate::state::Snapshot;
use crate::{Result, TrainError};
use r2former_engine::{Extractor, LoadedModel, Settings};
use r2former_model::checkpoint::{Storage, save};
use r2former_model::{ModelConfig, R2Former};
use std::path::Path;

impl Run<'_> {
    /// The weights to validate and save: their moving average where one is configured.
    pub(super) fn weights(&self) -> Result<r2former_model::weights::Tensors> {
        match self.ema.as_ref().or(self.model.as_ref()) {
            Some(model) => Ok(model.to_tensors()?),
            None => Err(TrainError::Config("no model".into())),
        }
    }

    /// The current model as an extractor.
    pub(super) fn extractor(&self) -> Result<Extractor> {
        let loaded = LoadedModel::of(&self.model_config, &self.weights()?)?;
        Ok(Extractor::new(loaded, Settings::of(&self.model_config), &self.device)?)
    }

    pub(super) fn save_model(&self, path: &Path, validated: Option<(u64, f64)>) -> Result<()> {
        Ok(save(path, &self.described(validated), &self.weights()?, Storage::F32)?)
    }

    /// The current model's configuration, with its provenance.
    pub(super) fn described(&self, validated: Option<(u64, f64)>) -> ModelConfig {
        let mut config = self.model_config.clone();
        config.trained.global |= self.config.stage.trains_global();
        config.trained.local |= self.config.stage.trains_reranker() || self.config.stage == Stage::Local;
        config.trained.reranker |= self.config.stage.trains_reranker();
        let before = config.provenance.take();
        config.provenance = serde_json::json!({
            "trained": {
                "stage": self.config.stage,
                "steps": self.state.step,
                "validated": validated.map(|(epoch, recall)| serde_json::json!({"epoch": epoch, "recall": recall})),
                "config": self.config,
            },
            "before": before,
        });
        config
    }

    pub(super) fn checkpoint(&self, mined: Option<&Mined>, stays: bool) -> Result<()> {
        let Some(model) = &self.model else { return Err(TrainError::Config("no model".into())) };
        let ema = self.ema.as_ref().map(R2Former::to_tensors).transpose()?;
        let snapshot = Snapshot {
            config: self.config,
            model_config: &self.described(None),
            tensors: &model.to_tensors()?,
            ema: ema.as_ref(),
            optimizer: &self.optimizer,
            state: &self.state,
            mined,
        };
        self.dir.save(&snapshot, stays)
    }

    /// Writes the log as a table and as plots.
    pub(super) fn curves(&self) -> Result<()> {
        if !self.log.path().is_file() {
            return Ok(());
        }
        let entries = read(self.log.path())?;
        write_csv(&entries, &self.dir.file("curves.csv"))?;
        crate::curves::draw(&entries, &self.dir.file("curves.svg"))
    }
}
