//! One evaluation: extract, search, rerank, count.

use crate::breakdown::{Breakdown, breakdowns};
use crate::extracted::Extracted;
use crate::features::{Keeping, Layout};
use crate::metrics::{MAP_AT, MeanPrecision, mean_precision, recall};
use crate::outcome::{Comparison, Outcome, Quality, QueryOutcome, comparisons, nearest_positive, quality};
use crate::protocol::Input;
use crate::ranking::{Ranking, margins, rerank_all, search};
use crate::rules::{Judged, Rules, not_empty};
use crate::units::SEQUENCES;
use crate::view::Choice;
use crate::{PerOrder, Protocol, QueriesAs, Recall, Result};
use r2former_data::Photo;
use r2former_data::dataset::Dataset;
use r2former_engine::{Extractor, Progress, RerankMethod};
use r2former_model::{Bits, ResizeMode};
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
    pub rerank: Vec<RerankMethod>,
    /// Candidates to rerank.
    pub candidates: usize,
    /// Leave the global order of a query as it is where its [margin](QueryOutcome::margin) is at least this; none
    /// reranks every query.
    pub adaptive: Option<f32>,
    /// Where features are meanwhile.
    pub keeping: Keeping,
    /// How queries are brought to the network.
    pub queries_as: QueriesAs,
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
    /// How far each one's first place leads in the global order ([`QueryOutcome::margin`]).
    pub margins: Vec<Option<f32>>,
    /// Adaptive reranking, where it was asked.
    pub adaptive: Option<Adaptive>,
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
    /// Recall for each value of each tag of [`Rules::report_by`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recall_by: Vec<Breakdown<Stage>>,
    /// Intervals, precision and metres of each order.
    pub quality: PerOrder<Quality>,
    /// Each later order against each earlier one.
    pub comparisons: Vec<Comparison>,
    /// Adaptive reranking, where it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<Adaptive>,
    /// Images that could not be used, with the reason. Such a query fails; such a reference is
    /// never found.
    pub unusable: Vec<(PathBuf, String)>,
    /// Wall-clock cost of the parts.
    pub cost: EvalCost,
}

/// What adaptive reranking left alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Adaptive {
    /// The margin from which on the global order stays.
    pub margin: f32,
    /// Share of the queries that were not reranked.
    pub skipped: f64,
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
    pub fn rerank_ms(&self, method: RerankMethod) -> Option<f64> {
        match method {
            RerankMethod::None => None,
            RerankMethod::Ransac => self.ransac_ms_per_query,
            RerankMethod::Model => self.rerank_ms_per_query,
        }
    }

    /// Milliseconds of a whole query: extraction (where it was measured), search, reranking.
    pub fn query_ms(&self, method: RerankMethod) -> f64 {
        let parts = [self.extraction_ms(), Some(self.search_ms_per_query), self.rerank_ms(method)];
        parts.into_iter().flatten().sum()
    }
}

/// Evaluates a model on a dataset.
///
/// # Errors
/// An empty dataset, photographs without the positions that the protocol needs, tags that no query has, a failing
/// device.
/// Single unreadable images are listed in the report instead.
pub fn evaluate(
    dataset: &Dataset,
    extractor: &Extractor,
    options: &EvalOptions,
    progress: &dyn Progress,
) -> Result<Evaluation> {
    let judged = options.rules.judge(dataset)?;
    let extracted = extract(dataset, judged.counted.clone(), extractor, options, progress)?;
    let ranked = rank_extracted(dataset, &extracted, None, extractor, options, progress)?;
    Ok(count(dataset, &judged, ranked, extractor, options))
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
    let all = (0..dataset.queries.len()).collect();
    let extracted = extract(dataset, all, extractor, options, progress)?;
    rank_extracted(dataset, &extracted, None, extractor, options, progress)
}

fn extract(
    dataset: &Dataset,
    chosen: Vec<usize>,
    extractor: &Extractor,
    options: &EvalOptions,
    progress: &dyn Progress,
) -> Result<Extracted> {
    let layout = Layout::of(extractor, !options.rerank.is_empty(), Bits::Eight);
    Extracted::of(dataset, chosen, extractor, layout, options, progress)
}

