//! Training data: sources of photographs, ground-truth rules, batches, mining and validation.

use r2former_data::dataset::{DatasetSpec, Region};
use r2former_town::Condition;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A source of training photographs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceConfig {
    /// The layout of the source, with its options.
    #[serde(flatten)]
    pub kind: SourceKind,
    /// Sampling weight: how often a place is drawn from this source, relative to the others.
    #[serde(default = "one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

/// The layouts that can be trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SourceKind {
    /// Panoramas of four tiles, rendered in any direction.
    Panoramas {
        /// Folder with `panoramas.csv` and `tiles`.
        path: PathBuf,
        /// Part of the area to use.
        #[serde(default)]
        region: Region,
        /// Headings per panorama, evenly spaced; each is a place of its own.
        #[serde(default = "twelve")]
        headings: u32,
        /// Smallest and largest horizontal field of view in degrees, drawn uniformly.
        #[serde(default = "fields_of_view")]
        fov: [f64; 2],
    },
    /// Photographs with positions: a folder with EXIF tags or a table of positions.
    Photos {
        /// The table or folder.
        path: PathBuf,
        /// Part of the area to use.
        #[serde(default)]
        region: Region,
    },
    /// A datasets_vg tree: queries and database of a split.
    Vg {
        /// Root of the tree.
        path: PathBuf,
        /// Name of the split.
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
    /// One folder per place.
    Folders {
        /// The folder that holds the folders of places.
        path: PathBuf,
        /// Names of folders to leave out, such as those held out for evaluation.
        #[serde(default)]
        exclude: Vec<String>,
        /// Whether the photographs of a folder are aligned pixel by pixel, as those of a fixed camera.
        #[serde(default)]
        aligned: bool,
    },
    /// Stage `local` only: pairs of photographs with known matches.
    Matches {
        /// A table with the columns `a` and `b`, paths relative to it, and `matches`: x and y in a, x and y in b, in
        /// thousandths of the sides, separated by spaces, the matches by semicolons.
        path: PathBuf,
    },
    /// Two sets of images and a table of positives, as `r2former eval pairs` reads them.
    Pairs {
        /// Folder of the database images, a text file that lists them, or a table.
        database: PathBuf,
        /// The same of the queries.
        queries: PathBuf,
        /// The table with the columns `query` and `reference`.
        positives: PathBuf,
        /// The part of the queries to use, as two shares of the queries in the order of their names. The others, held
        /// out for validation, are not used at all, nor are their positives known.
        #[serde(default = "whole")]
        part: [f64; 2],
    },
    /// GSV-Cities: `Dataframes/<City>.csv` and `Images/<City>/`.
    GsvCities {
        /// Root of the dataset.
        path: PathBuf,
        /// Cities; all if empty.
        #[serde(default)]
        cities: Vec<String>,
    },
    /// The rendered town, a new one each epoch.
    Town {
        /// Seed of the first epoch's town.
        #[serde(default)]
        seed: u64,
        /// Blocks per side of the town.
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

fn whole() -> [f64; 2] {
    [0.0, 1.0]
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

/// When two photographs count as the same place.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceRules {
    /// Photographs at most this many metres apart show the same place.
    pub positive_m: f64,
    /// Photographs more than this many metres apart show different places; pairs in between are ignored.
    pub negative_m: f64,
    /// Largest difference of headings, in degrees, between two photographs of the same place. Applies to pairs whose
    /// headings are both known; without headings the distance alone decides. 180 ignores headings.
    pub heading_deg: f64,
}

/// How batches are composed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchKind {
    /// Queries, each with one positive and its negatives.
    Triplets,
    /// Places, each with several photographs.
    Places,
    /// Pairs of pictures that a known homography maps onto each other: stage `local`.
    Warps,
}

/// Batch composition.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchConfig {
    /// How batches are composed.
    pub kind: BatchKind,
    /// Queries (of triplets), places or pairs (of warps) per batch.
    pub size: usize,
    /// Negatives per query; for batches of places, negatives per photograph that the reranker is trained on.
    pub negatives: usize,
    /// Photographs per place.
    pub views: usize,
    /// Share of a batch's places that are hard negatives of a place already in it (needs mining).
    pub hard_places: f64,
    /// Share of places flipped horizontally. All photographs of a place are flipped alike: the flipped place is
    /// another place.
    pub horizontal_flip: f64,
    /// Batches whose gradients are accumulated before each optimiser step.
    pub accumulate: usize,
    /// Stage `rerank` only: augmented views per photograph that are extracted once per epoch and cached in memory
    /// (about 80 KB each for 200 local features of a ViT-Tiny), so that a step runs only the local head and the
    /// reranker. 0 runs the backbone in every step.
    #[serde(default)]
    pub cached_views: usize,
    /// Share of queries (of triplets) whose positive is another view of their own photograph.
    #[serde(default)]
    pub same_photo: f64,
}

/// The random homography between the two pictures of a pair, in stage `local`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WarpConfig {
    /// Smallest and largest magnification, log-uniform.
    pub zoom: [f64; 2],
    /// Largest shift along each axis, as a share of the side.
    pub shift: f64,
    /// Largest rotation, in degrees.
    pub rotation_deg: f64,
    /// Largest change of the aspect ratio, as its logarithm.
    pub aspect: f64,
    /// Largest shift of each corner by itself, as a share of the side.
    pub corners: f64,
}

