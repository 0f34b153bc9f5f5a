//! Constant tables that layers compute from sizes alone, kept on the device from one forward pass to the next.

use burn::tensor::{Device, Tensor, TensorData};
use std::sync::{Mutex, PoisonError};

/// What a table holds: its name, and the numbers that it is computed from.
type Key = (&'static str, Vec<u32>);

/// Tables of all devices, the one that was asked for last at the end.
static TABLES: Mutex<Vec<(Device, Key, Tensor<1>)>> = Mutex::new(Vec::new());

/// The most tables: images in their own sizes ask for ever new ones.
const MOST: usize = 64;

/// The table of this name and these numbers, transferred to the device when it is first asked for. A device with autodiff has
/// a new one each time, since tensors there belong to the graph of a step.
pub(crate) fn resident<const D: usize>(
    device: &Device,
    (name, numbers): (&'static str, &[u32]),
    dims: [usize; D],
    make: impl FnOnce() -> Vec<f32>,
) -> Tensor<D> {
    let transfer = || {
        let values = make();
        let count = values.len();
        Tensor::<1>::from_data(TensorData::new(values, [count]), device)
    };
    if device.is_autodiff() {
        return transfer().reshape(dims);
    }
    let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let known = tables.iter().position(|(on, (of, with), _)| on == device && *of == name && with == numbers);
    if let Some(at) = known {
        // What is asked for most stays.
        tables[at..].rotate_left(1);
        return tables[tables.len() - 1].2.clone().reshape(dims);
    }
    let table = transfer();
    if tables.len() == MOST {
        tables.remove(0);
    }
    tables.push((device.clone(), (name, numbers.to_vec()), table.clone()));
    table.reshape(dims)
}

/// The whole numbers from 0.
pub(crate) fn numbers(device: &Device, count: usize) -> Tensor<1> {
    resident(device, ("numbers", &[count as u32]), [count], || (0..count).map(|i| i as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_made_once() {
        let mut made = 0;
        let mut table = |numbers: &[u32], device: &Device| {
            let found = resident(device, ("test", numbers), [1, 2], || {
                made += 1;
                vec![made as f32, 0.0]
            });
            found.into_data().try_to_vec::<f32>().unwrap()[0]
        };
        let device = Device::flex();
        assert_eq!([table(&[1], &device), table(&[1], &device), table(&[2], &device)], [1.0, 1.0, 2.0]);
        assert_eq!(table(&[1], &device.autodiff()), 3.0);
        // Those that were pushed out are made again.
        for number in 0..MOST as u32 {
            table(&[100, number], &Device::flex());
        }
        assert!(table(&[1], &Device::flex()) > 3.0);
    }
}
