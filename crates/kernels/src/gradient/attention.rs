//! Multi-head attention of one sequence, forward and backward.

use super::Shape;
use super::product::{Update, View, product};
use super::rows::{axpy, softmax, softmax_backward, sum_of};
use pulp::Simd;

/// Sequences up to this length take plain loops: packing would cost more than the product.
const SHORT: usize = 12;

/// Where a head lies in the rows of a `[tokens, 3 * dim]` matrix of queries, keys and values.
#[derive(Clone, Copy)]
struct Head {
    size: usize,
    /// Row stride.
    stride: usize,
    /// First columns of query, key and value.
    at: [usize; 3],
}

impl Head {
    fn all(shape: &Shape) -> impl Iterator<Item = Self> + use<> {
        let (dim, heads) = (shape.dim, shape.heads);
        let size = dim / heads;
        (0..heads).map(move |h| Self {
            size,
            stride: 3 * dim,
            at: [h * size, dim + h * size, 2 * dim + h * size],
        })
    }

    /// Queries (`which` = 0), keys (1) or values (2) of the first `rows` tokens.
    fn view<'a>(&self, qkv: &'a [f32], which: usize, rows: usize) -> View<'a> {
        View::strided(&qkv[self.at[which]..], rows, self.size, self.stride)
    }

    /// Query (`which` = 0), key (1) or value (2) of one token.
    #[inline(always)]
    fn row<'a>(&self, qkv: &'a [f32], which: usize, token: usize) -> &'a [f32] {
        &qkv[token * self.stride + self.at[which]..][..self.size]
    }

    #[inline(always)]
    fn row_mut<'a>(&self, qkv: &'a mut [f32], which: usize, token: usize) -> &'a mut [f32] {
        &mut qkv[token * self.stride + self.at[which]..][..self.size]
    }
}

/// The forward pass of one sequence.
///
/// # Shapes
/// - qkv: `[tokens, 3 * dim]`
/// - probabilities: `[heads, outputs, tokens]`, written
/// - context: `[outputs, dim]`, written
#[inline(always)]
pub(super) fn attend<S: Simd>(
    simd: S,
    shape: &Shape,
    qkv: &[f32],
    probabilities: &mut [f32],
    context: &mut [f32],
) {
    let Shape { dim, tokens, outputs, .. } = *shape;
    for (h, (head, probabilities)) in
        Head::all(shape).zip(probabilities.chunks_exact_mut(outputs * tokens)).enumerate()
    {
        let scale = (head.size as f32).powf(-0.5);
        let context = &mut context[h * head.size..];
        if tokens <= SHORT {
            for (t, (row, context)) in
                probabilities.chunks_exact_mut(tokens).zip(context.chunks_mut(dim)).enumerate()
            {
                let query = head.row(qkv, 0, t);
                for (k, value) in row.iter_mut().enumerate() {
                    *value = scale * sum_of(query, head.row(qkv, 1, k), |q, k| q * k);
                }
                softmax(simd, row);
                let context = &mut context[..head.size];
                context.fill(0.0);
                for (k, p) in row.iter().enumerate() {
                    axpy(context, *p, head.row(qkv, 2, k));
                }
            }
            continue;
        }
        let (queries, keys) = (head.view(qkv, 0, outputs), head.view(qkv, 1, tokens));
        product(probabilities, tokens, Update::Overwrite, scale, queries, keys.transposed());
        for row in probabilities.chunks_exact_mut(tokens) {
            softmax(simd, row);
        }
        let weights = View::new(probabilities, outputs, tokens);
        product(context, dim, Update::Overwrite, 1.0, weights, head.view(qkv, 2, tokens));
    }
}

/// The backward pass of one sequence.
///
/// # Shapes
/// - gradient: of the context, `[outputs, dim]`
/// - d_qkv: gradient of `qkv`, `[tokens, 3 * dim]`, zeros before
/// - scratch: `[outputs, tokens]`
#[inline(always)]
pub(super) fn attend_backward(
    shape: &Shape,
    qkv: &[f32],
    probabilities: &[f32],
    gradient: &[f32],
    d_qkv: &mut [f32],
    scratch: &mut [f32],
) {
    let Shape { dim, tokens, outputs, .. } = *shape;
    for (h, (head, probabilities)) in
        Head::all(shape).zip(probabilities.chunks_exact(outputs * tokens)).enumerate()
    {
        let scale = (head.size as f32).powf(-0.5);
        let gradient = &gradient[h * head.size..];
        if tokens <= SHORT {
            for (t, row) in probabilities.chunks_exact(tokens).enumerate() {
                let gradient = &gradient[t * dim..][..head.size];
                let scratch = &mut scratch[..tokens];
                for (k, (scratch, p)) in scratch.iter_mut().zip(row).enumerate() {
                    *scratch = sum_of(gradient, head.row(qkv, 2, k), |g, v| g * v);
                    axpy(head.row_mut(d_qkv, 2, k), *p, gradient);
                }
                softmax_backward(row, scratch);
                for (k, d_score) in scratch.iter().enumerate() {
                    axpy(head.row_mut(d_qkv, 0, t), scale * d_score, head.row(qkv, 1, k));
                    axpy(head.row_mut(d_qkv, 1, k), scale * d_score, head.row(qkv, 0, t));
                }
            }
            continue;
        }
        let gradient = View::strided(gradient, outputs, head.size, dim);
        product(scratch, tokens, Update::Overwrite, 1.0, gradient, head.view(qkv, 2, tokens).transposed());
        for (row, scratch) in probabilities.chunks_exact(tokens).zip(scratch.chunks_exact_mut(tokens)) {
            softmax_backward(row, scratch);
        }
        let weights = View::new(probabilities, outputs, tokens).transposed();
        let [query, key, value] = head.at;
        product(&mut d_qkv[value..], head.stride, Update::Overwrite, 1.0, weights, gradient);
        let d_scores = View::new(scratch, outputs, tokens);
        let (queries, keys) = (head.view(qkv, 0, outputs), head.view(qkv, 1, tokens));
        product(&mut d_qkv[query..], head.stride, Update::Overwrite, scale, d_scores, keys);
        product(&mut d_qkv[key..], head.stride, Update::Overwrite, scale, d_scores.transposed(), queries);
    }
}

/// Adds the attention of the class tokens to every token, over all heads, to `sum`.
pub(super) fn add_class_attention(shape: &Shape, probabilities: &[f32], sum: &mut [f32]) {
    let Shape { tokens, outputs, class_tokens, .. } = *shape;
    for head in probabilities.chunks_exact(outputs * tokens) {
        for row in head.chunks_exact(tokens).take(class_tokens) {
            super::rows::add(sum, row);
        }
    }
}
