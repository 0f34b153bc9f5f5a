//! Everything that shapes a training run; the resolved whole is stored in each checkpoint.

use crate::augment::AugmentConfig;
use crate::{Result, TrainError};
use r2former_data::dataset::Region;
use r2former_data::town::Condition;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What a stage trains (METHOD: training; paper section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Backbone and global head, by the global loss.
    Global,
    /// Local head and reranker, the backbone frozen.
    Rerank,
    /// All at once, by both losses; local features do not reach the backbone unless asked.
    Joint,
    /// All at once, by both losses; the reranker's gradient reaches the backbone.
    EndToEnd,
    /// As joint, for one city.
    Finetune,
}

impl Stage {
    /// Every stage, in the order in which they are run.
    pub const ALL: [Self; 5] = [Self::Global, Self::Rerank, Self::Joint, Self::EndToEnd, Self::Finetune];

    /// Its name as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Rerank => "rerank",
            Self::Joint => "joint",
            Self::EndToEnd => "end-to-end",
            Self::Finetune => "finetune",
        }
    }

    /// Whether the global loss is part of it.
    pub fn trains_global(self) -> bool {
        self != Self::Rerank
    }

    /// Whether the reranker's loss is part of it.
    pub fn trains_reranker(self) -> bool {
        self != Self::Global
    }
}

impl std::str::FromStr for Stage {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.name() == text)
            .ok_or_else(|| format!("'{text}' is no stage: {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// A training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Name of the model that comes out.
    pub name: String,
    /// What is trained.
    pub stage: Stage,
    /// Everything random follows from it.
    pub seed: u64,
    /// The model to begin with: an r2former checkpoint.
    pub start: PathBuf,
    /// Whether blocks run forward a second time on the way back instead of keeping what it needs: a third more
    /// time for a fraction of the memory.
    pub save_memory: bool,
    /// What is changed of that model.
    pub model: ModelChanges,
    /// Where the photographs come from.
    pub data: Vec<SourceConfig>,
    /// What counts as the same place.
    pub places: PlaceRules,
    /// What a step sees.
    pub batch: BatchConfig,
    /// How negatives are found.
    pub mining: MiningConfig,
    /// What is minimised.
    pub loss: LossConfig,
    /// How.
    pub optimizer: OptimizerConfig,
    /// For how long, and at which rate.
    pub schedule: ScheduleConfig,
    /// What is done to a photograph before the network sees it.
    pub augment: AugmentConfig,
    /// How well it works, each epoch.
    pub validation: Option<ValidationConfig>,
    /// What is kept on disk.
    pub keep: KeepConfig,
}

/// Changes of the model to begin with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelChanges {
    /// Height and width of the network's input in pixels; none keeps the model's own.
    pub image_size: Option<[usize; 2]>,
    /// Length of the global descriptor of a new linear head, where the model has none.
    pub global_dim: usize,
    /// Length of local features of a new local head.
    pub local_dim: usize,
    /// Local features an image, at most; none keeps the model's own.
    pub local_count: Option<usize>,
    /// The first blocks of the transformer (and the patches' projection) that stay as they are.
    pub freeze_blocks: usize,
    /// Forget the reranker and local head of the model to begin with.
    pub fresh_reranker: bool,
}

/// Photographs of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceConfig {
    /// What it is.
    #[serde(flatten)]
    pub kind: SourceKind,
    /// How often a place of a batch comes from it, relative to the other sources.
    #[serde(default = "one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

/// The kinds of source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SourceKind {
    /// Panoramas of four tiles, seen in any direction.
    Panoramas {
        /// Folder with `panoramas.csv` and `tiles`.
        path: PathBuf,
        /// Part of it.
        #[serde(default)]
        region: Region,
        /// Directions in which each panorama is a place of its own.
        #[serde(default = "twelve")]
        headings: u32,
        /// Horizontal fields of view in degrees, drawn evenly.
        #[serde(default = "fields_of_view")]
        fov: [f64; 2],
    },
    /// Photographs with positions: an EXIF folder, a table of positions.
    Photos {
        /// The file or folder.
        path: PathBuf,
        /// Part of it.
        #[serde(default)]
        region: Region,
    },
    /// A datasets_vg tree: queries and database of a split.
    Vg {
        /// Its root.
        path: PathBuf,
        /// Which split.
        #[serde(default = "train_split")]
        split: String,
    },
    /// MSLS: queries and database of its cities.
    Msls {
        /// Folder that holds `train_val` and `test`.
        path: PathBuf,
        /// Cities, or `train` for the official list.
        #[serde(default = "train_cities")]
        cities: Vec<String>,
    },
    /// A folder a place.
    Folders {
        /// The folder of folders.
        path: PathBuf,
        /// Names of the places that are left out (held out for evaluation).
        #[serde(default)]
        without: Vec<String>,
    },
    /// GSV-Cities: `Dataframes/<City>.csv` and `Images/<City>/`.
    GsvCities {
        /// Its root.
        path: PathBuf,
        /// Cities; all if empty.
        #[serde(default)]
        cities: Vec<String>,
    },
    /// The rendered town, a new one each epoch.
    Town {
        /// The first town's seed.
        #[serde(default)]
        seed: u64,
        /// Blocks a side.
        #[serde(default = "eight")]
        blocks: u32,
        /// Metres between places along the streets.
        #[serde(default = "ten")]
        spacing: f64,
        /// Light and weather; all if empty.
        #[serde(default)]
        conditions: Vec<Condition>,
    },
}

