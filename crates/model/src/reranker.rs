//! The reranker: a transformer that decides from the local features of two images whether they show the same place
//! (paper section 3.3), in Burn operations on any device.

use crate::layers::{Block, BlockConfig, Projection, gradient_kernels, match_features, sine_cosine};
use crate::pooling::unit;
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

/// The best matches in the other image for each feature of one image.
struct Matches {
    /// x, y and attention of the query's feature, `[pairs, tokens * k, 3]`.
    query: Tensor<3>,
    /// x, y and attention of the reference's feature, `[pairs, tokens * k, 3]`.
    reference: Tensor<3>,
    /// Correlations, `[pairs, tokens * k, 1]`.
    correlation: Tensor<3>,
    /// Matches per token.
    k: usize,
}

impl Reranker {
    /// Builds the reranker from the tensors under `{name}.`, with the published names.
    pub fn load(reader: &mut TensorReader, name: &str, config: &RerankerConfig) -> Self {
        let c = config;
        // Always f32: bfloat16 rounds coordinates by an eighth of a patch and more.
        let precision = Precision::F32;
        let block = BlockConfig {
            dim: c.dim,
            heads: c.heads,
            hidden: c.dim * c.mlp_ratio,
            gated: false,
            norm_eps: c.norm_eps,
            layer_scale: false,
            precision,
        };
        let stack = |part: &str, depth: usize, reader: &mut TensorReader| {
            (0..depth).map(|i| Block::load(reader, &format!("{name}.{part}.{i}"), &block)).collect::<Vec<_>>()
        };
        let blocks_2 = stack("blocks_2", c.pair_depth, reader);
        let blocks = stack("blocks", c.depth, reader);
        let token = Init::Normal(0.02);
        Self {
            pair_head: Projection::load(reader, &format!("{name}.pair_head"), c.channels(), c.dim, precision),
            cls_token_2: reader.param(&format!("{name}.cls_token_2"), [1, 1, c.dim], token),
            blocks_2,
            pair_head_2: Projection::load(reader, &format!("{name}.pair_head_2"), c.dim, c.dim, precision),
            cls_token: reader.param(&format!("{name}.cls_token"), [1, 1, c.dim], token),
            blocks,
            decoder_norm: reader.layer_norm(&format!("{name}.decoder_norm"), c.dim, c.norm_eps),
            decoder_pred: Projection::load(reader, &format!("{name}.decoder_pred"), c.dim, 2, precision),
            config: c.clone(),
        }
    }

    /// Writes the tensors that [`load`](Self::load) reads.
    pub fn save(&self, writer: &mut TensorWriter, name: &str) {
        self.pair_head.save(writer, &format!("{name}.pair_head"));
        writer.tensor(&format!("{name}.cls_token_2"), self.cls_token_2.val());
        self.pair_head_2.save(writer, &format!("{name}.pair_head_2"));
        writer.tensor(&format!("{name}.cls_token"), self.cls_token.val());
        writer.layer_norm(&format!("{name}.decoder_norm"), &self.decoder_norm);
        self.decoder_pred.save(writer, &format!("{name}.decoder_pred"));
        for (part, stack) in [("blocks_2", &self.blocks_2), ("blocks", &self.blocks)] {
            for (i, block) in stack.iter().enumerate() {
                block.save(writer, &format!("{name}.{part}.{i}"));
            }
        }
    }

    /// The logits (different place, same place) of each pair.
    ///
    /// If an image has fewer features than [`RerankerConfig::neighbours`], all of them are matches.
    ///
    /// # Shapes
    /// - query: `[pairs, Nq, 3 + dim]`, rows as in [`Features::local`](crate::Features::local)
    /// - reference: `[pairs, Nr, 3 + dim]`
    /// - output: `[pairs, 2]`
    ///
    /// # Errors
    /// [`ModelError::Input`] if the shapes do not match or a side is empty.
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

    /// One token per feature of both sides, the query's first: `[pairs, Nq + Nr, dim]`.
    fn plain(&self, query: Tensor<3>, reference: Tensor<3>) -> Tensor<3> {
        let (place_q, feature_q) = split(query);
        let (place_r, feature_r) = split(reference);
        let [of_query, of_reference] = self.correlate(feature_q, feature_r);
        let of_query = self.matches(of_query, place_q.clone(), place_r.clone());
        let swapped = self.matches(of_reference, place_r, place_q);
        // The query's channels come first in the reference's tokens too.
        let of_reference = Matches { query: swapped.reference, reference: swapped.query, ..swapped };
        Tensor::cat(vec![self.summarise(of_query), self.summarise(of_reference)], 1)
    }

