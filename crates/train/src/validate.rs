//! Validation of a model in training, by the code of `r2former eval`.

use crate::config::{Stage, ValidationConfig};
use crate::{Result, TrainError};
use r2former_data::dataset::Dataset;
use r2former_engine::{Extractor, Progress, RerankMethod};
use r2former_eval::{EmptyQueries, EvalOptions, Recall, Rules, evaluate};

/// The validation set.
pub(crate) fn dataset(config: &ValidationConfig) -> Result<Dataset> {
    let mut set = config.set.read()?;
    set.keep_part(config.part);
    if set.queries.is_empty() {
        let [from, to] = config.part;
        return Err(TrainError::Config(format!(
            "validation.part = [{from}, {to}]: no query lies in this part; enlarge it"
        )));
    }
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
    /// and after reranking: by RANSAC in stage `local`, by the reranker in stages that train it.
    pub(crate) reranked: Option<[f64; 3]>,
    /// The recall that selects the best model, and the recall@1 of the same ranking, which decides among equal ones.
    pub(crate) deciding: [f64; 2],
}

/// How the validation of a stage reranks.
pub(crate) fn reranked_by(stage: Stage) -> Option<RerankMethod> {
    match stage {
        // A reranker has not been trained for these local features yet.
        Stage::Local => Some(RerankMethod::Ransac),
        stage => stage.trains_reranker().then_some(RerankMethod::Model),
    }
}

/// Recall of a model on a validation set, reranked by what the stage trains.
pub(crate) fn validate(
    config: &ValidationConfig,
    dataset: &Dataset,
    extractor: &Extractor,
    stage: Stage,
    progress: &dyn Progress,
) -> Result<Validated> {
    let rules = Rules { radius_m: config.radius_m, empty_queries: EmptyQueries::Drop, ..Default::default() };
    let method = reranked_by(stage);
    let options = EvalOptions::new(rules).rerank(method.into_iter().collect()).candidates(config.candidates);
    let recall = evaluate(dataset, extractor, &options, progress)?.summary.recall;
    let three = |recall: &Recall| [1, 5, 10].map(|n| recall.at(n));
    let reranked = method.and_then(|method| recall.get(method));
    Ok(Validated {
        global: three(&recall.global),
        reranked: reranked.map(three),
        deciding: [config.best_by, 1].map(|n| reranked.unwrap_or(&recall.global).at(n)),
    })
}
