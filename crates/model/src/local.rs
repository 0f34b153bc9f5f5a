//! Selection of local features by attention (paper section 3.2).

use crate::layers::numbers;
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor};

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
    // software Vulkan. Ranking on the host would have every forward pass wait for the device.
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

/// The `count` highest values of each row and their columns, in descending order and among equals from the left, by
/// comparing every value with every other one.
fn highest(values: Tensor<2>, count: usize) -> (Tensor<2>, Tensor<2, Int>) {
    let ([rows, columns], device) = (values.dims(), values.device());
    let number: Tensor<2> = numbers(&device, columns).unsqueeze();
    let across = |row: Tensor<2>| row.unsqueeze_dim::<3>(1);
    let down = |row: Tensor<2>| row.unsqueeze_dim::<3>(2);
    let (own, other) = (down(values.clone()), across(values.clone()));
    let earlier = across(number.clone()).lower(down(number.clone())).expand([rows, columns, columns]);
    let before = other.clone().greater(own.clone()).bool_or(other.equal(own).bool_and(earlier));
    let rank = before.int().sum_dim(2).reshape([rows, columns]);
    let number = number.expand([rows, columns]).int();
    let order = number.zeros_like().scatter(1, rank, number, IndexingUpdateOp::Add);
    // Without this, attention that is not a number would make columns that no row has.
    let order = order.clamp_max(columns as i64 - 1).narrow(1, 0, count);
    (values.gather(1, order.clone()), order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    fn rows(values: Vec<f32>, columns: usize) -> Tensor<2> {
        let count = values.len() / columns;
        Tensor::from_data(TensorData::new(values, [count, columns]), &Device::flex())
    }

    fn whole(indices: Tensor<2, Int>) -> Vec<i64> {
        indices.to_data().iter::<i64>().collect()
    }

    #[test]
    fn comparisons_rank_as_top_k_does() {
        for (count, columns, most) in [(1, 1, 1), (2, 400, 200), (3, 37, 37), (5, 64, 9)] {
            let values = (0..count * columns).map(|i| ((i * 7919 + 13) % 10_007) as f32 / 10_007.0).collect();
            let values = rows(values, columns);
            let (expected, places) = values.clone().topk_with_indices(most, 1);
            let (found, indices) = highest(values, most);
            assert_eq!(found.to_data(), expected.to_data());
            assert_eq!(whole(indices), whole(places));
        }
    }

    #[test]
    fn equals_are_ranked_from_the_left_and_what_is_no_number_stays_in_the_row() {
        let (_, indices) = highest(rows(vec![0.5, 1.0, 0.5, 1.0, 0.0], 5), 5);
        assert_eq!(whole(indices), [1, 3, 0, 2, 4]);
        let (_, indices) = highest(rows(vec![f32::NAN; 7], 7), 7);
        assert!(whole(indices).iter().all(|column| (0..7).contains(column)));
    }
}
