//! Local features of pairs to scores: by the fused kernel on a CPU, by the model itself elsewhere and for
//! what the kernel does not cover.

use crate::geometry::Verifier;
use crate::host::host;
use crate::{EngineError, Extractor, Result};
use burn::tensor::{Tensor, TensorData};
use r2former_kernels::{KernelError, Query};
use r2former_model::{InlierWeights, Reranker, quantize};
use rayon::prelude::*;
use std::borrow::Cow;

/// Pairs in a batch of the model itself: enough to fill a device, few enough for its memory (about 70 MB per pair
/// at 500 local features).
const CHUNK: usize = 4;

/// One image's local features.
#[derive(Debug, Clone, Copy)]
pub enum LocalRows<'a> {
    /// In 8 bits, as an index stores them.
    Packed(&'a [u8]),
    /// In full precision, as the extractor gives them.
    Floats(&'a [f32]),
}

impl<'a> From<&'a [u8]> for LocalRows<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Packed(bytes)
    }
}

impl<'a> From<&'a [f32]> for LocalRows<'a> {
    fn from(rows: &'a [f32]) -> Self {
        Self::Floats(rows)
    }
}

impl<'a> LocalRows<'a> {
    /// Values of all rows together.
    fn len(self) -> usize {
        match self {
            Self::Packed(bytes) => bytes.len(),
            Self::Floats(rows) => rows.len(),
        }
    }

    /// x and y of a feature, 0 to 1; `row` is the number of values of a feature's row.
    pub(crate) fn place(self, feature: usize, row: usize) -> [f32; 2] {
        let at = feature * row;
        match self {
            Self::Packed(bytes) => [bytes[at], bytes[at + 1]].map(|v| f32::from(v) / 255.0),
            Self::Floats(rows) => [rows[at], rows[at + 1]],
        }
    }

    /// In full precision; `row` is the number of values of a feature's row.
    pub(crate) fn floats(self, row: usize) -> Cow<'a, [f32]> {
        match self {
            Self::Packed(bytes) => Cow::Owned(quantize::dequantize(bytes, row)),
            Self::Floats(rows) => Cow::Borrowed(rows),
        }
    }
}

/// The reranker's score of one pair.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct PairScore {
    /// Raw outputs: different place, same place.
    pub logits: [f32; 2],
    /// Probability of the same place, 0 to 1, by which candidates are ranked: softmax of the logits, or with RANSAC's inliers
    /// if the model [weighs](r2former_model::InlierWeights) them.
    pub score: f32,
}

impl PairScore {
    fn of(logits: [f32; 2]) -> Self {
        Self { logits, score: 1.0 / (1.0 + (logits[0] - logits[1]).exp()) }
    }
}

/// Compares one query with candidates, whose local features are in 8 bits as an index stores them (`&[u8]`) or in full
/// precision (`&[f32]`).
///
/// # Errors
/// [`EngineError::Request`] for a model without a reranker, or local features that are not whole rows;
/// [`EngineError::Compute`] for a failing device.
pub fn rerank<'a, R>(extractor: &Extractor, query: &[f32], candidates: &[R]) -> Result<Vec<PairScore>>
where
    R: Copy + Into<LocalRows<'a>>,
{
    let candidates: Vec<LocalRows<'a>> = candidates.iter().map(|rows| (*rows).into()).collect();
    let mut ransac = Vec::new();
    if weights(extractor).is_some() && !candidates.is_empty() {
        let verifier = Verifier::new(extractor, query)?;
        ransac = candidates.par_iter().map(|rows| verifier.score(*rows)).collect();
    }
    rerank_verified(extractor, query, &candidates, &ransac)
}

/// As [`rerank`], of candidates whose RANSAC scores are known; not looked at where the model does not weigh them.
pub(crate) fn rerank_verified(
    extractor: &Extractor,
    query: &[f32],
    candidates: &[LocalRows<'_>],
    ransac: &[f32],
) -> Result<Vec<PairScore>> {
    let mut pairs = by_network(extractor, query, candidates)?;
    if let Some(weights) = weights(extractor) {
        for (pair, ransac) in pairs.iter_mut().zip(ransac) {
            pair.score = weights.score(pair.logits, *ransac);
        }
    }
    Ok(pairs)
}

/// How the model weighs inliers beside its logits.
fn weights(extractor: &Extractor) -> Option<InlierWeights> {
    extractor.config().reranker.as_ref()?.inliers
}

/// The network's logits, and their softmax as score.
fn by_network(extractor: &Extractor, query: &[f32], candidates: &[LocalRows<'_>]) -> Result<Vec<PairScore>> {
    if let Some((fused, prepared)) = prepare(extractor, query)? {
        let score = |candidate: &LocalRows<'_>| {
            covered(match candidate {
                LocalRows::Packed(bytes) => fused.score_bytes(&prepared, bytes),
                LocalRows::Floats(rows) => fused.score_floats(&prepared, rows),
            })
        };
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
/// As [`rerank`].
pub fn score_pair(extractor: &Extractor, query: &[f32], reference: &[f32]) -> Result<PairScore> {
    let scores = rerank(extractor, query, &[reference])?;
    scores.first().copied().ok_or_else(|| EngineError::Compute("no score came back".into()))
}

/// The kernel and the query prepared for it; `None` where the kernel does not cover the model or the query.
fn prepare<'a>(
    extractor: &'a Extractor,
    query: &[f32],
) -> Result<Option<(&'a r2former_kernels::Reranker, Query)>> {
    let Some(fused) = extractor.fused() else { return Ok(None) };
    match fused.query(query) {
        Ok(query) => Ok(Some((fused, query))),
        Err(KernelError::Unsupported(_)) => Ok(None),
        Err(error) => Err(EngineError::Request(error.to_string())),
    }
}

/// The score; `None` where the kernel does not cover the candidate.
fn covered(logits: Result<[f32; 2], KernelError>) -> Result<Option<PairScore>> {
    match logits {
        Ok(logits) => Ok(Some(PairScore::of(logits))),
        Err(KernelError::Unsupported(_)) => Ok(None),
        Err(error) => Err(EngineError::Request(error.to_string())),
    }
}

/// The model's own scores.
fn by_model(extractor: &Extractor, query: &[f32], candidates: &[LocalRows<'_>]) -> Result<Vec<PairScore>> {
    let row = extractor.config().local_row();
    let mut scores = Vec::with_capacity(candidates.len());
    let mut rest = candidates;
    while let Some(first) = rest.first() {
        // A batch holds candidates with equally many features.
        let alike = rest.iter().take(CHUNK).take_while(|c| c.len() == first.len()).count();
        let (chunk, next) = rest.split_at(alike);
        scores.extend(extractor.pair_limit.run(chunk, |chunk| {
            let rows: Vec<f32> = chunk.iter().flat_map(|rows| rows.floats(row).into_owned()).collect();
            batch(extractor, query, rows, chunk.len())
        })?);
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
