//! What 16-bit arithmetic does to the scores of a model's reranker: the measurement by which an [`Extractor`] chooses it.

use super::{Photograph, Query};
use crate::{EngineError, Extractor, Result, fused_reranker};
use r2former_kernels::{KernelError, Reranker, RerankerArithmetic};
use r2former_model::RerankerCheck;
use rayon::prelude::*;

/// Compares the logits of a model's reranker in 16-bit fixed point with those in 32 bits, of queries and their candidates. `None`
/// for a model whose reranker has one arithmetic alone, on this CPU or at all.
pub(super) fn compare(
    extractor: &Extractor,
    photographs: &[Photograph],
    queries: &[Query],
) -> Result<Option<RerankerCheck>> {
    let level = extractor.fused_backbone().map(|backbone| backbone.level());
    let Some(level) = level.filter(|level| extractor.config().reranker.is_some() && level.multiplies_int16())
    else {
        return Ok(None);
    };
    let packed = [RerankerArithmetic::F32, RerankerArithmetic::Int16]
        .map(|arithmetic| fused_reranker(extractor.model(), level, arithmetic));
    let [Ok(exact), Ok(other)] = packed else { return Ok(None) };
    let of_queries = queries.par_iter().filter_map(|query| {
        let [own, _] = photographs[query.photograph].locals.as_ref()?;
        let candidates: Vec<&[u8]> = query.candidates(photographs, 0);
        let compared = || {
            let logits = [logits(&exact, &own.rows, &candidates)?, logits(&other, &own.rows, &candidates)?];
            Ok(differences([&logits[0], &logits[1]]))
        };
        Some(compared())
    });
    let of_queries = of_queries.collect::<Result<Vec<_>, KernelError>>();
    let of_queries = match of_queries {
        // Photographs of fewer features than neighbours are the plain path's.
        Err(KernelError::Unsupported(_)) => return Ok(None),
        found => found.map_err(|error| EngineError::Compute(error.to_string()))?,
    };
    let empty = RerankerCheck { images: queries.len(), pairs: 0, largest_difference: 0.0, reordered: 0 };
    Ok(Some(of_queries.into_iter().fold(empty, |all, own| RerankerCheck {
        images: all.images,
        pairs: all.pairs + own.pairs,
        largest_difference: all.largest_difference.max(own.largest_difference),
        reordered: all.reordered + own.reordered,
    })))
}

/// The logits of a query's candidates.
fn logits(
    reranker: &Reranker,
    query: &[f32],
    candidates: &[&[u8]],
) -> std::result::Result<Vec<[f32; 2]>, KernelError> {
    let query = reranker.query(query)?;
    candidates.iter().map(|candidate| reranker.score_bytes(&query, candidate)).collect()
}

/// The check of one query's candidates: their logits in 32 bits and in 16.
fn differences([exact, other]: [&[[f32; 2]]; 2]) -> RerankerCheck {
    let difference = |[a, b]: [f32; 2], [c, d]: [f32; 2]| f64::from((a - c).abs().max((b - d).abs()));
    let score = |[different, same]: [f32; 2]| f64::from(same - different);
    let swapped = |a: usize, b: usize| {
        let (before, after) = (score(exact[a]) - score(exact[b]), score(other[a]) - score(other[b]));
        before.abs() > RerankerCheck::TIE && before * after < 0.0
    };
    RerankerCheck {
        images: 1,
        pairs: exact.len(),
        largest_difference: exact.iter().zip(other).map(|(a, b)| difference(*a, *b)).fold(0.0, f64::max),
        reordered: (0..exact.len()).map(|a| (0..a).filter(|b| swapped(a, *b)).count()).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_places_beyond_a_tie_is_counted() {
        let exact = [[0.0, 2.0], [0.0, 1.0], [0.0, 0.9995]];
        let found = differences([&exact, &[[0.0, 0.5], [0.01, 1.0], [0.0, 1.0]]]);
        // The first falls behind both others, which are a tie between themselves.
        assert_eq!((found.pairs, found.reordered), (3, 2));
        assert_eq!(found.largest_difference, 1.5);
        let same = differences([&exact, &exact]);
        assert_eq!((same.largest_difference, same.reordered), (0.0, 0));
    }
}
