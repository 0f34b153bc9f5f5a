//! Memory of this process; Linux only.

/// Bytes in use; `None` on other systems.
pub fn resident_bytes() -> Option<u64> {
    status_bytes("VmRSS")
}

/// Peak of bytes in use; `None` on other systems.
pub fn peak_bytes() -> Option<u64> {
    status_bytes("VmHWM")
}

/// Bytes in use now, in two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResidentParts {
    /// The program's own memory.
    pub anonymous: u64,
    /// Pages of files that it has mapped, which the system takes back when it needs them.
    pub files: u64,
}

/// Bytes in use now, apart; `None` on other systems than Linux.
pub fn resident_parts() -> Option<ResidentParts> {
    Some(ResidentParts { anonymous: status_bytes("RssAnon")?, files: status_bytes("RssFile")? })
}

fn status_bytes(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}
