//! Any bytes as a photograph: every decoder, and EXIF.
#![no_main]

use libfuzzer_sys::fuzz_target;
use r2former_data::image::{Limits, decode_bytes, tags_of_bytes};
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { max_pixels: 1 << 20, ..Limits::default() };
    let _ = decode_bytes(bytes, Path::new("fuzz"), &limits);
    let _ = tags_of_bytes(bytes, Path::new("fuzz"));
});
