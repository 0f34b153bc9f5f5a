//! The configuration of an ablation: a TOML file.

use crate::{EmptyQueries, EvalError, Result};
use r2former_data::dataset::{Dataset, DatasetSpec};
use r2former_engine::RerankMethod;
use r2former_model::{Bits, ImageSize};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Datasets, models, a baseline, and changes of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AblationConfig {
    /// A reference within this many metres is a positive (inclusive).
    #[serde(default = "twenty_five")]
    pub radius_m: f64,
    /// Its heading must also be within this many degrees of the query's; absent: headings are ignored.
    #[serde(default)]
    pub heading_deg: Option<f64>,
    /// Handling of queries without positives.
    #[serde(default)]
    pub empty_queries: EmptyQueries,
    /// Search each city on its own.
    #[serde(default)]
    pub per_city: bool,
    /// Candidates to rerank.
    #[serde(default = "hundred")]
    pub candidates: usize,
    /// Seed of random selections.
    #[serde(default = "one")]
    pub seed: u64,
    /// Every combination of the axes' values and the models, instead of one change of the baseline at a time.
    #[serde(default)]
    pub every_combination: bool,
    /// The datasets.
    #[serde(default)]
    pub dataset: Vec<DatasetEntry>,
    /// The models, the baseline's first.
    #[serde(default)]
    pub model: Vec<ModelEntry>,
    /// The setting that changes start from.
    #[serde(default)]
    pub baseline: Baseline,
    /// The changes, one value at a time.
    #[serde(default)]
    pub axes: Axes,
}

pub(crate) fn twenty_five() -> f64 {
    25.0
}
pub(crate) fn hundred() -> usize {
    100
}
fn one() -> u64 {
    1
}

/// A dataset of an ablation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetEntry {
    /// Name in tables; absent: the reader's name.
    #[serde(default)]
    pub name: Option<String>,
    /// Queries, at most, evenly chosen; absent: all.
    #[serde(default)]
    pub max_queries: Option<usize>,
    /// Datasets with the same name here are also reported as one, with the queries of all of them: the folds of a set.
    #[serde(default)]
    pub pooled: Option<String>,
    /// Its kind and location.
    #[serde(flatten)]
    pub spec: DatasetSpec,
}

/// A model of an ablation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// Name in tables; absent: its own name.
    #[serde(default)]
    pub name: Option<String>,
    /// The checkpoint; absent: the built-in model.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// Height and width of the network's input in pixels, or a rule such as `longest:1024`; absent: the model's own.
    #[serde(default)]
    pub image_size: Option<ImageSize>,
}

/// How patches are selected as local features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// The most attended.
    #[default]
    Attention,
    /// At random, from the seed and the image's index.
    Random,
}

/// The baseline; absent values are the model's own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Baseline {
    /// Reranking method; absent: the reranker if it is trained.
    pub rerank: Option<RerankMethod>,
    /// Local features per image.
    pub local_features: Option<usize>,
    /// Best matches per local feature that the reranker looks at.
    pub neighbours: Option<usize>,
    /// How local features are selected.
    pub selection: Selection,
    /// Whether features are gathered at the positions of the published code.
    pub official_gather: Option<bool>,
    /// Transformer block whose output they are taken from.
    pub layer: Option<usize>,
    /// Bits per value of a stored local feature.
    pub bits: Bits,
    /// Top-1 margin (cosine) from which on a query is not reranked; absent: every query is.
    pub adaptive: Option<f32>,
}

/// Values that replace the baseline's, one at a time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Axes {
    /// Of [`Baseline::rerank`].
    pub rerank: Vec<RerankMethod>,
    /// Of [`Baseline::local_features`]; capped at the number of patches.
    pub local_features: Vec<usize>,
    /// Of [`Baseline::neighbours`].
    pub neighbours: Vec<usize>,
    /// Of [`Baseline::selection`].
    pub selection: Vec<Selection>,
    /// Of [`Baseline::official_gather`].
    pub official_gather: Vec<bool>,
    /// Of [`Baseline::layer`]. Local head and reranker fit only the layer that they were trained with.
    pub layer: Vec<usize>,
    /// Of [`Baseline::bits`].
    pub bits: Vec<Bits>,
    /// Of [`Baseline::adaptive`].
    pub adaptive: Vec<f32>,
}

