//! One query: photograph, descriptor, candidates, reranked places, answer.

use crate::{Answer, EngineError, Estimate, Extractor, Match, RerankMethod, Result, Timing, top1_margin};
use r2former_data::{LatLon, geo};
use r2former_index::{Filter, Hit, Position, ReadPlaces, SearchMode};
use std::path::Path;
use std::time::Instant;

/// A prior: the photograph was taken near here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Near {
    /// Centre.
    pub position: LatLon,
    /// Metres around it.
    pub radius_m: f64,
}

/// How to search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LocateOptions {
    /// Places in the answer.
    pub top: usize,
    /// Candidates of the global search that are reranked.
    pub candidates: usize,
    /// How they are put in order.
    pub rerank: RerankMethod,
    /// Keep the global ranking where its [`top1_margin`] is at least this; `None` reranks every query.
    pub adaptive: Option<f32>,
    /// Only places near a prior position.
    pub near: Option<Near>,
    /// Compare with every image, or walk the index's graph.
    pub mode: SearchMode,
}

/// Answers "where was this taken?" for one photograph.
///
/// # Errors
/// A file that is no usable image; an index or device that fails; a model without a reranker when
/// reranking is asked.
pub fn locate(
    index: &impl ReadPlaces,
    extractor: &Extractor,
    query: &Path,
    options: &LocateOptions,
) -> Result<Answer> {
    let mut timing = Timing::default();
    let mut clock = Instant::now();
    let mut lap = |stage: &mut f64| {
        *stage = Timing::ms(clock.elapsed());
        clock = Instant::now();
    };
    let input = extractor.prepare_file(query)?;
    lap(&mut timing.decode_ms);
    let features = extractor.extract(&[input])?.pop();
    let features = features.ok_or_else(|| EngineError::Compute("no descriptor came back".into()))?;
    lap(&mut timing.extract_ms);

    let filter = Filter {
        near: options.near.map(|near| r2former_index::Near {
            center: Position { lat: near.position.lat, lon: near.position.lon },
            radius_m: near.radius_m,
        }),
        ..Filter::default()
    };
    let reranks = options.rerank != RerankMethod::None;
    let wanted = if reranks { options.candidates.max(options.top) } else { options.top };
    let mut hits: Vec<(Hit, Option<f32>)> = index
        .search(&features.global, wanted, &filter, options.mode)?
        .into_iter()
        .map(|hit| (hit, None))
        .collect();
    lap(&mut timing.search_ms);

    let head = hits.len().min(options.candidates);
    let reranking_skipped =
        reranks && options.adaptive.is_some_and(|least| margin_of(&hits[..head]) >= least);
    if reranks && !reranking_skipped && !hits.is_empty() {
        let ids: Vec<_> = hits[..head].iter().map(|(hit, _)| hit.id).collect();
        let local = index.locals(&ids)?;
        lap(&mut timing.fetch_ms);
        let candidates: Vec<&[u8]> =
            local.iter().map(|found| found.as_ref().map_or(&[][..], |local| &local.rows)).collect();
        let scores = options.rerank.scores(extractor, &features.local, &candidates)?;
        for ((_, score), found) in hits.iter_mut().zip(scores) {
            *score = Some(found);
        }
        // Stable: equal scores keep the global order; places beyond the candidates stay behind.
        hits[..head].sort_by(|a, b| b.1.unwrap_or(0.0).total_cmp(&a.1.unwrap_or(0.0)));
        lap(&mut timing.rerank_ms);
    }
    hits.truncate(options.top);
    let matches: Vec<Match> =
        hits.into_iter().map(|(hit, score)| place_match(hit, score, options.near)).collect();
    Ok(Answer {
        query: query.display().to_string(),
        estimate: Estimate::from_matches(&matches),
        matches,
        rerank: if reranking_skipped { RerankMethod::None } else { options.rerank },
        reranking_skipped,
        timing,
    })
}

/// By how much the first candidate leads those of other places.
fn margin_of(candidates: &[(Hit, Option<f32>)]) -> f32 {
    let similarities: Vec<f32> = candidates.iter().map(|(hit, _)| hit.similarity).collect();
    let position = |i: usize| {
        let hit: &Hit = &candidates[i].0;
        hit.place.position.map(|p| LatLon { lat: p.lat, lon: p.lon })
    };
    top1_margin(&similarities, |i| {
        let ends = position(0).zip(position(i));
        ends.is_some_and(|(first, other)| geo::geodesic_m(first, other) <= Estimate::AGREEMENT_M)
    })
}

fn place_match(hit: Hit, score: Option<f32>, near: Option<Near>) -> Match {
    let position = hit.place.position.map(|p| LatLon { lat: p.lat, lon: p.lon });
    Match {
        path: hit.place.name,
        position,
        heading: hit.place.heading,
        time: hit.place.time,
        distance_m: near.zip(position).map(|(near, position)| geo::geodesic_m(near.position, position)),
        similarity: hit.similarity,
        score,
    }
}
