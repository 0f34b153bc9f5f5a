//! The reranker: do these two sets of local features show the same place?
//!
//! METHOD: reranker; paper section 3.3. Plain Burn operations on any device.

use crate::layers::{Block, BlockConfig, Projection, gradient_kernels, matched, sine_cosine};
use crate::r2former::unit;
use crate::weights::{Init, TensorReader, TensorWriter};
use crate::{ModelError, Precision, RerankerConfig, Result};
use burn::module::{Module, Param};
use burn::nn::LayerNorm;
use burn::tensor::activation::softmax;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use r2former_kernels::gradient::{self, MatchShape};

/// A small transformer over the best matches of two images' local features.
#[derive(Module, Debug)]
pub struct Reranker {
    pair_head: Projection,
    cls_token_2: Param<Tensor<3>>,
    blocks_2: Vec<Block>,
    pair_head_2: Projection,
    cls_token: Param<Tensor<3>>,
    blocks: Vec<Block>,
    decoder_norm: LayerNorm,
    decoder_pred: Projection,
    #[module(skip)]
    config: RerankerConfig,
}

/// One image's side of the correlation: for each of its features, the best of the other image.
struct Matches {
    /// Query's x, y, attention of each pair, `[pairs, tokens * k, 3]`.
    query: Tensor<3>,
    /// Reference's, likewise.
    reference: Tensor<3>,
    /// Correlations, `[pairs, tokens * k, 1]`.
    correlation: Tensor<3>,
    /// Matches of each token.
    k: usize,
}

impl Reranker {
    /// Takes the tensors under `{name}.`, with the published names.
    pub fn load(take: &mut TensorReader, name: &str, config: &RerankerConfig) -> Self {
        let c = config;
        // In 32 bits under any precision: bfloat16 would blur coordinates to an eighth of a patch and more.
        let precision = Precision::F32;
        let block = BlockConfig {
            dim: c.dim,
            heads: c.heads,
            mlp_ratio: c.mlp_ratio,
            norm_eps: c.norm_eps,
            layer_scale: false,
            precision,
        };
        let stack = |part: &str, depth: usize, take: &mut TensorReader| {
            (0..depth).map(|i| Block::load(take, &format!("{name}.{part}.{i}"), &block)).collect::<Vec<_>>()
        };
        let blocks_2 = stack("blocks_2", c.pair_depth, take);
        let blocks = stack("blocks", c.depth, take);
        let token = Init::Normal(0.02);
        Self {
            pair_head: Projection::load(take, &format!("{name}.pair_head"), c.channels(), c.dim, precision),
            cls_token_2: take.param(&format!("{name}.cls_token_2"), [1, 1, c.dim], token),
            blocks_2,
            pair_head_2: Projection::load(take, &format!("{name}.pair_head_2"), c.dim, c.dim, precision),
            cls_token: take.param(&format!("{name}.cls_token"), [1, 1, c.dim], token),
            blocks,
            decoder_norm: take.layer_norm(&format!("{name}.decoder_norm"), c.dim, c.norm_eps),
            decoder_pred: Projection::load(take, &format!("{name}.decoder_pred"), c.dim, 2, precision),
            config: c.clone(),
        }
    }

    /// Puts what [`Reranker::load`] takes.
    pub fn save(&self, put: &mut TensorWriter, name: &str) {
        self.pair_head.save(put, &format!("{name}.pair_head"));
        put.tensor(&format!("{name}.cls_token_2"), self.cls_token_2.val());
        self.pair_head_2.save(put, &format!("{name}.pair_head_2"));
        put.tensor(&format!("{name}.cls_token"), self.cls_token.val());
        put.layer_norm(&format!("{name}.decoder_norm"), &self.decoder_norm);
        self.decoder_pred.save(put, &format!("{name}.decoder_pred"));
        for (part, stack) in [("blocks_2", &self.blocks_2), ("blocks", &self.blocks)] {
            for (i, block) in stack.iter().enumerate() {
                block.save(put, &format!("{name}.{part}.{i}"));
            }
        }
    }

