//! SALAD's aggregation of one image (Izquierdo and Civera, CVPR 2024), and the linear layer that MegaLoc adds: patches are
//! assigned to clusters by optimal transport, and their features summed by cluster.
//!
//! Patches are the columns of panels ([`panel`](crate::panel)). Scores are logarithms to base 2.

use crate::buffer::{Floats, vectors, vectors_mut};
use crate::element::Element;
use crate::epilogue::{Relu, Store};
use crate::gemv::Gemv;
use crate::math::exp2;
use crate::matrix::{Matrix, Packing};
use crate::panel::{NR_VECTORS, gather, panels_per_task};
use crate::pool::Pool;
use crate::weights::{KernelError, Lookup, TensorSource};
use crate::{Level, MatmulPrecision};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::f32::consts::LOG2_E;

/// Logarithm of what no patch gives: [`exp2`] makes 2^-126 of it.
const NOTHING: f32 = -1e6;

/// Clusters whose sums are computed at once.
const CLUSTERS: usize = 4;

/// Least length by which a vector is divided, as in PyTorch's `normalize`.
const SHORTEST: f32 = 1e-12;

/// Sizes of SALAD.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SaladShape {
    /// Width of the backbone's tokens.
    pub input: usize,
    /// Hidden width of the three projections.
    pub hidden: usize,
    /// Dimensions of the feature of CLS.
    pub token: usize,
    /// Dimensions of each cluster's feature.
    pub dim: usize,
    /// Clusters, beside the one for patches that are not used.
    pub clusters: usize,
    /// Output of a linear layer on the aggregated descriptor, if there is one.
    pub linear: Option<usize>,
    /// Rounds of the Sinkhorn algorithm.
    pub rounds: usize,
}

impl SaladShape {
    /// Checks that the kernels support these sizes.
    ///
    /// # Errors
    /// [`KernelError::Unsupported`], naming the sizes.
    pub fn check(&self) -> Result<(), KernelError> {
        let Self { input, hidden, token, dim, clusters, linear, .. } = *self;
        // The scales of 8-bit integers need room behind a panel's elements.
        if [token, dim, clusters, linear.unwrap_or(1)].contains(&0) || input.min(hidden) < 4 {
            return Err(KernelError::Unsupported(format!("SALAD of width {input}, hidden {hidden}")));
        }
        Ok(())
    }

    /// Dimensions before the linear layer.
    fn aggregated(&self) -> usize {
        self.token + self.dim * self.clusters
    }
}

/// SALAD whose weights are packed for one [`Level`]. It runs from any number of threads at once.
#[derive(Debug, Clone)]
pub struct Salad {
    level: Level,
    token: Mlp,
    features: Mlp,
    scores: Mlp,
    /// Score of every patch for being unused.
    dust_bin: f32,
    linear: Option<Gemv>,
    shape: SaladShape,
    buffers: Pool<Buffers>,
    scratches: Pool<Scratch>,
}

/// What an image gives.
#[derive(Debug, Clone, PartialEq)]
pub struct SaladOutput {
    /// Of unit length unless there is a linear layer.
    pub descriptor: Vec<f32>,
    /// The share of each patch that clusters get, `[patches]`.
    pub used: Vec<f32>,
}

/// Two layers with a ReLU between.
#[derive(Debug, Clone)]
struct Mlp {
    first: Matrix,
    second: Matrix,
}

/// Memory of an image.
#[derive(Debug, Clone, Default)]
struct Buffers {
    /// Panels of the patches' features.
    features: Floats,
    /// Panels of their scores, and then of the shares that clusters get.
    scores: Floats,
    /// Of each patch what it gives, as a logarithm; of padding [`NOTHING`].
    from: Floats,
    used: Floats,
    aggregated: Floats,
}

/// Scratch of one thread.
#[derive(Debug, Clone, Default)]
struct Scratch {
    x: Floats,
    hidden: Floats,
    /// The panel of CLS's feature.
    token: Floats,
}

