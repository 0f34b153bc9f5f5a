//! An evaluation: extract, search, rerank, score.

use crate::breakdown::{Breakdown, breakdowns};
use crate::compare::Comparison;
use crate::confidence::{Asked, ConfidenceSummary, JudgedAnswer, judge_all, position_of};
use crate::extracted::Extracted;
use crate::features::UnusableImage;
use crate::layout::Layout;
use crate::metrics::{MAP_AT, MeanAveragePrecision, mean_average_precision, recall};
use crate::protocol::Input;
use crate::query_result::{
    EvaluatedQuery, QueryResult, RankingQuality, comparisons, nearest_positive, quality,
};
use crate::ranking::{Ranking, rerank_all, search, top1_margins};
use crate::rules::{RuledDataset, not_empty};
use crate::units::SEQUENCES;
use crate::view::Choice;
use crate::windows::{WindowSummary, fuse_windows};
use crate::{EvalOptions, PerRanking, Protocol, Recall, Result};
use r2former_data::Photo;
use r2former_data::dataset::Dataset;
use r2former_engine::{Extractor, PositionKind, Progress, RerankMethod, check_motion};
use r2former_model::Bits;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Recall of each ranking.
pub type RecallByRanking = PerRanking<Recall>;

/// A scored evaluation: the summary, and every query.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Over all counted queries.
    pub summary: EvalSummary,
    /// Each counted query.
    pub queries: Vec<EvaluatedQuery>,
    /// The best answers with their confidence; absent unless that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<PerRanking<Vec<JudgedAnswer>>>,
    /// Complete rankings of the counted queries. Not serialised: [`Self::queries`] has their first matches.
    #[serde(skip)]
    pub rankings: PerRanking<Vec<Ranking>>,
}

/// Metrics of an evaluation over all counted queries, with protocol and cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvalSummary {
    /// The protocol that the numbers belong to.
    pub protocol: Protocol,
    /// Recall@N.
    pub recall: RecallByRanking,
    /// Mean average precision.
    pub mean_average_precision: PerRanking<MeanAveragePrecision>,
    /// Recall for each value of each tag of [`Rules::report_by`](crate::Rules::report_by).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recall_by: Vec<Breakdown<RecallByRanking>>,
    /// Intervals, precision-recall and localisation error.
    pub quality: PerRanking<RankingQuality>,
    /// Each later ranking compared with each earlier one.
    pub comparisons: Vec<Comparison>,
    /// Adaptive reranking, if it was on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<AdaptiveReranking>,
    /// How good the answers' confidences are; absent unless that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<ConfidenceSummary>,
    /// Recall@1 with several frames instead of one; absent unless that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<WindowSummary>,
    /// Images that could not be used.
    pub unusable: Vec<UnusableImage>,
    /// Wall-clock cost.
    pub cost: EvalCost,
}

/// Unscored rankings of a dataset's queries.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetRankings {
    /// Indices of the queries in the dataset.
    pub queries: Vec<usize>,
    /// Their rankings, parallel to `queries`.
    pub rankings: PerRanking<Vec<Ranking>>,
    /// Their [top-1 margins](EvaluatedQuery::top1_margin), parallel to `queries`.
    pub top1_margins: Vec<Option<f32>>,
    /// Adaptive reranking, if it was on.
    pub adaptive: Option<AdaptiveReranking>,
    /// Images that could not be used.
    pub unusable: Vec<UnusableImage>,
    /// Wall-clock cost.
    pub cost: EvalCost,
}

/// What adaptive reranking skipped.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AdaptiveReranking {
    /// Queries with at least this top-1 margin (cosine) were not reranked.
    pub top1_margin: f32,
    /// Their share of all queries.
    pub skipped: f64,
}

/// Wall-clock cost of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EvalCost {
    /// Images extracted per second, decoding included; `None` if an earlier run had extracted all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images_per_second: Option<f64>,
    /// Milliseconds of exact search per query.
    pub search_ms_per_query: f64,
    /// Milliseconds of RANSAC per query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ransac_ms_per_query: Option<f64>,
    /// Counting the mutual matches of the candidates, per query; absent if it was not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mutual_ms_per_query: Option<f64>,
    /// Milliseconds of the reranker per query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank_ms_per_query: Option<f64>,
    /// Bytes that an index stores per image.
    pub bytes_per_image: usize,
    /// Bytes of the global descriptor per image.
    pub global_bytes_per_image: usize,
}

impl EvalCost {
    /// Milliseconds of extraction per image; `None` if an earlier run had extracted all.
    pub fn extraction_ms(&self) -> Option<f64> {
        self.images_per_second.map(|rate| 1000.0 / rate)
    }

