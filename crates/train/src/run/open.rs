//! How a run begins: with a start model, or with a checkpoint of its own.

use super::{Run, TrainObserver};
use crate::batch::preprocessing;
use crate::config::{Stage, StartModel, TrainConfig};
use crate::heads;
use crate::optim::{Freeze, Optimizer};
use crate::record::Log;
use crate::start::{backbone_is_frozen, frozen_parameters, starting_model};
use crate::state::{RunDir, RunState};
use crate::step::Frozen;
use crate::validate::dataset;
use crate::{Result, TrainError};
use burn::module::Module;
use r2former_model::{Device, R2Former};
use std::path::Path;
use std::time::Instant;

impl<'a> Run<'a> {
    /// Prepares a run in the folder `out`.
    pub(super) fn open(
        config: &'a TrainConfig,
        out: &Path,
        resume: bool,
        devices: &[Device],
        observer: &'a dyn TrainObserver,
    ) -> Result<Self> {
        let device = &devices[0];
        let dir = RunDir::open(out, resume)?;
        let validation = config.validation.as_ref().map(dataset).transpose()?;
        let learning = |device: &Device| match config.gradient_checkpointing {
            true => device.clone().autodiff().gradient_checkpointing(),
            false => device.clone().autodiff(),
        };
        let learning: Vec<Device> = devices.iter().map(learning).collect();
        let (checkpoint, ema, optimizer, state, mined) = match resume {
            true => {
                let mut resumed = dir.resume(config)?;
                // The provenance of the start model: each model saved adds that of the run again.
                let provenance = &mut resumed.model.config.provenance;
                *provenance = provenance.get_mut("before").map(serde_json::Value::take).unwrap_or_default();
                observer.note(&format!("resuming after step {}", resumed.state.step));
                (resumed.model, resumed.ema, Some(resumed.optimizer), resumed.state, resumed.mined)
            }
            false => {
                let (mut start, fresh_head) = starting_model(config)?;
                let text = config.to_toml()?;
                r2former_model::checkpoint::write_atomically(&dir.file("config.toml"), text.as_bytes())?;
                observer.note(&match &config.start {
                    StartModel::BuiltIn => {
                        format!("starting from the built-in model {}", StartModel::BUILT_IN)
                    }
                    StartModel::File(path) => format!("starting from {}", path.display()),
                });
                if config.stage == Stage::Local && !start.config.trained.local {
                    observer.note("fitting a new local head to the backbone's tokens");
                    heads::fit_local(config, &mut start, device)?;
                }
                if fresh_head {
                    observer.note("fitting a new global head to the backbone's pooled tokens");
                    heads::fit_global(config, &mut start, device)?;
                }
                let state = RunState {
                    step: 0,
                    best: None,
                    baseline: None,
                    since_best: 0,
                    validated: 0,
                    sums: [0.0; 5],
                };
                (start, None, None, state, None)
            }
        };
        let model_config = checkpoint.config.clone();
        let tensors = checkpoint.tensors.clone();
        let optimizer = optimizer.unwrap_or_else(|| Optimizer::new(config.optimizer, &tensors));
        let model = checkpoint.model(&learning[0])?;
        let model = model.map(&mut Freeze(&frozen_parameters(config, &model_config, &tensors)));
        let ema = match (config.optimizer.ema_decay > 0.0, ema) {
            (true, Some(ema)) => Some(ema.model(device)?),
            (true, None) => Some(R2Former::from_tensors(&model_config, tensors, device)?),
            _ => None,
        };
        let size = [model_config.input.height, model_config.input.width];
        // Where batches are distributed over devices, each runs the backbone of its own copy of the model.
        let still = backbone_is_frozen(config, &model_config);
        let alone = still && (learning.len() == 1 || config.batch.cached_views > 0);
        let frozen = alone.then(|| Frozen::new(&model, size, device)).transpose()?;
        let frozen = frozen.map(|frozen| frozen.projecting(config.model.freeze_local_head));
        let teacher = match config.loss.distillation_weight > 0.0 {
            true if still => {
                return Err(TrainError::Config(format!(
                    "loss.distillation_weight = {}: nothing of the backbone is trained; set model.freeze_blocks below \
                     its number of blocks",
                    config.loss.distillation_weight
                )));
            }
            true => Some(Frozen::teacher(&starting_model(config)?.0, size, device)?),
            false => None,
        };
        let preprocess = preprocessing(&model_config.input);
        Ok(Self {
            config,
            log: Log::open(dir.file("log.jsonl"), state.step)?,
            dir,
            observer,
            model_config,
            model: Some(model),
            ema,
            optimizer,
            frozen,
            teacher,
            mined,
            cache: None,
            state,
            validation,
            size,
            device: device.clone(),
            learning,
            preprocess,
            clock: Instant::now(),
            timed: [0.0; 2],
            estimated: false,
            named: 0,
        })
    }
}
