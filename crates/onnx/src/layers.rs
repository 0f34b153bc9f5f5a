//! Layers by the names of their tensors in a checkpoint.

use crate::graph::{Graph, Value, float, int, ints};
use crate::proto::AttributeProto;

impl Graph<'_> {
    /// A linear layer on the last axis, from `{name}.weight` and `{name}.bias`.
    pub(crate) fn linear(&mut self, x: &Value, name: &str) -> Value {
        let product = self.linear_without_bias(x, name);
        let bias = self.weight(&format!("{name}.bias"));
        self.add(&product, &bias)
    }

    /// Its product alone.
    pub(crate) fn linear_without_bias(&mut self, x: &Value, name: &str) -> Value {
        let weight = self.transposed_weight(&format!("{name}.weight"));
        self.matmul(x, &weight)
    }

    /// A layer norm of the last axis.
    pub(crate) fn layer_norm(&mut self, x: &Value, name: &str, epsilon: f64) -> Value {
        let (weight, bias) = (self.weight(&format!("{name}.weight")), self.weight(&format!("{name}.bias")));
        let attributes = vec![int("axis", -1), float("epsilon", epsilon as f32)];
        self.node("LayerNormalization", &[x, &weight, &bias], attributes)
    }

    /// A square convolution padded by half its kernel.
    pub(crate) fn conv(&mut self, x: &Value, name: &str, side: usize, stride: usize, bias: bool) -> Value {
        let pad = side / 2;
        self.conv_padded(x, name, [side, stride, pad], bias)
    }

    /// A square convolution by its side, stride and padding.
    pub(crate) fn conv_padded(&mut self, x: &Value, name: &str, sizes: [usize; 3], bias: bool) -> Value {
        let weight = self.weight(&format!("{name}.weight"));
        let attributes = window(sizes);
        match bias {
            true => {
                let bias = self.weight(&format!("{name}.bias"));
                self.node("Conv", &[x, &weight, &bias], attributes)
            }
            false => self.node("Conv", &[x, &weight], attributes),
        }
    }

    /// A batch norm with its running statistics.
    pub(crate) fn batch_norm(&mut self, x: &Value, name: &str, epsilon: f64) -> Value {
        let parts = ["weight", "bias", "running_mean", "running_var"];
        let [scale, bias, mean, variance] = parts.map(|part| self.weight(&format!("{name}.{part}")));
        let inputs = [x, &scale, &bias, &mean, &variance];
        self.node("BatchNormalization", &inputs, vec![float("epsilon", epsilon as f32)])
    }

    pub(crate) fn max_pool(&mut self, x: &Value, sizes: [usize; 3]) -> Value {
        self.node("MaxPool", &[x], window(sizes))
    }

    /// Generalised mean (GeM) over the tokens of `[batch, tokens, width]`, with the learned power of this name or 3.
    pub(crate) fn gem(&mut self, tokens: &Value, power: Option<&str>) -> Value {
        let values = power.map(|name| self.read(name));
        let clamped = self.clamp_min(tokens, 1e-6);
        let (power, inverse) = match (power, values.and_then(|values| values.first())) {
            (Some(name), Some(value)) => (self.weight(name), f64::from(1.0 / value)),
            _ => (self.floats(&[], &[3.0]), 1.0 / 3.0),
        };
        let raised = self.pow(&clamped, &power);
        let mean = self.mean(&raised, 1, false);
        self.with_number("Pow", &mean, inverse)
    }
}

/// A square window by its side, stride and padding.
fn window(sizes: [usize; 3]) -> Vec<AttributeProto> {
    let [side, stride, pad] = sizes.map(|size| size as i64);
    vec![ints("kernel_shape", &[side; 2]), ints("strides", &[stride; 2]), ints("pads", &[pad; 4])]
}