    /// Milliseconds of a reranking method per query; `None` for [`RerankMethod::None`] or if it was not run.
    pub fn rerank_ms(&self, method: RerankMethod) -> Option<f64> {
        match method {
            RerankMethod::None => None,
            RerankMethod::Ransac => self.ransac_ms_per_query,
            RerankMethod::Mutual => self.mutual_ms_per_query,
            RerankMethod::Model => self.rerank_ms_per_query,
        }
    }

    /// Milliseconds of a whole query: extraction (if measured), search, reranking.
    pub fn query_ms(&self, method: RerankMethod) -> f64 {
        let parts = [self.extraction_ms(), Some(self.search_ms_per_query), self.rerank_ms(method)];
        parts.into_iter().flatten().sum()
    }
}

/// Evaluates a model on a dataset. Unreadable images do not stop it; they are listed in
/// [`EvalSummary::unusable`].
///
/// # Errors
/// - [`EvalError::Request`](crate::EvalError::Request): an empty dataset, a dataset without positions, no query that
///   counts, a tag that no query has, a cascade without the model's reranker, a margin without reranking, a largest speed
///   without positions.
/// - [`EvalError::File`](crate::EvalError::File): a feature file cannot be read or written.
/// - [`EvalError::Engine`](crate::EvalError::Engine): a query without a position, a failing device.
pub fn evaluate(
    dataset: &Dataset,
    extractor: &Extractor,
    options: &EvalOptions,
    progress: &dyn Progress,
) -> Result<Evaluation> {
    let ruled = options.rules.apply(dataset)?;
    if dataset.database.iter().all(|photo| position_of(photo).is_none()) {
        check_motion(PositionKind::None, options.window.and_then(|window| window.max_speed), None)?;
    }
    let extracted = extract(dataset, ruled.counted.clone(), extractor, options, progress)?;
    let ranked = rank_extracted(dataset, &extracted, None, extractor, options, progress)?;
    let answers = match options.unknown {
        None => None,
        Some(unknown) => {
            let asked = Asked::own(extractor, &extracted, &dataset.database, options.reranked());
            let (photos, positives) = (ruled.photos(dataset), ruled.positives());
            let (queries, rankings) = ((&*photos, &*ranked.queries), &ranked.rankings);
            Some((
                unknown,
                judge_all(&asked, queries, &positives, rankings, unknown, &options.rules, progress)?,
            ))
        }
    };
    let fused = options.window.map(|window| {
        let asked = Asked::own(extractor, &extracted, &dataset.database, options.reranked());
        fuse_windows(&asked, &ruled.photos(dataset), &ruled.positives(), &ranked.rankings, window)
    });
    let mut evaluation = score_rankings(dataset, &ruled, ranked, extractor, options);
    if let (Some((unknown, answers)), Some(own)) = (answers, &extractor.config().calibration) {
        let queries = evaluation.summary.protocol.queries;
        evaluation.summary.confidence = Some(ConfidenceSummary::of(unknown, own, &answers, queries));
        evaluation.answers = Some(answers);
    }
    evaluation.summary.windows = fused;
    Ok(evaluation)
}

/// Ranks the database for every query, without scoring: no ground truth is needed. Unreadable images are listed in
/// [`DatasetRankings::unusable`].
///
/// # Errors
/// - [`EvalError::Request`](crate::EvalError::Request): an empty dataset, a cascade without the model's reranker.
/// - [`EvalError::File`](crate::EvalError::File): a feature file cannot be read or written.
/// - [`EvalError::Engine`](crate::EvalError::Engine): a failing device.
pub fn rank(
    dataset: &Dataset,
    extractor: &Extractor,
    options: &EvalOptions,
    progress: &dyn Progress,
) -> Result<DatasetRankings> {
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
    options.check(extractor.config())?;
    let layout = Layout::of(extractor, !options.rerank.is_empty(), Bits::Eight);
    Extracted::of(dataset, chosen, extractor, layout, options, progress)
}