impl AblationConfig {
    /// Reads a file; paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`EvalError::File`]: the file cannot be read, is not TOML, or has an invalid value; the message names the key.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| EvalError::file(path, format!("cannot be read: {e}")))?;
        check_renamed(&text).map_err(|problem| EvalError::file(path, problem))?;
        let mut config: Self = toml::from_str(&text).map_err(|e| EvalError::file(path, e))?;
        config.check().map_err(|problem| EvalError::file(path, problem))?;
        let base = path.parent().unwrap_or(Path::new(""));
        config.dataset.iter_mut().for_each(|dataset| dataset.spec.anchor(base));
        for path in config.model.iter_mut().filter_map(|model| model.path.as_mut()) {
            *path = base.join(&*path);
        }
        Ok(config)
    }

    /// Checks the values; the message names the key.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.dataset.is_empty() {
            return Err("dataset: name at least one, as in [[dataset]] kind = \"photos\"".into());
        }
        if self.model.is_empty() {
            return Err("model: name at least one, as in [[model]] path = \"model.safetensors\"; without a path it is \
                        the built-in model"
                .into());
        }
        if self.dataset.iter().any(|dataset| dataset.max_queries == Some(0)) {
            return Err("dataset.max_queries: 0 leaves no query; omit it for all".into());
        }
        if !(self.radius_m.is_finite() && self.radius_m >= 0.0) {
            return Err(format!("radius_m: {} is not a number of metres, 0 or more", self.radius_m));
        }
        if self.heading_deg.is_some_and(|limit| !(0.0..=180.0).contains(&limit)) {
            let limit = self.heading_deg.unwrap_or_default();
            return Err(format!("heading_deg: {limit} is not an angle, 0 to 180 degrees"));
        }
        if self.candidates == 0 {
            return Err("candidates: 0 leaves nothing to rerank".into());
        }
        let (baseline, axes) = (&self.baseline, &self.axes);
        let both = |name: &'static str, own: Option<usize>, values: &[usize]| {
            let own = own.map(|value| (format!("baseline.{name}"), value));
            own.into_iter().chain(values.iter().map(|v| (format!("axes.{name}"), *v))).collect::<Vec<_>>()
        };
        for (key, value) in both("local_features", baseline.local_features, &axes.local_features) {
            if !(1..=16_384).contains(&value) {
                return Err(format!("{key}: {value} is outside 1 to 16384"));
            }
        }
        for (key, value) in both("neighbours", baseline.neighbours, &axes.neighbours) {
            if !(1..=64).contains(&value) {
                return Err(format!("{key}: {value} is outside 1 to 64"));
            }
        }
        let margins = baseline.adaptive.map(|value| ("baseline.adaptive", value));
        let margins = margins.into_iter().chain(axes.adaptive.iter().map(|v| ("axes.adaptive", *v)));
        for (key, value) in margins {
            if !(0.0..=2.0).contains(&value) {
                return Err(format!("{key}: {value} is not a cosine margin, 0 to 2"));
            }
        }
        Ok(())
    }
}

/// A file that holds nothing but datasets.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DatasetsFile {
    dataset: Vec<DatasetEntry>,
}

/// Reads the datasets of a TOML file with `[[dataset]]` entries, each with its name; paths are relative to the file's
/// folder.
///
/// # Errors
/// [`EvalError::File`]: the file cannot be read, is not TOML, or has an invalid value. [`EvalError::Dataset`]: a dataset
/// that cannot be read.
pub fn read_datasets(path: &Path) -> Result<Vec<(String, Dataset)>> {
    let text =
        std::fs::read_to_string(path).map_err(|e| EvalError::file(path, format!("cannot be read: {e}")))?;
    let mut file: DatasetsFile = toml::from_str(&text).map_err(|e| EvalError::file(path, e))?;
    let base = path.parent().unwrap_or(Path::new(""));
    file.dataset
        .iter_mut()
        .map(|entry| {
            entry.spec.anchor(base);
            let label = || entry.spec.paths().last().map(|path| path.display().to_string());
            let dataset = super::dataset_of(entry).map_err(|source| EvalError::Dataset {
                name: entry.name.clone().or_else(label).unwrap_or_default(),
                source,
            })?;
            Ok((entry.name.clone().unwrap_or_else(|| dataset.name.clone()), dataset))
        })
        .collect()
}

