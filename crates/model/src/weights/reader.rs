//! Builds modules from named tensors and accounts for every one of them.

use super::{RawTensor, StoredTensor, StoredTensors, StoredValues, Tensors};
use crate::{ModelError, Result};
use burn::module::{Param, ParamId};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig, PaddingConfig2d,
};
use burn::tensor::{DType, Device, Tensor, TensorData};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Initialisation of a parameter in a model without a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// A constant.
    Constant(f32),
    /// A normal distribution with this standard deviation, truncated at two of them.
    Normal(f32),
}

/// Index and value of a tensor's first value that is not finite.
type NonFinite = Option<(usize, f32)>;

enum Source {
    Given(StoredTensors),
    /// What [`TensorReader::checking`] looks at.
    Shapes(BTreeMap<String, (Vec<usize>, NonFinite)>),
    Random(Random),
}

/// Gives tensors to modules by name. Problems are collected and reported by [`TensorReader::finish`].
pub struct TensorReader {
    source: Source,
    device: Device,
    /// Whether weights of linear layers that have 16 bits stay so.
    keeps_halves: bool,
    problems: Vec<String>,
}

impl TensorReader {
    fn new(source: Source, device: &Device) -> Self {
        Self { source, device: device.clone(), keeps_halves: false, problems: Vec::new() }
    }

    /// Reads from `tensors`.
    pub fn from_tensors(tensors: Tensors, device: &Device) -> Self {
        Self::from_stored(tensors.into_iter().map(|(name, tensor)| (name, tensor.into())).collect(), device)
    }

    /// Reads from `tensors`; those of 16 bits are expanded one by one.
    pub fn from_stored(tensors: StoredTensors, device: &Device) -> Self {
        Self::new(Source::Given(tensors), device)
    }

    /// Leaves weights of [`linear`](Self::linear) layers that have 16 bits as they are, for kernels that take them out of a
    /// module. The module itself does not compute with them ([`R2Former::expand`](crate::R2Former::expand)).
    #[must_use]
    pub fn keeping_halves(self) -> Self {
        Self { keeps_halves: true, ..self }
    }

    /// Checks `tensors` without copying them: every module is a placeholder, and [`TensorReader::finish`] gives the
    /// verdict.
    pub fn checking(tensors: &Tensors) -> Self {
        let of = |tensor: &RawTensor| (tensor.shape.clone(), non_finite(tensor.data.iter().copied()));
        let shapes = tensors.iter().map(|(name, tensor)| (name.clone(), of(tensor))).collect();
        Self::new(Source::Shapes(shapes), &Device::flex())
    }

    /// Initialises every tensor at random; equal seeds give equal weights on every machine.
    pub fn random(seed: u64, device: &Device) -> Self {
        Self::new(Source::Random(Random(seed)), device)
    }

    /// The values in 32 bits, or `None` after recording the problem.
    fn raw(&mut self, name: &str, shape: &[usize], init: Init) -> Option<Vec<f32>> {
        self.stored(name, shape, init).map(StoredValues::expanded)
    }

    /// The values of a linear layer's weight, in 16 bits if they have them and may stay so, or `None` after recording the
    /// problem.
    fn weight(&mut self, name: &str, shape: &[usize], may_stay: bool) -> Option<StoredValues> {
        let values = self.stored(name, shape, Init::Normal(0.02))?;
        Some(if self.keeps_halves && may_stay { values } else { StoredValues::F32(values.expanded()) })
    }

    /// The values as they are given, or `None` after recording the problem.
    fn stored(&mut self, name: &str, shape: &[usize], init: Init) -> Option<StoredValues> {
        let found = match &mut self.source {
            Source::Random(random) => {
                let count = shape.iter().product();
                return Some(StoredValues::F32(match init {
                    Init::Constant(value) => vec![value; count],
                    Init::Normal(std) => (0..count).map(|_| std * random.truncated_normal()).collect(),
                }));
            }
            Source::Given(tensors) => {
                let of = |StoredTensor { shape, data }| (shape, non_finite_of(&data), Some(data));
                tensors.remove(name).map(of)
            }
            Source::Shapes(shapes) => shapes.remove(name).map(|(shape, bad)| (shape, bad, None)),
        };
        match found {
            Some((found, bad, data)) if found == shape => {
                if let Some((at, value)) = bad {
                    self.problems.push(format!("{name}: value {at} is {value}, not a finite number"));
                }
                data
            }
            Some((found, ..)) => {
                self.problems.push(format!("{name}: shape {found:?}, but the architecture needs {shape:?}"));
                None
            }
            None => {
                self.problems.push(format!("{name}: missing (shape {shape:?})"));
                None
            }
        }
    }

