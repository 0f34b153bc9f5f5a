//! The machine and the build.

use r2former_kernels::Level;
use serde::Serialize;
use sysinfo::System;

/// What a report of a fault needs to say about the machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Environment {
    /// Version of this crate.
    pub version: &'static str,
    /// GPU backends that were compiled in.
    pub features: &'static [&'static str],
    /// Operating system and architecture.
    pub system: String,
    /// The processor's name.
    pub processor: String,
    /// Vector instructions that the CPU kernels use, or why they cannot.
    pub cpu_level: String,
    /// Whether the processor multiplies bfloat16 (AVX-512 BF16).
    pub cpu_bf16: bool,
    /// Logical cores.
    pub cores: usize,
    /// Threads of this process.
    pub threads: usize,
    /// Bytes of memory, and of those free for use.
    pub memory_bytes: u64,
    /// Bytes that a process may still take.
    pub available_bytes: u64,
}

impl Environment {
    /// Of this machine and build.
    pub fn here() -> Self {
        let mut system = System::new();
        system.refresh_memory();
        system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
        let processor = system.cpus().first().map(|cpu| cpu.brand().trim().to_string());
        let os = System::long_os_version().unwrap_or_else(|| std::env::consts::OS.into());
        Self {
            version: env!("CARGO_PKG_VERSION"),
            features: r2former_model::device::FEATURES,
            system: format!("{os}, {}", std::env::consts::ARCH),
            processor: processor.filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".into()),
            cpu_level: Level::current().map_or_else(|error| error.to_string(), |level| level.to_string()),
            cpu_bf16: has_bf16(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            threads: rayon::current_num_threads(),
            memory_bytes: system.total_memory(),
            available_bytes: system.available_memory(),
        }
    }
}

fn has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512bf16")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}
