//! What other arithmetic does to a model's results, measured on photographs: each is extracted once in 32 bits and once in
//! the other arithmetic, and everything is compared between the two.

mod ranking;
mod reranked;
mod reranker;

use crate::{EngineError, Extractor, LoadedModel, Progress, Result, Settings, extract_stream};
use r2former_model::quantize::quantize;
use r2former_model::{Device, Precision, PrecisionCheck, RerankerCheck};
use rayon::prelude::*;
use std::path::Path;

/// Photographs whose local features are kept, at most: the queries and their candidates are among them.
const KEPT: usize = 1000;

/// Queries, at most.
const QUERIES: usize = 200;

const _: () = assert!(KEPT.is_multiple_of(QUERIES), "queries are among those whose local features are kept");

/// Candidates of each query: the most similar others.
const CANDIDATES: usize = 20;

/// What was measured of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelCheck {
    /// Descriptors, and answers by local features, in the arithmetic that was asked for.
    pub precision: PrecisionCheck,
    /// Scores of the reranker in 16-bit fixed point, of local features in 32 bits; `None` for a model whose reranker has one
    /// arithmetic alone, on this CPU or at all.
    pub reranker: Option<RerankerCheck>,
}

/// A photograph in both arithmetics: 32 bits, and the other.
struct Photograph {
    globals: [Vec<f32>; 2],
    /// `None` of those beyond [`KEPT`], and for a model without local features.
    locals: Option<[Local; 2]>,
}

/// Local features of a photograph.
#[derive(Clone)]
struct Local {
    /// As an index stores them.
    stored: Vec<u8>,
    /// As a query has them; empty of a photograph that is none.
    rows: Vec<f32>,
}

/// A photograph that is asked for, by its number, and those that it is compared with, the most similar one first.
struct Query {
    photograph: usize,
    candidates: Vec<usize>,
}

impl Query {
    /// The local features of its candidates, as an index stores them: of 32 bits (0) or of the other arithmetic (1).
    fn candidates<'a>(&self, photographs: &'a [Photograph], side: usize) -> Vec<&'a [u8]> {
        let of = |i: &usize| photographs[*i].locals.as_ref().map(|locals| locals[side].stored.as_slice());
        self.candidates.iter().filter_map(of).collect()
    }
}

/// Compares a model's results in an arithmetic with those in 32 bits, of photographs at the model's own image size, on the
/// CPU: descriptors, and the answers that local features give. Also those of its reranker in 16 bits. Photographs that
/// cannot be read are left out, and handed to `skipped`.
///
/// # Errors
/// [`EngineError::Request`] where this machine computes the model in f32 whatever is asked for, or for fewer than two
/// photographs; as [`Extractor::new`] and [`extract_stream`].
pub fn check_model(
    loaded: &LoadedModel,
    precision: Precision,
    files: &[&Path],
    progress: &dyn Progress,
    skipped: impl FnMut(usize, EngineError),
) -> Result<ModelCheck> {
    let settings = Settings::of(&loaded.config);
    let extractor =
        |precision| Extractor::new(loaded.clone(), Settings { precision, ..settings }, &Device::flex());
    let (exact, other) = (extractor(Precision::F32)?, extractor(precision)?);
    let computed = other.fused_backbone().map_or(Precision::F32, |backbone| backbone.products());
    if precision == Precision::F32 || computed != precision {
        return Err(EngineError::Request(format!(
            "model {} is computed in {computed} here, not in {precision}: there is nothing to compare",
            loaded.config.name
        )));
    }
    let photographs = extract([&exact, &other], files, progress, skipped)?;
    if photographs.len() < 2 {
        return Err(EngineError::Request(format!(
            "{} photographs: a check needs at least {}",
            photographs.len(),
            PrecisionCheck::FEWEST
        )));
    }
    let descriptors: Vec<[&[f32]; 2]> =
        photographs.iter().map(|own| own.globals.each_ref().map(Vec::as_slice)).collect();
    let queries = queries(&photographs);
    let ranking = ranking::compare(precision, &descriptors);
    Ok(ModelCheck {
        precision: PrecisionCheck {
            reranked: reranked::compare(&exact, &photographs, &queries, progress)?,
            ..ranking
        },
        reranker: reranker::compare(&exact, &photographs, &queries)?,
    })
}