    /// [`plain`](Self::plain) by the CPU kernels, if the device is a CPU with autodiff and the sizes are supported.
    /// Without autodiff the plain operations remain the reference of the forward-only kernels.
    fn by_kernel(&self, query: &Tensor<3>, reference: &Tensor<3>) -> Option<Tensor<3>> {
        let device = query.device();
        let shape = MatchShape {
            feature: query.dims()[2] - 3,
            neighbours: self.config.neighbours,
            query: query.dims()[1],
            reference: reference.dims()[1],
        };
        let supported = device.is_autodiff()
            && device.clone().inner() == Device::flex()
            && [query, reference].iter().all(|side| side.dtype() == DType::F32)
            && shape.check().is_ok()
            && gradient_kernels();
        if !supported {
            return None;
        }
        let (c, k) = (&self.config, shape.neighbours);
        let channels = match_features(query.clone(), reference.clone(), shape);
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
        let embedding = |positions: Vec<[f32; 2]>, tokens: usize| -> Tensor<3> {
            let values = gradient::sine_cosine(&positions, c.dim);
            Tensor::from_data(TensorData::new(values, [pairs, tokens, c.dim]), &device)
        };
        if c.use_position_embedding {
            x = x + embedding(rows.iter().map(|row| [row[3], row[4]]).collect(), all);
        }
        let x = x.reshape([pairs * all / k, k, c.dim]);
        let x = self.feature_tokens(x).reshape([pairs, all / k, c.dim]);
        let x = self.pair_head_2.forward(x);
        Some(match c.use_position_embedding {
            true => x + embedding(rows.iter().step_by(k).map(|row| [row[0], row[1]]).collect(), all / k),
            false => x,
        })
    }

    /// Summarises the matches of each feature by the first stack, normalised: `[features, 1, dim]`.
    ///
    /// # Shapes
    /// - matches: `[features, k, dim]`
    pub fn feature_tokens(&self, matches: Tensor<3>) -> Tensor<3> {
        self.first_of(&self.blocks_2, &self.cls_token_2, matches)
    }

    /// Summarises the features of each pair by the second stack, normalised: `[pairs, 1, dim]`.
    ///
    /// # Shapes
    /// - features: `[pairs, count, dim]`
    pub fn pair_tokens(&self, features: Tensor<3>) -> Tensor<3> {
        self.first_of(&self.blocks, &self.cls_token, features)
    }

    /// The score of each pair, `[pairs]`: the softmax of the logits at "same place", in 0..1.
    pub fn score(logits: Tensor<2>) -> Tensor<1> {
        let [pairs, _] = logits.dims();
        softmax(logits, 1).narrow(1, 1, 1).reshape([pairs])
    }

    /// The best matches of each feature of both sides, the query's first: their correlations `[pairs, count, k]` and the
    /// indices of the matched features, where `k` is at most [`RerankerConfig::neighbours`].
    ///
    /// # Shapes
    /// - query, reference: `[pairs, count, dim]`, of unit length
    pub fn correlate(&self, query: Tensor<3>, reference: Tensor<3>) -> [(Tensor<3>, Tensor<3, Int>); 2] {
        // One product per side rather than a transpose: on every GPU, CubeK 0.3.1 overwrites results of a top k > 1 along
        // the last axis of a transposed matrix (`PerpendicularWriter`).
        [(query.clone(), reference.clone()), (reference, query)].map(|(own, other)| {
            let columns = other.dims()[1];
            own.matmul(other.swap_dims(1, 2)).topk_with_indices(self.config.neighbours.min(columns), 2)
        })
    }

    /// Matches from one side of [`correlate`](Self::correlate), with x, y and attention of both features.
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

    /// Summarises the matches of each feature in one token: `[pairs, tokens, dim]`.
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

    /// The normalised CLS token after a stack, `[batch, 1, dim]`; without blocks, the normalised mean of the tokens.
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

/// x, y and attention, clamped and detached, and features of unit length.
fn split(rows: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
    let width = rows.dims()[2];
    let places = rows.clone().narrow(2, 0, 3).clamp(0.0, 1.0).detach();
    (places, unit(rows.narrow(2, 3, width - 3)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Tensors;

    type Forward = fn(&Reranker, Tensor<3>, Tensor<3>) -> Tensor<3>;

    /// Tokens, and the gradients of both sides and of the pair projections.
    fn gradients(
        tensors: &Tensors,
        config: &RerankerConfig,
        sides: &[TensorData; 2],
        forward: Forward,
    ) -> Vec<Vec<f32>> {
        let device = Device::flex().autodiff();
        let mut reader = TensorReader::from_tensors(tensors.clone(), &device);
        let reranker = Reranker::load(&mut reader, "r", config);
        let [q, r] = sides.clone().map(|side| Tensor::<3>::from_data(side, &device).require_grad());
        let tokens = forward(&reranker, q.clone(), r.clone());
        let weights = Tensor::<1, Int>::arange(0..tokens.shape().num_elements() as i64, &device);
        let weights = weights.float().sin().reshape(tokens.dims());
        let grads = (tokens.clone() * weights).sum().backward();
        let values = |tensor: Tensor<3>| -> Vec<f32> { tensor.into_data().try_to_vec().unwrap() };
        let mut found = vec![values(tokens.inner())];
        // Without the correlation the features have no gradient.
        found.extend([q, r].map(|side| side.grad(&grads).map_or_else(Vec::new, values)));
        for part in [&reranker.pair_head, &reranker.pair_head_2] {
            let (weight, bias) = part.parts().unwrap();
            found.push(weight.grad(&grads).unwrap().into_data().try_to_vec().unwrap());
            found.push(bias.grad(&grads).unwrap().into_data().try_to_vec().unwrap());
        }
        found
    }

    #[test]
    fn kernel_gradients_equal_burns() {
        let by_kernel: Forward = |reranker, q, r| reranker.by_kernel(&q, &r).expect("supported sizes");
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
            let mut reader = TensorReader::random(1, &Device::flex());
            let mut writer = TensorWriter::default();
            Reranker::load(&mut reader, "r", &config).save(&mut writer, "r");
            let mut tensors = writer.finish().unwrap();
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