    /// A parameter in its stored layout.
    pub fn param<const D: usize>(&mut self, name: &str, shape: [usize; D], init: Init) -> Param<Tensor<D>> {
        named(name, self.tensor(name, shape, init))
    }

    fn tensor<const D: usize>(&mut self, name: &str, shape: [usize; D], init: Init) -> Tensor<D> {
        self.raw(name, &shape, init)
            .map_or_else(|| self.placeholder(), |data| self.of_values(StoredValues::F32(data), shape))
    }

    fn of_values<const D: usize>(&self, values: StoredValues, shape: [usize; D]) -> Tensor<D> {
        match values {
            StoredValues::F32(values) => Tensor::from_data(TensorData::new(values, shape), &self.device),
            StoredValues::F16(values) => {
                Tensor::from_data(TensorData::new(values, shape), (&self.device, DType::F16))
            }
        }
    }

    /// A placeholder for a missing tensor: [`TensorReader::finish`] will fail, and a file with absurd sizes must not
    /// cause allocations of those sizes.
    fn placeholder<const D: usize>(&self) -> Tensor<D> {
        Tensor::zeros([1; D], &self.device)
    }

    /// A linear layer; the stored weight is `[d_out, d_in]`.
    pub fn linear(&mut self, name: &str, d_in: usize, d_out: usize) -> Linear {
        self.linear_of(name, [d_in, d_out], &[d_out, d_in], true)
    }

    /// A linear layer whose weight stays as it is stored and is read across, for large ones: a transposed copy beside
    /// it would decide how much memory loading takes.
    pub fn linear_across(&mut self, name: &str, d_in: usize, d_out: usize) -> Linear {
        let full = format!("{name}.weight");
        let weight = match self.weight(&full, &[d_out, d_in], true) {
            Some(weight) => self.of_values(weight, [d_out, d_in]).transpose(),
            None => self.placeholder(),
        };
        let bias = self.param(&format!("{name}.bias"), [d_out], Init::Constant(0.0));
        let mut linear = LinearConfig::new(1, 1).init(&self.device);
        linear.weight = named(&full, weight);
        linear.bias = Some(bias);
        linear
    }

    /// A linear layer whose weight is stored as a convolution kernel of `shape`.
    pub fn linear_shaped(&mut self, name: &str, d_in: usize, d_out: usize, shape: &[usize]) -> Linear {
        self.linear_of(name, [d_in, d_out], shape, false)
    }

    fn linear_of(
        &mut self,
        name: &str,
        [d_in, d_out]: [usize; 2],
        shape: &[usize],
        may_stay: bool,
    ) -> Linear {
        let full = format!("{name}.weight");
        // Transposed on the host, so that the parameter is contiguous on its device.
        let weight = match self.weight(&full, shape, may_stay) {
            Some(StoredValues::F32(weight)) => {
                let weight = StoredValues::F32(transposed(&weight, [d_in, d_out]));
                self.of_values(weight, [d_in, d_out])
            }
            Some(StoredValues::F16(weight)) => {
                let weight = StoredValues::F16(transposed(&weight, [d_in, d_out]));
                self.of_values(weight, [d_in, d_out])
            }
            None => self.placeholder(),
        };
        let bias = self.param(&format!("{name}.bias"), [d_out], Init::Constant(0.0));
        let mut linear = LinearConfig::new(1, 1).init(&self.device);
        linear.weight = named(&full, weight);
        linear.bias = Some(bias);
        linear
    }

    /// A layer norm.
    pub fn layer_norm(&mut self, name: &str, dim: usize, eps: f64) -> LayerNorm {
        let mut norm = LayerNormConfig::new(dim).with_epsilon(eps).init(&self.device);
        norm.gamma = self.param(&format!("{name}.weight"), [dim], Init::Constant(1.0));
        norm.beta = Some(self.param(&format!("{name}.bias"), [dim], Init::Constant(0.0)));
        norm
    }

    /// A square convolution without bias, padded by half its kernel.
    pub fn conv(&mut self, name: &str, [d_in, d_out]: [usize; 2], side: usize, stride: usize) -> Conv2d {
        let mut conv = Conv2dConfig::new([1, 1], [side, side])
            .with_stride([stride, stride])
            .with_padding(PaddingConfig2d::Explicit(side / 2, side / 2, side / 2, side / 2))
            .with_bias(false)
            .init(&self.device);
        let std = (2.0 / (d_in * side * side) as f32).sqrt();
        conv.weight = self.param(&format!("{name}.weight"), [d_out, d_in, side, side], Init::Normal(std));
        conv
    }

