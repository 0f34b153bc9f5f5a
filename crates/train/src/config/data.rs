//! Where photographs come from, what counts as the same place, what a step sees, and what is validated on.

use r2former_data::dataset::{DatasetSpec, Region};
use r2former_town::Condition;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

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
    /// Negatives of a triplet; of places, those that the reranker sees with each photograph.
    pub negatives: usize,
    /// Photographs of a place.
    pub views: usize,
    /// Share of a batch's places that resemble one already in it (needs mining).
    pub hard_places: f64,
    /// Share of places that are seen in a mirror (all their photographs alike): another place.
    pub mirror: f64,
    /// Batches whose gradients are added up before a step.
    pub accumulate: usize,
    /// For the stage whose backbone is frozen: views of each photograph that are described once an epoch, kept in
    /// memory (some 80 KB each for 200 local features of a ViT-Tiny) and drawn from, so that a step runs the local
    /// head and the reranker alone; 0 looks at photographs anew in every step.
    #[serde(default)]
    pub kept_views: usize,
}

/// Which photograph of a query's place its triplet has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositiveKind {
    /// The one with the nearest descriptor, where negatives are mined (the published way).
    #[default]
    Nearest,
    /// Any.
    Any,
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
    /// Which positive a query of a triplet has.
    #[serde(default)]
    pub positive: PositiveKind,
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

/// How well it works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationConfig {
    /// What is evaluated: any dataset that `eval` reads.
    #[serde(flatten)]
    pub set: DatasetSpec,
    /// Metres within which a reference is right.
    #[serde(default = "radius")]
    pub radius_m: f64,
    /// References that are reranked.
    #[serde(default = "hundred")]
    pub candidates: usize,
    /// Queries, at most: evenly chosen; 0 for all.
    #[serde(default)]
    pub max_queries: usize,
    /// The recall that decides which model is best: reranked where a reranker is trained.
    #[serde(default = "five")]
    pub best_by: usize,
    /// Epochs between validations.
    #[serde(default = "one_epoch")]
    pub every_epochs: u64,
}

fn radius() -> f64 {
    25.0
}

fn hundred() -> usize {
    100
}

/// As the published code has it.
fn five() -> usize {
    5
}

fn one_epoch() -> u64 {
    1
}
