//! One evaluation: extract, search, rerank, count.

use crate::breakdown::{self, Breakdown, breakdowns};
use crate::extracted::{Counted, Extracted};
use crate::features::{Keeping, Layout};
use crate::metrics::recall;
use crate::outcome::{Comparison, Outcome, Quality, QueryOutcome, comparisons, nearest_positive, quality};
use crate::ranking::{Ranking, city, margins, rerank_all, search};
use crate::view::Choice;
use crate::{EmptyQueries, EvalError, PerOrder, Protocol, QueriesAs, Recall, Result};
use r2former_data::Photo;
use r2former_data::dataset::{Dataset, GroundTruth, Truth};
use r2former_engine::{Extractor, Progress, Rerank};
use r2former_model::{Bits, ResizeMode};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

/// How a dataset is evaluated.
#[derive(Debug, Clone)]
pub struct EvalOptions {
    /// A reference within this many metres is a positive (inclusive).
    pub radius_m: f64,
    /// And looks the same way, within so many degrees.
    pub heading_limit_deg: Option<f64>,
    /// What happens to queries without positives.
    pub empty_queries: EmptyQueries,
    /// One database of all cities, or each for itself.
    pub grouping: Grouping,
    /// Ways to rerank, each told beside the global order; none for global retrieval alone.
    pub rerank: Vec<Rerank>,
    /// Candidates to rerank.
    pub candidates: usize,
    /// Leave the global order of a query as it is where its [margin](QueryOutcome::margin) is at least this; none
    /// reranks every query.
    pub adaptive: Option<f32>,
    /// Where features are meanwhile.
    pub keeping: Keeping,
    /// How queries are brought to the network.
    pub queries_as: QueriesAs,
    /// Recall is also told for each value of each of these tags of the queries, such as `condition`; without any by
    /// `city` where there are several.
    pub report_by: Vec<String>,
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
}

/// An evaluation's outcome.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvalReport {
    /// What the numbers mean.
    pub protocol: Protocol,
    /// Recall of all counted queries.
    pub recall: Stage,
    /// Recall for each value of each tag of [`EvalOptions::report_by`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recall_by: Vec<Breakdown>,
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
/// An empty dataset, photographs without the positions that the protocol needs, tags that no query has, a failing
/// device.
/// Single unreadable images are listed in the report instead.
pub fn evaluate(
    dataset: &Dataset,
    extractor: &Extractor,
    options: &EvalOptions,
    progress: &dyn Progress,
) -> Result<Evaluation> {
    let counted = Counted::of(dataset, options)?;
    breakdown::check(&options.report_by, &counted.photos(dataset))?;
    let layout = Layout::of(extractor, !options.rerank.is_empty(), Bits::Eight);
    let extracted = Extracted::of(dataset, &counted, extractor, layout, options, progress)?;
    judge(dataset, &counted, &extracted, None, extractor, options, progress)
}

