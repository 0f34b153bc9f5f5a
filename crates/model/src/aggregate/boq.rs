//! BoQ (Ali-bey, Chaib-draa and Giguère, BoQ: A Place is Worth a Bag of Learnable Queries, CVPR 2024).
//!
//! The published code attends to the queries themselves before it attends to the image. That does not depend on the image,
//! so the import computes it once, and the query projection of the second attention with it.

use super::EPSILON;
use crate::layers::Projection;
use crate::weights::{Init, TensorReader, TensorWriter};
use crate::{BoqConfig, Precision};
use burn::module::{Module, Param};
use burn::nn::LayerNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;
use burn::tensor::activation::{relu, softmax};

/// Blocks of learned queries over the patches.
#[derive(Module, Debug)]
pub struct Boq {
    proj: Conv2d,
    norm: LayerNorm,
    blocks: Vec<Block>,
    fc: Projection,
}

/// An encoder layer (post-norm, ReLU) over the patches, and queries that attend to its output.
#[derive(Module, Debug)]
struct Block {
    qkv: Projection,
    out: Projection,
    norm1: LayerNorm,
    linear1: Projection,
    linear2: Projection,
    norm2: LayerNorm,
    /// Projected queries `[1, queries, width]`.
    query: Param<Tensor<3>>,
    kv: Projection,
    cross_out: Projection,
    norm_out: LayerNorm,
    heads: usize,
}

impl Boq {
    /// Builds the aggregation of tokens of `width` from the tensors under `{name}.`.
    pub fn load(
        reader: &mut TensorReader,
        name: &str,
        width: usize,
        c: &BoqConfig,
        precision: Precision,
    ) -> Self {
        let mut proj = reader.conv(&format!("{name}.proj_c"), [width, c.width], 3, 1);
        proj.bias = Some(reader.param(&format!("{name}.proj_c.bias"), [c.width], Init::Constant(0.0)));
        let norm = reader.layer_norm(&format!("{name}.norm_input"), c.width, EPSILON);
        let blocks =
            (0..c.layers).map(|i| Block::load(reader, &format!("{name}.boqs.{i}"), c, precision)).collect();
        let fc = Projection::load(reader, &format!("{name}.fc"), c.layers * c.queries, c.rows, precision);
        Self { proj, norm, blocks, fc }
    }

    /// Writes the tensors that [`load`](Self::load) reads.
    pub fn save(&self, writer: &mut TensorWriter, name: &str) {
        writer.conv(&format!("{name}.proj_c"), &self.proj);
        if let Some(bias) = &self.proj.bias {
            writer.tensor(&format!("{name}.proj_c.bias"), bias.val());
        }
        writer.layer_norm(&format!("{name}.norm_input"), &self.norm);
        for (i, block) in self.blocks.iter().enumerate() {
            block.save(writer, &format!("{name}.boqs.{i}"));
        }
        self.fc.save(writer, &format!("{name}.fc"));
    }

    /// Aggregates the patches of a batch of images. Rows lie in the descriptor as `channel * rows + row`.
    ///
    /// # Shapes
    /// - patches: `[batch, rows * columns, width]` with `[rows, columns]` = `grid`
    /// - output: `[batch, descriptor]`, not normalised, and the attention of the queries, `[batch, patches]`
    pub fn forward(&self, patches: Tensor<3>, [rows, columns]: [usize; 2]) -> (Tensor<2>, Option<Tensor<2>>) {
        let [batch, count, width] = patches.dims();
        let map = self.proj.forward(patches.swap_dims(1, 2).reshape([batch, width, rows, columns]));
        let [_, width, ..] = map.dims();
        let mut x = self.norm.forward(map.reshape([batch, width, count]).swap_dims(1, 2));
        let mut outputs = Vec::with_capacity(self.blocks.len());
        let mut attention: Option<Tensor<2>> = None;
        for block in &self.blocks {
            x = block.encode(x);
            let (output, attended) = block.query(x.clone());
            outputs.push(output);
            let attended = attended.div_scalar(self.blocks.len() as f64);
            attention = Some(match attention {
                Some(before) => before + attended,
                None => attended,
            });
        }
        (self.project(Tensor::cat(outputs, 1)), attention)
    }

    /// The descriptor of what the queries of all blocks found.
    ///
    /// # Shapes
    /// - found: `[batch, layers * queries, width]`
    /// - output: `[batch, descriptor]`, not normalised
    pub fn project(&self, found: Tensor<3>) -> Tensor<2> {
        let [batch, _, width] = found.dims();
        let projected = self.fc.forward(found.swap_dims(1, 2));
        let [_, _, rows] = projected.dims();
        projected.reshape([batch, width * rows])
    }
}

