//! What a device calls itself.

use super::Device;
use serde::Serialize;

/// A device for people, and as the key of what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceInfo {
    /// As the command line names it, as in `cpu` or `cuda:0`.
    pub device: String,
    /// The adapter's or processor's own name.
    pub adapter: Option<String>,
    /// The driver and its version, where the system gives them.
    pub driver: Option<String>,
}

impl std::fmt::Display for DeviceInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.device)?;
        let details: Vec<&str> =
            [&self.adapter, &self.driver].into_iter().flatten().map(String::as_str).collect();
        match details.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", details.join(", ")),
        }
    }
}

/// What the device of this name is. Opens it.
pub fn describe(name: &str, device: &Device) -> DeviceInfo {
    if *device == Device::flex() {
        return DeviceInfo { device: name.into(), adapter: processor(), driver: None };
    }
    let adapter = adapter_of(device);
    let driver = adapter.as_deref().and_then(driver_of).or_else(nvidia_driver);
    DeviceInfo { device: name.into(), adapter, driver }
}

#[cfg(any(feature = "cuda", feature = "rocm", feature = "vulkan", feature = "metal", feature = "wgpu"))]
fn adapter_of(device: &Device) -> Option<String> {
    device.identity().map(|identity| identity.name)
}

#[cfg(not(any(
    feature = "cuda",
    feature = "rocm",
    feature = "vulkan",
    feature = "metal",
    feature = "wgpu"
)))]
fn adapter_of(_: &Device) -> Option<String> {
    None
}

/// The processor's name, where the system has it in a file.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

/// The version of NVIDIA's kernel driver on Linux.
fn nvidia_driver() -> Option<String> {
    let version = std::fs::read_to_string("/sys/module/nvidia/version").ok()?;
    Some(format!("NVIDIA {}", version.trim()))
}

/// Adapters that wgpu sees, as in `NVIDIA H200 (Vulkan, NVIDIA 580.82.07)`; none in a build without it.
pub(super) fn adapters() -> Vec<String> {
    let name = |a: &Adapter| format!("{} ({}, {})", a.name, a.api, a.driver);
    wgpu_adapters().iter().map(name).collect()
}

/// Bytes of the largest tensor that kernels of the device can be given, where that is known: that of a graphics API, which
/// binds buffers of limited size. Opens the device.
pub fn largest_tensor(device: &Device) -> Option<u64> {
    let name = adapter_of(device)?;
    // An adapter that several APIs list has a limit of each.
    wgpu_adapters().iter().filter(|adapter| adapter.name == name).map(|adapter| adapter.largest).min()
}

fn driver_of(adapter: &str) -> Option<String> {
    let found = wgpu_adapters().into_iter().find(|a| a.name == adapter)?;
    Some(format!("{}, {}", found.api, found.driver))
}

struct Adapter {
    name: String,
    api: String,
    driver: String,
    /// Bytes of a buffer that a shader reads.
    largest: u64,
}

#[cfg(not(any(feature = "vulkan", feature = "metal", feature = "wgpu")))]
fn wgpu_adapters() -> Vec<Adapter> {
    Vec::new()
}

#[cfg(any(feature = "vulkan", feature = "metal", feature = "wgpu"))]
fn wgpu_adapters() -> Vec<Adapter> {
    use burn::tensor::wgpu::wgpu;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let Some(adapters) = ready(instance.enumerate_adapters(wgpu::Backends::all())) else { return Vec::new() };
    let one = |adapter: &wgpu::Adapter| {
        let info = adapter.get_info();
        let driver = format!("{} {}", info.driver, info.driver_info).trim().to_string();
        let limits = adapter.limits();
        let largest = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        Adapter { name: info.name, api: format!("{:?}", info.backend), driver, largest }
    };
    adapters.iter().map(one).collect()
}

/// The value of a future that is ready as soon as it is asked, as wgpu's are outside a browser.
#[cfg(any(feature = "vulkan", feature = "metal", feature = "wgpu"))]
fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    use std::task::{Context, Poll, Waker};
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
