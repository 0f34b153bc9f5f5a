//! The stages of a model as functions of arrays on the host, whatever computes them.

use super::Array;
use crate::Result;
use r2former_model::backbone::Tokens;

/// What a backbone gives for a batch of images.
#[derive(Debug, Clone)]
pub struct BackboneOutput {
    /// What the global head reads, `[batch, tokens, width]`; the first tokens alone where it reads no others.
    pub last: Array,
    /// What local features are made of, `[batch, tokens, width]`.
    pub local: Array,
    /// The attention of each patch, `[batch, patches]`; none for a backbone without attention.
    pub attention: Option<Array>,
    /// Tokens before the patches in `last` and in `local`.
    pub prefix: [usize; 2],
}

/// The best matches of every feature of one side.
#[derive(Debug, Clone)]
pub struct BestMatches {
    /// Correlations, `[pairs, count, k]`, the best first.
    pub correlation: Array,
    /// Numbers of the matched features on the other side, as `correlation`.
    pub other: Vec<i64>,
}

/// One implementation of every stage: the model's own operations on some device, the CPU kernels, or the reference.
///
/// Arrays go in and come out on the host, so that implementations can be compared stage by stage, each on the same
/// input, and one of them can be wrapped to see that a fault is found.
pub trait Compute {
    /// Pixels to tokens.
    ///
    /// # Errors
    /// A failing device.
    fn tokens(&self, images: &Array) -> Result<BackboneOutput>;

    /// The last block of the backbone: its output and what its class tokens attend to (`[batch, tokens]`). `None`
    /// for a backbone without blocks.
    ///
    /// # Errors
    /// A failing device.
    fn block(&self, tokens: &Array) -> Result<Option<[Array; 2]>>;

    /// The `count` most attended patches: x, y, attention and token, `[batch, count, 3 + width]`.
    ///
    /// # Errors
    /// A failing device.
    fn select(&self, attention: &Array, tokens: &Array, count: usize) -> Result<Array>;

    /// Global descriptors of what [`tokens`](Self::tokens) gives.
    ///
    /// # Errors
    /// A failing device.
    fn global(&self, last: &Array, prefix: usize) -> Result<Array>;

    /// Local features of selected tokens `[batch, count, 3 + width]`. `None` for a model without them.
    ///
    /// # Errors
    /// A failing device.
    fn local(&self, selected: &Array) -> Result<Option<Array>>;

    /// The best matches of both sides' local features `[pairs, count, row]`, the query's first.
    ///
    /// # Errors
    /// A failing device.
    fn correlate(&self, query: &Array, reference: &Array) -> Result<[BestMatches; 2]>;

    /// The reranker's first stack over the matches of features, `[features, k, dim]`.
    ///
    /// # Errors
    /// A failing device.
    fn feature_tokens(&self, matches: &Array) -> Result<Array>;

    /// Its second stack over the features of pairs, `[pairs, count, dim]`.
    ///
    /// # Errors
    /// A failing device.
    fn pair_tokens(&self, features: &Array) -> Result<Array>;

    /// Logits `[pairs, 2]` of local features `[pairs, count, row]`.
    ///
    /// # Errors
    /// A failing device.
    fn logits(&self, query: &Array, reference: &Array) -> Result<Array>;
}

impl BackboneOutput {
    pub(super) fn of(tokens: Tokens) -> Result<Self> {
        let prefix = [tokens.last_prefix, tokens.local_prefix];
        Ok(Self {
            last: Array::of(tokens.last)?,
            local: Array::of(tokens.local)?,
            attention: tokens.attention.map(Array::of).transpose()?,
            prefix,
        })
    }
}
