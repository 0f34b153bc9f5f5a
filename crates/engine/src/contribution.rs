//! Which local features move the reranker: its margin without each of the query's features.

use crate::{Extractor, Result, score_pair};
use rayon::prelude::*;
use serde::Serialize;

/// A feature of the query, its most similar one in the reference, and what it does to the score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Contribution {
    /// x and y in the query, 0 to 1 of the longer side of the network's input.
    pub query: [f32; 2],
    /// x and y of the most similar feature in the reference.
    pub reference: [f32; 2],
    /// Cosine of the two.
    pub similarity: f32,
    /// Drop of the margin (logit of "same place" minus logit of "different place") without the feature: above 0, the
    /// feature is evidence for the same place.
    pub margin: f32,
}

/// The contribution of each of the query's local features, in their order; both sides in full precision as the
/// extractor gives them.
///
/// This scores one pair for each feature of the query.
///
/// # Errors
/// [`EngineError::Request`](crate::EngineError::Request) for a model without a reranker,
/// [`EngineError::Compute`](crate::EngineError::Compute) for a failing device.
pub fn contributions(extractor: &Extractor, query: &[f32], reference: &[f32]) -> Result<Vec<Contribution>> {
    let row = extractor.config().local_row();
    let margin = |rows: &[f32]| -> Result<f32> {
        let [different, same] = score_pair(extractor, rows, reference)?.logits;
        Ok(same - different)
    };
    let whole = margin(query)?;
    let unit = |feature: &[f32]| -> Vec<f32> {
        let length = feature.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
        feature.iter().map(|v| v / length).collect()
    };
    let others: Vec<(&[f32], Vec<f32>)> =
        reference.chunks_exact(row).map(|values| (values, unit(&values[3..]))).collect();
    (0..query.len() / row)
        .into_par_iter()
        .map(|i| {
            let own = &query[i * row..][..row];
            let feature = unit(&own[3..]);
            let similarity = |other: &[f32]| -> f32 { feature.iter().zip(other).map(|(a, b)| a * b).sum() };
            let best = others
                .iter()
                .map(|(values, other)| (similarity(other), [values[0], values[1]]))
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .unwrap_or((0.0, [0.0; 2]));
            let without = [&query[..i * row], &query[(i + 1) * row..]].concat();
            Ok(Contribution {
                query: [own[0], own[1]],
                reference: best.1,
                similarity: best.0,
                margin: whole - margin(&without)?,
            })
        })
        .collect()
}