impl Salad {
    /// Packs the tensors that `get` returns for SALAD's names (`token_features.0.weight`, ..., `dust_bin`, `linear.weight`).
    ///
    /// With 8-bit integers the weights of the linear layer have 8 bits, too; what it is applied to has 32. In f32, weights of
    /// 16 bits stay so.
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] for unsupported sizes, [`KernelError::Tensor`] for a tensor that is missing or has the
    /// wrong size.
    pub fn new<'a>(
        level: Level,
        precision: MatmulPrecision,
        shape: SaladShape,
        get: &'a Lookup<'a>,
    ) -> Result<Self, KernelError> {
        let SaladShape { input, hidden, token, dim, clusters, linear, .. } = shape;
        let element = Element::of(level, precision);
        shape.check()?;
        let source = TensorSource::new(Packing::new(level, element), get).keeping_halves(level);
        let mlp = |name: &str, second: usize, out: usize| {
            Ok(Mlp {
                first: source.matrix(&format!("{name}.0"), input, hidden)?,
                second: source.matrix(&format!("{name}.{second}"), hidden, out)?,
            })
        };
        let aggregated = shape.aggregated();
        Ok(Self {
            level,
            token: mlp("token_features", 2, token)?,
            features: mlp("cluster_features", 3, dim)?,
            scores: mlp("score", 3, clusters)?,
            dust_bin: source.get("dust_bin", 1)?[0],
            linear: linear
                .map(|rows| Gemv::load(level, element, &source, "linear", [rows, aggregated]))
                .transpose()?,
            shape,
            buffers: Pool::default(),
            scratches: Pool::default(),
        })
    }

    /// Aggregates one image on the threads of the current rayon pool.
    ///
    /// # Shapes
    /// - patches: `[patches, input]`, more of them than clusters
    /// - token: `[input]`
    ///
    /// # Errors
    /// [`KernelError::Input`] for tokens of another width, or too few patches.
    pub fn run(&self, patches: &[f32], token: &[f32]) -> Result<SaladOutput, KernelError> {
        let SaladShape { input, hidden, token: token_dim, dim, clusters, rounds, .. } = self.shape;
        let count = patches.len() / input;
        if !patches.len().is_multiple_of(input) || token.len() != input || count <= clusters {
            let (patches, token) = (patches.len(), token.len());
            return Err(KernelError::Input(format!(
                "{patches} and {token} values are not tokens of {input} dimensions, more than {clusters}"
            )));
        }
        let columns = self.level.columns();
        let panels = count.div_ceil(columns);
        let mut buffers = self.buffers.borrow();
        let Buffers { features, scores, from, used, aggregated } = &mut *buffers;
        features.resize(panels * dim * columns);
        scores.resize(panels * clusters * columns);
        from.resize(panels * columns);
        used.resize(panels * columns);
        aggregated.resize(self.shape.aggregated());

        let group = panels_per_task(panels, rayon::current_num_threads());
        let parts = features
            .par_chunks_mut(group * dim * columns)
            .zip(scores.par_chunks_mut(group * clusters * columns));
        parts.enumerate().for_each(|(g, (features, scores))| {
            let mut scratch = self.scratches.borrow();
            let Scratch { x, hidden: inner, .. } = &mut *scratch;
            let panels = features.len() / (dim * columns);
            x.resize(panels * input * columns);
            inner.resize(panels * hidden * columns);
            for (p, panel) in x.chunks_exact_mut(input * columns).enumerate() {
                let first = (g * group + p) * columns;
                gather(columns, panel, |column| {
                    let at = (first + column) * input;
                    patches.get(at..at + input)
                });
            }
            let mlps = [(&self.features, features), (&self.scores, scores)];
            self.level.run(Project { mlps, input, x, hidden: inner });
        });
        self.level.run(Transport {
            scores,
            from,
            used,
            counts: [count, clusters],
            rounds,
            dust_bin: self.dust_bin * LOG2_E,
        });

        let (of_token, of_clusters) = aggregated.split_at_mut(token_dim);
        self.project_token(token, of_token);
        of_clusters.par_chunks_mut(clusters).enumerate().for_each(|(feature, sums)| {
            self.level.run(Sums { features, shares: scores, feature, dim, sums });
        });
        for cluster in 0..clusters {
            unit(&mut of_clusters[cluster..], clusters);
        }
        unit(aggregated, 1);
        let descriptor = match &self.linear {
            Some(linear) => linear.run(self.level, aggregated),
            None => aggregated.to_vec(),
        };
        Ok(SaladOutput { descriptor, used: used[..count].to_vec() })
    }

    /// The feature of CLS at unit length: the first column of a panel.
    fn project_token(&self, token: &[f32], out: &mut [f32]) {
        let SaladShape { input, hidden, .. } = self.shape;
        let columns = self.level.columns();
        let mut scratch = self.scratches.borrow();
        let Scratch { x, hidden: inner, token: projected } = &mut *scratch;
        x.resize(input * columns);
        inner.resize(hidden * columns);
        gather(columns, x, |column| (column == 0).then_some(token));
        projected.resize(out.len() * columns);
        let mlps = [(&self.token, &mut **projected)];
        self.level.run(Project { mlps, input, x, hidden: inner });
        for (out, row) in out.iter_mut().zip(projected.chunks_exact(columns)) {
            *out = row[0];
        }
        unit(out, 1);
    }
}

