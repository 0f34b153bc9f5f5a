//! The model that a run starts from.

use crate::config::{Stage, StartModel, TrainConfig};
use crate::{Result, TrainError};
use burn::module::ParamId;
use r2former_engine::LoadedModel;
use r2former_model::weights::{RawTensor, Tensors, param_id};
use r2former_model::{
    BackboneConfig, Checkpoint, Device, GlobalConfig, LocalConfig, ModelConfig, Precision, R2Former,
    RerankerConfig, load,
};

/// Loads the start model and adds what the stage needs and the model lacks (a head, local features, a reranker), freshly
/// initialised from the seed. Also whether its global head is such a fresh one.
pub(crate) fn starting_model(config: &TrainConfig) -> Result<(Checkpoint, bool)> {
    let mut checkpoint = match &config.start {
        StartModel::BuiltIn => LoadedModel::built_in()?.into_checkpoint(),
        StartModel::File(path) => load(path)?,
    };
    let changes = &config.model;
    let model = &mut checkpoint.config;
    model.name.clone_from(&config.name);
    if let Some([height, width]) = changes.image_size {
        (model.input.height, model.input.width) = (height, width);
    }
    // Batches have one size.
    model.input.rule = None;
    if let Some(precision) = changes.precision {
        model.precision = precision;
    }
    if model.precision == Precision::Int8 {
        return Err(TrainError::Config(
            "model.precision: 8-bit integers have no gradients; use f32 or bf16".into(),
        ));
    }
    let mut fresh_head = false;
    let geometry = model.local.as_ref().map(|local| local.geometry).unwrap_or_default();
    if config.stage.trains_global()
        && let GlobalConfig::Pooled { pooling } = model.global
    {
        // A fresh head is a PCA: it has no more dimensions than what it projects.
        let dim = changes.global_dim.min(model.backbone_dim());
        model.global = GlobalConfig::Linear { dim, pooling };
        fresh_head = true;
    }
    if changes.fresh_reranker {
        (model.reranker, model.trained.reranker) = (None, false);
        // One that was never trained is initialised again in any case, and its patches stay those of the start model.
        if !changes.freeze_local_head && model.trained.local {
            (model.local, model.trained.local) = (None, false);
        }
    }
    let fixed = |local: &LocalConfig| model.trained.local || !local.projected;
    if changes.freeze_local_head && !model.local.as_ref().is_some_and(fixed) {
        return Err(TrainError::Config(
            "model.freeze_local_head: the start model has no trained local features; train them with stage local, or import it \
             with --local-dim all"
                .into(),
        ));
    }
    if config.stage == Stage::Local {
        renew_local_head(config, model);
    }
    // Parts that were never trained are initialised again, so that the seed decides them.
    let (local, reranker) = (model.trained.local, model.trained.reranker);
    let untrained = |name: &str| {
        (name.starts_with("local_head") && !local) || (name.starts_with("reranker") && !reranker)
    };
    if config.stage.trains_reranker() {
        model.local.get_or_insert(LocalConfig { geometry, ..local_config(config) });
        model.reranker = Some(reranker_config(model, &changes.reranker)?);
    }
    if let Some(local) = &mut model.local {
        local.count = changes.local_count.unwrap_or(local.count);
        local.layer = changes.local_layer.or(local.layer);
    }
    // A reranker belongs to its local features.
    model.trained.reranker &= config.stage != Stage::Local;
    // Measured on the weights of the start.
    model.forget_measured();
    model.validate()?;
    // Tensors of the checkpoint are used; the rest is initialised.
    let fresh = R2Former::random(model, config.seed, &Device::flex())?.to_tensors()?;
    let own = std::mem::take(&mut checkpoint.tensors);
    checkpoint.tensors = fresh
        .into_iter()
        .map(|(name, mut fresh)| match own.get(&name) {
            Some(trained) if trained.shape == fresh.shape && !untrained(&name) => (name, trained.clone()),
            _ => {
                if untrained(&name) {
                    widen(&mut fresh);
                }
                (name, fresh)
            }
        })
        .collect();
    Ok((checkpoint, fresh_head))
}

/// Local features of a new head.
fn local_config(config: &TrainConfig) -> LocalConfig {
    let count = config.model.local_count.unwrap_or(500);
    LocalConfig { dim: config.model.local_dim, count, ..Default::default() }
}

