//! Local features of pairs to scores.

use crate::extract::host;
use crate::{EngineError, Extractor, Result};
use burn::tensor::{Tensor, TensorData};
use r2former_model::{Reranker, quantize};

/// Pairs that are reranked as one batch: enough to fill the cores, few enough for the memory
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

/// Compares one query with candidates, whose local features are in 8 bits as an index stores them.
///
/// # Errors
/// A model without a reranker; candidates without local features; a failing device.
pub fn rerank(extractor: &Extractor, query: &[f32], candidates: &[&[u8]]) -> Result<Vec<PairScore>> {
    let row = extractor.config().local_row();
    let mut scores = Vec::with_capacity(candidates.len());
    let mut rest = candidates;
    while let Some(first) = rest.first() {
        // A batch holds candidates with equally many features.
        let alike = rest.iter().take(CHUNK).take_while(|c| c.len() == first.len()).count();
        let (chunk, next) = rest.split_at(alike);
        let rows: Vec<f32> = chunk.iter().flat_map(|bytes| quantize::dequantize(bytes, row)).collect();
        scores.extend(score_batch(extractor, query, rows, chunk.len())?);
        rest = next;
    }
    Ok(scores)
}

/// Compares two images by their local features in full precision.
///
/// # Errors
/// A model without a reranker; a failing device.
pub fn score_pair(extractor: &Extractor, query: &[f32], reference: &[f32]) -> Result<PairScore> {
    let scores = score_batch(extractor, query, reference.to_vec(), 1)?;
    scores.first().copied().ok_or_else(|| EngineError::Compute("no score came back".into()))
}

fn score_batch(
    extractor: &Extractor,
    query: &[f32],
    references: Vec<f32>,
    pairs: usize,
) -> Result<Vec<PairScore>> {
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
    if query.len() % row != 0 || references.len() % (pairs * row) != 0 {
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
