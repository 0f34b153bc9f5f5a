//! CricaVPR (Lu et al., CVPR 2024) for one image at a time.
//!
//! The published encoder attends from a region to the same region in every image of a batch. With an image alone the weight
//! of its own value is one, so that an import folds values and output projection into one layer.

use super::EPSILON;
use crate::layers::{Projection, gelu};
use crate::pooling::{gem, unit};
use crate::weights::{Init, TensorReader, TensorWriter};
use crate::{CricaConfig, Precision};
use burn::module::{Module, Param};
use burn::nn::LayerNorm;
use burn::tensor::Tensor;

/// Patches of 16 along each side that each half has.
pub const HALVES: [std::ops::Range<usize>; 2] = [0..8, 8..16];
/// Patches of 16 along each side that each third has.
pub const THIRDS: [std::ops::Range<usize>; 3] = [0..5, 5..11, 11..16];

/// CLS and regions of two scales, then an encoder.
#[derive(Module, Debug)]
pub struct Crica {
    power: Param<Tensor<1>>,
    layers: Vec<Layer>,
}

/// An encoder layer, post-norm.
#[derive(Module, Debug)]
struct Layer {
    attend: Projection,
    norm1: LayerNorm,
    linear1: Projection,
    linear2: Projection,
    norm2: LayerNorm,
}

impl Crica {
    /// Builds it from `{name}.p` and `{name}.layers.I.{attend,norm1,linear1,linear2,norm2}`.
    pub fn load(
        reader: &mut TensorReader,
        name: &str,
        width: usize,
        c: &CricaConfig,
        precision: Precision,
    ) -> Self {
        let layer = |i: usize| {
            let name = |part: &str| format!("{name}.layers.{i}.{part}");
            Layer {
                attend: Projection::load(reader, &name("attend"), width, width, precision),
                norm1: reader.layer_norm(&name("norm1"), width, EPSILON),
                linear1: Projection::load(reader, &name("linear1"), width, c.hidden, precision),
                linear2: Projection::load(reader, &name("linear2"), c.hidden, width, precision),
                norm2: reader.layer_norm(&name("norm2"), width, EPSILON),
            }
        };
        let layers = (0..c.layers).map(layer).collect();
        Self { layers, power: reader.param(&format!("{name}.p"), [1], Init::Constant(3.0)) }
    }

    /// Writes the tensors that [`load`](Self::load) reads.
    pub fn save(&self, writer: &mut TensorWriter, name: &str) {
        writer.tensor(&format!("{name}.p"), self.power.val());
        for (i, layer) in self.layers.iter().enumerate() {
            let name = |part: &str| format!("{name}.layers.{i}.{part}");
            layer.attend.save(writer, &name("attend"));
            writer.layer_norm(&name("norm1"), &layer.norm1);
            layer.linear1.save(writer, &name("linear1"));
            layer.linear2.save(writer, &name("linear2"));
            writer.layer_norm(&name("norm2"), &layer.norm2);
        }
    }

    /// The descriptor before its normalisation: CLS, four regions, nine regions.
    ///
    /// # Shapes
    /// - patches: `[batch, 256, width]`
    /// - token: `[batch, 1, width]`
    /// - output: `[batch, 14 * width]`
    pub fn forward(&self, patches: Tensor<3>, token: Tensor<3>) -> Tensor<2> {
        let [batch, _, width] = patches.dims();
        let map = unit(patches).reshape([batch, CricaConfig::GRID, CricaConfig::GRID, width]);
        let mut parts = vec![token];
        for ranges in [&HALVES[..], &THIRDS] {
            for rows in ranges {
                for columns in ranges {
                    let region = map.clone().narrow(1, rows.start, rows.len());
                    let region = region.narrow(2, columns.start, columns.len());
                    let cells = region.reshape([batch, rows.len() * columns.len(), width]);
                    parts.push(gem(cells, Some(self.power.val())).unsqueeze_dim(1));
                }
            }
        }
        let mut x = Tensor::cat(parts, 1);
        for layer in &self.layers {
            x = layer.norm1.forward(x.clone() + layer.attend.forward(x));
            let hidden = gelu(layer.linear1.forward(x.clone()));
            x = layer.norm2.forward(x + layer.linear2.forward(hidden));
        }
        let [_, regions, _] = x.dims();
        x.reshape([batch, regions * width])
    }
}