/// Keys that have another name now: table, old key, new key.
const RENAMED: [(&str, &str, &str); 1] = [("dataset", "together", "pooled")];

/// Refuses old keys with the name of the new one. Text that is not TOML passes: its parser reports it.
fn check_renamed(text: &str) -> Result<(), String> {
    let Ok(file) = text.parse::<toml::Table>() else { return Ok(()) };
    for (table, old, new) in RENAMED {
        let entries = file.get(table).and_then(toml::Value::as_array).into_iter().flatten();
        if entries.filter_map(toml::Value::as_table).any(|entry| entry.contains_key(old)) {
            return Err(format!("{table}.{old}: is now {table}.{new}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AblationConfig> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ablation.toml");
        std::fs::write(&path, text).unwrap();
        let mut config = AblationConfig::read(&path)?;
        // As if it were in /here.
        let here = |path: &mut PathBuf| {
            if let Ok(rest) = path.strip_prefix(dir.path()) {
                *path = Path::new("/here").join(rest);
            }
        };
        config.model.iter_mut().filter_map(|model| model.path.as_mut()).for_each(here);
        Ok(config)
    }

    const SETS: &str = "[[dataset]]\nkind = \"vg\"\npath = \"town\"\nmax_queries = 5\n[[model]]\n";

    #[test]
    fn absent_keys_have_defaults() {
        let config =
            read(&format!("{SETS}path = \"a.safetensors\"\n[axes]\nbits = [16, 32]\nadaptive = [0.05]\n"));
        let config = config.unwrap();
        assert_eq!((config.radius_m, config.candidates, config.every_combination), (25.0, 100, false));
        assert_eq!(config.model[0].path, Some("/here/a.safetensors".into()));
        assert_eq!(config.dataset[0].max_queries, Some(5));
        assert_eq!(config.axes.bits, [Bits::Sixteen, Bits::ThirtyTwo]);
        assert_eq!((config.baseline.bits, config.baseline.selection), (Bits::Eight, Selection::Attention));
    }

    #[test]
    fn wrong_keys_and_values_are_named() {
        for (text, parts) in [
            ("[[model]]\n".to_string(), &["dataset", "[[dataset]]"][..]),
            ("[[dataset]]\nkind = \"vg\"\npath = \"t\"\n".into(), &["model", "[[model]]"]),
            (format!("{SETS}[axes]\nlocal_feature = [3]\n"), &["local_feature", "local_features"]),
            (format!("{SETS}[axes]\nlocal_features = [100, 0]\n"), &["axes.local_features", "0"]),
            (format!("{SETS}[axes]\nneighbours = [65]\n"), &["axes.neighbours", "65"]),
            (format!("{SETS}[axes]\nbits = [4]\n"), &["bits", "8, 16 or 32"]),
            (format!("{SETS}[axes]\nadaptive = [-0.1]\n"), &["axes.adaptive", "-0.1"]),
            (format!("{SETS}[axes]\nselection = [\"luck\"]\n"), &["luck", "random"]),
            (format!("{SETS}[axes]\nrerank = [\"magic\"]\n"), &["magic", "ransac"]),
            (format!("{SETS}[baseline]\nneighbours = 0\n"), &["baseline.neighbours", "0"]),
            (format!("candidates = 0\n{SETS}"), &["candidates"]),
            (format!("radius_m = nan\n{SETS}"), &["radius_m", "NaN"]),
            (format!("heading_deg = -1.0\n{SETS}"), &["heading_deg", "-1"]),
            (format!("{SETS}[baseline]\nadaptive = nan\n"), &["baseline.adaptive", "NaN"]),
            (
                SETS.replace("max_queries = 5", "together = \"all\""),
                &["dataset.together: is now dataset.pooled"],
            ),
            (SETS.replace("path", "folder"), &["folder"]),
            (SETS.replace("= 5", "= 0"), &["dataset.max_queries"]),
        ] {
            let error = read(&text).unwrap_err().to_string();
            for part in [&["ablation.toml"], parts].concat() {
                assert!(error.contains(part), "{text}: {error}");
            }
        }
    }
}