/// Puts what was extracted in order; `choice` narrows the local features.
pub(crate) fn rank_extracted(
    dataset: &Dataset,
    extracted: &Extracted,
    choice: Option<Choice>,
    extractor: &Extractor,
    options: &EvalOptions,
    progress: &dyn Progress,
) -> Result<Ranked> {
    let [database_view, query_view] = extracted.views(choice);
    let queries: Vec<&Photo> = extracted.chosen.iter().map(|q| &dataset.queries[*q]).collect();
    let database: Vec<&Photo> = dataset.database.iter().collect();
    let per_query = |started: Instant| 1000.0 * started.elapsed().as_secs_f64() / queries.len() as f64;
    let deepest = crate::RECALL_AT.iter().copied().max().unwrap_or(1).max(options.candidates);
    let started = Instant::now();
    let (references, asked) = ((&extracted.database, &*database), (&extracted.queries, &*queries));
    let global = search(references, asked, deepest, options.rules.grouping);
    let search_ms_per_query = per_query(started);
    let margins = margins(&global, &database, options.candidates);
    let clear: Vec<bool> =
        margins.iter().map(|margin| options.adaptive.is_some_and(|least| *margin >= least)).collect();
    let mut orders = PerOrder { global, ransac: None, reranked: None };
    let mut rerank_ms = BTreeMap::new();
    let methods: BTreeSet<RerankMethod> =
        options.rerank.iter().copied().filter(|m| *m != RerankMethod::None).collect();
    for method in methods {
        let started = Instant::now();
        let views = (&database_view, &query_view);
        let order =
            rerank_all(extractor, views, &orders.global, &clear, method, options.candidates, progress)?;
        rerank_ms.insert(method, per_query(started));
        orders.set(method, order);
    }
    let settings = extractor.settings();
    let cost = EvalCost {
        images_per_second: extracted.images_per_second,
        search_ms_per_query,
        ransac_ms_per_query: rerank_ms.get(&RerankMethod::Ransac).copied(),
        rerank_ms_per_query: rerank_ms.get(&RerankMethod::Model).copied(),
        bytes_per_image: r2former_model::cost::cost(extractor.config(), settings.height, settings.width)
            .stored_bytes,
        global_bytes_per_image: extractor.config().global_dim() * size_of::<f32>(),
    };
    let adaptive = options.adaptive.map(|margin| Adaptive {
        margin,
        skipped: clear.iter().filter(|c| **c).count() as f64 / queries.len() as f64,
    });
    Ok(Ranked {
        queries: extracted.chosen.clone(),
        orders,
        margins: margins.into_iter().map(|margin| margin.is_finite().then_some(margin)).collect(),
        adaptive,
        unusable: extracted.unusable.clone(),
        cost,
    })
}

/// Holds the orders of the queries that count against what is right.
pub(crate) fn count(
    dataset: &Dataset,
    judged: &Judged,
    ranked: Ranked,
    extractor: &Extractor,
    options: &EvalOptions,
) -> Evaluation {
    let Ranked { queries: counted, orders, margins, adaptive, unusable, cost } = ranked;
    let (queries, positives) = (judged.photos(dataset), judged.positives());
    let outcomes: Vec<QueryOutcome> = (0..queries.len())
        .map(|q| QueryOutcome {
            number: counted[q],
            query: queries[q].name.clone(),
            positives: positives[q].len(),
            nearest: nearest_positive(queries[q], positives[q], &dataset.database),
            margin: margins[q],
            outcome: orders
                .map(|_, rankings| Outcome::of(&rankings[q], positives[q], queries[q], &dataset.database)),
        })
        .collect();
    let report = EvalReport {
        recall: stage(&orders, &positives, None),
        mean_precision: orders.map(|_, rankings| {
            mean_precision(rankings.iter().zip(&positives).map(|(r, p)| (&*r.references, *p)), &MAP_AT)
        }),
        recall_by: breakdowns(&options.rules.report_by, &queries, |members| {
            stage(&orders, &positives, Some(members))
        }),
        quality: quality(&outcomes, &orders),
        comparisons: comparisons(&outcomes, &orders),
        protocol: options.rules.protocol(dataset, judged, Some(input(dataset, extractor, options, &orders))),
        adaptive,
        unusable,
        cost,
    };
    Evaluation { report, queries: outcomes, rankings: orders }
}

fn input(
    dataset: &Dataset,
    extractor: &Extractor,
    options: &EvalOptions,
    orders: &PerOrder<Vec<Ranking>>,
) -> Input {
    let settings = extractor.settings();
    let reranked = orders.ransac.is_some() || orders.reranked.is_some();
    let sequences = dataset.sequences.database.is_some() || dataset.sequences.queries.is_some();
    Input {
        resize: match extractor.config().input.resize {
            ResizeMode::Direct => "direct".into(),
            ResizeMode::Antialias => "antialias".into(),
        },
        image_size: format!("{}x{}", settings.height, settings.width),
        queries_as: options.queries_as,
        precision: settings.precision.to_string(),
        candidates: if reranked { options.candidates } else { 0 },
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
