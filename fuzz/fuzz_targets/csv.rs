//! Any bytes as a table of positions.
#![no_main]

use libfuzzer_sys::fuzz_target;
use r2former_data::dataset::{Kind, SourceOptions, list_photos};

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir_in("/dev/shm").expect("temporary folder");
    let path = folder.path().join("positions.csv");
    std::fs::write(&path, bytes).expect("temporary file takes the bytes");
    let _ = list_photos(&path, Some(Kind::Csv), &SourceOptions::default());
});