/// Gives every `step`th value, which are a vector, unit length.
fn unit(values: &mut [f32], step: usize) {
    let square: f32 = values.iter().step_by(step).map(|v| v * v).sum();
    let length = square.sqrt().max(SHORTEST);
    values.iter_mut().step_by(step).for_each(|value| *value /= length);
}

/// Some panels of tokens through one MLP or several.
struct Project<'a, const N: usize> {
    mlps: [(&'a Mlp, &'a mut [f32]); N],
    input: usize,
    x: &'a mut [f32],
    hidden: &'a mut [f32],
}

impl<const N: usize> WithSimd for Project<'_, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (x, hidden) = (vectors_mut::<S>(self.x), vectors_mut::<S>(self.hidden));
        let mut mlps = self.mlps;
        // All are packed alike.
        let x = mlps[0].0.first.input(simd, self.input, x);
        for (Mlp { first, second }, out) in &mut mlps {
            first.multiply(simd, x, hidden, Relu);
            let hidden = second.input(simd, first.rows, hidden);
            second.multiply(simd, hidden, vectors_mut::<S>(out), Store);
        }
    }
}

/// How much of each patch belongs to each cluster, by the Sinkhorn algorithm on logarithms: each cluster takes the mass of one
/// patch, and the dust bin the rest.
struct Transport<'a> {
    scores: &'a mut [f32],
    from: &'a mut [f32],
    used: &'a mut [f32],
    /// Patches and clusters.
    counts: [usize; 2],
    rounds: usize,
    dust_bin: f32,
}

impl WithSimd for Transport<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { scores, from, used, counts: [count, clusters], rounds, dust_bin } = self;
        for value in vectors_mut::<S>(scores).iter_mut() {
            *value = simd.mul_f32s(*value, simd.splat_f32s(LOG2_E));
        }
        let mass = -((count + clusters) as f32).log2();
        let rest = mass + ((count - clusters) as f32).log2();
        from[..count].fill(0.0);
        from[count..].fill(NOTHING);
        // What each cluster takes, and last the dust bin.
        let mut into = vec![0.0; clusters + 1];
        for _ in 0..rounds {
            {
                let (scores, from) = (vectors::<S>(scores), vectors::<S>(from));
                let (scores, from) = (scores.as_chunks::<NR_VECTORS>().0, from.as_chunks::<NR_VECTORS>().0);
                for (cluster, into) in into[..clusters].iter_mut().enumerate() {
                    *into = mass - log_sum(simd, from, |p| scores[p * clusters + cluster]);
                }
                let dust = [simd.splat_f32s(dust_bin); NR_VECTORS];
                into[clusters] = rest - log_sum(simd, from, |_| dust);
            }
            give::<S>(simd, scores, from, used, &into, dust_bin);
            for (from, sum) in from[..count].iter_mut().zip(&*used) {
                // `from` holds the largest summand, `used` the others relative to it.
                *from = mass - (*from + sum.log2());
            }
            from[count..].fill(NOTHING);
        }
        let scores = vectors_mut::<S>(scores).as_chunks_mut::<NR_VECTORS>().0;
        let (from, used) = (vectors::<S>(from), vectors_mut::<S>(used));
        let parts = scores.chunks_exact_mut(clusters).zip(from.as_chunks::<NR_VECTORS>().0);
        for ((scores, from), used) in parts.zip(used.as_chunks_mut::<NR_VECTORS>().0) {
            let mut sums = [simd.splat_f32s(0.0); NR_VECTORS];
            for (scores, into) in scores.iter_mut().zip(&into) {
                let into = simd.splat_f32s(into - mass);
                for v in 0..NR_VECTORS {
                    scores[v] = simd.add_f32s(simd.add_f32s(scores[v], into), from[v]);
                }
                *scores = exp2(simd, *scores);
                for v in 0..NR_VECTORS {
                    sums[v] = simd.add_f32s(sums[v], scores[v]);
                }
            }
            *used = sums;
        }
    }
}

