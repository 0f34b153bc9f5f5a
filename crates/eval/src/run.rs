//! One evaluation: extract, search, rerank, count.

use crate::{EmptyQueries, Protocol, Recall, metrics::recall, nearest};
use r2former_data::Photo;
use r2former_data::dataset::{Dataset, GroundTruth, Truth};
use r2former_engine::{EngineError, Extractor, Progress, Result, extract_stream, rerank};
use r2former_model::{ResizeMode, quantize};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

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
    /// Candidates to rerank; 0 for global retrieval alone.
    pub candidates: usize,
    /// Recall is also told for each value of this tag of the queries, such as `city`.
    pub report_by: String,
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

/// Recalls of both orders.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stage {
    /// By global descriptors alone.
    pub global: Recall,
    /// After reranking; absent when nothing was reranked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reranked: Option<Recall>,
}

/// An evaluation's outcome.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvalReport {
    /// What the numbers mean.
    pub protocol: Protocol,
    /// Recall of all counted queries.
    pub recall: Stage,
    /// Recall for each value of [`EvalOptions::report_by`], where there are several.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub recall_by: BTreeMap<String, Stage>,
    /// Images that could not be used, with the reason. Such a query fails; such a reference is
    /// never found.
    pub unusable: Vec<(PathBuf, String)>,
    /// Wall-clock cost of the parts.
    pub cost: EvalCost,
}

/// Where the time went.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EvalCost {
    /// Images extracted each second, decoding included.
    pub images_per_second: f64,
    /// Milliseconds of exact search a query.
    pub search_ms_per_query: f64,
    /// Milliseconds of reranking a query.
    pub rerank_ms_per_query: f64,
    /// Bytes an index would store an image.
    pub bytes_per_image: usize,
}

/// Descriptors of one side of a dataset, as an index would hold them.
struct Side {
    global: Vec<f32>,
    local: Vec<Vec<u8>>,
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
) -> Result<EvalReport> {
    let truth = ground_truth(dataset, options)?;
    let empty_query_count = truth.positives.iter().filter(|p| p.is_empty()).count();
    let counted: Vec<usize> = (0..dataset.queries.len())
        .filter(|q| options.empty_queries == EmptyQueries::Fail || !truth.positives[*q].is_empty())
        .collect();
    if counted.is_empty() {
        return Err(EngineError::Request(format!(
            "none of the {} queries has a positive under this protocol; check positions and --radius",
            dataset.queries.len()
        )));
    }
    let mut unusable = Vec::new();
    let keep_local = options.candidates > 0;
    let started = Instant::now();
    let queries: Vec<&Photo> = counted.iter().map(|q| &dataset.queries[*q]).collect();
    let database: Vec<&Photo> = dataset.database.iter().collect();
    let database_side = extract_side(extractor, &database, keep_local, progress, &mut unusable)?;
    let query_side = extract_side(extractor, &queries, true, progress, &mut unusable)?;
    let extraction = started.elapsed();

    let dim = extractor.config().global_dim();
    let (rankings, search_time) = search(&database_side, &query_side, dim, &database, &queries, options);
    let positives: Vec<Vec<u32>> = counted.iter().map(|q| truth.positives[*q].clone()).collect();
    let (reranked, rerank_time) = if keep_local {
        rerank_all(extractor, &database_side, &query_side, &rankings, options.candidates, progress)?
    } else {
        (None, Duration::ZERO)
    };

    let per_query = |time: Duration| 1000.0 * time.as_secs_f64() / counted.len() as f64;
    let images = dataset.database.len() + counted.len();
    let settings = extractor.settings();
    Ok(EvalReport {
        recall: stage(&rankings, reranked.as_deref(), &positives),
        recall_by: by_tag(&options.report_by, &queries, &rankings, reranked.as_deref(), &positives),
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
            empty_query_count,
            database: dataset.database.len(),
            queries: counted.len(),
            resize: match extractor.config().input.resize {
                ResizeMode::Direct => "direct".into(),
                ResizeMode::Antialias => "antialias".into(),
            },
            image_size: format!("{}x{}", settings.height, settings.width),
            precision: settings.precision.to_string(),
            candidates: if reranked.is_some() { options.candidates } else { 0 },
            notes: dataset.notes.clone(),
        },
        unusable,
        cost: EvalCost {
            images_per_second: images as f64 / extraction.as_secs_f64(),
            search_ms_per_query: per_query(search_time),
            rerank_ms_per_query: per_query(rerank_time),
            bytes_per_image: r2former_model::cost::cost(extractor.config(), settings.height, settings.width)
                .stored_bytes,
        },
    })
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