/// Extracts the photographs in both arithmetics; those that one of them could not read are missing.
fn extract(
    extractors: [&Extractor; 2],
    files: &[&Path],
    progress: &dyn Progress,
    mut skipped: impl FnMut(usize, EngineError),
) -> Result<Vec<Photograph>> {
    let row = extractors[0].config().local_row();
    let keeps = |wanted: usize, i: usize| evenly(files.len(), wanted).any(|kept| kept == i);
    let mut found = [Vec::new(), Vec::new()];
    progress.start("images", 2 * files.len() as u64);
    for (pass, (found, extractor)) in found.iter_mut().zip(extractors).enumerate() {
        extract_stream(extractor, files, progress, |i, features| {
            match features {
                Ok(features) => {
                    let local = (keeps(KEPT, i) && !features.local.is_empty()).then(|| Local {
                        stored: quantize(&features.local, row),
                        rows: if keeps(QUERIES, i) { features.local } else { Vec::new() },
                    });
                    found.push((i, features.global, local));
                }
                Err(error @ EngineError::Data(_)) if pass == 0 => skipped(i, error),
                Err(EngineError::Data(_)) => {}
                Err(error) => return Err(error),
            }
            Ok(())
        })?;
    }
    progress.finish();
    let [exact, other] = found;
    // Both are in the order of the files.
    let mut other = other.into_iter().peekable();
    let both = exact.into_iter().filter_map(|(i, global, local)| {
        while other.next_if(|(j, ..)| *j < i).is_some() {}
        let (_, other_global, other_local) = other.next_if(|(j, ..)| *j == i)?;
        Some(Photograph {
            globals: [global, other_global],
            locals: local.zip(other_local).map(<[_; 2]>::from),
        })
    });
    Ok(both.collect())
}

/// At most `most` of so many, evenly chosen.
fn evenly(of: usize, most: usize) -> impl Iterator<Item = usize> {
    let count = of.min(most);
    (0..count).map(move |i| i * of / count)
}

/// The queries, with the most similar others in 32 bits of those whose local features are kept.
fn queries(photographs: &[Photograph]) -> Vec<Query> {
    let kept: Vec<usize> = (0..photographs.len()).filter(|i| photographs[*i].locals.is_some()).collect();
    let asked = |i: usize| photographs[i].locals.as_ref().is_some_and(|[own, _]| !own.rows.is_empty());
    let of = |i: usize| {
        let mut others: Vec<(usize, f64)> = kept
            .iter()
            .filter(|j| **j != i)
            .map(|j| (*j, similarity(&photographs[i].globals[0], &photographs[*j].globals[0])))
            .collect();
        others.sort_by(|a, b| b.1.total_cmp(&a.1));
        others.truncate(CANDIDATES);
        Query { photograph: i, candidates: others.into_iter().map(|(j, _)| j).collect() }
    };
    kept.par_iter().copied().filter(|i| asked(*i)).map(of).collect()
}

/// The cosine of two descriptors of unit length.
fn similarity(a: &[f32], b: &[f32]) -> f64 {
    // In parts, whose sums are exact enough and fast.
    a.chunks(256)
        .zip(b.chunks(256))
        .map(|(a, b)| f64::from(a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>()))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photographs_are_chosen_from_all() {
        assert_eq!(evenly(3, 100).collect::<Vec<_>>(), [0, 1, 2]);
        let many: Vec<usize> = evenly(1000, 100).collect();
        assert_eq!((many.len(), many[0], many[99]), (100, 0, 990));
        assert_eq!(evenly(0, 100).count(), 0);
    }
}
