//! Any text as a datasets_vg file name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use r2former_data::dataset::parse_vg_name;

fuzz_target!(|name: &str| {
    let _ = parse_vg_name(name);
});