/// Puts what was extracted in order and counts; `choice` narrows the local features.
pub(crate) fn judge(
    dataset: &Dataset,
    counted: &Counted,
    extracted: &Extracted,
    choice: Option<Choice>,
    extractor: &Extractor,
    options: &EvalOptions,
    progress: &dyn Progress,
) -> Result<Evaluation> {
    let [database_side, query_side] = extracted.views(choice);
    let queries = counted.photos(dataset);
    let database: Vec<&Photo> = dataset.database.iter().collect();
    let per_query = |started: Instant| 1000.0 * started.elapsed().as_secs_f64() / queries.len() as f64;
    let dim = extractor.config().global_dim();
    let deepest = crate::RECALL_AT.iter().copied().max().unwrap_or(1).max(options.candidates);
    let started = Instant::now();
    let (references, asked) = ((database_side.side, &*database), (query_side.side, &*queries));
    let global = search(references, asked, options.queries_as, dim, deepest, options.grouping);
    let search_ms_per_query = per_query(started);
    let margins = margins(&global, &database, options.candidates);
    let clear: Vec<bool> =
        margins.iter().map(|margin| options.adaptive.is_some_and(|least| *margin >= least)).collect();
    let mut orders = PerOrder { global, ransac: None, reranked: None };
    let mut rerank_ms = BTreeMap::new();
    let methods: BTreeSet<Rerank> = options.rerank.iter().copied().filter(|m| *m != Rerank::None).collect();
    for method in methods {
        let started = Instant::now();
        let sides = (&database_side, &query_side);
        let order =
            rerank_all(extractor, sides, &orders.global, &clear, method, options.candidates, progress)?;
        rerank_ms.insert(method, per_query(started));
        orders.set(method, order);
    }
    let positives: Vec<&[u32]> = counted.positives.iter().map(Vec::as_slice).collect();
    let outcomes: Vec<QueryOutcome> = (0..queries.len())
        .map(|q| QueryOutcome {
            number: counted.queries[q],
            query: queries[q].name.clone(),
            positives: positives[q].len(),
            nearest: nearest_positive(queries[q], positives[q], &dataset.database),
            margin: margins[q].is_finite().then_some(margins[q]),
            outcome: orders
                .map(|_, rankings| Outcome::of(&rankings[q], positives[q], queries[q], &dataset.database)),
        })
        .collect();

    let settings = extractor.settings();
    let report = EvalReport {
        recall: stage(&orders, &positives, None),
        recall_by: breakdowns(&options.report_by, &queries, &orders, &positives),
        quality: quality(&outcomes, &orders),
        comparisons: comparisons(&outcomes, &orders),
        protocol: Protocol {
            dataset: dataset.name.clone(),
            positives: positives_rule(dataset, options),
            radius_m: matches!(dataset.truth, Truth::Positions).then_some(options.radius_m),
            heading_limit_deg: options.heading_limit_deg,
            cities: match options.grouping {
                Grouping::Merged => "one database of all cities".into(),
                Grouping::PerCity => "each city searched for itself".into(),
            },
            empty_queries: options.empty_queries,
            empty_query_count: counted.empty,
            database: dataset.database.len(),
            queries: queries.len(),
            resize: match extractor.config().input.resize {
                ResizeMode::Direct => "direct".into(),
                ResizeMode::Antialias => "antialias".into(),
            },
            image_size: format!("{}x{}", settings.height, settings.width),
            queries_as: options.queries_as,
            precision: settings.precision.to_string(),
            candidates: if rerank_ms.is_empty() { 0 } else { options.candidates },
            notes: dataset.notes.clone(),
        },
        adaptive: options.adaptive.map(|margin| Adaptive {
            margin,
            skipped: clear.iter().filter(|c| **c).count() as f64 / queries.len() as f64,
        }),
        unusable: extracted.unusable.clone(),
        cost: EvalCost {
            images_per_second: extracted.images_per_second,
            search_ms_per_query,
            ransac_ms_per_query: rerank_ms.get(&Rerank::Ransac).copied(),
            rerank_ms_per_query: rerank_ms.get(&Rerank::Model).copied(),
            bytes_per_image: r2former_model::cost::cost(extractor.config(), settings.height, settings.width)
                .stored_bytes,
            global_bytes_per_image: dim * size_of::<f32>(),
        },
    };
    Ok(Evaluation { report, queries: outcomes })
}

fn positives_rule(dataset: &Dataset, options: &EvalOptions) -> String {
    match (&dataset.truth, options.heading_limit_deg) {
        (Truth::Listed(_), _) => "as listed by the dataset".into(),
        (Truth::Positions, None) => format!("within {} m (inclusive)", options.radius_m),
        (Truth::Positions, Some(limit)) => {
            format!("within {} m (inclusive) and {limit} degrees of heading", options.radius_m)
        }
    }
}

pub(crate) fn ground_truth(dataset: &Dataset, options: &EvalOptions) -> Result<GroundTruth> {
    if dataset.database.is_empty() || dataset.queries.is_empty() {
        return Err(EvalError::Request(format!(
            "{}: {} database images and {} queries; an evaluation needs both",
            dataset.name,
            dataset.database.len(),
            dataset.queries.len()
        )));
    }
    let mut truth = match &dataset.truth {
        Truth::Listed(positives) => GroundTruth { positives: positives.clone() },
        Truth::Positions => GroundTruth::by_radius(
            &dataset.database,
            &dataset.queries,
            options.radius_m,
            options.heading_limit_deg,
        )?,
    };
    if options.grouping == Grouping::PerCity {
        for (query, positives) in dataset.queries.iter().zip(&mut truth.positives) {
            positives.retain(|p| city(&dataset.database[*p as usize]) == city(query));
        }
    }
    Ok(truth)
}

/// Recall of the queries named by `members`, or of all.
pub(crate) fn stage(
    orders: &PerOrder<Vec<Ranking>>,
    positives: &[&[u32]],
    members: Option<&[usize]>,
) -> Stage {
    orders.map(|_, rankings| match members {
        Some(members) => recall(members.iter().map(|q| (&*rankings[*q].references, positives[*q]))),
        None => recall(rankings.iter().zip(positives).map(|(r, p)| (&*r.references, *p))),
    })
}
