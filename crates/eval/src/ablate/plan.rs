//! The settings that an ablation compares: the baseline, and each change of it.

use super::config::{AblationConfig, Axes, Baseline, Selection};
use crate::{EvalError, Result};
use r2former_engine::{LoadedModel, RerankMethod, Settings};
use r2former_model::{BackboneConfig, Bits, ModelConfig};
use serde::Serialize;
use std::collections::BTreeSet;

/// Everything besides model and dataset that determines a ranking.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    /// Reranking method.
    pub rerank: RerankMethod,
    /// Local features per image; 0 if none are used.
    pub local_features: usize,
    /// How they are selected.
    pub selection: Selection,
    /// Best matches per local feature that the reranker looks at; 0 if it is not used.
    pub neighbours: usize,
    /// Whether features are gathered at the positions of the published code.
    pub official_gather: bool,
    /// Transformer block whose output they are taken from; `None` for a backbone without blocks.
    pub layer: Option<usize>,
    /// Bits per value of a local feature.
    pub bits: Bits,
    /// Top-1 margin (cosine) from which on a query is not reranked; `None`: every query is.
    pub adaptive: Option<f32>,
}

/// A row of the table to come.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Planned {
    /// Index of the model.
    pub(crate) model: usize,
    /// What is changed: the name of an axis, `model`, `baseline` or `combination`.
    pub(crate) axis: &'static str,
    /// Its value.
    pub(crate) value: String,
    pub(crate) setting: Setting,
}

/// A change of a setting.
#[derive(Debug, Clone, Copy)]
enum Change {
    Rerank(RerankMethod),
    LocalFeatures(usize),
    Neighbours(usize),
    Selection(Selection),
    OfficialGather(bool),
    Layer(usize),
    Bits(Bits),
    Adaptive(f32),
}

impl Change {
    fn axis(self) -> &'static str {
        match self {
            Self::Rerank(_) => "rerank",
            Self::LocalFeatures(_) => "local_features",
            Self::Neighbours(_) => "neighbours",
            Self::Selection(_) => "selection",
            Self::OfficialGather(_) => "official_gather",
            Self::Layer(_) => "layer",
            Self::Bits(_) => "bits",
            Self::Adaptive(_) => "adaptive",
        }
    }

    fn apply(self, setting: &mut Setting) {
        match self {
            Self::Rerank(value) => setting.rerank = value,
            Self::LocalFeatures(value) => setting.local_features = value,
            Self::Neighbours(value) => setting.neighbours = value,
            Self::Selection(value) => setting.selection = value,
            Self::OfficialGather(value) => setting.official_gather = value,
            Self::Layer(value) => setting.layer = Some(value),
            Self::Bits(value) => setting.bits = value,
            Self::Adaptive(value) => setting.adaptive = Some(value),
        }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rerank(RerankMethod::Model) => f.write_str("model"),
            Self::Rerank(RerankMethod::Ransac) => f.write_str("ransac"),
            Self::Rerank(RerankMethod::Mutual) => f.write_str("mutual"),
            Self::Rerank(RerankMethod::None) => f.write_str("none"),
            Self::LocalFeatures(value) | Self::Neighbours(value) | Self::Layer(value) => write!(f, "{value}"),
            Self::Selection(Selection::Attention) => f.write_str("attention"),
            Self::Selection(Selection::Random) => f.write_str("random"),
            Self::OfficialGather(value) => f.write_str(if *value { "on" } else { "off" }),
            Self::Bits(value) => write!(f, "{}", u8::from(*value)),
            Self::Adaptive(value) => write!(f, "{value}"),
        }
    }
}

/// The axes that have values, each as its changes.
fn changes(axes: &Axes) -> Vec<Vec<Change>> {
    fn all<T: Copy>(values: &[T], change: fn(T) -> Change) -> Vec<Change> {
        values.iter().map(|value| change(*value)).collect()
    }
    let mut lists = vec![
        all(&axes.rerank, Change::Rerank),
        all(&axes.local_features, Change::LocalFeatures),
        all(&axes.selection, Change::Selection),
        all(&axes.neighbours, Change::Neighbours),
        all(&axes.official_gather, Change::OfficialGather),
        all(&axes.layer, Change::Layer),
        all(&axes.bits, Change::Bits),
        all(&axes.adaptive, Change::Adaptive),
    ];
    lists.retain(|list| !list.is_empty());
    lists
}

/// The baseline of one model.
fn baseline(of: &Baseline, loaded: &LoadedModel, patches: usize) -> Setting {
    let config = &loaded.config;
    let local = config.local.as_ref();
    Setting {
        rerank: of.rerank.unwrap_or_else(|| RerankMethod::default_of(config)),
        local_features: of.local_features.or(local.map(|l| l.count)).unwrap_or(0).min(patches),
        selection: of.selection,
        neighbours: of.neighbours.or(config.reranker.as_ref().map(|r| r.neighbours)).unwrap_or(0),
        official_gather: of.official_gather.or(local.map(|l| l.official_gather)).unwrap_or(false),
        layer: of.layer.or(local.and_then(|l| l.layer)).or(last_layer(config)),
        bits: of.bits,
        adaptive: of.adaptive,
    }
}

