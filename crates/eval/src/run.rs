//! One evaluation: extract, search, rerank, count.

use crate::features::Keeping;
use crate::metrics::{MAP_AT, MeanPrecision, mean_precision, recall};
use crate::outcome::{Comparison, Outcome, Quality, QueryOutcome, comparisons, nearest_positive, quality};
use crate::protocol::Input;
use crate::ranking::{Ranking, rerank_all, search};
use crate::rules::{Rules, not_empty};
use crate::units::{SEQUENCES, Units};
use crate::{PerOrder, Protocol, Recall, Result};
use r2former_data::Photo;
use r2former_data::dataset::Dataset;
use r2former_engine::{Extractor, Progress, Rerank};
use r2former_model::ResizeMode;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

/// How a dataset is evaluated.
#[derive(Debug, Clone)]
pub struct EvalOptions {
    /// What is right, and which queries count.
    pub rules: Rules,
    /// Ways to rerank, each told beside the global order; none for global retrieval alone.
    pub rerank: Vec<Rerank>,
    /// Candidates to rerank.
    pub candidates: usize,
    /// Where features are meanwhile.
    pub keeping: Keeping,
}

/// Which references a query competes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Grouping {
    /// All of them.
    #[default]
    Merged,
    /// Those of its own city.
    PerCity,
}

/// Recall of each order.
pub type Stage = PerOrder<Recall>;

/// An evaluation, query by query.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// All queries together.
    pub report: EvalReport,
    /// What became of each counted query.
    pub queries: Vec<QueryOutcome>,
    /// The whole rankings of the counted queries; not among the results that are written, where the first matches
    /// are.
    #[serde(skip)]
    pub rankings: PerOrder<Vec<Ranking>>,
}

/// Orders of queries, before anyone asks which are right.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// Numbers of the queries in the dataset.
    pub queries: Vec<usize>,
    /// Their rankings, in the same order.
    pub orders: PerOrder<Vec<Ranking>>,
    /// Images that could not be used, with the reason.
    pub unusable: Vec<(PathBuf, String)>,
    /// Wall-clock cost of the parts.
    pub cost: EvalCost,
}

/// An evaluation's outcome.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvalReport {
    /// What the numbers mean.
    pub protocol: Protocol,
    /// Recall of all counted queries.
    pub recall: Stage,
    /// Mean average precision of all counted queries.
    pub mean_precision: PerOrder<MeanPrecision>,
    /// Recall for each value of [`Rules::report_by`], where there are several.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub recall_by: BTreeMap<String, Stage>,
    /// Intervals, precision and metres of each order.
    pub quality: PerOrder<Quality>,
    /// Each later order against each earlier one.
    pub comparisons: Vec<Comparison>,
    /// Images that could not be used, with the reason. Such a query fails; such a reference is
    /// never found.
    pub unusable: Vec<(PathBuf, String)>,
    /// Wall-clock cost of the parts.
    pub cost: EvalCost,
}

/// Where the time went.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EvalCost {
    /// Images extracted each second, decoding included; none where an earlier run had extracted all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images_per_second: Option<f64>,
    /// Milliseconds of exact search a query.
    pub search_ms_per_query: f64,
    /// Milliseconds of RANSAC a query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ransac_ms_per_query: Option<f64>,
    /// Milliseconds of the reranker a query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank_ms_per_query: Option<f64>,
    /// Bytes an index would store an image.
    pub bytes_per_image: usize,
    /// Of them, those of the global descriptor.
    pub global_bytes_per_image: usize,
}

impl EvalCost {
    /// Milliseconds of extraction an image; none where an earlier run had extracted all.
    pub fn extraction_ms(&self) -> Option<f64> {
        self.images_per_second.map(|rate| 1000.0 / rate)
    }

    /// Milliseconds of a way of reranking a query; none for none.
    pub fn rerank_ms(&self, method: Rerank) -> Option<f64> {
        match method {
            Rerank::None => None,
            Rerank::Ransac => self.ransac_ms_per_query,
            Rerank::Model => self.rerank_ms_per_query,
        }
    }

    /// Milliseconds of a whole query: extraction (where it was measured), search, reranking.
    pub fn query_ms(&self, method: Rerank) -> f64 {
        let parts = [self.extraction_ms(), Some(self.search_ms_per_query), self.rerank_ms(method)];
        parts.into_iter().flatten().sum()
    }
}

/// Evaluates a model on a dataset.
///
/// # Errors
/// An empty dataset, photographs without the positions that the protocol needs, a failing device.
/// Single unreadable images are listed in the report instead.
pub fn evaluate(
    dataset: &Dataset,
    extractor: &Extractor,
    options: &EvalOptions,
    progress: &dyn Progress,
) -> Result<Evaluation> {
    let judged = options.rules.judge(dataset)?;
    let Ranked { queries: counted, orders, unusable, cost } =
        rank_some(dataset, judged.counted.clone(), extractor, options, progress)?;
    let queries: Vec<&Photo> = counted.iter().map(|q| &dataset.queries[*q]).collect();
    let positives = judged.positives();
    let outcomes: Vec<QueryOutcome> = (0..queries.len())
        .map(|q| QueryOutcome {
            number: counted[q],
            query: queries[q].name.clone(),
            positives: positives[q].len(),
            nearest: nearest_positive(queries[q], positives[q], &dataset.database),
            outcome: orders
                .map(|_, rankings| Outcome::of(&rankings[q], positives[q], queries[q], &dataset.database)),
        })
        .collect();
    let reranked = orders.ransac.is_some() || orders.reranked.is_some();
    let input = input(dataset, extractor, if reranked { options.candidates } else { 0 });
    let report = EvalReport {
        recall: stage(&orders, &positives, None),
        mean_precision: orders.map(|_, rankings| {
            mean_precision(rankings.iter().zip(&positives).map(|(r, p)| (&*r.references, *p)), &MAP_AT)
        }),
        recall_by: by_tag(&options.rules.report_by, &queries, &orders, &positives),
        quality: quality(&outcomes, &orders),
        comparisons: comparisons(&outcomes, &orders),
        protocol: options.rules.protocol(dataset, &judged, Some(input)),
        unusable,
        cost,
    };
    Ok(Evaluation { report, queries: outcomes, rankings: orders })
}

