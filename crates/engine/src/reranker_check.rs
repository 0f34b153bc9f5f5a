//! What 16-bit arithmetic does to the scores of a model's reranker: the measurement by which an [`Extractor`] chooses it.

use crate::precision::{similarity, too_few};
use crate::{
    EngineError, Extractor, LoadedModel, Progress, Result, Settings, extract_stream, fused_reranker,
};
use r2former_kernels::{KernelError, Level, Reranker, RerankerArithmetic};
use r2former_model::quantize::quantize;
use r2former_model::{Device, RerankerCheck};
use rayon::prelude::*;
use std::path::Path;

/// Photographs that are compared at most.
const PHOTOGRAPHS: usize = 100;

/// Candidates of each photograph: the most similar others.
const CANDIDATES: usize = 20;

/// Compares the logits of a model's reranker in 16-bit fixed point with those in 32 bits: each of up to 100 photographs, evenly
/// chosen, is the query of the 20 others that are most similar to it. `None` for a model whose reranker has one arithmetic
/// alone, on this CPU or at all. Photographs that cannot be read are left out.
///
/// # Errors
/// [`EngineError::Request`] for fewer than two photographs; as [`Extractor::new`] and [`extract_stream`].
pub fn check_reranker(
    loaded: &LoadedModel,
    files: &[&Path],
    progress: &dyn Progress,
) -> Result<Option<RerankerCheck>> {
    let level = Level::current().map_err(|error| EngineError::Request(error.to_string()))?;
    if loaded.config.reranker.is_none() || !level.multiplies_int16() {
        return Ok(None);
    }
    let extractor = Extractor::new(loaded.clone(), Settings::of(&loaded.config), &Device::flex())?;
    let packed = [RerankerArithmetic::F32, RerankerArithmetic::Int16]
        .map(|arithmetic| fused_reranker(extractor.model(), level, arithmetic));
    let [Ok(exact), Ok(other)] = packed else { return Ok(None) };

    let chosen: Vec<&Path> = evenly(files.len()).map(|i| files[i]).collect();
    progress.start("images", chosen.len() as u64);
    let mut photographs = Vec::with_capacity(chosen.len());
    extract_stream(&extractor, &chosen, progress, |_, features| {
        match features {
            Ok(features) => photographs.push((features.global, features.local)),
            Err(EngineError::Data(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    })?;
    progress.finish();
    if photographs.len() < 2 {
        return Err(too_few(photographs.len()));
    }
    let row = extractor.config().local_row();
    let stored: Vec<Vec<u8>> = photographs.iter().map(|(_, local)| quantize(local, row)).collect();
    let of_queries = photographs.par_iter().enumerate().map(|(i, (global, local))| {
        let mut others: Vec<(usize, f64)> = photographs
            .iter()
            .enumerate()
            .filter(|(j, _)| *j != i)
            .map(|(j, (other, _))| (j, similarity(global, other)))
            .collect();
        others.sort_by(|a, b| b.1.total_cmp(&a.1));
        others.truncate(CANDIDATES);
        let candidates: Vec<&[u8]> = others.iter().map(|(j, _)| stored[*j].as_slice()).collect();
        let logits = [logits(&exact, local, &candidates)?, logits(&other, local, &candidates)?];
        Ok(compare([&logits[0], &logits[1]]))
    });
    let of_queries = of_queries.collect::<Result<Vec<_>, KernelError>>();
    let of_queries = match of_queries {
        // Photographs of fewer features than neighbours are the plain path's.
        Err(KernelError::Unsupported(_)) => return Ok(None),
        found => found.map_err(|error| EngineError::Compute(error.to_string()))?,
    };
    let empty = RerankerCheck { images: photographs.len(), pairs: 0, largest_difference: 0.0, reordered: 0 };
    Ok(Some(of_queries.into_iter().fold(empty, |all, own| RerankerCheck {
        images: all.images,
        pairs: all.pairs + own.pairs,
        largest_difference: all.largest_difference.max(own.largest_difference),
        reordered: all.reordered + own.reordered,
    })))
}

/// At most [`PHOTOGRAPHS`] of so many, evenly chosen.
fn evenly(of: usize) -> impl Iterator<Item = usize> {
    let count = of.min(PHOTOGRAPHS);
    (0..count).map(move |i| i * of / count)
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
fn compare([exact, other]: [&[[f32; 2]]; 2]) -> RerankerCheck {
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
        let found = compare([&exact, &[[0.0, 0.5], [0.01, 1.0], [0.0, 1.0]]]);
        // The first falls behind both others, which are a tie between themselves.
        assert_eq!((found.pairs, found.reordered), (3, 2));
        assert_eq!(found.largest_difference, 1.5);
        let same = compare([&exact, &exact]);
        assert_eq!((same.largest_difference, same.reordered), (0.0, 0));
    }

    #[test]
    fn photographs_are_chosen_from_all() {
        assert_eq!(evenly(3).collect::<Vec<_>>(), [0, 1, 2]);
        let many: Vec<usize> = evenly(1000).collect();
        assert_eq!((many.len(), many[0], many[99]), (PHOTOGRAPHS, 0, 990));
        assert_eq!(evenly(0).count(), 0);
    }
}
