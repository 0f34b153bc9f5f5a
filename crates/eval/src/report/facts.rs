//! Where and with what an evaluation was run: without it a number cannot be repeated.

use r2former_engine::Extractor;
use r2former_model::ModelConfig;
use serde::Serialize;
use sysinfo::System;

/// Which program ran, how it was called, and when it ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunFacts {
    /// Program and version.
    pub program: String,
    /// Revision of its source, where it was built from a repository.
    pub revision: String,
    /// The command line, argument after argument.
    pub command: Vec<String>,
    /// When it ended, RFC 3339 in UTC.
    pub finished: String,
}

impl RunFacts {
    /// Of this process, which ends now. `program` and `revision` are the caller's words.
    pub fn gather(program: &str, revision: &str) -> Self {
        Self {
            program: program.to_string(),
            revision: revision.to_string(),
            command: std::env::args_os().map(|part| part.to_string_lossy().into_owned()).collect(),
            finished: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        }
    }

    /// The command line as a shell would take it.
    pub(super) fn line(&self) -> String {
        let quoted = self.command.iter().map(|part| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=+".contains(c);
            if !part.is_empty() && part.chars().all(plain) { part.clone() } else { format!("'{part}'") }
        });
        quoted.collect::<Vec<_>>().join(" ")
    }
}

/// What a result depends on besides the data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Facts {
    /// The run itself.
    #[serde(flatten)]
    pub run: RunFacts,
    /// Operating system.
    pub system: String,
    /// Processor.
    pub cpu: String,
    /// Physical cores; 0 where the system does not tell.
    pub cores: usize,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Threads that computed.
    pub threads: usize,
    /// Device that computed.
    pub device: String,
    /// SHA-256 of the checkpoint.
    pub model_sha256: String,
    /// The model's configuration under the run's settings.
    pub model: ModelConfig,
}

impl Facts {
    /// Asks the system. `device` is the caller's word.
    pub fn gather(run: RunFacts, extractor: &Extractor, device: &str) -> Self {
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
