//! Recall of a model on a dataset.

use crate::errors::Failure;
use crate::model::Model;
use crate::watch::run;
use pyo3::prelude::*;
use r2former_data::dataset::DatasetSpec;
use r2former_data::geo::FARTHEST_M;
use r2former_engine::RerankMethod;
use r2former_eval::{
    EmptyQueries, EvalOptions, FeatureStorage, Grouping, Rules, Unknown, Window, evaluate as evaluate_on,
};
use serde::Deserialize;
use std::path::PathBuf;

/// Options, with the names of those of `r2former eval`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct EvalDocument {
    radius: Option<f64>,
    heading: Option<f64>,
    empty: Option<EmptyQueries>,
    per_city: bool,
    by: Vec<String>,
    query_preprocessing: Option<String>,
    candidates: Option<usize>,
    rerank: Option<Vec<RerankMethod>>,
    cascade: Option<usize>,
    adaptive: Option<f32>,
    unknown: Option<f64>,
    seed: Option<u64>,
    window: Option<usize>,
    max_speed: Option<f64>,
    max_step: Option<f64>,
    features: Option<PathBuf>,
}

impl EvalDocument {
    /// Refuses what `r2former eval` refuses, in its words.
    fn check(&self) -> Result<(), Failure> {
        let within = |name: &str, value: Option<f64>, what: &str, low: f64, high: f64| match value {
            // NaN is in no range.
            Some(value) if !(low..=high).contains(&value) => {
                Err(Failure::request(format!("{name}: '{value}' is not {what}, {low} to {high}")))
            }
            _ => Ok(()),
        };
        let count = |name: &str, value: Option<usize>, low: usize, high: usize| match value {
            Some(value) if !(low..=high).contains(&value) => {
                Err(Failure::request(format!("{name}: {value} is not in {low}..={high}")))
            }
            _ => Ok(()),
        };
        within("heading", self.heading, "an angle in degrees", 0.0, 180.0)?;
        within("adaptive", self.adaptive.map(f64::from), "a difference of two cosines", 0.0, 2.0)?;
        within("unknown", self.unknown, "a share", 0.0, 1.0)?;
        within("max_speed", self.max_speed, "a distance in metres", 0.0, FARTHEST_M)?;
        within("max_step", self.max_step, "a distance in metres", 0.0, FARTHEST_M)?;
        count("window", self.window, 2, 1000)?;
        count("candidates", self.candidates, 1, 10_000)?;
        count("cascade", self.cascade, 1, 10_000)?;
        match self.window.is_none() && (self.max_speed.is_some() || self.max_step.is_some()) {
            true => Err(Failure::request("max_speed and max_step go with window")),
            false => Ok(()),
        }
    }

    fn rules(&self, spec: &DatasetSpec) -> Result<Rules, Failure> {
        let usual = match spec {
            DatasetSpec::Msls { .. } => EmptyQueries::Drop,
            _ => EmptyQueries::Fail,
        };
        let rules = Rules::default();
        let radius_m = self.radius.unwrap_or(rules.radius_m);
        // NaN is in no range.
        if !(radius_m > 0.0 && radius_m.is_finite()) {
            return Err(Failure::request(format!("radius={radius_m}: a radius in metres is above 0")));
        }
        self.check()?;
        Ok(Rules {
            radius_m,
            heading_limit_deg: self.heading,
            empty_queries: self.empty.unwrap_or(usual),
            grouping: if self.per_city { Grouping::PerCity } else { Grouping::Merged },
            report_by: self.by.clone(),
        })
    }
}

/// Metrics as `r2former eval ... --json` prints them. `dataset` is a document as in a suite's configuration.
#[pyfunction]
pub(crate) fn evaluate(
    py: Python<'_>,
    dataset: &str,
    model: &Model,
    options: &str,
    progress: Option<Py<PyAny>>,
) -> PyResult<(String, Vec<String>)> {
    run(py, progress, |watch| {
        let spec: DatasetSpec = serde_json::from_str(dataset)
            .map_err(|error| Failure::request(format!("the dataset is not understood: {error}")))?;
        let asked: EvalDocument = serde_json::from_str(options)?;
        let rules = asked.rules(&spec)?;
        let dataset = spec.read()?;
        let extractor = model.extractor()?;
        let config = extractor.config();
        let methods = asked.rerank.unwrap_or_else(|| vec![RerankMethod::default_of(config)]);
        for method in &methods {
            match method {
                RerankMethod::Model if config.reranker.is_none() => {
                    return Err(Failure::request(format!("model {} has no reranker", config.name)));
                }
                RerankMethod::Ransac | RerankMethod::Mutual if config.local.is_none() => {
                    return Err(Failure::request(format!("model {} has no local features", config.name)));
                }
                _ => {}
            }
        }
        let preprocessing = match asked.query_preprocessing.as_deref() {
            Some(text) => text.parse().map_err(Failure::request)?,
            None => Default::default(),
        };
        let usual = EvalOptions::new(rules);
        let candidates = asked.candidates.unwrap_or(usual.candidates);
        let options = usual
            .rerank(methods)
            .candidates(candidates)
            .cascade(asked.cascade)
            .adaptive(asked.adaptive)
            .storage(FeatureStorage { dir: asked.features, ..FeatureStorage::default() })
            .query_preprocessing(preprocessing)
            .window(asked.window.map(|frames| Window {
                frames,
                max_speed: asked.max_speed,
                max_step: asked.max_step,
            }))
            .unknown(asked.unknown.map(|share| Unknown { share, seed: asked.seed.unwrap_or(1) }));
        let evaluation = evaluate_on(&dataset, &extractor, &options, watch)?;
        Ok((serde_json::to_string(&evaluation.summary)?, watch.take_notes()))
    })
}