/// Makes the local head a new one, as untrained, unless the start model's is to be trained further: one of another layer
/// sees other tokens.
fn renew_local_head(config: &TrainConfig, model: &mut ModelConfig) {
    // Left out, it is the last block but one.
    let block = |layer: Option<usize>| match &model.backbone {
        BackboneConfig::Vit(vit) => vit.local_layer(layer),
        BackboneConfig::ResNet(_) | BackboneConfig::Vgg16 => layer.unwrap_or(0),
    };
    let layer = config.model.local_layer;
    let moved = |own: &LocalConfig| layer.is_some() && block(layer) != block(own.layer);
    match &mut model.local {
        Some(own) if model.trained.local && !config.model.fresh_local_head && !moved(own) => {}
        Some(own) => {
            (own.dim, own.official_gather, own.projected) = (config.model.local_dim, false, true);
            model.trained.local = false;
        }
        None => {
            model.local = Some(local_config(config));
            model.trained.local = false;
        }
    }
}

/// Whether a stage leaves the whole backbone as it is.
pub(crate) fn backbone_is_frozen(config: &TrainConfig, model: &ModelConfig) -> bool {
    // Every loss of these stages begins at the local features, where the gradient stops. What is tracked and never reached
    // would stay in memory, step by step.
    let unreached = config.loss.detach_local && model.global.is_of_local_features();
    match (config.stage, &model.backbone) {
        (Stage::Rerank, _) => true,
        (Stage::Global | Stage::Joint | Stage::Finetune, _) if unreached => true,
        (Stage::Local | Stage::Global, BackboneConfig::Vit(vit)) => config.model.freeze_blocks >= vit.depth,
        (Stage::Local, BackboneConfig::ResNet(_) | BackboneConfig::Vgg16) => config.model.freeze_blocks > 0,
        _ => false,
    }
}

/// Sizes and inputs of the reranker to train; `wanted` is the configuration's.
fn reranker_config(model: &ModelConfig, wanted: &RerankerConfig) -> Result<RerankerConfig> {
    match &model.reranker {
        None => Ok(wanted.clone()),
        // Inliers are weighed beside whatever the network says.
        Some(own)
            if RerankerConfig { inliers: wanted.inliers, ..own.clone() } == *wanted
                || *wanted == RerankerConfig::default() =>
        {
            Ok(own.clone())
        }
        Some(_) if model.trained.reranker => Err(TrainError::Config(
            "model.reranker: the start model has a trained reranker of other sizes or inputs; set \
             model.fresh_reranker = true to replace it"
                .into(),
        )),
        // Untrained: it is initialised again in any case.
        Some(_) => Ok(wanted.clone()),
    }
}

/// Standard deviation of freshly initialised weights.
const FRESH: f32 = 0.02;

/// Scales a freshly initialised matrix so that it preserves the variance of its input (standard deviation one over the
/// root of its inputs): the reranker is so narrow that weights initialised for a wide network would hide correlations
/// behind positions for the first thousand steps.
fn widen(tensor: &mut RawTensor) {
    let factor = match tensor.shape[..] {
        [_, inputs] => (inputs as f32).powf(-0.5) / FRESH,
        // CLS tokens: if they were much shorter than the other tokens, the first norm would blow up their gradient, and
        // clipping would leave nothing of the others'.
        [1, 1, _] => 1.0 / FRESH,
        _ => return,
    };
    tensor.data.iter_mut().for_each(|value| *value *= factor);
}