    /// Logits (different place, same place) of each pair.
    ///
    /// Where an image has fewer features than [`RerankerConfig::neighbours`], all of them match.
    ///
    /// # Shapes
    /// - query: `[pairs, Nq, 3 + dim]`, rows as in [`Features::local`](crate::Features::local)
    /// - reference: `[pairs, Nr, 3 + dim]`
    /// - output: `[pairs, 2]`
    ///
    /// # Errors
    /// [`ModelError::Input`] when the shapes do not belong together or a side is empty.
    pub fn forward(&self, query: Tensor<3>, reference: Tensor<3>) -> Result<Tensor<2>> {
        let ([pairs, nq, row], [other, nr, other_row]) = (query.dims(), reference.dims());
        if pairs != other || row != other_row || row < 4 || pairs * nq * nr == 0 {
            return Err(ModelError::Input(format!(
                "cannot rerank local features of shapes [{pairs}, {nq}, {row}] and [{other}, {nr}, {other_row}]"
            )));
        }
        let tokens = match self.by_kernel(&query, &reference) {
            Some(tokens) => tokens,
            None => self.plain(query, reference),
        };
        let cls = self.pair_tokens(tokens);
        Ok(self.decoder_pred.forward(cls).reshape([pairs, 2]))
    }

    /// One token for each feature of both sides, the query's first: `[pairs, Nq + Nr, dim]`.
    fn plain(&self, query: Tensor<3>, reference: Tensor<3>) -> Tensor<3> {
        let (place_q, feature_q) = split(query);
        let (place_r, feature_r) = split(reference);
        let [of_query, of_reference] = self.correlate(feature_q, feature_r);
        let of_query = self.matches(of_query, place_q.clone(), place_r.clone());
        let turned = self.matches(of_reference, place_r, place_q);
        // Channels stay query first for the reference's tokens too.
        let of_reference = Matches { query: turned.reference, reference: turned.query, ..turned };
        Tensor::cat(vec![self.summarise(of_query), self.summarise(of_reference)], 1)
    }

    /// [`plain`](Self::plain) where gradients are wanted on a CPU and the kernels cover the sizes: without gradients
    /// plain operations stay the reference of the kernels that only run forward.
    fn by_kernel(&self, query: &Tensor<3>, reference: &Tensor<3>) -> Option<Tensor<3>> {
        let device = query.device();
        let shape = MatchShape {
            feature: query.dims()[2] - 3,
            neighbours: self.config.neighbours,
            query: query.dims()[1],
            reference: reference.dims()[1],
        };
        let covered = device.is_autodiff()
            && device.clone().inner() == Device::flex()
            && [query, reference].iter().all(|side| side.dtype() == DType::F32)
            && shape.check().is_ok()
            && gradient_kernels();
        if !covered {
            return None;
        }
        let (c, k) = (&self.config, shape.neighbours);
        let channels = matched(query.clone(), reference.clone(), shape);
        let [pairs, all, _] = channels.dims();
        let places: Vec<f32> = channels.clone().inner().into_data().try_to_vec().ok()?;
        let mut columns = Vec::with_capacity(5);
        let part = |first: usize, count: usize| channels.clone().narrow(2, first, count);
        for side in [0, 3] {
            if c.use_xy {
                columns.push(part(side, 2));
            }
            if c.use_attention {
                columns.push(part(side + 2, 1));
            }
        }
        if c.use_correlation {
            columns.push(part(6, 1));
        }
        let mut x = self.pair_head.forward(Tensor::cat(columns, 2));
        let rows = places.as_chunks::<{ gradient::CHANNELS }>().0;
        let embedded = |positions: Vec<[f32; 2]>, tokens: usize| -> Tensor<3> {
            let values = gradient::sine_cosine(&positions, c.dim);
            Tensor::from_data(TensorData::new(values, [pairs, tokens, c.dim]), &device)
        };
        if c.use_position_embedding {
            x = x + embedded(rows.iter().map(|row| [row[3], row[4]]).collect(), all);
        }
        let x = x.reshape([pairs * all / k, k, c.dim]);
        let x = self.feature_tokens(x).reshape([pairs, all / k, c.dim]);
        let x = self.pair_head_2.forward(x);
        Some(match c.use_position_embedding {
            true => x + embedded(rows.iter().step_by(k).map(|row| [row[0], row[1]]).collect(), all / k),
            false => x,
        })
    }