/// Default layer of local features: before the last block.
fn last_layer(config: &ModelConfig) -> Option<usize> {
    match &config.backbone {
        BackboneConfig::Vit(vit) => Some(vit.depth - 1),
        BackboneConfig::ResNet(_) | BackboneConfig::Vgg16 => None,
    }
}

/// Resets what has no effect, so that settings are equal if their rankings are.
fn plain(mut setting: Setting, patches: usize) -> Setting {
    setting.local_features = setting.local_features.min(patches);
    if setting.local_features == patches {
        setting.selection = Selection::Attention;
    }
    match setting.rerank {
        RerankMethod::Model => {}
        RerankMethod::Ransac | RerankMethod::Mutual => setting.neighbours = 0,
        RerankMethod::None => {
            (setting.local_features, setting.neighbours, setting.adaptive) = (0, 0, None);
            (setting.selection, setting.official_gather, setting.bits) =
                (Selection::Attention, false, Bits::Eight);
            setting.layer = None;
        }
    }
    setting
}

/// The rows of the table, the baseline first, and notes on rows that were left out.
///
/// # Errors
/// [`EvalError::Request`]: a reranking method or layer that a model does not have; the message names the key.
pub(super) fn plan(
    config: &AblationConfig,
    models: &[(LoadedModel, Settings)],
) -> Result<(Vec<Planned>, Vec<String>)> {
    let mut rows: Vec<Planned> = Vec::new();
    let mut notes = BTreeSet::new();
    let axes = changes(&config.axes);
    for (model, (loaded, settings)) in models.iter().enumerate() {
        let stride = loaded.config.stride();
        let patches = settings.height / stride * (settings.width / stride);
        let own = baseline(&config.baseline, loaded, patches);
        let axis = if model == 0 { "baseline" } else { "model" };
        let mut wanted = vec![(axis, String::new(), own.clone())];
        if config.every_combination {
            let mut combinations = vec![(String::new(), own)];
            for list in &axes {
                let each = combinations.iter().flat_map(|(text, setting)| {
                    list.iter().map(move |change| {
                        let mut setting = setting.clone();
                        change.apply(&mut setting);
                        let gap = if text.is_empty() { "" } else { ", " };
                        (format!("{text}{gap}{} {change}", change.axis()), setting)
                    })
                });
                combinations = each.collect();
            }
            wanted.extend(combinations.into_iter().map(|(text, setting)| ("combination", text, setting)));
        } else if model == 0 {
            for change in axes.iter().flatten() {
                let mut setting = own.clone();
                change.apply(&mut setting);
                wanted.push((change.axis(), change.to_string(), setting));
            }
        }
        for (axis, value, setting) in wanted {
            possible(&setting, loaded)?;
            let setting = plain(setting, patches);
            let row = Planned { model, axis, value, setting };
            match rows.iter().find(|other| other.model == model && other.setting == row.setting) {
                // Combinations are many, and repeat by nature.
                Some(other) if !config.every_combination => {
                    notes.insert(format!(
                        "{} is left out: with {patches} patches per image it equals {}.",
                        name(&row),
                        name(other)
                    ));
                }
                Some(_) => {}
                None => rows.push(row),
            }
        }
    }
    Ok((rows, notes.into_iter().collect()))
}

/// Rows of one model, by its index: a ranking by each method, with the model's own values for the rest.
///
/// # Errors
/// As [`plan`].
pub(crate) fn plan_rankings(
    model: usize,
    (loaded, settings): (&LoadedModel, &Settings),
    methods: &[RerankMethod],
) -> Result<Vec<Planned>> {
    let stride = loaded.config.stride();
    let patches = settings.height / stride * (settings.width / stride);
    let own = baseline(&Baseline::default(), loaded, patches);
    let rows = methods.iter().map(|method| {
        let change = Change::Rerank(*method);
        let mut setting = own.clone();
        change.apply(&mut setting);
        possible(&setting, loaded)?;
        let setting = plain(setting, patches);
        Ok(Planned { model, axis: change.axis(), value: change.to_string(), setting })
    });
    rows.collect()
}

fn name(row: &Planned) -> String {
    format!("{} {}", row.axis, row.value).trim_end().to_string()
}

