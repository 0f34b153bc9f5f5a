//! What Python's package `r2former` is made with: classes and functions of the module `r2former._native`, which take
//! arrays, bytes and JSON and give arrays and JSON. `python/r2former` wraps them in what people use.
//!
//! The crate is empty without its feature `extension`.
#![cfg(feature = "extension")]

mod adding;
mod arrays;
mod errors;
mod evaluation;
mod images;
mod index;
mod model;
mod positions;
mod sequence;
mod town;
mod watch;

use errors::Failure;
use pyo3::prelude::*;

/// Native part of r2former.
#[pymodule(name = "_native")]
mod native {
    #[pymodule_export]
    use super::evaluation::evaluate;
    #[pymodule_export]
    use super::index::{Answers, Index};
    #[pymodule_export]
    use super::model::Model;
    #[pymodule_export]
    use super::positions::degrees;
    #[pymodule_export]
    use super::sequence::{Sequence, Track};
    #[pymodule_export]
    use super::town::{photos, town};
    #[pymodule_export]
    use super::{build, set_threads};
}

/// Version and GPU features of this build.
#[pyfunction]
fn build() -> (&'static str, Vec<&'static str>) {
    (env!("CARGO_PKG_VERSION"), r2former_model::device::FEATURES.to_vec())
}

/// Sizes the thread pool of this process.
#[pyfunction]
fn set_threads(threads: usize) -> PyResult<()> {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().map_err(|error| {
        Failure::request(format!("the number of threads is set once, before anything is computed: {error}"))
            .into()
    })
}