    /// The token of each feature from those of its matches, `[features, 1, dim]`: the first stack, normalised.
    ///
    /// # Shapes
    /// - matches: `[features, k, dim]`
    pub fn feature_tokens(&self, matches: Tensor<3>) -> Tensor<3> {
        self.first_of(&self.blocks_2, &self.cls_token_2, matches)
    }

    /// The token of each pair from those of its features, `[pairs, 1, dim]`: the second stack, normalised.
    ///
    /// # Shapes
    /// - features: `[pairs, count, dim]`
    pub fn pair_tokens(&self, features: Tensor<3>) -> Tensor<3> {
        self.first_of(&self.blocks, &self.cls_token, features)
    }

    /// The probability that each pair shows the same place, `[pairs]`: softmax of the logits.
    pub fn score(logits: Tensor<2>) -> Tensor<1> {
        let [pairs, _] = logits.dims();
        softmax(logits, 1).narrow(1, 1, 1).reshape([pairs])
    }

    /// The best matches of each feature of both sides, the query's first: their correlations `[pairs, count, k]`
    /// and the numbers of the matched features, where `k` is at most [`RerankerConfig::neighbours`].
    ///
    /// # Shapes
    /// - query, reference: `[pairs, count, dim]`, of unit length
    pub fn correlate(&self, query: Tensor<3>, reference: Tensor<3>) -> [(Tensor<3>, Tensor<3, Int>); 2] {
        // A product of its own for each side: CubeK 0.3.1 writes the best k > 1 of a transposed matrix over one
        // another where k is the last axis (`PerpendicularWriter`), on every GPU.
        [(query.clone(), reference.clone()), (reference, query)].map(|(own, other)| {
            let columns = other.dims()[1];
            own.matmul(other.swap_dims(1, 2)).topk_with_indices(self.config.neighbours.min(columns), 2)
        })
    }

    /// Best matches of [`correlate`](Self::correlate), with the places of both sides.
    fn matches(
        &self,
        (correlation, index): (Tensor<3>, Tensor<3, Int>),
        own: Tensor<3>,
        other: Tensor<3>,
    ) -> Matches {
        let [pairs, rows, k] = correlation.dims();
        let index: Tensor<3, Int> = index.reshape([pairs, rows * k, 1]).expand([pairs, rows * k, 3]);
        let own = own.unsqueeze_dim::<4>(2).expand([pairs, rows, k, 3]).reshape([pairs, rows * k, 3]);
        Matches {
            query: own,
            reference: other.gather(1, index),
            correlation: correlation.reshape([pairs, rows * k, 1]),
            k,
        }
    }

    /// One token for each feature from its matches: `[pairs, tokens, dim]`.
    fn summarise(&self, m: Matches) -> Tensor<3> {
        let c = &self.config;
        let [pairs, all, _] = m.query.dims();
        let (k, tokens) = (m.k, all / m.k);
        let mut channels = Vec::with_capacity(5);
        for side in [&m.query, &m.reference] {
            if c.use_xy {
                channels.push(side.clone().narrow(2, 0, 2));
            }
            if c.use_attention {
                channels.push(side.clone().narrow(2, 2, 1));
            }
        }
        if c.use_correlation {
            channels.push(m.correlation);
        }
        let mut x = self.pair_head.forward(Tensor::cat(channels, 2));
        if c.use_position_embedding {
            x = x + sine_cosine(m.reference.narrow(2, 0, 2), c.dim);
        }
        let x = x.reshape([pairs * tokens, k, c.dim]);
        let x = self.feature_tokens(x).reshape([pairs, tokens, c.dim]);
        let x = self.pair_head_2.forward(x);
        if !c.use_position_embedding {
            return x;
        }
        let best = m.query.reshape([pairs, tokens, k, 3]).narrow(2, 0, 1).narrow(3, 0, 2);
        x + sine_cosine(best.reshape([pairs, tokens, 2]), c.dim)
    }

