//! The environment of a run: what its numbers depend on besides the data.

use r2former_engine::Extractor;
use r2former_model::ModelConfig;
use serde::Serialize;
use sysinfo::System;

/// The program, its command line, and when it finished.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunInfo {
    /// Program and version.
    pub program: String,
    /// Revision of its source, where it was built from a repository.
    pub revision: String,
    /// The command line, argument after argument.
    pub command: Vec<String>,
    /// When it finished, RFC 3339 in UTC.
    pub finished: String,
}

impl RunInfo {
    /// Of this process, finished now. `program` and `revision` are as the caller names them.
    pub fn gather(program: &str, revision: &str) -> Self {
        Self {
            program: program.to_string(),
            revision: revision.to_string(),
            command: std::env::args_os().map(|part| part.to_string_lossy().into_owned()).collect(),
            finished: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        }
    }

    /// The command line, quoted for a shell.
    pub(super) fn line(&self) -> String {
        let quoted = self.command.iter().map(|part| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=+".contains(c);
            if !part.is_empty() && part.chars().all(plain) { part.clone() } else { format!("'{part}'") }
        });
        quoted.collect::<Vec<_>>().join(" ")
    }
}

/// Program, machine and model of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Environment {
    /// The program.
    #[serde(flatten)]
    pub run: RunInfo,
    /// Operating system.
    pub system: String,
    /// Processor.
    pub cpu: String,
    /// Physical cores; 0 if the system does not report them.
    pub cores: usize,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Threads used.
    pub threads: usize,
    /// Compute device.
    pub device: String,
    /// SHA-256 of the checkpoint.
    pub model_sha256: String,
    /// The model's configuration under the run's settings.
    pub model: ModelConfig,
}

impl Environment {
    /// Queries the system. `device` is as the caller names it.
    pub fn gather(run: RunInfo, extractor: &Extractor, device: &str) -> Self {
        let mut system = System::new();
        system.refresh_memory();
        system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
        let cpu = system.cpus().first().map_or("", |cpu| cpu.brand()).trim();
        Self {
            run,
            system: System::long_os_version().unwrap_or_else(|| std::env::consts::OS.into()),
            cpu: if cpu.is_empty() { std::env::consts::ARCH.into() } else { cpu.into() },
            cores: System::physical_core_count().unwrap_or(0),
            memory_bytes: system.total_memory(),
            threads: rayon::current_num_threads(),
            device: device.to_string(),
            model_sha256: extractor.fingerprint().to_string(),
            model: extractor.config().clone(),
        }
    }
}