/// Ranks extracted queries; `choice` restricts their local features.
pub(crate) fn rank_extracted(
    dataset: &Dataset,
    extracted: &Extracted,
    choice: Option<Choice>,
    extractor: &Extractor,
    options: &EvalOptions,
    progress: &dyn Progress,
) -> Result<DatasetRankings> {
    let [database_view, query_view] = extracted.views(choice);
    let queries: Vec<&Photo> = extracted.chosen.iter().map(|q| &dataset.queries[*q]).collect();
    let database: Vec<&Photo> = dataset.database.iter().collect();
    let per_query = |started: Instant| 1000.0 * started.elapsed().as_secs_f64() / queries.len() as f64;
    let deepest = crate::RECALL_AT.iter().copied().max().unwrap_or(1).max(options.candidates);
    let started = Instant::now();
    let sides = ((&extracted.database, &*database), (&extracted.queries, &*queries));
    let global = search(sides.0, sides.1, deepest, options.rules.grouping);
    let search_ms_per_query = per_query(started);
    let margins = top1_margins(&global, &database, options.candidates);
    let skip: Vec<bool> =
        margins.iter().map(|margin| options.adaptive.is_some_and(|limit| *margin >= limit)).collect();
    let mut rankings = PerRanking { global, ransac: None, mutual: None, reranked: None };
    let mut rerank_ms = BTreeMap::new();
    let methods: BTreeSet<RerankMethod> =
        options.rerank.iter().copied().filter(|m| *m != RerankMethod::None).collect();
    for method in methods {
        let started = Instant::now();
        let views = (&database_view, &query_view);
        let reranked =
            rerank_all(extractor, views, &rankings.global, &skip, method, options.reranked(), progress)?;
        rerank_ms.insert(method, per_query(started));
        rankings.set(method, reranked);
    }
    let settings = extractor.settings();
    let cost = EvalCost {
        images_per_second: extracted.images_per_second,
        search_ms_per_query,
        ransac_ms_per_query: rerank_ms.get(&RerankMethod::Ransac).copied(),
        mutual_ms_per_query: rerank_ms.get(&RerankMethod::Mutual).copied(),
        rerank_ms_per_query: rerank_ms.get(&RerankMethod::Model).copied(),
        bytes_per_image: r2former_model::cost::cost(extractor.config(), settings.height, settings.width)
            .stored_bytes,
        global_bytes_per_image: extractor.config().global_dim() * size_of::<f32>(),
    };
    let adaptive = options.adaptive.map(|top1_margin| AdaptiveReranking {
        top1_margin,
        skipped: skip.iter().filter(|skipped| **skipped).count() as f64 / queries.len() as f64,
    });
    Ok(DatasetRankings {
        queries: extracted.chosen.clone(),
        rankings,
        top1_margins: margins.into_iter().map(|margin| margin.is_finite().then_some(margin)).collect(),
        adaptive,
        unusable: extracted.unusable.clone(),
        cost,
    })
}

/// Scores the rankings of the queries that count.
pub(crate) fn score_rankings(
    dataset: &Dataset,
    ruled: &RuledDataset,
    ranked: DatasetRankings,
    extractor: &Extractor,
    options: &EvalOptions,
) -> Evaluation {
    let DatasetRankings { queries: counted, rankings, top1_margins, adaptive, unusable, cost } = ranked;
    let (photos, positives) = (ruled.photos(dataset), ruled.positives());
    let queries: Vec<EvaluatedQuery> = (0..photos.len())
        .map(|q| EvaluatedQuery {
            number: counted[q],
            query: photos[q].name.clone(),
            positives: positives[q].len(),
            nearest_positive: nearest_positive(photos[q], positives[q], &dataset.database),
            top1_margin: top1_margins[q],
            results: rankings
                .map(|_, all| QueryResult::of(&all[q], positives[q], photos[q], &dataset.database)),
        })
        .collect();
    let summary = EvalSummary {
        recall: recall_of(&rankings, &positives, None),
        mean_average_precision: rankings.map(|_, all| {
            mean_average_precision(all.iter().zip(&positives).map(|(r, p)| (&*r.references, *p)), &MAP_AT)
        }),
        recall_by: breakdowns(&options.rules.report_by, &photos, |members| {
            recall_of(&rankings, &positives, Some(members))
        }),
        quality: quality(&queries, &rankings),
        comparisons: comparisons(&queries, &rankings),
        protocol: options.rules.protocol(dataset, ruled, Some(input(dataset, extractor, options, &rankings))),
        adaptive,
        confidence: None,
        windows: None,
        unusable,
        cost,
    };
    Evaluation { summary, queries, answers: None, rankings }
}

fn input(
    dataset: &Dataset,
    extractor: &Extractor,
    options: &EvalOptions,
    rankings: &PerRanking<Vec<Ranking>>,
) -> Input {
    let settings = extractor.settings();
    let reranked = rankings.ransac.is_some() || rankings.reranked.is_some();
    let sequences = dataset.sequences.database.is_some() || dataset.sequences.queries.is_some();
    let cascade = RerankMethod::Model.cascade(extractor.config(), options.cascade).ok().flatten();
    let cascade = cascade.filter(|_| rankings.reranked.is_some());
    Input {
        resize: extractor.config().input.resize.to_string(),
        image_size: settings.image_size().to_string(),
        query_preprocessing: options.query_preprocessing,
        precision: settings.precision.to_string(),
        candidates: if reranked { options.candidates } else { 0 },
        cascade,
        sequences: sequences.then(|| SEQUENCES.to_string()),
    }
}

/// Recall of the queries `members`, or of all.
fn recall_of(
    rankings: &PerRanking<Vec<Ranking>>,
    positives: &[&[u32]],
    members: Option<&[usize]>,
) -> RecallByRanking {
    rankings.map(|_, all| match members {
        Some(members) => recall(members.iter().map(|q| (&*all[*q].references, positives[*q]))),
        None => recall(all.iter().zip(positives).map(|(r, p)| (&*r.references, *p))),
    })
}