fn train_split() -> String {
    "train".into()
}
fn train_cities() -> Vec<String> {
    vec![train_split()]
}
fn twelve() -> u32 {
    12
}
fn eight() -> u32 {
    8
}
fn ten() -> f64 {
    10.0
}
fn fields_of_view() -> [f64; 2] {
    [60.0, 100.0]
}

/// What counts as the same place.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceRules {
    /// Metres within which two photographs show the same place.
    pub positive_m: f64,
    /// Metres beyond which they do not; what lies between is neither.
    pub negative_m: f64,
    /// Degrees between the directions of two photographs of the same place, at most, where both are known.
    pub heading_deg: f64,
}

/// How a batch is put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchKind {
    /// Queries, each with its positive and negatives.
    Triplets,
    /// Places, each with several photographs.
    Places,
}

/// What a step sees.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchConfig {
    /// How it is put together.
    pub kind: BatchKind,
    /// Triplets' queries, or places.
    pub size: usize,
    /// Negatives of a triplet.
    pub negatives: usize,
    /// Photographs of a place.
    pub views: usize,
    /// Share of a batch's places that resemble one already in it (needs mining).
    pub hard_places: f64,
    /// Share of places that are seen in a mirror (all their photographs alike): another place.
    pub mirror: f64,
    /// Batches whose gradients are added up before a step.
    pub accumulate: usize,
}

/// How negatives are found (METHOD: mining).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MiningKind {
    /// Any negative.
    Random,
    /// The most similar of a random pool.
    Partial,
    /// The same, and each query's remembered hardest.
    Full,
    /// Among the most similar of all, computed once.
    Global,
    /// As partial; queries by night or looking sideways come as often as the others.
    MslsWeighted,
}

/// How negatives are found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MiningConfig {
    /// The rule.
    pub kind: MiningKind,
    /// Images of the random pool.
    pub pool: usize,
    /// Queries between two refreshes.
    pub refresh: usize,
    /// Global mining: how many of the most similar are looked at.
    pub depth: usize,
    /// How many negatives of those are kept.
    pub kept: usize,
    /// How many of the kept are drawn from.
    pub drawn: usize,
    /// Negatives mined elsewhere, as the published code saves them: a `.npy` of `[queries, kept]` whole numbers, a
    /// row a query in the dataset's order, each number a photograph of its database. For global mining on a single
    /// vg or msls source.
    pub import: Option<PathBuf>,
}

/// The global loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GlobalLoss {
    /// Triplet margin on the distance, as the published code has it.
    Triplet,
    /// Triplet margin on the squared distance, as the paper writes it.
    TripletSquared,
    /// Multi-similarity over all pairs of the batch (Wang et al., CVPR 2019).
    MultiSimilarity,
}

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossConfig {
    /// The global loss.
    pub global: GlobalLoss,
    /// Margin of the triplet losses.
    pub margin: f64,
    /// Sharpness towards positives, sharpness towards negatives, threshold, and mining margin of multi-similarity.
    pub similarity: [f64; 4],
    /// Weight of the global loss.
    pub global_weight: f64,
    /// Weight of the reranker's loss.
    pub rerank_weight: f64,
    /// Pairs of a batch that the reranker sees, at most; 0 for all.
    pub pairs: usize,
    /// Whether local features stop the reranker's gradient before the backbone.
    pub detach_local: bool,
}

/// The optimisers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerKind {
    /// Adam.
    Adam,
    /// Adam with decoupled weight decay.
    Adamw,
    /// Gradient descent with momentum.
    Sgd,
}

