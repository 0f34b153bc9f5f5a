//! Local features of pairs to scores: by the fused kernel on a CPU, by the model itself elsewhere and for
//! what the kernel does not cover.

use crate::doctor::guarded;
use crate::geometry::Verifier;
use crate::host::Reading;
use crate::{EngineError, Extractor, Result};
use burn::tensor::{Tensor, TensorData, Transaction};
use r2former_kernels::{KernelError, Query};
use r2former_model::{Device, InlierWeights, quantize};
use rayon::prelude::*;

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

    fn is_packed(self) -> bool {
        matches!(self, Self::Packed(_))
    }

    /// x and y of a feature, 0 to 1; `row` is the number of values of a feature's row.
    pub(crate) fn place(self, feature: usize, row: usize) -> [f32; 2] {
        let at = feature * row;
        match self {
            Self::Packed(bytes) => [bytes[at], bytes[at + 1]].map(|v| f32::from(v) / 255.0),
            Self::Floats(rows) => [rows[at], rows[at + 1]],
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
    let (config, row) = (extractor.config(), extractor.config().local_row());
    let Some(reranker) = extractor.model().reranker.as_ref().filter(|_| row > 0) else {
        return Err(EngineError::Request(format!(
            "model {} has no reranker: use --rerank none, or a full model",
            config.name
        )));
    };
    let sides = candidates.iter().map(|rows| rows.len()).chain([query.len()]);
    if let Some(len) = sides.into_iter().find(|len| *len == 0 || !len.is_multiple_of(row)) {
        return Err(EngineError::Request(format!("local features of {len} values are not rows of {row}")));
    }
    let features = query.len() / row;
    let query = guarded(|| Ok(floats(query.to_vec(), [1, features, row], extractor.device())))?;
    let mut scores = Vec::with_capacity(candidates.len());
    // A batch holds candidates that are alike.
    let alike = candidates.chunk_by(|a, b| a.is_packed() == b.is_packed() && a.len() == b.len());
    let batches = alike.flat_map(|alike| {
        alike.chunks(extractor.batch_size.pairs(config, [features, alike[0].len() / row])).map(<[_]>::to_vec)
    });
    let start = |batch: &[LocalRows<'_>]| {
        let dims = [batch.len(), batch[0].len() / row, row];
        let references = transfer(batch, dims, extractor.device());
        let logits = reranker.forward(query.clone().repeat_dim(0, batch.len()), references)?;
        Ok(Reading::start(Transaction::default().register(logits)))
    };
    let each = |_, logits: Vec<Vec<f32>>| {
        scores.extend(logits.concat().as_chunks().0.iter().map(|pair| PairScore::of(*pair)));
        Ok(())
    };
    extractor.pair_limit.run(batches, start, Reading::finish, each)?;
    Ok(scores)
}

/// Local features that are alike, on the device: those in 8 bits are transferred as such.
fn transfer(rows: &[LocalRows<'_>], dims: [usize; 3], device: &Device) -> Tensor<3> {
    let (mut packed, mut whole) = (Vec::new(), Vec::new());
    for rows in rows {
        match rows {
            LocalRows::Packed(bytes) => packed.extend_from_slice(bytes),
            LocalRows::Floats(values) => whole.extend_from_slice(values),
        }
    }
    match whole.is_empty() {
        true => quantize::dequantize_on(&packed, dims, device),
        false => floats(whole, dims, device),
    }
}

fn floats(rows: Vec<f32>, dims: [usize; 3], device: &Device) -> Tensor<3> {
    Tensor::from_data(TensorData::new(rows, dims), device)
}