/// The logarithm of the sum over all patches of the exponentials of their scores, and of what they give.
#[inline(always)]
fn log_sum<S: Simd>(
    simd: S,
    from: &[[S::f32s; NR_VECTORS]],
    scores: impl Fn(usize) -> [S::f32s; NR_VECTORS],
) -> f32 {
    let mut most = simd.splat_f32s(f32::MIN);
    for p in 0..from.len() {
        let scores = scores(p);
        for v in 0..NR_VECTORS {
            most = simd.max_f32s(most, simd.add_f32s(scores[v], from[p][v]));
        }
    }
    let most = simd.reduce_max_f32s(most);
    let (base, mut sum) = (simd.splat_f32s(most), simd.splat_f32s(0.0));
    for p in 0..from.len() {
        let mut powers = scores(p);
        for v in 0..NR_VECTORS {
            powers[v] = simd.sub_f32s(simd.add_f32s(powers[v], from[p][v]), base);
        }
        for power in exp2(simd, powers) {
            sum = simd.add_f32s(sum, power);
        }
    }
    most + simd.reduce_sum_f32s(sum).log2()
}

/// Over the clusters and the dust bin, of each patch: the largest of its scores and of what they take, to `most`, and the sum of
/// the exponentials of all relative to that, to `sums`.
#[inline(always)]
fn give<S: Simd>(simd: S, scores: &[f32], most: &mut [f32], sums: &mut [f32], into: &[f32], dust_bin: f32) {
    let Some((dust, into)) = into.split_last() else { return };
    let dust = simd.splat_f32s(dust_bin + dust);
    let scores = vectors::<S>(scores).as_chunks::<NR_VECTORS>().0;
    let most = vectors_mut::<S>(most).as_chunks_mut::<NR_VECTORS>().0;
    let sums = vectors_mut::<S>(sums).as_chunks_mut::<NR_VECTORS>().0;
    for ((scores, most), sums) in scores.chunks_exact(into.len()).zip(most).zip(sums) {
        *most = [dust; NR_VECTORS];
        for (scores, into) in scores.iter().zip(into) {
            let into = simd.splat_f32s(*into);
            for v in 0..NR_VECTORS {
                most[v] = simd.max_f32s(most[v], simd.add_f32s(scores[v], into));
            }
        }
        let mut powers = *most;
        for v in 0..NR_VECTORS {
            powers[v] = simd.sub_f32s(dust, most[v]);
        }
        *sums = exp2(simd, powers);
        for (scores, into) in scores.iter().zip(into) {
            let into = simd.splat_f32s(*into);
            for v in 0..NR_VECTORS {
                powers[v] = simd.sub_f32s(simd.add_f32s(scores[v], into), most[v]);
            }
            powers = exp2(simd, powers);
            for v in 0..NR_VECTORS {
                sums[v] = simd.add_f32s(sums[v], powers[v]);
            }
        }
    }
}

/// The sums of one feature of all patches by cluster, weighted with the shares that clusters get.
struct Sums<'a> {
    features: &'a [f32],
    shares: &'a [f32],
    feature: usize,
    /// Features of a patch.
    dim: usize,
    sums: &'a mut [f32],
}

impl WithSimd for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { feature, dim, sums, .. } = self;
        let clusters = sums.len();
        let features = vectors::<S>(self.features).as_chunks::<NR_VECTORS>().0;
        let shares = vectors::<S>(self.shares).as_chunks::<NR_VECTORS>().0;
        for (group, sums) in sums.chunks_mut(CLUSTERS).enumerate() {
            let first = group * CLUSTERS;
            let mut totals = [simd.splat_f32s(0.0); CLUSTERS];
            for (features, shares) in features.chunks_exact(dim).zip(shares.chunks_exact(clusters)) {
                for c in 0..CLUSTERS {
                    // Of clusters that are not there the first stands in.
                    let share = shares[if first + c < clusters { first + c } else { first }];
                    for v in 0..NR_VECTORS {
                        totals[c] = simd.mul_add_e_f32s(features[feature][v], share[v], totals[c]);
                    }
                }
            }
            for (sum, total) in sums.iter_mut().zip(totals) {
                *sum = simd.reduce_sum_f32s(total);
            }
        }
    }
}