    /// As [`conv`](Self::conv), with a bias.
    pub fn conv_with_bias(
        &mut self,
        name: &str,
        [d_in, d_out]: [usize; 2],
        side: usize,
        stride: usize,
    ) -> Conv2d {
        let mut conv = self.conv(name, [d_in, d_out], side, stride);
        conv.bias = Some(self.param(&format!("{name}.bias"), [d_out], Init::Constant(0.0)));
        conv
    }

    /// A batch norm with its running statistics.
    pub fn batch_norm(&mut self, name: &str, dim: usize, eps: f64) -> BatchNorm {
        let mut norm = BatchNormConfig::new(dim).with_epsilon(eps).init(&self.device);
        norm.gamma = self.param(&format!("{name}.weight"), [dim], Init::Constant(1.0));
        norm.beta = self.param(&format!("{name}.bias"), [dim], Init::Constant(0.0));
        let mean = self.tensor(&format!("{name}.running_mean"), [dim], Init::Constant(0.0));
        let var = self.tensor(&format!("{name}.running_var"), [dim], Init::Constant(1.0));
        norm.running_mean = burn::module::RunningState::new(mean);
        norm.running_var = burn::module::RunningState::new(var);
        norm
    }

    /// Checks that every tensor was used and fitted.
    ///
    /// # Errors
    /// [`ModelError::Tensors`] naming the tensors (at most 12) that were missing, of the wrong shape, non-finite, or
    /// unused.
    pub fn finish(self) -> Result<()> {
        let mut problems = self.problems;
        let mut unused = |name: &str, shape: &[usize]| {
            problems.push(format!("{name}: not expected in this architecture (shape {shape:?})"));
        };
        match &self.source {
            Source::Given(rest) => rest.iter().for_each(|(name, t)| unused(name, &t.shape)),
            Source::Shapes(rest) => rest.iter().for_each(|(name, (shape, _))| unused(name, shape)),
            Source::Random(_) => {}
        }
        if problems.is_empty() {
            return Ok(());
        }
        const SHOWN: usize = 12;
        let more = problems.len().saturating_sub(SHOWN);
        problems.truncate(SHOWN);
        if more > 0 {
            problems.push(format!("and {more} more"));
        }
        Err(ModelError::Tensors(problems))
    }
}

fn non_finite(values: impl Iterator<Item = f32>) -> NonFinite {
    values.enumerate().find(|(_, value)| !value.is_finite())
}

fn non_finite_of(values: &StoredValues) -> NonFinite {
    match values {
        StoredValues::F32(values) => non_finite(values.iter().copied()),
        StoredValues::F16(values) => non_finite(values.iter().map(|value| value.to_f32())),
    }
}

/// A weight `[d_out, d_in]` as `[d_in, d_out]`.
fn transposed<T: Copy + Default>(weight: &[T], [d_in, d_out]: [usize; 2]) -> Vec<T> {
    let mut transposed = vec![T::default(); weight.len()];
    for (o, row) in weight.chunks_exact(d_in).enumerate() {
        for (i, value) in row.iter().enumerate() {
            transposed[i * d_out + o] = *value;
        }
    }
    transposed
}

/// The identifier of the parameter with this name. It is the same in every process, so that a resumed run finds the
/// optimizer state of each parameter.
pub fn param_id(name: &str) -> ParamId {
    let digest = Sha256::digest(name.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    ParamId::from(u64::from_le_bytes(first))
}

fn named<const D: usize>(name: &str, value: Tensor<D>) -> Param<Tensor<D>> {
    let mut param = Param::from_tensor(value);
    param.id = param_id(name);
    param
}

/// SplitMix64: small, portable, and good enough for initial weights.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // The half step keeps the value above zero, for its logarithm.
        (((z ^ (z >> 31)) >> 40) as f32 + 0.5) / (1u64 << 24) as f32
    }

    fn truncated_normal(&mut self) -> f32 {
        loop {
            let radius = (-2.0 * self.uniform().ln()).sqrt();
            let value = radius * (std::f32::consts::TAU * self.uniform()).cos();
            if value.abs() <= 2.0 {
                return value;
            }
        }
    }
}
