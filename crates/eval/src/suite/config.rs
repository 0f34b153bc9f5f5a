//! The configuration of a suite: a TOML file, whose datasets and rules are those of an ablation.

use crate::ablate::{AblationConfig, DatasetEntry, ModelEntry, hundred, twenty_five};
use crate::{EmptyQueries, EvalError, Result};
use r2former_engine::RerankMethod;
use r2former_model::ImageSize;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Datasets, models, and what they are compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuiteConfig {
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
    /// The datasets; those with the same [`DatasetEntry::pooled`] are one set.
    #[serde(default)]
    pub dataset: Vec<DatasetEntry>,
    /// The models.
    #[serde(default)]
    pub model: Vec<SuiteModelEntry>,
    /// What the models are compared with; absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<BaselineEntry>,
}

/// A model of a suite.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuiteModelEntry {
    /// Name in tables; absent: its own name.
    #[serde(default)]
    pub name: Option<String>,
    /// The checkpoint; absent: the built-in model.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// Height and width of the network's input in pixels, or a rule such as `longest:1024`; absent: the model's own.
    #[serde(default)]
    pub image_size: Option<ImageSize>,
    /// Reranking methods beside the global ranking; absent: RANSAC if it has local features, and its reranker if that is
    /// trained.
    #[serde(default)]
    pub rerank: Option<Vec<RerankMethod>>,
}

/// The model that the others are compared with.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BaselineEntry {
    /// `suite.json` of an earlier run; absent: a model of this suite.
    pub file: Option<PathBuf>,
    /// Its name in that file or in this suite; absent: the first one.
    pub model: Option<String>,
}

impl SuiteModelEntry {
    pub(super) fn entry(&self) -> ModelEntry {
        ModelEntry { name: self.name.clone(), path: self.path.clone(), image_size: self.image_size }
    }
}

impl SuiteConfig {
    /// Reads a file; paths in it are relative to its folder. It may lack models: [`SuiteConfig::set_model`] adds them.
    ///
    /// # Errors
    /// [`EvalError::File`]: the file cannot be read, is not TOML, or has an invalid value; the message names the key.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| EvalError::file(path, format!("cannot be read: {e}")))?;
        let mut config: Self = toml::from_str(&text).map_err(|e| EvalError::file(path, e))?;
        config.check_values().map_err(|problem| EvalError::file(path, problem))?;
        let base = path.parent().unwrap_or(Path::new(""));
        config.dataset.iter_mut().for_each(|dataset| dataset.spec.anchor(base));
        let models = config.model.iter_mut().filter_map(|model| model.path.as_mut());
        let baseline = config.baseline.as_mut().and_then(|baseline| baseline.file.as_mut());
        for path in models.chain(baseline) {
            *path = base.join(&*path);
        }
        Ok(config)
    }

    /// Replaces the file of the model of this name, or adds a model.
    pub fn set_model(&mut self, name: &str, path: &Path) {
        match self.model.iter_mut().find(|model| model.name.as_deref() == Some(name)) {
            Some(model) => model.path = Some(path.to_path_buf()),
            None => self.model.push(SuiteModelEntry {
                name: Some(name.to_string()),
                path: Some(path.to_path_buf()),
                ..Default::default()
            }),
        }
    }

    /// Keeps at most this many queries of each dataset.
    pub fn cap_queries(&mut self, most: usize) {
        for dataset in &mut self.dataset {
            dataset.max_queries = Some(dataset.max_queries.map_or(most, |own| own.min(most)));
        }
    }

    /// The configuration by which its datasets are evaluated.
    pub(super) fn ablation(&self) -> AblationConfig {
        AblationConfig {
            radius_m: self.radius_m,
            heading_deg: self.heading_deg,
            empty_queries: self.empty_queries,
            per_city: self.per_city,
            candidates: self.candidates,
            seed: 1,
            every_combination: false,
            dataset: self.dataset.clone(),
            model: self.model.iter().map(SuiteModelEntry::entry).collect(),
            baseline: Default::default(),
            axes: Default::default(),
        }
    }

    /// Checks the values; the message names the key.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.model.is_empty() {
            return Err("model: name at least one, as in [[model]] path = \"model.safetensors\" or --model \
                        NAME=FILE; without a path it is the built-in model"
                .into());
        }
        self.check_values()
    }

    fn check_values(&self) -> Result<(), String> {
        let mut ablation = self.ablation();
        // Models may come later.
        ablation.model.push(ModelEntry::default());
        ablation.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<SuiteConfig> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("suite.toml");
        std::fs::write(&path, text).unwrap();
        SuiteConfig::read(&path)
    }

    const SETS: &str = "[[dataset]]\nkind = \"vg\"\npath = \"/town\"\nmax_queries = 5\n[[dataset]]\nkind = \"vg\"\n\
                        path = \"/city\"\n[[model]]\nname = \"a\"\npath = \"/a\"\nimage_size = [32, 64]\n";

    #[test]
    fn models_are_added_and_replaced_and_queries_capped() {
        let mut config = read(SETS).unwrap();
        config.set_model("a", Path::new("/b"));
        config.set_model("c", Path::new("/d"));
        config.cap_queries(7);
        assert_eq!((config.radius_m, config.candidates), (25.0, 100));
        let models: Vec<_> = config.model.iter().map(SuiteModelEntry::entry).collect();
        assert_eq!(
            (models[0].path.clone(), models[0].image_size),
            (Some("/b".into()), Some(ImageSize::Fixed([32, 64])))
        );
        assert_eq!((models[1].path.clone(), models[1].image_size), (Some("/d".into()), None));
        assert_eq!([0, 1].map(|i: usize| config.dataset[i].max_queries), [Some(5), Some(7)]);
    }

    #[test]
    fn wrong_keys_and_values_are_named() {
        let without = SETS.split("[[model]]").next().unwrap();
        let config = read(without).unwrap();
        assert!(config.check().unwrap_err().contains("--model NAME=FILE"));
        for (text, part) in [
            ("[[model]]\n".to_string(), "[[dataset]]"),
            (format!("candidates = 0\n{SETS}"), "candidates"),
            (format!("{SETS}size = 3\n"), "size"),
            (format!("{SETS}rerank = [\"magic\"]\n"), "magic"),
            (format!("{SETS}[baseline]\nmodels = \"a\"\n"), "models"),
            (format!("{SETS}[axes]\nbits = [16]\n"), "axes"),
        ] {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains("suite.toml") && error.contains(part), "{text}: {error}");
        }
    }
}
