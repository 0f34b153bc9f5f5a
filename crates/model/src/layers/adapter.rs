//! Adapters of frozen transformers: CricaVPR, SelaVPR and SelaVPR++.

use crate::Precision;
use crate::layers::Projection;
use crate::weights::{TensorReader, TensorWriter};
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;

/// Convolutions of the three branches by their names, with input and output channels as shares of the adapter's width, and
/// kernel sides. Each is followed by a batch norm in the published files, which imports fold into it.
pub const CONVOLUTIONS: [(&str, [usize; 2], usize); 5] = [
    ("branch1", [1, 2], 1),
    ("branch2.0", [1, 16], 1),
    ("branch2.1", [16, 4], 3),
    ("branch3.0", [1, 16], 1),
    ("branch3.1", [16, 4], 5),
];

/// `up(h + branches(h))` with `h = relu(down x)`, or `up(h)` without branches.
#[derive(Module, Debug)]
pub struct Adapter {
    down: Projection,
    /// Empty, or one of each of [`CONVOLUTIONS`].
    convs: Vec<Conv2d>,
    up: Projection,
}

impl Adapter {
    /// Builds the adapter of tokens of `dim` from the tensors under `{name}.`, with the published names.
    pub fn load(
        reader: &mut TensorReader,
        name: &str,
        [dim, width]: [usize; 2],
        branches: bool,
        precision: Precision,
    ) -> Self {
        let down = Projection::load(reader, &format!("{name}.D_fc1"), dim, width, precision);
        let conv = |(part, [d_in, d_out], side): (&str, [usize; 2], usize)| {
            reader.conv_with_bias(&format!("{name}.{part}.conv"), [width / d_in, width / d_out], side, 1)
        };
        let convs = if branches { CONVOLUTIONS.into_iter().map(conv).collect() } else { Vec::new() };
        let up = Projection::load(reader, &format!("{name}.D_fc2"), width, dim, precision);
        Self { down, convs, up }
    }

    /// Writes the tensors that [`load`](Self::load) reads.
    pub fn save(&self, writer: &mut TensorWriter, name: &str) {
        self.down.save(writer, &format!("{name}.D_fc1"));
        for (conv, (part, ..)) in self.convs.iter().zip(CONVOLUTIONS) {
            writer.conv(&format!("{name}.{part}.conv"), conv);
        }
        self.up.save(writer, &format!("{name}.D_fc2"));
    }

    /// Computes every token; those before the patches, of which there are `rows * columns`, take no part in the branches.
    ///
    /// # Shapes
    /// - x: `[batch, tokens, dim]`
    /// - output: `[batch, tokens, dim]`
    pub fn forward(&self, x: Tensor<3>, [rows, columns]: [usize; 2]) -> Tensor<3> {
        let hidden = relu(self.down.forward(x));
        let [batch, tokens, width] = hidden.dims();
        let [first, second, third, fourth, fifth] = &self.convs[..] else { return self.up.forward(hidden) };
        let patches = rows * columns;
        let map = hidden.clone().narrow(1, tokens - patches, patches);
        let map = map.swap_dims(1, 2).reshape([batch, width, rows, columns]);
        let branches = Tensor::cat(
            vec![
                relu(first.forward(map.clone())),
                relu(third.forward(relu(second.forward(map.clone())))),
                relu(fifth.forward(relu(fourth.forward(map)))),
            ],
            1,
        );
        let branches = branches.reshape([batch, width, patches]).swap_dims(1, 2);
        let prefix = hidden.clone().narrow(1, 0, tokens - patches);
        self.up.forward(hidden + Tensor::cat(vec![prefix, branches], 1))
    }
}
