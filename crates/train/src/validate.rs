//! How well a model in training works: the same code as `r2former eval`.

use crate::Result;
use crate::config::ValidationConfig;
use r2former_data::dataset::Dataset;
use r2former_engine::{Extractor, Progress, RerankMethod};
use r2former_eval::{EmptyQueries, EvalOptions, EvalSummary, Rules, evaluate};

/// The dataset of a validation.
pub(crate) fn dataset(config: &ValidationConfig) -> Result<Dataset> {
    let mut set = config.set.read()?;
    if config.max_queries > 0 {
        set.keep_queries(config.max_queries);
    }
    Ok(set)
}

/// Recall of a model on a validation set; reranked where `rerank`.
pub(crate) fn validate(
    config: &ValidationConfig,
    dataset: &Dataset,
    extractor: &Extractor,
    rerank: bool,
    progress: &dyn Progress,
) -> Result<EvalSummary> {
    let rules = Rules { radius_m: config.radius_m, empty_queries: EmptyQueries::Drop, ..Default::default() };
    let methods = if rerank { vec![RerankMethod::Model] } else { Vec::new() };
    let options = EvalOptions::new(rules).rerank(methods).candidates(config.candidates);
    Ok(evaluate(dataset, extractor, &options, progress)?.summary)
}