impl Default for WarpConfig {
    fn default() -> Self {
        Self { zoom: [0.5, 1.6], shift: 0.25, rotation_deg: 8.0, aspect: 0.25, corners: 0.12 }
    }
}

/// Which photograph of a query's place is its positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositiveKind {
    /// The one with the nearest descriptor where negatives are mined, as in the published code.
    #[default]
    Nearest,
    /// A random one.
    Any,
}

/// Strategies of negative mining.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MiningKind {
    /// Random negatives.
    Random,
    /// The most similar photographs of a random pool.
    Partial,
    /// As partial, plus each query's hardest negative so far.
    Full,
    /// The most similar photographs of the whole training set, mined once.
    Global,
    /// As partial; queries taken at night or sideways are drawn as often as the others.
    MslsWeighted,
}

/// Negative mining.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MiningConfig {
    /// The strategy.
    pub kind: MiningKind,
    /// Which positive a query of a triplet gets.
    #[serde(default)]
    pub positive: PositiveKind,
    /// Photographs in the random pool.
    pub pool: usize,
    /// Queries between two mining passes.
    pub refresh: usize,
    /// Global mining: nearest neighbours searched per query.
    pub depth: usize,
    /// Global mining: the query's hardest negatives among those, from which a batch's are drawn.
    pub hard_negatives: usize,
    /// Negatives mined elsewhere, as the published code saves them: a `.npy` of `[queries, negatives]` integers, one
    /// row per query in the dataset's order, each value the index of a database photograph. For global mining on a
    /// single source of kind `vg`, `msls` or `pairs`.
    pub import: Option<PathBuf>,
}

/// Validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationConfig {
    /// The dataset: any that `eval` reads.
    #[serde(flatten)]
    pub set: DatasetSpec,
    /// A reference at most this many metres from the query is a positive.
    #[serde(default = "radius")]
    pub radius_m: f64,
    /// Candidates per query that are reranked.
    #[serde(default = "hundred")]
    pub candidates: usize,
    /// The part of the queries to use, as two shares of the queries in the order of their names.
    #[serde(default = "whole")]
    pub part: [f64; 2],
    /// Largest number of queries of that part, evenly sampled; 0 for all.
    #[serde(default)]
    pub max_queries: usize,
    /// N of the recall@N that selects the best model: after reranking where a reranker is trained, by RANSAC in stage
    /// `local`, of the global ranking otherwise.
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

/// As in the published code.
fn five() -> usize {
    5
}

fn one_epoch() -> u64 {
    1
}
