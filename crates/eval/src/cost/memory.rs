//! Memory of this process; Linux only.

/// Bytes in use; `None` on other systems.
pub fn resident_bytes() -> Option<u64> {
    status_bytes("VmRSS")
}

/// Peak of bytes in use; `None` on other systems.
pub fn peak_bytes() -> Option<u64> {
    status_bytes("VmHWM")
}

fn status_bytes(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}
