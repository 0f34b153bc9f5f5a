//! The user's folder for what can be made again.

use std::path::PathBuf;

/// Ours in the user's cache folder (`$XDG_CACHE_HOME/r2former` or `~/.cache/r2former`, `~/Library/Caches/r2former`,
/// `%LOCALAPPDATA%\r2former`); `None` where there is none.
pub(crate) fn user_cache() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = |below: &str| set("HOME").map(|home| home.join(below));
    let caches = match std::env::consts::OS {
        "windows" => set("LOCALAPPDATA"),
        "macos" => home("Library/Caches"),
        _ => set("XDG_CACHE_HOME").or_else(|| home(".cache")),
    };
    caches.map(|folder| folder.join("r2former"))
}