/// Ranks the database for every query, whether or not anything says what is right.
///
/// # Errors
/// An empty dataset, a failing device. Single unreadable images are listed instead.
pub fn rank(
    dataset: &Dataset,
    extractor: &Extractor,
    options: &EvalOptions,
    progress: &dyn Progress,
) -> Result<Ranked> {
    not_empty(dataset)?;
    rank_some(dataset, (0..dataset.queries.len()).collect(), extractor, options, progress)
}

/// Ranks the database for some queries.
fn rank_some(
    dataset: &Dataset,
    chosen: Vec<usize>,
    extractor: &Extractor,
    options: &EvalOptions,
    progress: &dyn Progress,
) -> Result<Ranked> {
    let mut unusable = Vec::new();
    let keep_local = !options.rerank.is_empty();
    let started = Instant::now();
    let queries: Vec<&Photo> = chosen.iter().map(|q| &dataset.queries[*q]).collect();
    let database: Vec<&Photo> = dataset.database.iter().collect();
    let mut side = |entries, chosen: &[usize]| {
        Units::extract(extractor, entries, chosen, keep_local, &options.keeping, progress, &mut unusable)
    };
    let all: Vec<usize> = (0..database.len()).collect();
    let database_side = side((&dataset.database, dataset.sequences.database.as_ref()), &all)?;
    let query_side = side((&dataset.queries, dataset.sequences.queries.as_ref()), &chosen)?;
    let extraction = started.elapsed();

    let per_query = |started: Instant| 1000.0 * started.elapsed().as_secs_f64() / chosen.len() as f64;
    let dim = extractor.config().global_dim();
    let deepest = crate::RECALL_AT.iter().copied().max().unwrap_or(1).max(options.candidates);
    let started = Instant::now();
    let grouping = options.rules.grouping;
    let global = search((&database_side, &database), (&query_side, &queries), dim, deepest, grouping);
    let search_ms_per_query = per_query(started);
    let mut orders = PerOrder { global, ransac: None, reranked: None };
    let mut rerank_ms = BTreeMap::new();
    let methods: BTreeSet<Rerank> = options.rerank.iter().copied().filter(|m| *m != Rerank::None).collect();
    for method in methods {
        let started = Instant::now();
        let sides = (&database_side, &query_side);
        let order = rerank_all(extractor, sides, &orders.global, method, options.candidates, progress)?;
        rerank_ms.insert(method, per_query(started));
        orders.set(method, order);
    }
    let images = database_side.extracted() + query_side.extracted();
    let settings = extractor.settings();
    let cost = EvalCost {
        images_per_second: (images > 0).then(|| images as f64 / extraction.as_secs_f64()),
        search_ms_per_query,
        ransac_ms_per_query: rerank_ms.get(&Rerank::Ransac).copied(),
        rerank_ms_per_query: rerank_ms.get(&Rerank::Model).copied(),
        bytes_per_image: r2former_model::cost::cost(extractor.config(), settings.height, settings.width)
            .stored_bytes,
        global_bytes_per_image: dim * size_of::<f32>(),
    };
    Ok(Ranked { queries: chosen, orders, unusable, cost })
}

fn input(dataset: &Dataset, extractor: &Extractor, candidates: usize) -> Input {
    let settings = extractor.settings();
    let sequences = dataset.sequences.database.is_some() || dataset.sequences.queries.is_some();
    Input {
        resize: match extractor.config().input.resize {
            ResizeMode::Direct => "direct".into(),
            ResizeMode::Antialias => "antialias".into(),
        },
        image_size: format!("{}x{}", settings.height, settings.width),
        precision: settings.precision.to_string(),
        candidates,
        sequences: sequences.then(|| SEQUENCES.to_string()),
    }
}

/// Recall of the queries named by `members`, or of all.
fn stage(orders: &PerOrder<Vec<Ranking>>, positives: &[&[u32]], members: Option<&[usize]>) -> Stage {
    orders.map(|_, rankings| match members {
        Some(members) => recall(members.iter().map(|q| (&*rankings[*q].references, positives[*q]))),
        None => recall(rankings.iter().zip(positives).map(|(r, p)| (&*r.references, *p))),
    })
}

fn by_tag(
    tag: &str,
    queries: &[&Photo],
    orders: &PerOrder<Vec<Ranking>>,
    positives: &[&[u32]],
) -> BTreeMap<String, Stage> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (q, photo) in queries.iter().enumerate() {
        groups.entry(photo.tags.get(tag).map_or("", String::as_str)).or_default().push(q);
    }
    if groups.len() < 2 {
        return BTreeMap::new();
    }
    groups
        .into_iter()
        .map(|(name, members)| (name.to_string(), stage(orders, positives, Some(&members))))
        .collect()
}
