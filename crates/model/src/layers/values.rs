//! The first part of a transformer block, up to the values of its attention.

use super::Rope;
use super::block::BlockConfig;
use super::projection::Projection;
use crate::weights::{TensorReader, TensorWriter};
use burn::module::Module;
use burn::nn::LayerNorm;
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

/// Norm, queries, keys and values of a block, heads side by side.
#[derive(Module, Debug)]
pub struct Values {
    norm1: LayerNorm,
    qkv: Projection,
    heads: usize,
}

impl Values {
    /// These layers.
    pub fn new(norm1: LayerNorm, qkv: Projection, heads: usize) -> Self {
        Self { norm1, qkv, heads }
    }

    /// Builds the part from the tensors under `{name}.`, with timm's names.
    pub fn load(reader: &mut TensorReader, name: &str, c: &BlockConfig) -> Self {
        Self {
            norm1: reader.layer_norm(&format!("{name}.norm1"), c.dim, c.norm_eps),
            qkv: Projection::load(reader, &format!("{name}.attn.qkv"), c.dim, 3 * c.dim, c.precision),
            heads: c.heads,
        }
    }

    /// Writes the tensors that [`load`](Self::load) reads.
    pub fn save(&self, writer: &mut TensorWriter, name: &str) {
        writer.layer_norm(&format!("{name}.norm1"), &self.norm1);
        self.qkv.save(writer, &format!("{name}.attn.qkv"));
    }

    /// The query (not scaled), key or value (`part` 0, 1, 2) of each token, all heads, without any rotation of positions.
    ///
    /// # Shapes
    /// - x: `[batch, tokens, dim]`
    /// - output: `[batch, tokens, dim]`
    pub fn facet(&self, x: Tensor<3>, part: usize) -> Tensor<3> {
        let dim = x.dims()[2];
        self.qkv.forward_columns(self.norm1.forward(x), part * dim, dim)
    }

    /// The values of every token, and the attention of the first `rows` tokens to every token, summed over heads and rows
    /// and detached.
    ///
    /// # Shapes
    /// - x: `[batch, tokens, dim]`
    /// - output: `[batch, tokens, dim]` and `[batch, tokens]`
    pub fn forward(&self, x: Tensor<3>, rows: usize, rope: Option<&Rope>) -> (Tensor<3>, Tensor<2>) {
        let [batch, tokens, dim] = x.dims();
        let size = dim / self.heads;
        let qkv = self.qkv.forward(self.norm1.forward(x));
        let by_head = |part: usize| {
            let part = qkv.clone().narrow(2, part * dim, dim).detach();
            let part = part.reshape([batch, tokens, self.heads, size]).swap_dims(1, 2);
            rope.map_or_else(|| part.clone(), |rope| rope.rotate(part.clone()))
        };
        let queries = by_head(0).narrow(2, 0, rows).mul_scalar((size as f64).powf(-0.5));
        let attention = softmax(queries.matmul(by_head(1).swap_dims(2, 3)), 3);
        let attended = attention.sum_dims_squeeze::<2, _>(&[1, 2]).reshape([batch, tokens]);
        (qkv.narrow(2, 2 * dim, dim), attended)
    }
}
