//! GELU with its own gradient on every device.

use burn::tensor::activation;
use burn::tensor::{Device, Tensor};
use std::f64::consts::SQRT_2;

/// `x` times the probability that a normal variable is below it.
pub(crate) fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let device = x.device();
    // Except on the CPU, the gradient of Burn 0.22.1's operation is that of an approximation: those of a training step are off
    // by thousandths.
    match device.is_autodiff() && device.inner() != Device::flex() {
        true => by_erf(x),
        false => activation::gelu(x),
    }
}

fn by_erf<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let twice = x.clone().div_scalar(SQRT_2).erf().add_scalar(1.0);
    (x * twice).div_scalar(2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_gradients_are_those_of_the_cpu() {
        let run = |f: fn(Tensor<1>) -> Tensor<1>| -> [Vec<f32>; 2] {
            let device = Device::flex().autodiff();
            let values: Vec<f32> = (-60..=60).map(|i| i as f32 / 10.0).collect();
            let x = Tensor::<1>::from_floats(values.as_slice(), &device).require_grad();
            let y = f(x.clone());
            let gradient = x.grad(&y.clone().sum().backward()).unwrap();
            [y.inner(), gradient].map(|values| values.into_data().try_to_vec().unwrap())
        };
        let (found, expected) = (run(by_erf), run(activation::gelu));
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
        }
    }
}