/// How the loss is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// The rule.
    pub kind: OptimizerKind,
    /// Learning rate after the warm-up.
    pub lr: f64,
    /// The backbone's rate over the others'.
    pub backbone_lr_scale: f64,
    /// Decay of weights; never of norms and biases.
    pub weight_decay: f32,
    /// Adam's two decays; the first is SGD's momentum.
    pub betas: [f32; 2],
    /// Length to which the gradient of all parameters together is cut; 0 for none.
    pub clip: f32,
    /// Decay of the running average of the weights, which is what is evaluated and kept; 0 for none.
    pub average: f32,
}

/// How the learning rate runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Always the same.
    Constant,
    /// Half a cosine to zero, a value an epoch, as the published code has it.
    Cosine,
    /// The same, a value a step.
    CosineSteps,
}

/// How long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Epochs.
    pub epochs: u64,
    /// Batches of an epoch.
    pub steps: u64,
    /// Epochs of warm-up.
    pub warmup: f64,
    /// The rate's course.
    pub kind: Schedule,
    /// Epochs without a better recall after which it stops; 0 for never.
    pub patience: u64,
}

/// How well it works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationConfig {
    /// What is evaluated.
    #[serde(flatten)]
    pub set: ValidationSet,
    /// Metres within which a reference is right.
    pub radius_m: f64,
    /// References that are reranked.
    pub candidates: usize,
    /// Queries, at most: evenly chosen; 0 for all.
    pub queries: usize,
    /// The recall that decides which model is best: reranked where a reranker is trained.
    pub best_by: usize,
    /// Epochs between validations.
    pub every: u64,
}

/// The sets that can be validated on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ValidationSet {
    /// Every n-th panorama a query.
    Panoramas {
        /// Folder with `panoramas.csv` and `tiles`.
        path: PathBuf,
        /// Part of it.
        #[serde(default)]
        region: Region,
        /// Which panoramas are queries.
        #[serde(default = "four")]
        split: usize,
    },
    /// Two sources of photographs with positions.
    Photos {
        /// The references.
        database: PathBuf,
        /// The queries.
        queries: PathBuf,
    },
    /// A datasets_vg tree.
    Vg {
        /// Its root.
        path: PathBuf,
        /// Which split.
        split: String,
    },
    /// MSLS.
    Msls {
        /// Folder that holds `train_val` and `test`.
        path: PathBuf,
        /// Cities, or `val`.
        cities: Vec<String>,
    },
}

fn four() -> usize {
    4
}

/// What is kept on disk.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepConfig {
    /// Steps between two checkpoints, besides the one at each epoch's end; 0 for none.
    pub every: u64,
    /// Checkpoints of past epochs that stay, besides the best and the last.
    pub epochs: usize,
}

impl TrainConfig {
    /// The paper's stage, as METHOD's table has it; `start` and `data` are the user's.
    pub fn preset(stage: Stage) -> Self {
        let frozen = stage == Stage::Rerank;
        let (size, negatives) = match stage {
            Stage::Global => (16, 2),
            Stage::Rerank | Stage::EndToEnd => (64, 1),
            Stage::Joint => (48, 2),
            Stage::Finetune => (16, 1),
        };
        let mining = match stage {
            Stage::Rerank => MiningKind::Global,
            Stage::Finetune => MiningKind::Full,
            _ => MiningKind::Partial,
        };
        let (epochs, patience) = match stage {
            Stage::Global => (100, 10),
            Stage::Rerank => (50, 25),
            Stage::Joint => (20, 0),
            Stage::EndToEnd => (100, 0),
            Stage::Finetune => (50, 0),
        };
        let lr = match stage {
            Stage::Rerank => 5e-4,
            Stage::EndToEnd => 1e-4,
            _ => 1e-5,
        };
        let global = stage == Stage::Global;
        Self {
            name: format!("r2former-{}", stage.name()),
            stage,
            seed: 1,
            start: PathBuf::new(),
            model: ModelChanges {
                image_size: None,
                global_dim: 256,
                local_dim: 128,
                local_count: None,
                freeze_blocks: 0,
                fresh_reranker: false,
            },
            data: Vec::new(),
            places: PlaceRules { positive_m: 10.0, negative_m: 25.0, heading_deg: 180.0 },
            batch: BatchConfig {
                kind: BatchKind::Triplets,
                size,
                negatives,
                views: 4,
                hard_places: 0.0,
                mirror: 0.0,
                accumulate: 1,
            },
            mining: MiningConfig {
                kind: mining,
                pool: 1000,
                refresh: 10_000,
                depth: 500,
                kept: 200,
                drawn: 100,
                import: None,
            },
            loss: LossConfig {
                global: GlobalLoss::Triplet,
                margin: 0.1,
                similarity: [1.0, 50.0, 0.5, 0.1],
                global_weight: 1.0,
                rerank_weight: 1.0,
                pairs: 0,
                detach_local: stage != Stage::EndToEnd,
            },
            optimizer: OptimizerConfig {
                kind: if global { OptimizerKind::Adam } else { OptimizerKind::Adamw },
                lr,
                backbone_lr_scale: 1.0,
                weight_decay: if global { 0.0 } else { 0.03 },
                betas: [0.9, 0.999],
                clip: 0.0,
                average: 0.0,
            },
            schedule: ScheduleConfig {
                epochs,
                // 50,000 queries an epoch.
                steps: 50_000 / size as u64,
                warmup: if frozen { 5.0 } else { 0.0 },
                kind: if global { Schedule::Constant } else { Schedule::Cosine },
                patience,
            },
            augment: AugmentConfig::default(),
            validation: None,
            save_memory: false,
            keep: KeepConfig { every: 0, epochs: 1 },
        }
    }

