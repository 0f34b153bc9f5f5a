//! A pre-norm transformer block, as in timm and DINOv2.

use super::projection::{Projection, round_bf16};
use crate::Precision;
use crate::weights::{Init, Put, Take};
use burn::module::{Module, Param};
use burn::nn::LayerNorm;
use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, softmax};
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;

/// Sizes of one block.
#[derive(Debug, Clone, Copy)]
pub struct BlockConfig {
    /// Token width.
    pub dim: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the MLP over `dim`.
    pub mlp_ratio: usize,
    /// Epsilon of the norms.
    pub norm_eps: f64,
    /// Whether each branch ends in a per-channel scale.
    pub layer_scale: bool,
    /// Arithmetic of the products.
    pub precision: Precision,
}

/// `x + attention(norm1(x))`, then `x + mlp(norm2(x))`.
#[derive(Module, Debug)]
pub struct Block {
    norm1: LayerNorm,
    qkv: Projection,
    proj: Projection,
    scale1: Option<Param<Tensor<1>>>,
    norm2: LayerNorm,
    fc1: Projection,
    fc2: Projection,
    scale2: Option<Param<Tensor<1>>>,
    heads: usize,
    #[module(skip)]
    precision: Precision,
}

impl Block {
    /// Takes the block's tensors under `{name}.`, with timm's names.
    pub fn load(take: &mut Take, name: &str, c: &BlockConfig) -> Self {
        let scale = |take: &mut Take, part: &str| {
            c.layer_scale.then(|| take.param(&format!("{name}.{part}.gamma"), [c.dim], Init::Constant(1e-5)))
        };
        let (dim, hidden, precision) = (c.dim, c.dim * c.mlp_ratio, c.precision);
        Self {
            norm1: take.layer_norm(&format!("{name}.norm1"), dim, c.norm_eps),
            qkv: Projection::load(take, &format!("{name}.attn.qkv"), dim, 3 * dim, precision),
            proj: Projection::load(take, &format!("{name}.attn.proj"), dim, dim, precision),
            scale1: scale(take, "ls1"),
            norm2: take.layer_norm(&format!("{name}.norm2"), dim, c.norm_eps),
            fc1: Projection::load(take, &format!("{name}.mlp.fc1"), dim, hidden, precision),
            fc2: Projection::load(take, &format!("{name}.mlp.fc2"), hidden, dim, precision),
            scale2: scale(take, "ls2"),
            heads: c.heads,
            precision,
        }
    }

    /// Puts what [`Block::load`] takes.
    pub fn save(&self, put: &mut Put, name: &str) {
        put.layer_norm(&format!("{name}.norm1"), &self.norm1);
        self.qkv.save(put, &format!("{name}.attn.qkv"));
        self.proj.save(put, &format!("{name}.attn.proj"));
        put.layer_norm(&format!("{name}.norm2"), &self.norm2);
        self.fc1.save(put, &format!("{name}.mlp.fc1"));
        self.fc2.save(put, &format!("{name}.mlp.fc2"));
        for (part, scale) in [("ls1", &self.scale1), ("ls2", &self.scale2)] {
            if let Some(gamma) = scale {
                put.tensor(&format!("{name}.{part}.gamma"), gamma.val());
            }
        }
    }

    /// # Shapes
    /// - x: `[batch, tokens, dim]`
    /// - output: `[batch, tokens, dim]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let (q, k, v) = self.heads_of(self.norm1.forward(x.clone()));
        self.after_attention(x, self.attend(q, k, v))
    }

    /// Also returns how much the first `rows` tokens attend to each token, summed over heads and
    /// rows. It costs no second attention; no gradient flows through it.
    ///
    /// # Shapes
    /// - x: `[batch, tokens, dim]`
    /// - output: `[batch, tokens, dim]` and `[batch, tokens]`
    pub fn forward_attending(&self, x: Tensor<3>, rows: usize) -> (Tensor<3>, Tensor<2>) {
        let (q, k, v) = self.heads_of(self.norm1.forward(x.clone()));
        let probabilities = self.probabilities(q, k);
        let [batch, _, tokens, _] = probabilities.dims();
        let attended = probabilities.clone().detach().narrow(2, 0, rows);
        let attended = attended.sum_dims_squeeze::<2, _>(&[1, 2]).reshape([batch, tokens]);
        (self.after_attention(x, self.weigh(probabilities, v)), attended)
    }

    /// The block's output for the first token alone: keys and values of all, the rest of one.
    ///
    /// # Shapes
    /// - x: `[batch, tokens, dim]`
    /// - output: `[batch, 1, dim]`
    pub fn forward_first(&self, x: Tensor<3>) -> Tensor<3> {
        let (q, k, v) = self.heads_of(self.norm1.forward(x.clone()));
        self.after_attention(x.narrow(1, 0, 1), self.attend(q.narrow(2, 0, 1), k, v))
    }

    /// `[batch, heads, tokens, head_dim]` of queries (already scaled), keys and values.
    fn heads_of(&self, x: Tensor<3>) -> (Tensor<4>, Tensor<4>, Tensor<4>) {
        let [batch, tokens, dim] = x.dims();
        let head_dim = dim / self.heads;
        let qkv =
            self.qkv.forward(x).reshape([batch, tokens, 3, self.heads, head_dim]).permute([2, 0, 3, 1, 4]);
        let part = |i: usize| {
            let part: Tensor<4> = qkv.clone().narrow(0, i, 1).squeeze_dim(0);
            match self.precision {
                Precision::F32 => part,
                Precision::Bf16 => round_bf16(part),
            }
        };
        (part(0).mul_scalar((head_dim as f64).powf(-0.5)), part(1), part(2))
    }

    /// The context `[batch, tokens, dim]`.
    fn attend(&self, q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<3> {
        match self.precision {
            // Queries are scaled already.
            Precision::F32 => {
                let options = AttentionModuleOptions { scale: Some(1.0), ..Default::default() };
                joined(attention(q, k, v, None, None, options))
            }
            Precision::Bf16 => self.weigh(self.probabilities(q, k), v),
        }
    }

    /// `[batch, heads, queries, keys]`; each row sums to one.
    fn probabilities(&self, q: Tensor<4>, k: Tensor<4>) -> Tensor<4> {
        softmax(q.matmul(k.swap_dims(2, 3)), 3)
    }

    fn weigh(&self, probabilities: Tensor<4>, v: Tensor<4>) -> Tensor<3> {
        joined(match self.precision {
            Precision::F32 => probabilities.matmul(v),
            Precision::Bf16 => round_bf16(probabilities).matmul(v),
        })
    }

    fn after_attention(&self, x: Tensor<3>, context: Tensor<3>) -> Tensor<3> {
        let x = x + scaled(self.proj.forward(context), &self.scale1);
        let hidden = gelu(self.fc1.forward(self.norm2.forward(x.clone())));
        x + scaled(self.fc2.forward(hidden), &self.scale2)
    }
}

/// Heads side by side: `[batch, heads, tokens, head_dim]` as `[batch, tokens, dim]`.
fn joined(context: Tensor<4>) -> Tensor<3> {
    let [batch, heads, tokens, head_dim] = context.dims();
    context.swap_dims(1, 2).reshape([batch, tokens, heads * head_dim])
}

fn scaled(x: Tensor<3>, scale: &Option<Param<Tensor<1>>>) -> Tensor<3> {
    match scale {
        Some(gamma) => x * gamma.val().unsqueeze(),
        None => x,
    }
}