fn ground_truth(dataset: &Dataset, options: &EvalOptions) -> Result<GroundTruth> {
    if dataset.database.is_empty() || dataset.queries.is_empty() {
        return Err(EngineError::Request(format!(
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

fn city(photo: &Photo) -> &str {
    photo.tags.get("city").map_or("", String::as_str)
}

fn extract_side(
    extractor: &Extractor,
    photos: &[&Photo],
    keep_local: bool,
    progress: &dyn Progress,
    unusable: &mut Vec<(PathBuf, String)>,
) -> Result<Side> {
    let files: Vec<&Path> = photos.iter().map(|p| p.path.as_path()).collect();
    let dim = extractor.config().global_dim();
    let row = extractor.config().local_row();
    // A reference that cannot be read stays at zero: similar to nothing.
    let mut side = Side { global: vec![0.0; photos.len() * dim], local: vec![Vec::new(); photos.len()] };
    progress.start("images", photos.len() as u64);
    extract_stream(extractor, &files, progress, |i, result| {
        match result {
            Ok(features) => {
                side.global[i * dim..(i + 1) * dim].copy_from_slice(&features.global);
                if keep_local {
                    side.local[i] = quantize::quantize(&features.local, row);
                }
            }
            Err(error) => {
                progress.note(&format!("left out: {error}"));
                unusable.push((files[i].to_path_buf(), error.to_string()));
            }
        }
        Ok(())
    })?;
    progress.finish();
    Ok(side)
}

/// Global rankings, deep enough for recall@100 and for reranking.
fn search(
    database: &Side,
    queries: &Side,
    dim: usize,
    photos: &[&Photo],
    query_photos: &[&Photo],
    options: &EvalOptions,
) -> (Vec<Vec<u32>>, Duration) {
    let depth = crate::RECALL_AT.iter().copied().max().unwrap_or(1).max(options.candidates);
    let started = Instant::now();
    let merged = options.grouping == Grouping::Merged;
    let groups: BTreeMap<&str, Vec<usize>> =
        (0..query_photos.len()).fold(BTreeMap::new(), |mut groups, q| {
            groups.entry(if merged { "" } else { city(query_photos[q]) }).or_insert_with(Vec::new).push(q);
            groups
        });
    let mut rankings = vec![Vec::new(); query_photos.len()];
    for (name, members) in groups {
        let rows: Vec<usize> = (0..photos.len()).filter(|d| merged || city(photos[*d]) == name).collect();
        let gather = |global: &[f32], rows: &[usize]| -> Vec<f32> {
            rows.iter().flat_map(|r| &global[r * dim..(r + 1) * dim]).copied().collect()
        };
        let found = nearest(&gather(&database.global, &rows), &gather(&queries.global, &members), dim, depth);
        for (q, list) in members.into_iter().zip(found) {
            // A query that could not be read has no descriptor and finds nothing.
            let readable = queries.global[q * dim..(q + 1) * dim].iter().any(|v| *v != 0.0);
            if readable {
                rankings[q] = list.into_iter().map(|(i, _)| rows[i as usize] as u32).collect();
            }
        }
    }
    (rankings, started.elapsed())
}

type Reranked = (Option<Vec<Vec<u32>>>, Duration);

fn rerank_all(
    extractor: &Extractor,
    database: &Side,
    queries: &Side,
    rankings: &[Vec<u32>],
    candidates: usize,
    progress: &dyn Progress,
) -> Result<Reranked> {
    let row = extractor.config().local_row();
    let started = Instant::now();
    progress.start("queries", rankings.len() as u64);
    let mut reranked = Vec::with_capacity(rankings.len());
    for (ranking, local) in rankings.iter().zip(&queries.local) {
        // Candidates without features (unreadable images) keep their place behind the others.
        let (head, tail) = ranking.split_at(ranking.len().min(candidates));
        let (with, without): (Vec<u32>, Vec<u32>) =
            head.iter().partition(|d| !database.local[**d as usize].is_empty());
        let bytes: Vec<&[u8]> = with.iter().map(|d| database.local[*d as usize].as_slice()).collect();
        let scores = rerank(extractor, &quantize::dequantize(local, row), &bytes)?;
        let mut order: Vec<usize> = (0..with.len()).collect();
        // Stable: equal scores keep the global order.
        order.sort_by(|a, b| scores[*b].score.total_cmp(&scores[*a].score));
        let list = order.into_iter().map(|i| with[i]).chain(without).chain(tail.iter().copied());
        reranked.push(list.collect());
        progress.advance(1);
    }
    progress.finish();
    Ok((Some(reranked), started.elapsed()))
}

fn stage(rankings: &[Vec<u32>], reranked: Option<&[Vec<u32>]>, positives: &[Vec<u32>]) -> Stage {
    Stage { global: recall(rankings, positives), reranked: reranked.map(|lists| recall(lists, positives)) }
}

fn by_tag(
    tag: &str,
    queries: &[&Photo],
    rankings: &[Vec<u32>],
    reranked: Option<&[Vec<u32>]>,
    positives: &[Vec<u32>],
) -> BTreeMap<String, Stage> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (q, photo) in queries.iter().enumerate() {
        groups.entry(photo.tags.get(tag).map_or("", String::as_str)).or_default().push(q);
    }
    if groups.len() < 2 {
        return BTreeMap::new();
    }
    let pick = |lists: &[Vec<u32>], members: &[usize]| -> Vec<Vec<u32>> {
        members.iter().map(|q| lists[*q].clone()).collect()
    };
    groups
        .into_iter()
        .map(|(name, members)| {
            let chosen = reranked.map(|lists| pick(lists, &members));
            (
                name.to_string(),
                stage(&pick(rankings, &members), chosen.as_deref(), &pick(positives, &members)),
            )
        })
        .collect()
}
