//! A pre-norm transformer block, as in timm and DINOv2.

use super::adapter::Adapter;
use super::block_op::{BlockTensors, block};
use super::gelu::gelu;
use super::gradient_kernels;
use super::projection::{Projection, product_bf16};
use super::rope::Rope;
use super::values::Values;
use crate::Precision;
use crate::weights::{Init, TensorReader, TensorWriter};
use burn::module::{Module, Param};
use burn::nn::LayerNorm;
use burn::tensor::activation::{silu, softmax};
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{DType, Device, Tensor};
use r2former_kernels::gradient::Shape;

/// Sizes of one block.
#[derive(Debug, Clone, Copy)]
pub struct BlockConfig {
    /// Token width.
    pub dim: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of the MLP.
    pub hidden: usize,
    /// Whether the MLP is gated, `w3(silu(w1 x) * w2 x)` (SwiGLU), rather than `fc2(gelu(fc1 x))`.
    pub gated: bool,
    /// Epsilon of the norms.
    pub norm_eps: f64,
    /// Whether each branch ends in a LayerScale.
    pub layer_scale: bool,
    /// Precision of the matrix products.
    pub precision: Precision,
}

/// Factor of the adapter beside an MLP, in the published code of CricaVPR and SelaVPR.
pub const PARALLEL: f64 = 0.2;

/// What some models add to a block.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extras<'a> {
    /// Rotary positions.
    pub rope: Option<&'a Rope>,
    /// An adapter whose output is added to that of the attention.
    pub serial: Option<&'a Adapter>,
    /// An adapter beside the MLP.
    pub parallel: Option<&'a Adapter>,
    /// Rows and columns of patches, which adapters need.
    pub grid: [usize; 2],
}

impl Extras<'_> {
    fn is_empty(&self) -> bool {
        self.rope.is_none() && self.serial.is_none() && self.parallel.is_none()
    }
}

/// A pre-norm block: `x + attention(norm1(x))`, then `x + mlp(norm2(x))`.
#[derive(Module, Debug)]
pub struct Block {
    norm1: LayerNorm,
    qkv: Projection,
    proj: Projection,
    scale1: Option<Param<Tensor<1>>>,
    norm2: LayerNorm,
    /// `mlp.fc1`; of a gated MLP `mlp.w12`, twice as wide.
    fc1: Projection,
    /// `mlp.fc2` or `mlp.w3`.
    fc2: Projection,
    scale2: Option<Param<Tensor<1>>>,
    heads: usize,
    gated: bool,
    #[module(skip)]
    epsilon: f64,
    #[module(skip)]
    precision: Precision,
}

impl Block {
    /// Builds the block from the tensors under `{name}.`, with timm's names.
    pub fn load(reader: &mut TensorReader, name: &str, c: &BlockConfig) -> Self {
        let scale = |reader: &mut TensorReader, part: &str| {
            c.layer_scale
                .then(|| reader.param(&format!("{name}.{part}.gamma"), [c.dim], Init::Constant(1e-5)))
        };
        let (dim, hidden, precision) = (c.dim, c.hidden, c.precision);
        let [first, second] = mlp_names(c.gated);
        let inner = if c.gated { 2 * hidden } else { hidden };
        Self {
            norm1: reader.layer_norm(&format!("{name}.norm1"), dim, c.norm_eps),
            qkv: Projection::load(reader, &format!("{name}.attn.qkv"), dim, 3 * dim, precision),
            proj: Projection::load(reader, &format!("{name}.attn.proj"), dim, dim, precision),
            scale1: scale(reader, "ls1"),
            norm2: reader.layer_norm(&format!("{name}.norm2"), dim, c.norm_eps),
            fc1: Projection::load(reader, &format!("{name}.mlp.{first}"), dim, inner, precision),
            fc2: Projection::load(reader, &format!("{name}.mlp.{second}"), hidden, dim, precision),
            scale2: scale(reader, "ls2"),
            heads: c.heads,
            gated: c.gated,
            epsilon: c.norm_eps,
            precision,
        }
    }

    /// Writes the tensors that [`load`](Self::load) reads.
    pub fn save(&self, writer: &mut TensorWriter, name: &str) {
        writer.layer_norm(&format!("{name}.norm1"), &self.norm1);
        self.qkv.save(writer, &format!("{name}.attn.qkv"));
        self.proj.save(writer, &format!("{name}.attn.proj"));
        writer.layer_norm(&format!("{name}.norm2"), &self.norm2);
        let [first, second] = mlp_names(self.gated);
        self.fc1.save(writer, &format!("{name}.mlp.{first}"));
        self.fc2.save(writer, &format!("{name}.mlp.{second}"));
        for (part, scale) in [("ls1", &self.scale1), ("ls2", &self.scale2)] {
            if let Some(gamma) = scale {
                writer.tensor(&format!("{name}.{part}.gamma"), gamma.val());
            }
        }
    }

