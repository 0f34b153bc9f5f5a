//! MixVPR: Feature Mixing for Visual Place Recognition (Ali-bey, Chaib-draa and Giguère, WACV 2023).

use super::EPSILON;
use crate::MixVprConfig;
use crate::weights::{TensorReader, TensorWriter};
use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;

/// Mixing layers over the positions of a map, then projections of channels and of positions.
#[derive(Module, Debug)]
pub struct MixVpr {
    mix: Vec<Mixer>,
    channel_proj: Linear,
    row_proj: Linear,
}

/// `x + W2 relu(W1 norm(x))` along the positions of every channel.
#[derive(Module, Debug)]
struct Mixer {
    norm: LayerNorm,
    first: Linear,
    second: Linear,
}

impl MixVpr {
    /// Builds the layers from the tensors under `{name}.`: `mix.I.mix.{0,1,3}`, `channel_proj`, `row_proj`, as published.
    pub fn load(reader: &mut TensorReader, name: &str, config: &MixVprConfig, width: usize) -> Self {
        let positions = config.positions();
        let mixer = |i: usize| {
            let part = format!("{name}.mix.{i}.mix");
            Mixer {
                norm: reader.layer_norm(&format!("{part}.0"), positions, EPSILON),
                first: reader.linear(&format!("{part}.1"), positions, config.hidden),
                second: reader.linear(&format!("{part}.3"), config.hidden, positions),
            }
        };
        Self {
            mix: (0..config.depth).map(mixer).collect(),
            channel_proj: reader.linear(&format!("{name}.channel_proj"), width, config.channels),
            row_proj: reader.linear(&format!("{name}.row_proj"), positions, config.rows),
        }
    }

    /// Writes the tensors that [`load`](Self::load) reads.
    pub fn save(&self, writer: &mut TensorWriter, name: &str) {
        for (i, mixer) in self.mix.iter().enumerate() {
            let part = format!("{name}.mix.{i}.mix");
            writer.layer_norm(&format!("{part}.0"), &mixer.norm);
            writer.linear(&format!("{part}.1"), &mixer.first);
            writer.linear(&format!("{part}.3"), &mixer.second);
        }
        writer.linear(&format!("{name}.channel_proj"), &self.channel_proj);
        writer.linear(&format!("{name}.row_proj"), &self.row_proj);
    }

    /// The descriptor before its normalisation: value `c * rows + r` belongs to channel `c` and row `r`.
    ///
    /// # Shapes
    /// - map: `[batch, positions, width]`
    /// - output: `[batch, channels * rows]`
    pub fn forward(&self, map: Tensor<3>) -> Tensor<2> {
        let mut x = map.swap_dims(1, 2);
        for mixer in &self.mix {
            let mixed = mixer.second.forward(relu(mixer.first.forward(mixer.norm.forward(x.clone()))));
            x = x + mixed;
        }
        let channels = self.channel_proj.forward(x.swap_dims(1, 2)).swap_dims(1, 2);
        self.row_proj.forward(channels).flatten(1, 2)
    }
}
