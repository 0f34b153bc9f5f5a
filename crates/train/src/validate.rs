//! How well a model in training works: the same code as `r2former eval`.

use crate::Result;
use crate::config::{ValidationConfig, ValidationSet};
use r2former_data::dataset::{
    Dataset, Kind, MslsOptions, SourceOptions, VgOptions, from_listings, list_photos, read_msls, read_vg,
    split_panoramas,
};
use r2former_engine::{Extractor, Progress, Rerank};
use r2former_eval::{EmptyQueries, EvalOptions, EvalReport, Keeping, QueriesAs, Rules, evaluate};

/// The dataset of a validation.
pub(crate) fn dataset(config: &ValidationConfig) -> Result<Dataset> {
    let options = SourceOptions::default();
    let mut set = match &config.set {
        ValidationSet::Panoramas { path, region, split } => {
            let mut listing = list_photos(path, Some(Kind::Panoramas), &options)?;
            region.keep(&mut listing);
            split_panoramas(listing, *split, 0)?
        }
        ValidationSet::Photos { database, queries } => from_listings(
            "validation",
            list_photos(database, None, &options)?,
            list_photos(queries, None, &options)?,
        ),
        ValidationSet::Vg { path, split } => read_vg(path, &VgOptions { split: split.clone() })?,
        ValidationSet::Msls { path, cities } => {
            read_msls(path, &MslsOptions { cities: cities.clone(), ..Default::default() })?
        }
    };
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
) -> Result<EvalReport> {
    let options = EvalOptions {
        rules: Rules { radius_m: config.radius_m, empty_queries: EmptyQueries::Drop, ..Default::default() },
        rerank: if rerank { vec![Rerank::Model] } else { Vec::new() },
        candidates: config.candidates,
        adaptive: None,
        keeping: Keeping::default(),
        queries_as: QueriesAs::default(),
    };
    Ok(evaluate(dataset, extractor, &options, progress)?.report)
}