fn possible(setting: &Setting, loaded: &LoadedModel) -> Result<()> {
    let lacks = match setting.rerank {
        RerankMethod::Model if loaded.config.reranker.is_none() => "reranker",
        RerankMethod::Ransac | RerankMethod::Mutual if loaded.config.local.is_none() => "local features",
        _ => {
            let last = last_layer(&loaded.config);
            return match (setting.layer, last) {
                (None, _) => Ok(()),
                (Some(layer), Some(last)) if (1..=last).contains(&layer) => Ok(()),
                (Some(layer), _) => Err(EvalError::Request(format!(
                    "baseline.layer, axes.layer: model {} has no layer {layer} for local features; {}",
                    loaded.config.name,
                    last.map_or_else(|| "it is not a transformer".into(), |last| format!("1 to {last}"))
                ))),
            };
        }
    };
    Err(EvalError::Request(format!(
        "baseline.rerank, axes.rerank: model {} has no {lacks}; remove the model or the reranking method",
        loaded.config.name
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(change: impl FnOnce(&mut ModelConfig)) -> (LoadedModel, Settings) {
        let mut config = ModelConfig::preset("vit-tiny").unwrap();
        // 2 x 4 patches.
        (config.input.height, config.input.width) = (32, 64);
        config.trained.reranker = true;
        change(&mut config);
        let loaded = LoadedModel::random(&config, 1).unwrap();
        let settings = Settings::of(&loaded.config);
        (loaded, settings)
    }

    fn config(text: &str) -> AblationConfig {
        toml::from_str(text).unwrap()
    }

    fn names(rows: &[Planned]) -> Vec<String> {
        rows.iter().map(|row| format!("{} {}", row.model, name(row))).collect()
    }

    #[test]
    fn one_change_at_a_time() {
        let config = config(
            "[baseline]\nlocal_features = 6\n[axes]\nrerank = [\"none\", \"ransac\", \"model\"]\n\
             local_features = [3, 8, 500]\nneighbours = [1, 5]\nselection = [\"random\"]\nbits = [16]\n\
             official_gather = [true]\nlayer = [5, 11]\nadaptive = [0.1, 0.2]\n",
        );
        let (rows, notes) = plan(&config, &[model(|_| ()), model(|_| ())]).unwrap();
        assert_eq!(
            names(&rows),
            [
                "0 baseline",
                "0 rerank none",
                "0 rerank ransac",
                "0 local_features 3",
                "0 local_features 8",
                "0 selection random",
                "0 neighbours 1",
                "0 official_gather on",
                "0 layer 5",
                "0 bits 16",
                "0 adaptive 0.1",
                "0 adaptive 0.2",
                "1 model",
            ]
        );
        assert_eq!(rows[1].setting.local_features, 0);
        assert_eq!((rows[2].setting.neighbours, rows[2].setting.local_features), (0, 6));
        assert_eq!((rows[10].setting.adaptive, rows[10].setting.neighbours), (Some(0.1), 5));
        // The reranker, 5 neighbours and layer 11 are the baseline's; 500 features are the 8 that there are.
        assert_eq!(notes.len(), 4, "{notes:?}");
        assert!(
            notes.iter().any(|n| n.contains("local_features 500") && n.contains("local_features 8")),
            "{notes:?}"
        );
    }

    #[test]
    fn every_combination_of_all_models() {
        let config = config(
            "every_combination = true\n[axes]\nrerank = [\"none\", \"model\"]\nlocal_features = [3, 6]\nbits = [8, 32]\n",
        );
        let (rows, _) = plan(&config, &[model(|_| ()), model(|_| ())]).unwrap();
        // Each model's own, one without reranking, and 2 x 2 with it.
        assert_eq!(rows.len(), 2 * (1 + 1 + 4), "{:?}", names(&rows));
        assert_eq!(name(&rows[2]), "combination rerank model, local_features 3, bits 8");
    }

    #[test]
    fn random_selection_needs_more_patches_than_features() {
        let config = config("[axes]\nselection = [\"random\"]\n");
        let (rows, notes) = plan(&config, &[model(|_| ())]).unwrap();
        assert_eq!(names(&rows), ["0 baseline"]);
        assert!(notes[0].contains("selection random") && notes[0].contains("8 patches"), "{notes:?}");
    }

    #[test]
    fn a_missing_layer_is_named() {
        for (text, part) in [("layer = [12]", "1 to 11"), ("layer = [0]", "layer 0")] {
            let error =
                plan(&config(&format!("[axes]\n{text}\n")), &[model(|_| ())]).unwrap_err().to_string();
            assert!(error.contains("axes.layer") && error.contains(part), "{error}");
        }
    }

    #[test]
    fn what_a_model_lacks_is_named() {
        let global = || {
            model(|config| {
                (config.local, config.reranker) = (None, None);
                config.trained.reranker = false;
            })
        };
        let error = plan(&config("[baseline]\nrerank = \"model\"\n"), &[global()]).unwrap_err().to_string();
        assert!(error.contains("vit-tiny") && error.contains("reranker"), "{error}");
        let error = plan(&config("[axes]\nrerank = [\"ransac\"]\n"), &[global()]).unwrap_err().to_string();
        assert!(error.contains("axes.rerank") && error.contains("local features"), "{error}");
    }
}