impl Block {
    fn load(reader: &mut TensorReader, name: &str, c: &BoqConfig, precision: Precision) -> Self {
        let (width, encoder) = (c.width, format!("{name}.encoder"));
        let projection = |reader: &mut TensorReader, name: String, d_in: usize, d_out: usize| {
            Projection::load(reader, &name, d_in, d_out, precision)
        };
        Self {
            qkv: projection(reader, format!("{encoder}.self_attn.in_proj"), width, 3 * width),
            out: projection(reader, format!("{encoder}.self_attn.out_proj"), width, width),
            norm1: reader.layer_norm(&format!("{encoder}.norm1"), width, EPSILON),
            linear1: projection(reader, format!("{encoder}.linear1"), width, 4 * width),
            linear2: projection(reader, format!("{encoder}.linear2"), 4 * width, width),
            norm2: reader.layer_norm(&format!("{encoder}.norm2"), width, EPSILON),
            query: reader.param(&format!("{name}.query"), [1, c.queries, width], Init::Normal(1.0)),
            kv: projection(reader, format!("{name}.cross_attn.kv"), width, 2 * width),
            cross_out: projection(reader, format!("{name}.cross_attn.out_proj"), width, width),
            norm_out: reader.layer_norm(&format!("{name}.norm_out"), width, EPSILON),
            heads: c.heads,
        }
    }

    fn save(&self, writer: &mut TensorWriter, name: &str) {
        let encoder = format!("{name}.encoder");
        for (part, projection) in [
            (format!("{encoder}.self_attn.in_proj"), &self.qkv),
            (format!("{encoder}.self_attn.out_proj"), &self.out),
            (format!("{encoder}.linear1"), &self.linear1),
            (format!("{encoder}.linear2"), &self.linear2),
            (format!("{name}.cross_attn.kv"), &self.kv),
            (format!("{name}.cross_attn.out_proj"), &self.cross_out),
        ] {
            projection.save(writer, &part);
        }
        for (part, norm) in [
            (format!("{encoder}.norm1"), &self.norm1),
            (format!("{encoder}.norm2"), &self.norm2),
            (format!("{name}.norm_out"), &self.norm_out),
        ] {
            writer.layer_norm(&part, norm);
        }
        writer.tensor(&format!("{name}.query"), self.query.val());
    }

    /// The encoder layer: `[batch, tokens, width]` to the same.
    fn encode(&self, x: Tensor<3>) -> Tensor<3> {
        let qkv = self.qkv.forward(x.clone());
        let width = x.dims()[2];
        let part = |i: usize| self.by_head(qkv.clone().narrow(2, i * width, width));
        let context = attend(part(0), part(1), part(2)).0;
        let x = self.norm1.forward(x + self.out.forward(context));
        let hidden = relu(self.linear1.forward(x.clone()));
        self.norm2.forward(x + self.linear2.forward(hidden))
    }

    /// What the queries find in the tokens, `[batch, queries, width]`, and their attention, summed over queries and averaged
    /// over heads, `[batch, tokens]`.
    fn query(&self, x: Tensor<3>) -> (Tensor<3>, Tensor<2>) {
        let [batch, tokens, width] = x.dims();
        let kv = self.kv.forward(x);
        let part = |i: usize| self.by_head(kv.clone().narrow(2, i * width, width));
        let query = self.by_head(self.query.val().repeat_dim(0, batch));
        let (context, probabilities) = attend(query, part(0), part(1));
        let attended = probabilities.sum_dim(2).mean_dim(1).reshape([batch, tokens]);
        (self.norm_out.forward(self.cross_out.forward(context)), attended)
    }

    /// `[batch, tokens, width]` as `[batch, heads, tokens, head size]`.
    fn by_head(&self, x: Tensor<3>) -> Tensor<4> {
        let [batch, tokens, width] = x.dims();
        x.reshape([batch, tokens, self.heads, width / self.heads]).swap_dims(1, 2)
    }
}

/// Attention of queries, keys and values of `[batch, heads, tokens, head size]`, heads concatenated, and its probabilities.
fn attend(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> (Tensor<3>, Tensor<4>) {
    let [batch, heads, tokens, size] = q.dims();
    let scores = q.mul_scalar((size as f64).powf(-0.5)).matmul(k.swap_dims(2, 3));
    let probabilities = softmax(scores, 3);
    let context = probabilities.clone().matmul(v).swap_dims(1, 2).reshape([batch, tokens, heads * size]);
    (context, probabilities)
}
