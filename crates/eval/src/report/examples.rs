//! Queries worth looking at: what reranking puts right, what stays wrong, and why.

use crate::pictures::{GalleryRow, Photograph, Tile, draw_attention, draw_matches, gallery};
use crate::{EvaluatedQuery, Evaluation, Result};
use r2former_data::Photo;
use r2former_data::dataset::{Dataset, distance_m};
use r2former_engine::{Extractor, Progress};
use std::path::Path;

/// Rows of a gallery, at most.
const ROWS: usize = 6;
/// Matches shown of a query.
const MATCHES: usize = 3;
/// Pairs whose matches are drawn, of each kind.
const PAIRS: usize = 2;
/// Photographs whose attention is drawn.
const ATTENTION: usize = 2;
/// Pixels of the longer side of photographs in galleries.
const LONGEST: usize = 360;

/// Pictures for a report, each with a caption.
#[derive(Debug, Default)]
pub(super) struct Examples {
    /// Galleries: caption and picture.
    pub(super) galleries: Vec<(String, String)>,
    /// Pairs with their matches.
    pub(super) pairs: Vec<(String, String)>,
    /// Attention over queries.
    pub(super) attention: Vec<(String, String)>,
}

/// Chooses evenly over the queries and draws. Photographs that cannot be read are shown as such.
pub(super) fn choose(
    evaluation: &Evaluation,
    dataset: &Dataset,
    extractor: &Extractor,
    progress: &dyn Progress,
) -> Result<Examples> {
    let queries = || evaluation.queries.iter().filter(|q| q.positives > 0);
    let right = |q: &&EvaluatedQuery| q.results.last().hit_at(1);
    let reranked = evaluation.summary.recall.ransac.is_some() || evaluation.summary.recall.reranked.is_some();
    let gained: Vec<&EvaluatedQuery> =
        queries().filter(|q| right(q) && reranked && !q.results.global.hit_at(1)).collect();
    let plain: Vec<&EvaluatedQuery> = queries().filter(right).collect();
    let failed: Vec<&EvaluatedQuery> = queries().filter(|q| !right(q)).collect();
    let (words, successes) = match gained.is_empty() {
        true => ("right at the first match", plain),
        false => ("put right by reranking: wrong in the global order, right after it", gained),
    };
    let (shown, wrong) = (evenly(&successes, ROWS), evenly(&failed, ROWS));
    progress.start("pictures", (shown.len() + wrong.len() + 2 * PAIRS + ATTENTION) as u64);
    let mut examples = Examples::default();
    for (words, chosen, all) in
        [(words, &shown, successes.len()), ("wrong at the first match", &wrong, failed.len())]
    {
        if !chosen.is_empty() {
            let rows: Vec<GalleryRow> = chosen
                .iter()
                .map(|q| {
                    progress.advance(1);
                    row(q, dataset)
                })
                .collect();
            examples.galleries.push((format!("{} of {all} queries {words}", chosen.len()), gallery(&rows)));
        }
    }
    if extractor.config().local.is_some() {
        for (words, chosen) in [("right", &shown), ("wrong", &wrong)] {
            for query in evenly(chosen, PAIRS) {
                progress.advance(1);
                let Some(best) = query.results.last().matches.first() else { continue };
                let paths = [&dataset.queries[query.number].path, &dataset.database[*best as usize].path];
                keep(&mut examples.pairs, words, draw_matches(extractor, paths[0], paths[1]));
            }
        }
        for query in evenly(&queries().collect::<Vec<_>>(), ATTENTION) {
            progress.advance(1);
            let path: &Path = &dataset.queries[query.number].path;
            keep(&mut examples.attention, &query.query, draw_attention(extractor, path));
        }
    }
    progress.finish();
    Ok(examples)
}

/// A photograph that cannot be read has been told of already.
fn keep(pictures: &mut Vec<(String, String)>, words: &str, drawn: Result<String>) {
    pictures.extend(drawn.ok().map(|svg| (words.to_string(), svg)));
}

/// At most so many, evenly over the whole.
fn evenly<'a>(all: &[&'a EvaluatedQuery], most: usize) -> Vec<&'a EvaluatedQuery> {
    let count = all.len().min(most);
    (0..count).map(|i| all[i * all.len() / count]).collect()
}

fn row(query: &EvaluatedQuery, dataset: &Dataset) -> GalleryRow {
    let photo = &dataset.queries[query.number];
    let results = query.results.last();
    let tile = |photo: &Photo, label: String, notes: Vec<String>, right: Option<bool>| Tile {
        photo: Photograph::open(&photo.path, LONGEST).ok(),
        label,
        name: photo.name.clone(),
        notes,
        right,
    };
    let metres = |reference: &Photo| distance_m(photo, reference).map(|m| format!("{m:.0} m away"));
    let mut matches: Vec<Tile> = (0..results.matches.len().min(MATCHES))
        .map(|i| {
            let reference = &dataset.database[results.matches[i] as usize];
            let score = results.scores.get(i).map(|score| format!("score {score:.3}"));
            let notes = score.into_iter().chain(metres(reference)).collect();
            tile(reference, format!("{}.", i + 1), notes, Some(results.correct[i]))
        })
        .collect();
    if let (false, Some(nearest)) = (results.hit_at(1), query.nearest_positive) {
        let reference = &dataset.database[nearest as usize];
        let rank = results.first_positive.map_or("never found".into(), |rank| format!("rank {rank}"));
        let notes = std::iter::once(format!("first {rank}")).chain(metres(reference)).collect();
        matches.push(tile(reference, "positive".into(), notes, Some(true)));
    }
    GalleryRow { query: tile(photo, "query".into(), Vec::new(), None), matches }
}