    /// Reads a file in TOML over the stage's preset; paths in it are relative to the file.
    ///
    /// # Errors
    /// A file that cannot be read, is no TOML, or names or values that are not known.
    pub fn read(stage: Stage, path: &Path, overrides: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(TrainError::io(path))?;
        let mut table: toml::Table =
            text.parse().map_err(|e: toml::de::Error| TrainError::run(path, e.to_string()))?;
        if let Some(named) = table.get("stage").and_then(|v| v.as_str())
            && named != stage.name()
        {
            return Err(TrainError::run(path, format!("is for stage {named}, not {}", stage.name())));
        }
        for one in overrides {
            set(&mut table, one)?;
        }
        let mut config = Self::over(stage, table).map_err(|e| TrainError::run(path, e))?;
        config.anchor(path.parent().unwrap_or(Path::new("")));
        config.check()?;
        Ok(config)
    }

    /// As a file that [`TrainConfig::read`] reads.
    ///
    /// # Errors
    /// A path that is no text.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| TrainError::Config(e.to_string()))
    }

    /// The preset with what a table changes.
    fn over(stage: Stage, table: toml::Table) -> Result<Self, String> {
        let preset = toml::Table::try_from(Self::preset(stage)).map_err(|e| e.to_string())?;
        let merged = toml::Value::Table(merge(preset, table));
        merged.try_into().map_err(|e: toml::de::Error| e.to_string())
    }

    /// Relative paths become relative to `base`.
    fn anchor(&mut self, base: &Path) {
        let fix = |path: &mut PathBuf| {
            if path.is_relative() && !path.as_os_str().is_empty() {
                *path = base.join(&*path);
            }
        };
        fix(&mut self.start);
        self.mining.import.iter_mut().for_each(fix);
        for source in &mut self.data {
            match &mut source.kind {
                SourceKind::Panoramas { path, .. }
                | SourceKind::Photos { path, .. }
                | SourceKind::Vg { path, .. }
                | SourceKind::Msls { path, .. }
                | SourceKind::Folders { path, .. }
                | SourceKind::GsvCities { path, .. } => fix(path),
                SourceKind::Town { .. } => {}
            }
        }
        if let Some(validation) = &mut self.validation {
            match &mut validation.set {
                ValidationSet::Panoramas { path, .. }
                | ValidationSet::Vg { path, .. }
                | ValidationSet::Msls { path, .. } => fix(path),
                ValidationSet::Photos { database, queries } => {
                    fix(database);
                    fix(queries);
                }
            }
        }
    }

    /// Checks that the numbers make sense together.
    ///
    /// # Errors
    /// [`TrainError::Config`] that names the value.
    pub fn check(&self) -> Result<()> {
        let bad = |what: String| Err(TrainError::Config(what));
        if self.start.as_os_str().is_empty() {
            return bad("start: name the model to begin with (r2former model import makes one)".into());
        }
        if self.data.is_empty() {
            return bad("data: name at least one source, as in [[data]] kind = \"photos\"".into());
        }
        if self.data.iter().any(|s| !s.weight.is_finite() || s.weight <= 0.0) {
            return bad("data.weight must be a positive number".into());
        }
        let b = &self.batch;
        let enough = match b.kind {
            BatchKind::Triplets => b.size >= 1 && b.negatives >= 1,
            BatchKind::Places => b.size >= 2 && b.views >= 2,
        };
        if !enough || b.accumulate == 0 {
            return bad(format!(
                "batch: size {}, negatives {}, views {}, accumulate {}: triplets need a negative, places two \
                 views and a second place",
                b.size, b.negatives, b.views, b.accumulate
            ));
        }
        if b.kind == BatchKind::Places
            && self.stage.trains_global()
            && self.loss.global != GlobalLoss::MultiSimilarity
        {
            return bad("loss.global: batches of places need multi_similarity".into());
        }
        let p = &self.places;
        if !(p.positive_m > 0.0 && p.negative_m >= p.positive_m && (0.0..=180.0).contains(&p.heading_deg)) {
            return bad(format!(
                "places: positive_m {}, negative_m {}, heading_deg {}: 0 < positive_m <= negative_m, heading 0 to 180",
                p.positive_m, p.negative_m, p.heading_deg
            ));
        }
        let o = &self.optimizer;
        if !(o.lr > 0.0 && o.lr.is_finite()) || !(0.0..1.0).contains(&o.average) || o.weight_decay < 0.0 {
            return bad(format!(
                "optimizer: lr {} must be positive, average {} below 1, weight_decay {} not negative",
                o.lr, o.average, o.weight_decay
            ));
        }
        if self.schedule.epochs == 0 || self.schedule.steps == 0 {
            return bad("schedule: epochs and steps must be at least 1".into());
        }
        self.augment.check()
    }
}

