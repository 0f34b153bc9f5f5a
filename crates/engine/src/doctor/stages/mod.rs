//! The stages of extraction and reranking.

mod backbone;
mod heads;
mod rerank;

use super::{Extent, Kind, Stage};

/// Every stage of this crate, in the order of the pipeline.
pub(super) fn all() -> [&'static dyn Stage; 11] {
    [
        &backbone::PixelsToTokens,
        &backbone::BlockStage,
        &backbone::AttentionStage,
        &heads::Selection,
        &heads::GlobalHead,
        &heads::LocalHead,
        &rerank::Correlation,
        &rerank::BestMatchesStage,
        &rerank::FeatureStack,
        &rerank::PairStack,
        &rerank::Logits,
    ]
}

/// Inputs of a stage: kind, batch, and a size whose meaning is the stage's. In short, only the first ones.
fn cases(
    extent: Extent,
    all: &'static [(Kind, usize, usize)],
    short: usize,
) -> &'static [(Kind, usize, usize)] {
    match extent {
        Extent::Full => all,
        Extent::Short => &all[..short.min(all.len())],
    }
}

/// `1 image`, `7 images`.
fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
