//! Example queries of a report: what reranking corrected, what it broke, and what stays wrong.

use crate::pictures::{GalleryRow, Photograph, Tile, draw_attention, draw_matches, gallery};
use crate::{EvaluatedQuery, Evaluation, QueryResult, Result};
use r2former_data::Photo;
use r2former_data::dataset::{Dataset, distance_m};
use r2former_engine::{Extractor, Progress, RerankMethod};
use std::path::Path;

/// Rows of a gallery, at most.
const ROWS: usize = 6;
/// Matches drawn per query.
const MATCHES: usize = 3;
/// Pairs whose matches are drawn, of each kind.
const PAIRS: usize = 2;
/// Photographs whose attention is drawn.
const ATTENTION: usize = 2;
/// Pixels of the longer side of photographs in galleries.
const LONGEST: usize = 360;

/// Pictures of a report, each with a caption.
#[derive(Debug, Default)]
pub(super) struct Examples {
    /// Galleries.
    pub(super) galleries: Vec<(String, String)>,
    /// Pairs with their matches.
    pub(super) pairs: Vec<(String, String)>,
    /// Attention over queries.
    pub(super) attention: Vec<(String, String)>,
}

/// The kinds of queries, by whether their first match is correct in the global and in the final ranking.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Corrected,
    Broken,
    Correct,
    Wrong,
}

impl Kind {
    fn caption(self, reranked: bool) -> &'static str {
        match (self, reranked) {
            (Self::Corrected, _) => {
                "corrected by reranking: first match wrong in the global ranking, correct after reranking"
            }
            (Self::Broken, _) => {
                "broken by reranking: first match correct in the global ranking, wrong after reranking"
            }
            (Self::Correct, true) => "with a correct first match before and after reranking",
            (Self::Correct, false) => "with a correct first match",
            (Self::Wrong, true) => "with a wrong first match before and after reranking",
            (Self::Wrong, false) => "with a wrong first match",
        }
    }
}

/// Chooses examples evenly over the queries and draws them. A photograph that cannot be read is marked as such.
pub(super) fn choose(
    evaluation: &Evaluation,
    dataset: &Dataset,
    extractor: &Extractor,
    progress: &dyn Progress,
) -> Result<Examples> {
    let recall = &evaluation.summary.recall;
    let method = recall.iter().last().map_or(RerankMethod::None, |(method, _)| method);
    let reranked = method != RerankMethod::None;
    let queries: Vec<&EvaluatedQuery> = evaluation.queries.iter().filter(|q| q.positives > 0).collect();
    let kind = |q: &EvaluatedQuery| match (q.results.global.hit_at(1), q.results.last().hit_at(1)) {
        (true, true) => Kind::Correct,
        (false, true) => Kind::Corrected,
        (true, false) => Kind::Broken,
        (false, false) => Kind::Wrong,
    };
    let of = |wanted: Kind| -> Vec<&EvaluatedQuery> {
        queries.iter().copied().filter(|q| kind(q) == wanted).collect()
    };
    let kinds: Vec<(Kind, Vec<&EvaluatedQuery>)> =
        [Kind::Corrected, Kind::Broken, Kind::Wrong, Kind::Correct]
            .into_iter()
            .map(|kind| (kind, of(kind)))
            .filter(|(_, all)| !all.is_empty())
            .collect();
    let pictures: usize = kinds.iter().map(|(_, all)| all.len().min(ROWS)).sum();
    progress.start("pictures", (pictures + kinds.len() * PAIRS + ATTENTION) as u64);
    let mut examples = Examples::default();
    for (kind, all) in &kinds {
        let chosen = evenly(all, ROWS);
        let rows: Vec<GalleryRow> = chosen
            .iter()
            .map(|q| {
                progress.advance(1);
                row(q, dataset, method)
            })
            .collect();
        let caption = format!("{} of {} queries {}", chosen.len(), all.len(), kind.caption(reranked));
        examples.galleries.push((caption, gallery(&rows)));
    }
    if extractor.config().local.is_some() {
        for (kind, all) in &kinds {
            for query in evenly(all, PAIRS) {
                progress.advance(1);
                let Some(best) = query.results.last().matches.first() else { continue };
                let paths = [&dataset.queries[query.number].path, &dataset.database[*best as usize].path];
                let caption = format!("Query {}", kind.caption(reranked));
                keep(&mut examples.pairs, &caption, draw_matches(extractor, paths[0], paths[1]));
            }
        }
        for query in evenly(&queries, ATTENTION) {
            progress.advance(1);
            let path: &Path = &dataset.queries[query.number].path;
            keep(&mut examples.attention, &query.query, draw_attention(extractor, path));
        }
    }
    progress.finish();
    Ok(examples)
}

/// Leaves out a photograph that cannot be read: it is listed as unusable already.
fn keep(pictures: &mut Vec<(String, String)>, caption: &str, drawn: Result<String>) {
    pictures.extend(drawn.ok().map(|svg| (caption.to_string(), svg)));
}

/// At most `most` of all, evenly.
fn evenly<'a>(all: &[&'a EvaluatedQuery], most: usize) -> Vec<&'a EvaluatedQuery> {
    let count = all.len().min(most);
    (0..count).map(|i| all[i * all.len() / count]).collect()
}

fn row(query: &EvaluatedQuery, dataset: &Dataset, method: RerankMethod) -> GalleryRow {
    let photo = &dataset.queries[query.number];
    let (result, global) = (query.results.last(), &query.results.global);
    let tile = |photo: &Photo, label: String, notes: Vec<String>, correct: Option<bool>| Tile {
        photo: Photograph::open(&photo.path, LONGEST).ok(),
        label,
        name: photo.name.clone(),
        notes,
        correct,
    };
    let metres = |reference: &Photo| distance_m(photo, reference).map(|m| format!("{m:.0} m away"));
    let of = |result: &QueryResult, method: RerankMethod, i: usize, label: String| {
        let reference = &dataset.database[result.matches[i] as usize];
        let score = result.scores.get(i).map(|score| score_text(method, *score));
        let notes = score.into_iter().chain(metres(reference)).collect();
        tile(reference, label, notes, Some(result.correct[i]))
    };
    let mut matches: Vec<Tile> = (0..result.matches.len().min(MATCHES))
        .map(|i| of(result, method, i, format!("{}.", i + 1)))
        .collect();
    // What the global ranking had first, where reranking changed it from wrong to correct or back.
    if method != RerankMethod::None && global.hit_at(1) != result.hit_at(1) && !global.matches.is_empty() {
        matches.push(of(global, RerankMethod::None, 0, "global 1.".into()));
    }
    let shown = global.hit_at(1) || result.hit_at(1);
    if let (false, Some(nearest)) = (shown, query.nearest_positive) {
        let reference = &dataset.database[nearest as usize];
        let rank = match result.first_positive {
            Some(rank) => format!("first positive at rank {rank}"),
            None => "no positive was ranked".into(),
        };
        let notes = std::iter::once(rank).chain(metres(reference)).collect();
        matches.push(tile(reference, "positive".into(), notes, Some(true)));
    }
    GalleryRow { query: tile(photo, "query".into(), Vec::new(), None), matches }
}

fn score_text(method: RerankMethod, score: f32) -> String {
    match method {
        RerankMethod::None => format!("cosine {score:.3}"),
        RerankMethod::Ransac => format!("RANSAC {score:.1}"),
        RerankMethod::Mutual => format!("{score:.0} mutual matches"),
        RerankMethod::Model => format!("score {score:.3}"),
    }
}