/// `a.b.c=value`, the value in TOML.
fn set(table: &mut toml::Table, text: &str) -> Result<()> {
    let wrong =
        |why: &str| TrainError::Config(format!("--set {text}: {why}; write for example optimizer.lr=1e-4"));
    let (name, value) = text.split_once('=').ok_or_else(|| wrong("no '='"))?;
    let parse = |value: &str| format!("v={value}").parse::<toml::Table>().ok()?.remove("v");
    let value = parse(value).or_else(|| parse(&format!("{value:?}"))).ok_or_else(|| wrong("not a value"))?;
    let parts: Vec<&str> = name.split('.').collect();
    let (last, path) = parts.split_last().ok_or_else(|| wrong("no name"))?;
    let mut at = table;
    for part in path {
        at = at
            .entry(*part)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()))
            .as_table_mut()
            .ok_or_else(|| wrong("not a table"))?;
    }
    at.insert((*last).to_string(), value);
    Ok(())
}

/// What `over` says, else what `base` says.
fn merge(mut base: toml::Table, over: toml::Table) -> toml::Table {
    for (name, value) in over {
        let merged = match (base.remove(&name), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => toml::Value::Table(merge(old, new)),
            (_, new) => new,
        };
        base.insert(name, merged);
    }
    base
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_the_papers() {
        for stage in Stage::ALL {
            let config = TrainConfig::preset(stage);
            assert_eq!(stage.name().parse::<Stage>().unwrap(), stage);
            assert_eq!(config.places.positive_m, 10.0);
            let again = TrainConfig::over(stage, toml::Table::new()).unwrap();
            assert_eq!(again, config);
        }
        let rerank = TrainConfig::preset(Stage::Rerank);
        assert_eq!((rerank.optimizer.lr, rerank.batch.size, rerank.schedule.warmup), (5e-4, 64, 5.0));
        assert_eq!(rerank.mining.kind, MiningKind::Global);
        let global = TrainConfig::preset(Stage::Global);
        assert_eq!((global.optimizer.kind, global.schedule.steps), (OptimizerKind::Adam, 3125));
    }

    #[test]
    fn files_and_overrides_change_what_they_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.toml");
        let text =
            "name = \"x\"\nstart = \"m.safetensors\"\n[optimizer]\nlr = 0.5\n[[data]]\nkind = \"town\"\n";
        std::fs::write(&path, text).unwrap();
        let overrides = ["schedule.epochs=3".to_string(), "mining.kind=random".into()];
        let config = TrainConfig::read(Stage::Global, &path, &overrides).unwrap();
        assert_eq!((config.optimizer.lr, config.schedule.epochs), (0.5, 3));
        assert_eq!((config.mining.kind, config.batch.size), (MiningKind::Random, 16));
        assert_eq!(config.start, dir.path().join("m.safetensors"));
        for (bad, word) in [
            ("optimizer.speed=1", "speed"),
            ("optimizer.lr=-1", "lr"),
            ("batch.negatives=0", "negatives"),
            ("nothing", "nothing"),
        ] {
            let error = TrainConfig::read(Stage::Global, &path, &[bad.to_string()]).unwrap_err().to_string();
            assert!(error.contains(word), "{bad}: {error}");
        }
    }
}
