//! The first part of a transformer block: its norm, and the projections to queries, keys and values.

use crate::buffer::{vectors, vectors_mut};
use crate::element::Element;
use crate::epilogue::Store;
#[cfg(target_arch = "x86_64")]
use crate::fixed::{Instructions, Normed};
use crate::matrix::Matrix;
use crate::norm::Norm;
use crate::panel::NR_VECTORS;
use crate::rotary::rotate;
use crate::weights::{KernelError, TensorSource};
use pulp::{Simd, WithSimd};

/// The packed weights of the first part of a block.
#[derive(Debug, Clone)]
pub(crate) struct Projections {
    pub(crate) norm: Norm,
    /// Query projection, scaled by log2(e) / sqrt(head size).
    pub(crate) q: Matrix,
    /// Key projection, then value projection.
    pub(crate) kv: Matrix,
    pub(crate) dim: usize,
    pub(crate) heads: usize,
    /// In 16 bits: queries; keys and values.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fixed: Option<Normed<2>>,
}

impl Projections {
    /// Packs `{name}.norm1` and `{name}.attn.qkv`.
    pub(crate) fn load(
        source: &TensorSource<'_>,
        name: &str,
        [dim, heads]: [usize; 2],
        epsilon: f32,
    ) -> Result<Self, KernelError> {
        let [weight, bias] = ["weight", "bias"].map(|part| format!("{name}.attn.qkv.{part}"));
        let (q, kv) = source.attention([&weight, &bias], dim, heads)?;
        Ok(Self {
            norm: source.norm(&format!("{name}.norm1"), dim, epsilon)?,
            q,
            kv,
            dim,
            heads,
            #[cfg(target_arch = "x86_64")]
            fixed: None,
        })
    }

    /// The layers in 16 bits; `None` where the sizes do not allow it.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn in_16_bits(
        &self,
        source: &TensorSource<'_>,
        machine: Instructions,
        name: &str,
    ) -> Result<Option<Normed<2>>, KernelError> {
        let dim = self.dim;
        let weight = source.get(&format!("{name}.attn.qkv.weight"), 3 * dim * dim)?;
        let bias = source.get(&format!("{name}.attn.qkv.bias"), 3 * dim)?;
        let scale = crate::weights::query_scale(dim / self.heads);
        let scaled = |values: &[f32]| values.iter().map(|v| v * scale).collect::<Vec<_>>();
        let q = (scaled(&weight[..dim * dim]), scaled(&bias[..dim]));
        let kv = (&weight[dim * dim..], &bias[dim..]);
        Ok(Normed::new(machine, &self.norm, [(&q.0, &q.1), kv]))
    }

    /// Whether they are in 16 bits.
    pub(crate) fn is_fixed(&self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self.fixed.is_some();
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// A panel in 16 bits, if the weights are.
    pub(crate) fn project_fixed(
        &self,
        x: &[f32],
        normed: &mut [f32],
        queries: Option<&mut [f32]>,
        kv: &mut [f32],
    ) -> bool {
        #[cfg(target_arch = "x86_64")]
        if let Some(fixed) = &self.fixed {
            fixed.apply(x, normed, [queries, Some(kv)]);
            return true;
        }
        let _ = (x, normed, queries, kv);
        false
    }
}

/// The first norm of some panels and the projections to keys and values, and to queries if `queries` is given.
pub(crate) struct Project<'a> {
    pub(crate) projections: &'a Projections,
    pub(crate) x: &'a [f32],
    /// Packed elements of queries, ready to be multiplied with keys.
    pub(crate) queries: Option<&'a mut [f32]>,
    /// Panels `[2 * dim, NR]`: keys (of 8 bits as [`quantise_rows`](crate::int8::DotProduct::quantise_rows) leaves them), then values.
    pub(crate) kv: &'a mut [f32],
    /// Cosines and sines of rotary positions ([`rotate`]); empty without them.
    pub(crate) turns: &'a [f32],
    pub(crate) normed: &'a mut [f32],
}

impl WithSimd for Project<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        if self.projections.project_fixed(self.x, self.normed, self.queries.as_deref_mut(), self.kv) {
            return;
        }
        let Projections { norm, q, kv, dim, heads, .. } = self.projections;
        let (dim, heads, turns) = (*dim, *heads, vectors::<S>(self.turns));
        let normed = vectors_mut::<S>(self.normed);
        norm.apply(simd, vectors::<S>(self.x), normed);
        let normed = q.input(simd, dim, normed);
        let size = dim / heads;
        let element = q.element().of_keys(size);
        if let Some(queries) = self.queries {
            let queries = vectors_mut::<S>(queries);
            q.multiply(simd, normed, queries, Store);
            rotate(simd, turns, [dim, size], queries, dim);
            element.convert(simd, size, queries);
        }
        let keys = vectors_mut::<S>(self.kv);
        kv.multiply(simd, normed, keys, Store);
        rotate(simd, turns, [dim, size], keys, 2 * dim);
        if let Element::Int8(products) = element {
            for panel in keys.chunks_exact_mut(2 * dim * NR_VECTORS) {
                products.quantise_rows(simd, size, &mut panel[..dim * NR_VECTORS]);
            }
        }
    }
}
