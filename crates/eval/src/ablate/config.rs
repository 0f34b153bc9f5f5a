//! An ablation as a TOML file.

use crate::{EmptyQueries, EvalError, Result};
use r2former_data::dataset::DatasetSpec;
use r2former_engine::RerankMethod;
use r2former_model::Bits;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Datasets, models, a baseline, and what is changed of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AblationConfig {
    /// A reference within this many metres is a positive (inclusive).
    #[serde(default = "twenty_five")]
    pub radius_m: f64,
    /// And looks the same way, within so many degrees.
    #[serde(default)]
    pub heading_deg: Option<f64>,
    /// What happens to queries without positives.
    #[serde(default)]
    pub empty_queries: EmptyQueries,
    /// Search each city for itself.
    #[serde(default)]
    pub per_city: bool,
    /// Candidates that are reranked.
    #[serde(default = "hundred")]
    pub candidates: usize,
    /// Decides random selections.
    #[serde(default = "one")]
    pub seed: u64,
    /// Every combination of the axes' values and the models, instead of one change of the baseline at a time.
    #[serde(default)]
    pub every_combination: bool,
    /// What is evaluated on.
    #[serde(default)]
    pub dataset: Vec<DatasetEntry>,
    /// The models, the baseline's first.
    #[serde(default)]
    pub model: Vec<ModelEntry>,
    /// What is not changed.
    #[serde(default)]
    pub baseline: Baseline,
    /// What is changed, value after value.
    #[serde(default)]
    pub axes: Axes,
}

fn twenty_five() -> f64 {
    25.0
}
fn hundred() -> usize {
    100
}
fn one() -> u64 {
    1
}

/// A dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetEntry {
    /// What tables call it; none for the reader's name.
    #[serde(default)]
    pub name: Option<String>,
    /// Queries, at most, evenly chosen; none for all.
    #[serde(default)]
    pub max_queries: Option<usize>,
    /// Datasets with the same word here are told as one besides: the queries of all of them, each once.
    #[serde(default)]
    pub together: Option<String>,
    /// Its kind, and where it lies.
    #[serde(flatten)]
    pub spec: DatasetSpec,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// What tables call it; none for its own name.
    #[serde(default)]
    pub name: Option<String>,
    /// The checkpoint; none for the model that comes with the program.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// Height and width of the network's input in pixels; none for the model's own.
    #[serde(default)]
    pub image_size: Option<[usize; 2]>,
}

/// Which patches become local features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// The most attended.
    #[default]
    Attention,
    /// Any, drawn from the seed and the image's number.
    Random,
}

/// The baseline; what it does not say is the model's own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Baseline {
    /// How candidates are put in order; none for the reranker where it is trained.
    pub rerank: Option<RerankMethod>,
    /// Local features of an image.
    pub local_features: Option<usize>,
    /// Best matches that each local feature brings along.
    pub neighbours: Option<usize>,
    /// Which patches they are.
    pub selection: Selection,
    /// Whether features are taken from the places where the published code takes them.
    pub official_gather: Option<bool>,
    /// Blocks of the transformer before they are taken.
    pub layer: Option<usize>,
    /// Bits of each number of a stored local feature.
    pub bits: Bits,
    /// Margin from which on the global order stays as it is; none reranks every query.
    pub adaptive: Option<f32>,
}

/// Values in place of the baseline's.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Axes {
    /// Of [`Baseline::rerank`].
    pub rerank: Vec<RerankMethod>,
    /// Of [`Baseline::local_features`]; more than an image has patches means all of them.
    pub local_features: Vec<usize>,
    /// Of [`Baseline::neighbours`].
    pub neighbours: Vec<usize>,
    /// Of [`Baseline::selection`].
    pub selection: Vec<Selection>,
    /// Of [`Baseline::official_gather`].
    pub official_gather: Vec<bool>,
    /// Of [`Baseline::layer`]. Only the layer that a model was trained with suits its local head and reranker.
    pub layer: Vec<usize>,
    /// Of [`Baseline::bits`].
    pub bits: Vec<Bits>,
    /// Of [`Baseline::adaptive`].
    pub adaptive: Vec<f32>,
}

impl AblationConfig {
    /// Reads a file; paths in it are relative to it.
    ///
    /// # Errors
    /// A file that cannot be read, is no TOML, or says what cannot be; the message names the key.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| EvalError::file(path, format!("cannot be read: {e}")))?;
        let mut config: Self = toml::from_str(&text).map_err(|e| EvalError::file(path, e))?;
        config.check().map_err(|what| EvalError::file(path, what))?;
        let base = path.parent().unwrap_or(Path::new(""));
        config.dataset.iter_mut().for_each(|dataset| dataset.spec.anchor(base));
        for path in config.model.iter_mut().filter_map(|model| model.path.as_mut()) {
            *path = base.join(&*path);
        }
        Ok(config)
    }

    /// Whether the values make sense; the message names the key.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.dataset.is_empty() {
            return Err("dataset: name at least one, as in [[dataset]] kind = \"photos\"".into());
        }
        if self.model.is_empty() {
            return Err("model: name at least one, as in [[model]] path = \"model.safetensors\"; without a path it is \
                        the one built in"
                .into());
        }
        if self.dataset.iter().any(|dataset| dataset.max_queries == Some(0)) {
            return Err("dataset.max_queries: 0 leaves no query; leave it out for all".into());
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
                return Err(format!("{key}: {value} is no difference of two cosines, 0 to 2"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AblationConfig> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ablation.toml");
        std::fs::write(&path, text).unwrap();
        let mut config = AblationConfig::read(&path)?;
        // As if it lay in /here.
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
    fn what_a_file_does_not_say_has_a_default() {
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
    fn what_is_wrong_is_named() {
        for (text, words) in [
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
            (SETS.replace("path", "folder"), &["folder"]),
            (SETS.replace("= 5", "= 0"), &["dataset.max_queries"]),
        ] {
            let error = read(&text).unwrap_err().to_string();
            for word in [&["ablation.toml"], words].concat() {
                assert!(error.contains(word), "{text}: {error}");
            }
        }
    }
}
