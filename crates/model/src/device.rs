//! Devices by name, chosen at run time.

use crate::{ModelError, Result};
pub use burn::tensor::Device;

/// The device that `name` means: `cpu`, or `cuda`, `vulkan`, `metal`, `rocm` or `webgpu` with an
/// optional `:index`, where this build has that feature.
///
/// # Errors
/// [`ModelError::Device`] when the name is unknown or its feature was not compiled in.
pub fn parse_device(name: &str) -> Result<Device> {
    let (kind, index) = match name.split_once(':') {
        Some((kind, index)) => {
            let index: usize = index.parse().map_err(|_| {
                ModelError::Device(format!(
                    "device {name}: '{index}' is not a number; write for example cuda:0"
                ))
            })?;
            (kind, Some(index))
        }
        None => (name, None),
    };
    match kind {
        "cpu" if index.is_none() => Ok(Device::flex()),
        #[cfg(feature = "cuda")]
        "cuda" => Ok(Device::cuda(index.unwrap_or(0))),
        #[cfg(feature = "rocm")]
        "rocm" => Ok(Device::rocm(index.unwrap_or(0))),
        #[cfg(feature = "vulkan")]
        "vulkan" => Ok(Device::vulkan(gpu_kind(index))),
        #[cfg(feature = "metal")]
        "metal" => Ok(Device::metal(gpu_kind(index))),
        #[cfg(feature = "webgpu")]
        "webgpu" => Ok(Device::webgpu(gpu_kind(index))),
        "cuda" | "rocm" | "vulkan" | "metal" | "webgpu" => Err(ModelError::Device(format!(
            "device {name}: this build has no {kind}; rebuild with --features {kind}, or use --device cpu"
        ))),
        _ => Err(ModelError::Device(format!(
            "device {name} is not known: cpu, or cuda, vulkan, metal, rocm, webgpu with an optional index as in cuda:0"
        ))),
    }
}

#[cfg(any(feature = "vulkan", feature = "metal", feature = "webgpu"))]
fn gpu_kind(index: Option<usize>) -> burn::tensor::DeviceKind {
    match index {
        Some(index) => burn::tensor::DeviceKind::DiscreteGpu(index),
        None => burn::tensor::DeviceKind::DefaultDevice,
    }
}
