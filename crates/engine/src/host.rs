//! From a device's memory to the host's.

use crate::{EngineError, Result};
use burn::tensor::{ExecutionError, Tensor, TensorData, Transaction, read_sync};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// The values of a tensor, once the device has computed them.
pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    tensor.try_into_vec_as::<f32>().map_err(|e| EngineError::Compute(e.to_string()))
}

type Values = Result<Vec<TensorData>, ExecutionError>;

/// Values that a device is to hand over as soon as it has computed them.
pub(crate) enum Reading {
    Here(Values),
    Coming(Pin<Box<dyn Future<Output = Values>>>),
}

impl Reading {
    /// Has the device start on all that it was given, and then copy these tensors; does not wait. A copy that is asked for
    /// before more work is given comes before that work, too.
    pub(crate) fn start(tensors: Transaction) -> Self {
        let mut values: Pin<Box<dyn Future<Output = Values>>> = Box::pin(tensors.execute_async());
        match values.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(values) => Self::Here(values),
            Poll::Pending => Self::Coming(values),
        }
    }

    /// The values of each tensor, once they are there.
    pub(crate) fn finish(self) -> Result<Vec<Vec<f32>>> {
        let failed = |text: String| EngineError::Compute(text);
        let values = match self {
            Self::Here(values) => values,
            Self::Coming(values) => read_sync(values),
        };
        let values = values.map_err(|error| failed(error.to_string()))?;
        let each =
            |data: TensorData| data.try_into_vec_as::<f32>().map_err(|error| failed(error.to_string()));
        values.into_iter().map(each).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use r2former_model::Device;

    #[test]
    fn tensors_are_read_in_their_order() {
        let device = Device::flex();
        let tensors = Transaction::default()
            .register(Tensor::<1>::from_floats([1.0, 2.0], &device))
            .register(Tensor::<2>::from_floats([[3.0], [4.0]], &device));
        assert_eq!(Reading::start(tensors).finish().unwrap(), [[1.0, 2.0], [3.0, 4.0]]);
    }
}
