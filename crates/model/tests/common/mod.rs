//! Helpers of the parity tests.

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::path::Path;

/// Tensors computed by another implementation.
pub(crate) struct Outputs(Vec<u8>);

impl Outputs {
    pub(crate) fn open(path: &Path) -> Self {
        Self(std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    }

    /// Shape and values.
    pub(crate) fn view(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let file = SafeTensors::deserialize(&self.0).expect("test data is whole");
        let view = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let values = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        (view.shape().to_vec(), values)
    }

    /// Names of all tensors.
    #[allow(dead_code, reason = "not used by every test file")]
    pub(crate) fn names(&self) -> Vec<String> {
        let file = SafeTensors::deserialize(&self.0).expect("test data is whole");
        file.names().into_iter().map(String::from).collect()
    }

    /// Names and shapes of a case's weights, which the script noted in the header.
    #[allow(dead_code, reason = "not used by every test file")]
    pub(crate) fn shapes(&self, case: &str) -> Vec<(String, Vec<usize>)> {
        let (_, header) = SafeTensors::read_metadata(&self.0).expect("test data is whole");
        let text = header.metadata().as_ref().and_then(|m| m.get(case)).expect("the case has shapes");
        let shapes: BTreeMap<String, Vec<usize>> = serde_json::from_str(text).expect("JSON");
        shapes.into_iter().collect()
    }

    pub(crate) fn values(&self, name: &str) -> Vec<f32> {
        self.view(name).1
    }

    pub(crate) fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        let (shape, values) = self.view(name);
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }
}

pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().expect("host tensors read")
}

/// Every value within `tolerance`, absolute or relative to values above one.
pub(crate) fn close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: number of values");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        let allowed = tolerance * b.abs().max(1.0);
        assert!((a - b).abs() <= allowed, "{what}: value {i} is {a}, expected {b} (within {allowed})");
    }
}
