//! From descriptors to rankings: global search, then each reranking method.

use crate::units::Units;
use crate::view::{Local, View};
use crate::{Grouping, Result, nearest};
use r2former_data::Photo;
use r2former_data::dataset::distance_m;
use r2former_engine::{
    Estimate, Extractor, LocalRows, Progress, RerankMethod, best_first, cascade_split, top1_margin,
};
use std::collections::BTreeMap;
use std::iter::repeat_n;

/// The references of one query, best first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ranking {
    /// Indices of the references in the database.
    pub references: Vec<u32>,
    /// Score of each, higher is better: cosine similarity, reranker score or RANSAC's score. Shorter than
    /// `references`: those behind the reranked candidates have no score.
    pub scores: Vec<f32>,
}

/// City of a photograph, empty if there is none.
pub(crate) fn city(photo: &Photo) -> &str {
    photo.tags.get("city").map_or("", String::as_str)
}

/// The `depth` references most similar by global descriptor, or by the descriptors of each query's crops. A query that
/// could not be read has an empty ranking.
pub(crate) fn search(
    database: (&Units, &[&Photo]),
    queries: (&Units, &[&Photo]),
    depth: usize,
    grouping: Grouping,
) -> Vec<Ranking> {
    let (database, references) = database;
    let (queries, photos) = queries;
    let merged = grouping == Grouping::Merged;
    let dim = database.images.layout.descriptor();
    let preprocessing = queries.images.layout.preprocessing;
    let width = queries.images.layout.dim;
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (q, photo) in photos.iter().enumerate() {
        groups.entry(if merged { "" } else { city(photo) }).or_default().push(q);
    }
    let mut rankings = vec![Ranking::default(); photos.len()];
    for (name, members) in groups {
        let rows: Vec<usize> =
            (0..references.len()).filter(|d| merged || city(references[*d]) == name).collect();
        let gather = |global: &[f32], rows: &[usize], width: usize| -> Vec<f32> {
            rows.iter().flat_map(|r| &global[r * width..(r + 1) * width]).copied().collect()
        };
        let (all, wanted) = (gather(&database.global, &rows, dim), gather(&queries.global, &members, width));
        let mut found = nearest(&all, &wanted, dim, depth).into_iter();
        for q in members {
            let lists: Vec<_> = found.by_ref().take(preprocessing.descriptors()).collect();
            if queries.global[q * width..(q + 1) * width].iter().any(|v| *v != 0.0) {
                let (references, scores) =
                    preprocessing.merge(lists).into_iter().map(|(i, s)| (rows[i as usize] as u32, s)).unzip();
                rankings[q] = Ranking { references, scores };
            }
        }
    }
    rankings
}

/// Top-1 margin of each ranking: cosine of the first candidate minus that of the first candidate at another place
/// ([`margin`]).
pub(crate) fn top1_margins(rankings: &[Ranking], database: &[&Photo], candidates: usize) -> Vec<f32> {
    let of = |ranking: &Ranking| {
        let head = ranking.scores.len().min(candidates);
        top1_margin(&ranking.scores[..head], |i| {
            let [first, other] = [0, i].map(|i| database[ranking.references[i] as usize]);
            distance_m(first, other).is_some_and(|metres| metres <= Estimate::AGREEMENT_M)
        })
    };
    rankings.iter().map(of).collect()
}

/// Candidates that are reranked, and those of them that geometry leaves to the model's reranker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reranked {
    pub(crate) candidates: usize,
    /// As asked for; the model's own where nothing is.
    pub(crate) cascade: Option<usize>,
}

/// Scores of rows of local features beside a query's.
type Scoring<'a> = dyn Fn(&[f32], &[LocalRows<'_>]) -> r2former_engine::Result<Vec<f32>> + 'a;

/// Reranks the first candidates of each ranking, except where `skip`. Of sequences the best pair of frames counts.
pub(crate) fn rerank_all(
    extractor: &Extractor,
    (database, queries): (&View<'_>, &View<'_>),
    rankings: &[Ranking],
    skip: &[bool],
    method: RerankMethod,
    Reranked { candidates, cascade }: Reranked,
    progress: &dyn Progress,
) -> Result<Vec<Ranking>> {
    let asked = cascade.filter(|_| method == RerankMethod::Model);
    let cascade = method.cascade(extractor.config(), asked)?;
    let row = extractor.config().local_row();
    progress.start("queries", rankings.len() as u64);
    let mut reranked = Vec::with_capacity(rankings.len());
    for (query, ranking) in rankings.iter().enumerate() {
        let all = &ranking.references;
        if skip[query] {
            // Cosines are not scores of this method.
            reranked.push(Ranking { references: all.clone(), scores: Vec::new() });
            progress.advance(1);
            continue;
        }
        // Candidates without features (unreadable images) stay behind the others.
        let (head, tail) = all.split_at(all.len().min(candidates));
        let local =
            head.iter().map(|d| database.local(*d as usize)).collect::<Result<Vec<Vec<Local<'_>>>>>()?;
        let (with, without): (Vec<usize>, Vec<usize>) = (0..head.len()).partition(|i| !local[*i].is_empty());
        let frames: Vec<Vec<f32>> =
            queries.local(query)?.into_iter().map(|local| local.floats(row)).collect();
        // The best score of each of some candidates by its rows.
        let best = |of: &[usize], score: &Scoring<'_>| -> Result<Vec<f32>> {
            let rows: Vec<LocalRows<'_>> = of.iter().flat_map(|i| &local[*i]).map(Local::rows).collect();
            let owners = || of.iter().enumerate().flat_map(|(at, i)| repeat_n(at, local[*i].len()));
            let mut scores = vec![f32::NEG_INFINITY; of.len()];
            for frame in &frames {
                for (at, score) in owners().zip(score(frame, &rows)?) {
                    scores[at] = scores[at].max(score);
                }
            }
            Ok(scores)
        };
        let (mut chosen, mut others) = (with, Vec::new());
        if let Some(count) = cascade.filter(|count| *count < chosen.len()) {
            let geometry = best(&chosen, &|frame, rows| RerankMethod::Ransac.scores(extractor, frame, rows))?;
            let of = |indices: Vec<usize>| indices.into_iter().map(|at| chosen[at]).collect();
            let (first, rest) = cascade_split(&geometry, count);
            (chosen, others) = (of(first), of(rest));
        }
        let scores = best(&chosen, &|frame, rows| method.scores(extractor, frame, rows))?;
        // Equal scores keep the global ranking.
        let ranked = best_first(&scores);
        let sorted = ranked.iter().map(|at| chosen[*at]).chain(others).chain(without).map(|i| head[i]);
        let list = sorted.chain(tail.iter().copied());
        let scores = ranked.iter().map(|at| scores[*at]).collect();
        reranked.push(Ranking { references: list.collect(), scores });
        progress.advance(1);
    }
    progress.finish();
    Ok(reranked)
}
