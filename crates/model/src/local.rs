//! Selection of local features by attention (paper section 3.2).

use burn::tensor::{Device, Int, Tensor, TensorData};

/// Selects the `count` patches of each image with the highest attention, or all if there are fewer.
///
/// `offset` is added to the index of a patch to find its token: the length of the prefix, or 0 to reproduce the
/// published gather. `size` is the image's height and width, `stride` the side of a patch, in pixels. Patches whose
/// attention is not above `least` get an attention of 0.
///
/// # Shapes
/// - attention: `[batch, patches]`
/// - tokens: `[batch, tokens, width]`
/// - output: x, y and attention `[batch, count, 3]` (x and y divided by the longer side, attention by the image's
///   largest), and the tokens `[batch, count, width]`, both by descending attention
pub fn select(
    attention: Tensor<2>,
    tokens: Tensor<3>,
    count: usize,
    offset: usize,
    size: [usize; 2],
    stride: usize,
    least: Option<f32>,
) -> (Tensor<3>, Tensor<3>) {
    let [batch, patches] = attention.dims();
    let [_, _, width] = tokens.dims();
    let count = count.min(patches);
    // On a GPU, top-k of hundreds of rows is slow and has been seen to be wrong: the doctor's stage "selection" on Mesa's
    // software Vulkan. The values are few, so that they are ranked on the host.
    let (values, indices) = match attention.device().inner() == Device::flex() {
        true => attention.topk_with_indices(count, 1),
        false => highest(attention, count),
    };

    let columns = (size[1] / stride) as i64;
    let longer = size[0].max(size[1]) as f64;
    let place = |cells: Tensor<2, Int>| {
        let centre = cells.float().mul_scalar(stride as f64).add_scalar(stride as f64 / 2.0);
        centre.div_scalar(longer).unsqueeze_dim::<3>(2)
    };
    let x = place(indices.clone().remainder_scalar(columns));
    let y = place(indices.clone().div_scalar(columns));
    // An image whose patches all have no weight is divided by one rather than by zero.
    let largest = values.clone().narrow(1, 0, 1);
    let largest = largest.clone() + largest.equal_scalar(0.0).float();
    let kept = least.map(|least| values.clone().greater_scalar(least).float());
    let a = values / largest;
    let a = kept.map_or(a.clone(), |kept| a * kept).unsqueeze_dim::<3>(2);

    let index = indices.add_scalar(offset as i64).unsqueeze_dim::<3>(2).expand([batch, count, width]);
    (Tensor::cat(vec![x, y, a], 2), tokens.gather(1, index))
}

/// The `count` highest values of each row and their columns, in descending order, ranked on the host.
fn highest(values: Tensor<2>, count: usize) -> (Tensor<2>, Tensor<2, Int>) {
    let ([rows, columns], device) = (values.dims(), values.device());
    let host: Vec<f32> = values.to_data().iter::<f32>().collect();
    let ranked = |row: &[f32]| {
        let mut order: Vec<i64> = (0..row.len() as i64).collect();
        order.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]));
        order.truncate(count);
        order
    };
    let indices: Vec<i64> = host.chunks(columns.max(1)).flat_map(ranked).collect();
    let indices = Tensor::<2, Int>::from_data(TensorData::new(indices, [rows, count]), &device);
    (values.gather(1, indices.clone()), indices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_ranks_as_the_device_does() {
        for (rows, columns, count) in [(1, 1, 1), (2, 400, 200), (3, 37, 37), (5, 64, 9)] {
            let values: Vec<f32> =
                (0..rows * columns).map(|i| ((i * 7919 + 13) % 10_007) as f32 / 10_007.0).collect();
            let values = Tensor::<2>::from_data(TensorData::new(values, [rows, columns]), &Device::flex());
            let (expected, places) = values.clone().topk_with_indices(count, 1);
            let (found, indices) = highest(values, count);
            assert_eq!(found.to_data(), expected.to_data());
            let columns = |indices: Tensor<2, Int>| indices.to_data().iter::<i64>().collect::<Vec<_>>();
            assert_eq!(columns(indices), columns(places));
        }
    }
}