/// Frozen parameters: those that the stage does not train, and the first blocks if configured.
pub(crate) fn frozen_parameters(
    config: &TrainConfig,
    model: &ModelConfig,
    tensors: &Tensors,
) -> Vec<ParamId> {
    let freeze = config.model.freeze_blocks;
    let still = backbone_is_frozen(config, model);
    let local = config.stage == Stage::Local;
    let frozen = |name: &str| {
        let Some(part) = name.strip_prefix("backbone.") else {
            // What is in no loss of the stage is frozen, so that the moving average leaves it bit-identical.
            let stage = config.stage;
            return if name.starts_with("local_head") {
                config.model.freeze_local_head || !(local || stage.trains_reranker())
            } else if name.starts_with("reranker") {
                !stage.trains_reranker()
            } else {
                !stage.trains_global()
            };
        };
        // Of a trained backbone stage `local` keeps the last norm: it decides the global descriptor's tokens.
        if still || (local && part.starts_with("norm")) {
            return true;
        }
        let block =
            part.strip_prefix("blocks.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        match block {
            Some(number) => number < freeze,
            // Patches and positions come before the first block; the last norm comes after all.
            None => {
                freeze > 0 && matches!(model.backbone, BackboneConfig::Vit(_)) && !part.starts_with("norm")
            }
        }
    };
    tensors.keys().filter(|name| frozen(name)).map(|name| param_id(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use r2former_model::checkpoint::{Storage, save};
    use r2former_model::{Facet, LocalVladConfig, Selection};

    fn start(dir: &std::path::Path, trained: bool, own: Option<RerankerConfig>) -> TrainConfig {
        let mut config = ModelConfig::preset("vit-tiny").unwrap();
        [config.input.height, config.input.width] = [32, 32];
        config.reranker = own;
        config.trained.reranker = trained;
        let model = R2Former::random(&config, 1, &Device::flex()).unwrap();
        let path = dir.join("start.safetensors");
        save(&path, &config, &model.to_tensors().unwrap(), Storage::F32).unwrap();
        TrainConfig { start: path.into(), ..TrainConfig::preset(Stage::Rerank) }
    }

    #[test]
    fn an_ablated_reranker_is_freshly_initialised() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = RerankerConfig { pair_depth: 0, use_xy: false, neighbours: 1, ..Default::default() };
        for (trained, fresh, own) in [
            (false, false, None),
            (false, false, Some(RerankerConfig::default())),
            (true, true, Some(RerankerConfig::default())),
            (true, false, Some(wanted.clone())),
        ] {
            let mut config = start(dir.path(), trained, own);
            config.model.reranker = wanted.clone();
            config.model.fresh_reranker = fresh;
            let model = starting_model(&config).unwrap().0;
            assert_eq!(model.config.reranker.as_ref(), Some(&wanted));
            assert_eq!(model.tensors["reranker.pair_head.weight"].shape, [32, 3]);
            assert!(!model.tensors.keys().any(|name| name.starts_with("reranker.blocks_2.")));
        }
    }

    #[test]
    fn a_backbone_that_no_gradient_reaches_is_frozen() {
        let mut model = ModelConfig::preset("vit-tiny").unwrap();
        let of_local = GlobalConfig::LocalVlad(LocalVladConfig { clusters: 16, dim: 256, softness: 8.0 });
        for stage in [Stage::Finetune, Stage::Joint, Stage::Global] {
            let mut config = TrainConfig::preset(stage);
            let of_tokens = std::mem::replace(&mut model.global, of_local.clone());
            // The gradient stops before the local features.
            config.loss.detach_local = true;
            assert!(backbone_is_frozen(&config, &model), "{stage:?}");
            config.loss.detach_local = false;
            assert!(!backbone_is_frozen(&config, &model), "{stage:?}");
            config.loss.detach_local = true;
            model.global = of_tokens;
            assert!(!backbone_is_frozen(&config, &model), "{stage:?}");
        }
    }

    #[test]
    fn a_trained_reranker_of_other_inputs_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = start(dir.path(), true, Some(RerankerConfig::default()));
        config.model.reranker.use_attention = false;
        let error = starting_model(&config).unwrap_err().to_string();
        assert!(error.contains("model.reranker") && error.contains("fresh_reranker"), "{error}");
    }

    #[test]
    fn an_untrained_reranker_keeps_its_sizes_unless_configured() {
        let dir = tempfile::tempdir().unwrap();
        let small = RerankerConfig { dim: 16, depth: 2, ..Default::default() };
        let config = start(dir.path(), false, Some(small.clone()));
        assert_eq!(starting_model(&config).unwrap().0.config.reranker, Some(small));
    }

    #[test]
    fn a_local_head_is_new_where_none_is_trained_or_its_tokens_are_others() {
        let dir = tempfile::tempdir().unwrap();
        let write = |trained: bool| {
            let mut config = ModelConfig::preset("vit-tiny").unwrap();
            [config.input.height, config.input.width] = [32, 32];
            (config.trained.local, config.trained.reranker) = (trained, true);
            let model = R2Former::random(&config, 1, &Device::flex()).unwrap();
            let path = dir.path().join("start.safetensors");
            save(&path, &config, &model.to_tensors().unwrap(), Storage::F32).unwrap();
            TrainConfig { start: path.into(), ..TrainConfig::preset(Stage::Local) }
        };
        let kept = |config: &TrainConfig| {
            let model = starting_model(config).unwrap().0;
            assert!(!model.config.trained.reranker);
            model.config.trained.local
        };
        assert!(!kept(&write(false)));
        let mut config = write(true);
        assert!(kept(&config));
        config.model.local_layer = Some(11);
        assert!(kept(&config), "the layer that it has");
        config.model.local_layer = Some(6);
        assert!(!kept(&config));
        config.model.local_layer = None;
        config.model.fresh_local_head = true;
        config.model.local_dim = 64;
        assert!(!kept(&config));
        assert_eq!(starting_model(&config).unwrap().0.tensors["local_head.weight"].shape, [64, 192]);

        let frozen = |trained: bool| {
            let mut config =
                TrainConfig { start: write(trained).start, ..TrainConfig::preset(Stage::Rerank) };
            config.model.freeze_local_head = true;
            config.model.fresh_reranker = true;
            starting_model(&config)
        };
        let model = frozen(true).unwrap().0;
        assert!(model.config.trained.local && !model.config.trained.reranker);
        let error = frozen(false).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("model.freeze_local_head"), "{error}");
    }

    /// A global-only model with local features of its backbone as they are: nothing but the reranker is trained.
    #[test]
    fn features_without_a_projection_stay_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let mut model = ModelConfig::preset("vit-tiny").unwrap();
        [model.input.height, model.input.width] = [32, 32];
        let own = LocalConfig {
            dim: 192,
            projected: false,
            select: Selection::Norm,
            facet: Facet::Value,
            layer: Some(6),
            ..Default::default()
        };
        (model.local, model.reranker, model.trained.global) = (Some(own.clone()), None, true);
        let tensors = R2Former::random(&model, 1, &Device::flex()).unwrap().to_tensors().unwrap();
        let path = dir.path().join("start.safetensors");
        save(&path, &model, &tensors, Storage::F32).unwrap();
        for (frozen, fresh) in [(false, false), (true, false), (false, true)] {
            let mut config = TrainConfig { start: path.clone().into(), ..TrainConfig::preset(Stage::Rerank) };
            (config.model.freeze_local_head, config.model.fresh_reranker) = (frozen, fresh);
            let found = starting_model(&config).unwrap().0;
            assert_eq!(found.config.local.as_ref(), Some(&own));
            let trained = frozen_parameters(&config, &found.config, &found.tensors);
            let free = found.tensors.keys().filter(|name| !trained.contains(&param_id(name)));
            assert!(free.clone().count() > 0 && free.clone().all(|name| name.starts_with("reranker.")));
        }
        // Stage local projects them.
        let config = TrainConfig { start: path.into(), ..TrainConfig::preset(Stage::Local) };
        let found = starting_model(&config).unwrap().0;
        let local = found.config.local.unwrap();
        assert_eq!((local.projected, local.dim, local.facet), (true, 128, Facet::Value));
        assert_eq!(found.tensors["local_head.weight"].shape, [128, 192]);
    }

    #[test]
    fn the_built_in_model_is_a_start() {
        let built_in = LoadedModel::built_in().unwrap();
        assert_eq!(built_in.config.name, StartModel::BUILT_IN);
        for stage in Stage::ALL {
            let config = TrainConfig::preset(stage);
            let model = starting_model(&config).unwrap().0;
            // A pooled descriptor gets a head where the stage trains one.
            let global = match (&built_in.config.global, stage.trains_global()) {
                (GlobalConfig::Pooled { pooling }, true) => {
                    GlobalConfig::Linear { dim: built_in.config.backbone_dim(), pooling: *pooling }
                }
                (own, _) => own.clone(),
            };
            assert_eq!(model.config.global, global);
            assert_eq!(model.config.reranker, built_in.config.reranker);
        }
    }
}
