//! r2former for C and everything that calls C: open an index, locate photographs, add them. `include/r2former.h` is the
//! interface, [docs/c.md](https://github.com/r2former/r2former/blob/main/docs/c.md) explains it.
//!
//! Texts are UTF-8 that ends with 0; documents are JSON, those of the program. No panic leaves a function.
#![allow(unsafe_code)]

mod arguments;
mod failure;
mod fix;
mod index;
mod sequence;

pub use failure::{r2former_error, r2former_error_kind, r2former_last_error};
pub use fix::{r2former_fix, r2former_fix_of, r2former_status};
pub use index::{
    r2former_add, r2former_add_rgb, r2former_close, r2former_create, r2former_free, r2former_index,
    r2former_info, r2former_locate, r2former_locate_rgb, r2former_open, r2former_release_writer,
    r2former_remove,
};
pub use sequence::{
    r2former_sequence, r2former_sequence_begin, r2former_sequence_end, r2former_sequence_push,
    r2former_sequence_push_rgb, r2former_sequence_track,
};

use failure::{Failure, guard};
use std::ffi::{c_char, c_int};

/// Version of the library, as `0.1.0`. It is never freed.
#[unsafe(no_mangle)]
pub extern "C" fn r2former_version() -> *const c_char {
    const VERSION: &[u8] = concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes();
    VERSION.as_ptr().cast()
}

/// Sizes the thread pool of this process, before anything is computed; all cores by default. Returns 1, or 0 where it
/// fails.
#[unsafe(no_mangle)]
pub extern "C" fn r2former_set_threads(threads: usize) -> c_int {
    let set = guard(|| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        pool.map_err(|error| {
            Failure::request(format!(
                "the number of threads is set once, before anything is computed: {error}"
            ))
        })
    });
    c_int::from(set.is_some())
}
