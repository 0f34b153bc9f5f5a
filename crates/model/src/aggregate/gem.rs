//! GeM over L2-normalised patch tokens: SelaVPR, and between two linear layers SelaVPR++.

use crate::layers::Projection;
use crate::pooling::{gem, unit};
use crate::weights::{Init, TensorReader, TensorWriter};
use crate::{GemConfig, Precision};
use burn::module::{Module, Param};
use burn::tensor::Tensor;

/// A linear layer on each patch, GeM with a learned power, a linear layer on the mean.
#[derive(Module, Debug)]
pub struct Gem {
    project: Option<Projection>,
    power: Param<Tensor<1>>,
    head: Option<Projection>,
}

impl Gem {
    /// Builds it from `{name}.p` and the layers `{name}.project` and `{name}.head` for tokens of `width`.
    pub fn load(
        reader: &mut TensorReader,
        name: &str,
        width: usize,
        c: &GemConfig,
        precision: Precision,
    ) -> Self {
        let mut layer = |part: &str, dim: usize| {
            Projection::load(reader, &format!("{name}.{part}"), width, dim, precision)
        };
        let (project, head) =
            (c.projected.then(|| layer("project", width)), c.dim.map(|dim| layer("head", dim)));
        Self { project, power: reader.param(&format!("{name}.p"), [1], Init::Constant(3.0)), head }
    }

    /// Writes the tensors that [`load`](Self::load) reads.
    pub fn save(&self, writer: &mut TensorWriter, name: &str) {
        for (part, layer) in [("project", &self.project), ("head", &self.head)] {
            if let Some(layer) = layer {
                layer.save(writer, &format!("{name}.{part}"));
            }
        }
        writer.tensor(&format!("{name}.p"), self.power.val());
    }

    /// The descriptor before its normalisation.
    ///
    /// # Shapes
    /// - patches: `[batch, patches, width]`
    /// - output: `[batch, dim]`
    pub fn forward(&self, patches: Tensor<3>) -> Tensor<2> {
        let patches = match &self.project {
            Some(project) => project.forward(patches),
            None => patches,
        };
        let mean = gem(unit(patches), Some(self.power.val()));
        match &self.head {
            Some(head) => head.forward(mean),
            None => mean,
        }
    }
}
