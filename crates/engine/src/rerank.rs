//! Local features of pairs to scores: by the fused kernel on a CPU, by the model itself elsewhere and for
//! what the kernel does not cover.

use crate::extract::host;
use crate::{EngineError, Extractor, Result};
use burn::tensor::{Tensor, TensorData};
use r2former_kernels::{KernelError, Query};
use r2former_model::{Reranker, quantize};
use rayon::prelude::*;

/// Pairs that the model itself reranks as one batch: enough to fill a device, few enough for the memory
/// (about 70 MB a pair at 500 local features).
const CHUNK: usize = 4;

/// The reranker's word on one pair.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct PairScore {
    /// Raw outputs: different place, same place.
    pub logits: [f32; 2],
    /// Probability of the same place, 0 to 1: softmax of the logits. The order is by this alone.
    pub score: f32,
}

impl PairScore {
    fn of(logits: [f32; 2]) -> Self {
        Self { logits, score: 1.0 / (1.0 + (logits[0] - logits[1]).exp()) }
    }
}

/// Compares one query with candidates, whose local features are in 8 bits as an index stores them.
///
/// # Errors
/// A model without a reranker; candidates without local features; a failing device.
pub fn rerank(extractor: &Extractor, query: &[f32], candidates: &[&[u8]]) -> Result<Vec<PairScore>> {
    if let Some((fused, prepared)) = prepare(extractor, query)? {
        let score = |candidate: &&[u8]| covered(fused.score_bytes(&prepared, candidate));
        let scores: Vec<_> = candidates.par_iter().map(score).collect::<Result<_>>()?;
        // A candidate that the kernel does not cover has too few features: rare, and the model's.
        return scores
            .into_iter()
            .zip(candidates)
            .map(|(score, candidate)| match score {
                Some(score) => Ok(score),
                None => Ok(by_model(extractor, query, std::slice::from_ref(candidate))?[0]),
            })
            .collect();
    }
    by_model(extractor, query, candidates)
}

/// Compares two images by their local features in full precision.
///
/// # Errors
/// A model without a reranker; a failing device.
pub fn score_pair(extractor: &Extractor, query: &[f32], reference: &[f32]) -> Result<PairScore> {
    if let Some((fused, prepared)) = prepare(extractor, query)?
        && let Some(score) = covered(fused.score_floats(&prepared, reference))?
    {
        return Ok(score);
    }
    let scores = batch(extractor, query, reference.to_vec(), 1)?;
    scores.first().copied().ok_or_else(|| EngineError::Compute("no score came back".into()))
}

/// The kernel and the query made ready for it, where it covers both.
fn prepare<'a>(
    extractor: &'a Extractor,
    query: &[f32],
) -> Result<Option<(&'a r2former_kernels::Reranker, Query)>> {
    let Some(fused) = extractor.fused() else { return Ok(None) };
    match fused.query(query) {
        Ok(query) => Ok(Some((fused, query))),
        Err(KernelError::Unusual(_)) => Ok(None),
        Err(error) => Err(EngineError::Request(error.to_string())),
    }
}

/// The score, or none where the kernel does not cover the candidate.
fn covered(logits: Result<[f32; 2], KernelError>) -> Result<Option<PairScore>> {
    match logits {
        Ok(logits) => Ok(Some(PairScore::of(logits))),
        Err(KernelError::Unusual(_)) => Ok(None),
        Err(error) => Err(EngineError::Request(error.to_string())),
    }
}

/// The model's own scores.
fn by_model(extractor: &Extractor, query: &[f32], candidates: &[&[u8]]) -> Result<Vec<PairScore>> {
    let row = extractor.config().local_row();
    let mut scores = Vec::with_capacity(candidates.len());
    let mut rest = candidates;
    while let Some(first) = rest.first() {
        // A batch holds candidates with equally many features.
        let alike = rest.iter().take(CHUNK).take_while(|c| c.len() == first.len()).count();
        let (chunk, next) = rest.split_at(alike);
        let rows: Vec<f32> = chunk.iter().flat_map(|bytes| quantize::dequantize(bytes, row)).collect();
        scores.extend(batch(extractor, query, rows, chunk.len())?);
        rest = next;
    }
    Ok(scores)
}

fn batch(extractor: &Extractor, query: &[f32], references: Vec<f32>, pairs: usize) -> Result<Vec<PairScore>> {
    let row = extractor.config().local_row();
    let Some(reranker) = extractor.model().reranker.as_ref().filter(|_| row > 0) else {
        return Err(EngineError::Request(format!(
            "model {} has no reranker: use --rerank none, or a full model",
            extractor.config().name
        )));
    };
    let device = extractor.device();
    let tensor = |rows: Vec<f32>, pairs: usize| {
        let count = rows.len() / (pairs * row);
        Tensor::<3>::from_data(TensorData::new(rows, [pairs, count, row]), device)
    };
    if !query.len().is_multiple_of(row) || !references.len().is_multiple_of(pairs * row) {
        return Err(EngineError::Request(format!("local features are not rows of {row} values")));
    }
    let query = tensor(query.to_vec(), 1).repeat_dim(0, pairs);
    let logits = reranker.forward(query, tensor(references, pairs))?;
    let scores = host(Reranker::score(logits.clone()))?;
    let logits = host(logits)?;
    Ok(scores
        .iter()
        .zip(logits.as_chunks::<2>().0)
        .map(|(score, pair)| PairScore { logits: *pair, score: *score })
        .collect())
}
