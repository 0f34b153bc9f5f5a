//! Selection of local features by attention (paper section 3.2).

use burn::tensor::{Int, Tensor};

/// Selects the `count` patches of each image with the highest attention, or all if there are fewer.
///
/// `offset` is added to the index of a patch to find its token: the length of the prefix, or 0 to reproduce the
/// published gather. `size` is the image's height and width, `stride` the side of a patch, in pixels.
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
