//! Arrays as bytes of the machine's order: Python puts shapes around them. (NumPy's own interface would bring its crates,
//! whose features differ from those that the dependencies of this workspace are compiled with.)

use crate::errors::Failure;
use pyo3::prelude::*;
use pyo3::types::PyByteArray;

/// Values that Python's NumPy takes as they are, to write in as it likes.
pub(crate) fn to_python<'py>(py: Python<'py>, values: &[f32]) -> PyResult<Bound<'py, PyByteArray>> {
    PyByteArray::new_with(py, size_of_val(values), |bytes| {
        for (bytes, value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
            *bytes = value.to_ne_bytes();
        }
        Ok(())
    })
}

/// Rows of `width` values.
pub(crate) fn rows(what: &str, bytes: &[u8], width: usize) -> Result<Vec<f32>, Failure> {
    let (values, rest) = bytes.as_chunks();
    if !rest.is_empty() || width == 0 || !values.len().is_multiple_of(width) {
        return Err(Failure::request(format!("{what}: rows of {width} values of float32 are needed")));
    }
    Ok(values.iter().map(|value| f32::from_ne_bytes(*value)).collect())
}
