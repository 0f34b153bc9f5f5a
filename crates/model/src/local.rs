//! Choice of local features by attention (METHOD: local features; paper section 3.2).

use burn::tensor::{Int, Tensor};

/// The `count` most attended patches of each image, with their places and features.
///
/// `offset` is added to a patch's index to find its token: the prefix's length, or 0 to reproduce
/// the published gather.
///
/// # Shapes
/// - attention: `[batch, patches]`
/// - tokens: `[batch, tokens, width]`
/// - output: places and attention `[batch, count, 3]` (x and y over the longer side, attention over
///   the image's largest), gathered tokens `[batch, count, width]`; by attention, descending
pub fn select(
    attention: Tensor<2>,
    tokens: Tensor<3>,
    count: usize,
    offset: usize,
    size: [usize; 2],
    stride: usize,
) -> (Tensor<3>, Tensor<3>) {
    let [batch, patches] = attention.dims();
    let [_, _, width] = tokens.dims();
    let count = count.min(patches);
    let (values, indices) = attention.topk_with_indices(count, 1);

    let columns = (size[1] / stride) as i64;
    let longer = size[0].max(size[1]) as f64;
    let place = |cells: Tensor<2, Int>| {
        let centre = cells.float().mul_scalar(stride as f64).add_scalar(stride as f64 / 2.0);
        centre.div_scalar(longer).unsqueeze_dim::<3>(2)
    };
    let x = place(indices.clone().remainder_scalar(columns));
    let y = place(indices.clone().div_scalar(columns));
    let largest = values.clone().narrow(1, 0, 1);
    let a = (values / largest).unsqueeze_dim::<3>(2);

    let index = indices.add_scalar(offset as i64).unsqueeze_dim::<3>(2).expand([batch, count, width]);
    (Tensor::cat(vec![x, y, a], 2), tokens.gather(1, index))
}