    /// CLS after a stack, normalised: `[batch, 1, dim]`. Without blocks, the tokens' mean.
    fn first_of(&self, stack: &[Block], cls: &Param<Tensor<3>>, x: Tensor<3>) -> Tensor<3> {
        let Some((last, before)) = stack.split_last() else {
            return self.decoder_norm.forward(x.mean_dim(1));
        };
        let batch = x.dims()[0];
        let mut x = Tensor::cat(vec![cls.val().repeat_dim(0, batch), x], 1);
        for block in before {
            x = block.forward(x);
        }
        self.decoder_norm.forward(last.forward_first(x))
    }
}

/// Places and attention, clamped and without gradient; features of unit length.
fn split(rows: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
    let width = rows.dims()[2];
    let places = rows.clone().narrow(2, 0, 3).clamp(0.0, 1.0).detach();
    (places, unit(rows.narrow(2, 3, width - 3)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Tensors;

    type Way = fn(&Reranker, Tensor<3>, Tensor<3>) -> Tensor<3>;

    /// Tokens, and the gradients of both sides and of what makes tokens of pairs.
    fn gradients(
        tensors: &Tensors,
        config: &RerankerConfig,
        sides: &[TensorData; 2],
        way: Way,
    ) -> Vec<Vec<f32>> {
        let device = Device::flex().autodiff();
        let mut take = TensorReader::from_tensors(tensors.clone(), &device);
        let reranker = Reranker::load(&mut take, "r", config);
        let [q, r] = sides.clone().map(|side| Tensor::<3>::from_data(side, &device).require_grad());
        let tokens = way(&reranker, q.clone(), r.clone());
        let weights = Tensor::<1, Int>::arange(0..tokens.shape().num_elements() as i64, &device);
        let weights = weights.float().sin().reshape(tokens.dims());
        let grads = (tokens.clone() * weights).sum().backward();
        let values = |tensor: Tensor<3>| -> Vec<f32> { tensor.into_data().try_to_vec().unwrap() };
        let mut found = vec![values(tokens.inner())];
        // Without the correlation nothing of the features is differentiable.
        found.extend([q, r].map(|side| side.grad(&grads).map_or_else(Vec::new, values)));
        for part in [&reranker.pair_head, &reranker.pair_head_2] {
            let (weight, bias) = part.parts().unwrap();
            found.push(weight.grad(&grads).unwrap().into_data().try_to_vec().unwrap());
            found.push(bias.grad(&grads).unwrap().into_data().try_to_vec().unwrap());
        }
        found
    }

    #[test]
    fn kernels_match_as_burn_does() {
        let by_kernel: Way = |reranker, q, r| reranker.by_kernel(&q, &r).expect("covered");
        let all = RerankerConfig { dim: 8, heads: 2, pair_depth: 1, depth: 1, ..Default::default() };
        for (config, [pairs, nq, nr]) in [
            (all.clone(), [2, 9, 9]),
            (RerankerConfig { neighbours: 1, use_xy: false, ..all.clone() }, [1, 1, 4]),
            (RerankerConfig { neighbours: 3, use_attention: false, pair_depth: 0, ..all.clone() }, [3, 5, 7]),
            (RerankerConfig { use_correlation: false, use_position_embedding: false, ..all }, [2, 6, 5]),
        ] {
            let mut seed = 7u32;
            let mut noise = |count: usize| -> Vec<f32> {
                let mut next = || {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (seed >> 8) as f32 / (1 << 23) as f32 - 0.5
                };
                (0..count).map(|_| next()).collect()
            };
            let sides = [nq, nr].map(|n| TensorData::new(noise(pairs * n * 11), [pairs, n, 11]));
            let mut take = TensorReader::random(1, &Device::flex());
            let mut put = TensorWriter::default();
            Reranker::load(&mut take, "r", &config).save(&mut put, "r");
            let mut tensors = put.finish().unwrap();
            tensors.values_mut().for_each(|t| t.data.iter_mut().for_each(|v| *v *= 8.0));
            let expected = gradients(&tensors, &config, &sides, Reranker::plain);
            let found = gradients(&tensors, &config, &sides, by_kernel);
            for (part, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let size = expected.iter().fold(1.0f32, |a, b| a.max(b.abs()));
                for (i, e) in expected.iter().enumerate() {
                    let f = found.get(i).copied().unwrap_or(0.0);
                    assert!((f - e).abs() < 2e-4 * size, "part {part}, {config:?}: {f}, not {e}");
                }
            }
        }
    }
}
