//! From descriptors to orders: global search, then each way of reranking.

use crate::units::Units;
use crate::{Grouping, Result, nearest};
use r2former_data::Photo;
use r2former_engine::{Extractor, Progress, Rerank};
use r2former_model::quantize;
use std::collections::BTreeMap;
use std::iter::repeat_n;

/// References of one query, best first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ranking {
    /// Numbers of the references.
    pub references: Vec<u32>,
    /// What each was ranked by, the higher the more alike: cosine, probability or inliers. Behind the reranked
    /// candidates there are none.
    pub scores: Vec<f32>,
}

/// City of a photograph, empty where there is none.
pub(crate) fn city(photo: &Photo) -> &str {
    photo.tags.get("city").map_or("", String::as_str)
}

/// The `depth` references most similar by global descriptor. A query that could not be read finds nothing.
pub(crate) fn search(
    database: (&Units, &[&Photo]),
    queries: (&Units, &[&Photo]),
    dim: usize,
    depth: usize,
    grouping: Grouping,
) -> Vec<Ranking> {
    let (database, references) = database;
    let (queries, photos) = queries;
    let merged = grouping == Grouping::Merged;
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (q, photo) in photos.iter().enumerate() {
        groups.entry(if merged { "" } else { city(photo) }).or_default().push(q);
    }
    let mut rankings = vec![Ranking::default(); photos.len()];
    for (name, members) in groups {
        let rows: Vec<usize> =
            (0..references.len()).filter(|d| merged || city(references[*d]) == name).collect();
        let gather = |global: &[f32], rows: &[usize]| -> Vec<f32> {
            rows.iter().flat_map(|r| &global[r * dim..(r + 1) * dim]).copied().collect()
        };
        let found = nearest(&gather(&database.global, &rows), &gather(&queries.global, &members), dim, depth);
        for (q, list) in members.into_iter().zip(found) {
            if queries.global[q * dim..(q + 1) * dim].iter().any(|v| *v != 0.0) {
                let (references, scores) =
                    list.into_iter().map(|(i, s)| (rows[i as usize] as u32, s)).unzip();
                rankings[q] = Ranking { references, scores };
            }
        }
    }
    rankings
}

/// The first `candidates` of each ranking in another order. Of sequences the best pair of frames counts.
pub(crate) fn rerank_all(
    extractor: &Extractor,
    (database, queries): (&Units, &Units),
    rankings: &[Ranking],
    method: Rerank,
    candidates: usize,
    progress: &dyn Progress,
) -> Result<Vec<Ranking>> {
    let row = extractor.config().local_row();
    progress.start("queries", rankings.len() as u64);
    let mut reranked = Vec::with_capacity(rankings.len());
    for (query, ranking) in rankings.iter().enumerate() {
        let all = &ranking.references;
        // Candidates without features (unreadable images) keep their place behind the others.
        let (head, tail) = all.split_at(all.len().min(candidates));
        let local = head.iter().map(|d| database.local(*d as usize)).collect::<Result<Vec<_>>>()?;
        let (with, without): (Vec<usize>, Vec<usize>) = (0..head.len()).partition(|i| !local[*i].is_empty());
        let bytes: Vec<&[u8]> = with.iter().flat_map(|i| &local[*i]).map(|bytes| &**bytes).collect();
        let owners = with.iter().enumerate().flat_map(|(at, i)| repeat_n(at, local[*i].len()));
        let owners: Vec<usize> = owners.collect();
        let mut scores = vec![f32::NEG_INFINITY; with.len()];
        for own in queries.local(query)? {
            let own = quantize::dequantize(&own, row);
            for (at, score) in owners.iter().zip(method.scores(extractor, &own, &bytes)?) {
                scores[*at] = scores[*at].max(score);
            }
        }
        let mut order: Vec<usize> = (0..with.len()).collect();
        // Stable: equal scores keep the global order.
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        let sorted = order.iter().map(|i| with[*i]).chain(without).map(|i| head[i]);
        let list = sorted.chain(tail.iter().copied());
        reranked
            .push(Ranking { references: list.collect(), scores: order.iter().map(|i| scores[*i]).collect() });
        progress.advance(1);
    }
    progress.finish();
    Ok(reranked)
}
