//! Devices by name, chosen at run time.
//!
//! `cpu` is always there; every other kind is a feature of the build ([`FEATURES`]). A GPU's name may carry an
//! index, as in `cuda:0` or `vulkan:1`: its place among the adapters of that kind, which the error of a name that
//! does not exist lists.

mod info;

pub use burn::tensor::Device;
pub use info::{DeviceInfo, describe, largest_tensor};

use crate::{ModelError, Result};
#[cfg(any(feature = "cuda", feature = "rocm", feature = "vulkan", feature = "metal", feature = "wgpu"))]
use burn::tensor::DeviceType;

/// Kinds of devices besides the CPU, by the feature that builds each.
const KINDS: [&str; 5] = ["cuda", "rocm", "vulkan", "metal", "wgpu"];

/// GPU backends of this build, by feature and device name.
pub const FEATURES: &[&str] = &[
    #[cfg(feature = "cuda")]
    "cuda",
    #[cfg(feature = "rocm")]
    "rocm",
    #[cfg(feature = "vulkan")]
    "vulkan",
    #[cfg(feature = "metal")]
    "metal",
    #[cfg(feature = "wgpu")]
    "wgpu",
];

/// The device that `name` means: `cpu`, or `cuda`, `rocm`, `vulkan`, `metal` or `wgpu` with an optional `:index`,
/// where this build has that feature. `wgpu` chooses the graphics API itself (Vulkan, Metal, DirectX 12, OpenGL).
///
/// # Errors
/// [`ModelError::Device`] when the name is unknown, its feature was not compiled in, or this machine has no such
/// device; the message lists the devices that it has.
///
/// ```
/// use r2former_model::parse_device;
///
/// assert!(parse_device("cpu").is_ok());
/// let error = parse_device("gpu").unwrap_err().to_string();
/// assert!(error.contains("cpu, or cuda"), "{error}");
/// ```
pub fn parse_device(name: &str) -> Result<Device> {
    match kind_of(name)? {
        ("cpu", _) => Ok(Device::flex()),
        (kind, index) => open(name, kind, index),
    }
}

/// Whether a name is one that [`parse_device`] knows in this build; whether this machine has such a device is not asked.
///
/// # Errors
/// [`ModelError::Device`] when the name is unknown, or its feature was not compiled in.
pub fn check_device_name(name: &str) -> Result<()> {
    kind_of(name).map(drop)
}

/// The kind of device that a name means, and its index.
fn kind_of(name: &str) -> Result<(&str, Option<usize>)> {
    let (kind, index) = match name.split_once(':') {
        Some((kind, index)) => {
            let Ok(index) = index.parse::<usize>() else {
                return Err(ModelError::Device(format!(
                    "device {name}: '{index}' is not a number; write for example cuda:0"
                )));
            };
            (kind, Some(index))
        }
        None => (name, None),
    };
    match kind {
        "cpu" if index.is_none() => Ok((kind, index)),
        "cpu" => Err(ModelError::Device(format!("device {name}: the CPU has no index; write cpu"))),
        "webgpu" => Err(ModelError::Device(format!(
            "device {name}: WebGPU is the API of browsers; use wgpu, which chooses the API of this machine"
        ))),
        _ if FEATURES.contains(&kind) => Ok((kind, index)),
        _ if KINDS.contains(&kind) => Err(ModelError::Device(format!(
            "device {name}: this build has no {kind}; build with `cargo build --release --features {kind}`, or use \
             --device {}",
            ["cpu"].iter().chain(FEATURES).copied().collect::<Vec<_>>().join(" or ")
        ))),
        _ => Err(ModelError::Device(format!(
            "device {name} is not known: cpu, or {} with an optional index as in cuda:0",
            KINDS.join(", ")
        ))),
    }
}

/// The devices of a kind that this build has, in the order of their indexes.
fn devices_of(kind: &str) -> Vec<Device> {
    match kind {
        "cpu" => vec![Device::flex()],
        #[cfg(feature = "cuda")]
        "cuda" => Device::enumerate(DeviceType::Cuda).into_vec(),
        #[cfg(feature = "rocm")]
        "rocm" => Device::enumerate(DeviceType::Rocm).into_vec(),
        #[cfg(feature = "vulkan")]
        "vulkan" => Device::enumerate(DeviceType::Vulkan).into_vec(),
        #[cfg(feature = "metal")]
        "metal" => Device::enumerate(DeviceType::Metal).into_vec(),
        #[cfg(feature = "wgpu")]
        "wgpu" => Device::enumerate(DeviceType::Wgpu).into_vec(),
        _ => Vec::new(),
    }
}

/// A device of a kind that was compiled in: the one with this index, or the best.
///
/// Whether there is one is asked first: Burn initialises devices when they are first used, on a thread of its own,
/// and a machine without one ends in a panic there.
fn open(name: &str, kind: &str, index: Option<usize>) -> Result<Device> {
    let found = devices_of(kind);
    let Some(first) = found.first() else {
        return Err(ModelError::Device(format!(
            "device {name}: no {kind} adapter was found on this machine; there is {}",
            listed()
        )));
    };
    match index {
        Some(index) => found.get(index).cloned().ok_or_else(|| {
            ModelError::Device(format!(
                "device {name}: there is no {kind} device {index}; there is {}",
                listed()
            ))
        }),
        None => Ok(best(kind).unwrap_or_else(|| first.clone())),
    }
}

/// The device that a kind without an index means, where that is not the first.
fn best(kind: &str) -> Option<Device> {
    match kind {
        #[cfg(feature = "vulkan")]
        "vulkan" => Some(Device::vulkan(Default::default())),
        #[cfg(feature = "metal")]
        "metal" => Some(Device::metal(Default::default())),
        #[cfg(feature = "wgpu")]
        "wgpu" => Some(Device::wgpu(Default::default())),
        _ => None,
    }
}

/// Every device that this build can use here, as `--device` takes it, with its adapter's name where it is known.
fn listed() -> String {
    let adapters = info::adapters();
    let mut names = vec!["cpu".to_string()];
    for kind in FEATURES {
        for (index, _) in devices_of(kind).iter().enumerate() {
            names.push(format!("{kind}:{index}"));
        }
    }
    match adapters.is_empty() {
        true => names.join(", "),
        false => format!("{} (adapters: {})", names.join(", "), adapters.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: &str) -> String {
        parse_device(name).unwrap_err().to_string()
    }

    #[test]
    fn the_cpu_is_always_there() {
        assert_eq!(parse_device("cpu").unwrap(), Device::flex());
        assert!(error("cpu:1").contains("no index"));
    }

    #[test]
    fn a_kind_that_was_not_compiled_in_names_its_feature() {
        for kind in KINDS.iter().filter(|kind| !FEATURES.contains(kind)) {
            let said = error(&format!("{kind}:0"));
            assert!(said.contains(&format!("--features {kind}")) && said.contains("--device cpu"), "{said}");
        }
    }

    #[test]
    fn webgpu_is_refused_with_its_new_name() {
        assert!(error("webgpu").contains("use wgpu"));
    }

    #[test]
    fn unknown_names_list_the_known() {
        for name in ["gpu", "", "CPU", "cuda:x", "tpu:0"] {
            let said = error(name);
            assert!(said.contains("cuda"), "{name}: {said}");
        }
    }

    #[test]
    fn an_index_beyond_the_last_adapter_lists_what_there_is() {
        for kind in FEATURES {
            let said = error(&format!("{kind}:4095"));
            assert!(said.contains("there is cpu"), "{said}");
        }
    }
}
