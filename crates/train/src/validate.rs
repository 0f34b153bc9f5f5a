//! Validation of a model in training, by the code of `r2former eval`.

use crate::Result;
use crate::config::ValidationConfig;
use r2former_data::dataset::Dataset;
use r2former_engine::{Extractor, Progress, RerankMethod};
use r2former_eval::{EmptyQueries, EvalOptions, Recall, Rules, evaluate};

/// The validation set.
pub(crate) fn dataset(config: &ValidationConfig) -> Result<Dataset> {
    let mut set = config.set.read()?;
    if config.max_queries > 0 {
        set.keep_queries(config.max_queries);
    }
    Ok(set)
}

/// Results of a validation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Validated {
    /// Recall@1, @5 and @10 of the global ranking,
    pub(crate) global: [f64; 3],
    /// and after reranking.
    pub(crate) reranked: Option<[f64; 3]>,
    /// The recall that selects the best model.
    pub(crate) deciding: f64,
}

/// Recall of a model on a validation set, with reranking if `rerank`.
pub(crate) fn validate(
    config: &ValidationConfig,
    dataset: &Dataset,
    extractor: &Extractor,
    rerank: bool,
    progress: &dyn Progress,
) -> Result<Validated> {
    let rules = Rules { radius_m: config.radius_m, empty_queries: EmptyQueries::Drop, ..Default::default() };
    let methods = if rerank { vec![RerankMethod::Model] } else { Vec::new() };
    let options = EvalOptions::new(rules).rerank(methods).candidates(config.candidates);
    let recall = evaluate(dataset, extractor, &options, progress)?.summary.recall;
    let three = |recall: &Recall| [1, 5, 10].map(|n| recall.at(n));
    Ok(Validated {
        global: three(&recall.global),
        reranked: recall.reranked.as_ref().map(three),
        deciding: recall.reranked.as_ref().unwrap_or(&recall.global).at(config.best_by),
    })
}