    /// Computes every token.
    ///
    /// # Shapes
    /// - x: `[batch, tokens, dim]`
    /// - output: `[batch, tokens, dim]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.forward_with(x, &Extras::default())
    }

    /// [`forward`](Self::forward) with what some models add to it.
    pub fn forward_with(&self, x: Tensor<3>, extras: &Extras<'_>) -> Tensor<3> {
        if extras.is_empty()
            && let Some((out, _)) = self.by_kernel(&x, x.dims()[1], 0)
        {
            return out;
        }
        self.forward_plain(x, extras)
    }

    fn forward_plain(&self, x: Tensor<3>, extras: &Extras<'_>) -> Tensor<3> {
        let (q, k, v) = self.heads_of(self.norm1.forward(x.clone()), extras.rope);
        self.after_attention(x, self.attend(q, k, v), extras)
    }

    /// [`forward`](Self::forward) that also returns the attention of the first `rows` tokens to every token, summed over
    /// heads and rows and detached, from the same probabilities.
    ///
    /// # Shapes
    /// - x: `[batch, tokens, dim]`
    /// - output: `[batch, tokens, dim]` and `[batch, tokens]`
    pub fn forward_with_attention(&self, x: Tensor<3>, rows: usize) -> (Tensor<3>, Tensor<2>) {
        self.forward_with_attention_and(x, rows, &Extras::default())
    }

    /// [`forward_with_attention`](Self::forward_with_attention) with what some models add to it.
    pub fn forward_with_attention_and(
        &self,
        x: Tensor<3>,
        rows: usize,
        extras: &Extras<'_>,
    ) -> (Tensor<3>, Tensor<2>) {
        let kernel = if extras.is_empty() { self.by_kernel(&x, x.dims()[1], rows) } else { None };
        kernel.unwrap_or_else(|| self.forward_with_attention_plain(x, rows, extras))
    }

    fn forward_with_attention_plain(
        &self,
        x: Tensor<3>,
        rows: usize,
        extras: &Extras<'_>,
    ) -> (Tensor<3>, Tensor<2>) {
        let (q, k, v) = self.heads_of(self.norm1.forward(x.clone()), extras.rope);
        let probabilities = self.probabilities(q, k);
        let [batch, _, tokens, _] = probabilities.dims();
        let attended = probabilities.clone().detach().narrow(2, 0, rows);
        let attended = attended.sum_dims_squeeze::<2, _>(&[1, 2]).reshape([batch, tokens]);
        (self.after_attention(x, self.weigh(probabilities, v), extras), attended)
    }

    /// The query (not scaled), key or value (`part` 0, 1, 2) of each token, all heads.
    ///
    /// # Shapes
    /// - x: `[batch, tokens, dim]`
    /// - output: `[batch, tokens, dim]`
    pub fn facet(&self, x: Tensor<3>, part: usize) -> Tensor<3> {
        self.values().facet(x, part)
    }

    /// The block's first part, whose tensors are shared with it.
    pub fn values(&self) -> Values {
        Values::new(self.norm1.clone(), self.qkv.clone(), self.heads)
    }

    /// Computes the first token alone; the others serve as keys and values only.
    ///
    /// # Shapes
    /// - x: `[batch, tokens, dim]`
    /// - output: `[batch, 1, dim]`
    pub fn forward_first(&self, x: Tensor<3>) -> Tensor<3> {
        if let Some((out, _)) = self.by_kernel(&x, 1, 0) {
            return out;
        }
        self.forward_first_plain(x)
    }

    fn forward_first_plain(&self, x: Tensor<3>) -> Tensor<3> {
        let (q, k, v) = self.heads_of(self.norm1.forward(x.clone()), None);
        self.after_attention(x.narrow(1, 0, 1), self.attend(q.narrow(2, 0, 1), k, v), &Extras::default())
    }

    /// The first `outputs` tokens and the attention of the first `class_tokens`, by the CPU kernels if the device is a
    /// CPU with autodiff and the block is supported. Without autodiff the plain operations remain the reference of the
    /// forward-only kernels.
    fn by_kernel(
        &self,
        x: &Tensor<3>,
        outputs: usize,
        class_tokens: usize,
    ) -> Option<(Tensor<3>, Tensor<2>)> {
        let device = x.device();
        let supported = self.precision != Precision::Bf16
            && self.scale1.is_none()
            && !self.gated
            && x.dtype() == DType::F32
            && device.is_autodiff()
            && device.inner() == Device::flex()
            && gradient_kernels();
        if !supported {
            return None;
        }
        let [_, tokens, dim] = x.dims();
        let norm = |norm: &LayerNorm| Some([norm.gamma.val(), norm.beta.as_ref()?.val()]);
        let ([norm1_w, norm1_b], [norm2_w, norm2_b]) = (norm(&self.norm1)?, norm(&self.norm2)?);
        let [(qkv_w, qkv_b), (proj_w, proj_b), (fc1_w, fc1_b), (fc2_w, fc2_b)] =
            [self.qkv.parts()?, self.proj.parts()?, self.fc1.parts()?, self.fc2.parts()?];
        let shape = Shape {
            dim,
            heads: self.heads,
            hidden: fc1_b.dims()[0],
            epsilon: self.epsilon as f32,
            tokens,
            outputs,
            class_tokens,
        };
        let vectors = [norm1_w, norm1_b, qkv_b, proj_b, norm2_w, norm2_b, fc1_b, fc2_b];
        let tensors = BlockTensors::new(vectors, [qkv_w, proj_w, fc1_w, fc2_w]);
        Some(block(x.clone(), tensors, shape))
    }

    /// Queries (scaled), keys and values, each `[batch, heads, tokens, head_dim]`; the first two turned by positions.
    fn heads_of(&self, x: Tensor<3>, rope: Option<&Rope>) -> (Tensor<4>, Tensor<4>, Tensor<4>) {
        let [batch, tokens, dim] = x.dims();
        let head_dim = dim / self.heads;
        let qkv =
            self.qkv.forward(x).reshape([batch, tokens, 3, self.heads, head_dim]).permute([2, 0, 3, 1, 4]);
        let part = |i: usize| -> Tensor<4> { qkv.clone().narrow(0, i, 1).squeeze_dim(0) };
        let turned = |x: Tensor<4>| match rope {
            Some(rope) => rope.rotate(x),
            None => x,
        };
        (turned(part(0)).mul_scalar((head_dim as f64).powf(-0.5)), turned(part(1)), part(2))
    }

    /// The context `[batch, tokens, dim]`.
    ///
    /// Burn's attention operation runs on the CPU alone. On other devices it may choose among kernels by the
    /// machine, the shape and what was compiled in, and heads of 8 values over 6 tokens (the reranker's) are far
    /// below the tiles of the fused ones; two products and a softmax are the same operations with gradients and
    /// without, so a device that trains rightly also answers rightly.
    fn attend(&self, q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<3> {
        match self.precision {
            // Queries are scaled already.
            Precision::F32 | Precision::Int8 if q.device() == Device::flex() => {
                let options = AttentionModuleOptions { scale: Some(1.0), ..Default::default() };
                joined(attention(q, k, v, None, None, options))
            }
            _ => self.weigh(self.probabilities(q, k), v),
        }
    }

    /// Attention probabilities, `[batch, heads, queries, keys]`.
    fn probabilities(&self, q: Tensor<4>, k: Tensor<4>) -> Tensor<4> {
        softmax(self.product(q, k.swap_dims(2, 3)), 3)
    }

    fn weigh(&self, probabilities: Tensor<4>, v: Tensor<4>) -> Tensor<3> {
        joined(self.product(probabilities, v))
    }

    fn product(&self, a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
        match self.precision {
            Precision::F32 | Precision::Int8 => a.matmul(b),
            Precision::Bf16 => product_bf16(a, b),
        }
    }

    fn after_attention(&self, x: Tensor<3>, context: Tensor<3>, extras: &Extras<'_>) -> Tensor<3> {
        let mut attended = self.proj.forward(context);
        if let Some(adapter) = extras.serial {
            attended = attended.clone() + adapter.forward(attended, extras.grid);
        }
        let x = x + scaled(attended, &self.scale1);
        let normed = self.norm2.forward(x.clone());
        let hidden = self.fc1.forward(normed.clone());
        let hidden = if self.gated {
            let half = hidden.dims()[2] / 2;
            silu(hidden.clone().narrow(2, 0, half)) * hidden.narrow(2, half, half)
        } else {
            gelu(hidden)
        };
        let mut out = self.fc2.forward(hidden);
        if let Some(adapter) = extras.parallel {
            out = out + adapter.forward(normed, extras.grid).mul_scalar(PARALLEL);
        }
        x + scaled(out, &self.scale2)
    }
}

