//! Any bytes as a checkpoint: our own format from memory, foreign ones from a file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use r2former_model::import::{ImportOptions, import};
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let _ = r2former_model::checkpoint::parse(bytes, Path::new("fuzz"));
    let folder = if Path::new("/dev/shm").is_dir() { Path::new("/dev/shm") } else { Path::new("/tmp") };
    let file = tempfile::NamedTempFile::new_in(folder).expect("temporary file");
    std::fs::write(file.path(), bytes).expect("temporary file takes the bytes");
    let _ = import(file.path(), &ImportOptions::default());
});
