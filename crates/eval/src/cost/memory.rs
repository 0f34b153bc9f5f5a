//! Memory of this program, where the system tells it (Linux).

/// Bytes in use.
pub fn resident_bytes() -> Option<u64> {
    status_bytes("VmRSS")
}

/// The most bytes that ever were in use.
pub fn peak_bytes() -> Option<u64> {
    status_bytes("VmHWM")
}

fn status_bytes(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}