/// The two layers of the MLP, by timm's and DINOv2's names.
fn mlp_names(gated: bool) -> [&'static str; 2] {
    if gated { ["w12", "w3"] } else { ["fc1", "fc2"] }
}

/// Concatenates heads: `[batch, heads, tokens, head_dim]` to `[batch, tokens, dim]`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Tensors;
    use burn::tensor::TensorData;

    const SMALL: BlockConfig = BlockConfig {
        dim: 12,
        heads: 3,
        hidden: 24,
        gated: false,
        norm_eps: 1e-6,
        layer_scale: false,
        precision: Precision::F32,
    };

    fn noise(seed: &mut u32, shape: [usize; 3]) -> TensorData {
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| {
                *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (*seed >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect();
        TensorData::new(values, shape)
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    /// Output, and gradients of the input and of every parameter, under a weighted sum of the output.
    fn gradients(
        tensors: &Tensors,
        x: &TensorData,
        device: &Device,
        run: impl Fn(&Block, Tensor<3>) -> Tensor<3>,
    ) -> (Vec<f32>, Vec<Vec<f32>>) {
        let mut reader = TensorReader::from_tensors(tensors.clone(), device);
        let block = Block::load(&mut reader, "b", &SMALL);
        reader.finish().unwrap();
        let x = Tensor::<3>::from_data(x.clone(), device).require_grad();
        let out = run(&block, x.clone());
        let weights = noise(&mut 5, out.dims());
        let grads = (out.clone() * Tensor::from_data(weights, device)).sum().backward();
        let of = |linear: &Projection| {
            let (weight, bias) = linear.parts().unwrap();
            vec![values(weight.grad(&grads).unwrap()), values(bias.grad(&grads).unwrap())]
        };
        let mut found = vec![values(x.grad(&grads).unwrap())];
        for norm in [&block.norm1, &block.norm2] {
            found.push(values(norm.gamma.val().grad(&grads).unwrap()));
            found.push(values(norm.beta.as_ref().unwrap().val().grad(&grads).unwrap()));
        }
        for linear in [&block.qkv, &block.proj, &block.fc1, &block.fc2] {
            found.extend(of(linear));
        }
        (values(out), found)
    }

    #[test]
    fn kernel_gradients_equal_burns() {
        let plain = Device::flex().autodiff();
        let mut reader = TensorReader::random(1, &Device::flex());
        let block = Block::load(&mut reader, "b", &SMALL);
        let mut writer = TensorWriter::default();
        block.save(&mut writer, "b");
        let mut tensors = writer.finish().unwrap();
        // Initial weights are so small that attention is nearly uniform.
        tensors.values_mut().for_each(|t| t.data.iter_mut().for_each(|v| *v *= 12.0));

        type Forward = fn(&Block, Tensor<3>) -> Tensor<3>;
        let passes: [(Forward, Forward); 3] = [
            (Block::forward, |b, x| b.forward_plain(x, &Extras::default())),
            (Block::forward_first, Block::forward_first_plain),
            (
                |b, x| b.forward_with_attention(x, 1).0,
                |b, x| b.forward_with_attention_plain(x, 1, &Extras::default()).0,
            ),
        ];
        for shape in [[2, 5, 12], [3, 30, 12], [1, 1, 12]] {
            let x = noise(&mut 9, shape);
            for (kernel, reference) in passes {
                let expected = gradients(&tensors, &x, &plain, reference);
                // With gradient checkpointing the forward pass runs twice, with the same result.
                for device in [plain.clone(), Device::flex().autodiff().gradient_checkpointing()] {
                    let found = gradients(&tensors, &x, &device, kernel);
                    let pairs =
                        std::iter::once((&found.0, &expected.0)).chain(found.1.iter().zip(&expected.1));
                    for (found, expected) in pairs {
                        let size = expected.iter().fold(1.0f32, |a, b| a.max(b.abs()));
                        for (f, e) in found.iter().zip(expected) {
                            assert!((f - e).abs() < 2e-4 * size, "{shape:?}: {f}, not {e}");
                        }
                    }
                }
            }
            let attention_of = |device: &Device, plain: bool| {
                let mut reader = TensorReader::from_tensors(tensors.clone(), device);
                let block = Block::load(&mut reader, "b", &SMALL);
                let x = Tensor::<3>::from_data(x.clone(), device);
                values(
                    if plain {
                        block.forward_with_attention_plain(x, 1, &Extras::default())
                    } else {
                        block.forward_with_attention(x, 1)
                    }
                    .1,
                )
            };
            for (found, expected) in attention_of(&plain, false).iter().zip(attention_of(&plain, true)) {
                assert!((found - expected).abs() < 1e-5);
            }
        }
    }
}
