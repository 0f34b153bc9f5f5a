//! Attention of one sequence, all heads, and the way back.

use super::Shape;
use super::product::{There, View, product};
use super::rows::{axpy, softmax, softmax_back, sum_of};
use pulp::Simd;

/// Sequences up to this length are multiplied in plain loops: packing them would cost more than the product.
const SHORT: usize = 12;

/// Where the parts of a head lie in the rows of queries, keys and values.
#[derive(Clone, Copy)]
struct Head {
    size: usize,
    /// From one row to the next.
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

    /// Queries, keys or values of `rows` tokens.
    fn view<'a>(&self, qkv: &'a [f32], which: usize, rows: usize) -> View<'a> {
        View::strided(&qkv[self.at[which]..], rows, self.size, self.stride)
    }

    /// Query, key or value of one token.
    #[inline(always)]
    fn row<'a>(&self, qkv: &'a [f32], which: usize, token: usize) -> &'a [f32] {
        &qkv[token * self.stride + self.at[which]..][..self.size]
    }

    #[inline(always)]
    fn row_mut<'a>(&self, qkv: &'a mut [f32], which: usize, token: usize) -> &'a mut [f32] {
        &mut qkv[token * self.stride + self.at[which]..][..self.size]
    }
}

/// The context `[outputs, dim]` of a sequence's `qkv` (`[tokens, 3 * dim]`), and its probabilities
/// `[heads, outputs, tokens]`.
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
        product(probabilities, tokens, There::Replaced, scale, queries, keys.turned());
        for row in probabilities.chunks_exact_mut(tokens) {
            softmax(simd, row);
        }
        let weights = View::new(probabilities, outputs, tokens);
        product(context, dim, There::Replaced, 1.0, weights, head.view(qkv, 2, tokens));
    }
}

/// The gradient of `qkv` into `back` (zeros before), given that of the context; `room` holds
/// `outputs * tokens` values.
#[inline(always)]
pub(super) fn attend_back(
    shape: &Shape,
    qkv: &[f32],
    probabilities: &[f32],
    gradient: &[f32],
    back: &mut [f32],
    room: &mut [f32],
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
                let room = &mut room[..tokens];
                for (k, (room, p)) in room.iter_mut().zip(row).enumerate() {
                    *room = sum_of(gradient, head.row(qkv, 2, k), |g, v| g * v);
                    axpy(head.row_mut(back, 2, k), *p, gradient);
                }
                softmax_back(row, room);
                for (k, slope) in room.iter().enumerate() {
                    axpy(head.row_mut(back, 0, t), scale * slope, head.row(qkv, 1, k));
                    axpy(head.row_mut(back, 1, k), scale * slope, head.row(qkv, 0, t));
                }
            }
            continue;
        }
        let gradient = View::strided(gradient, outputs, head.size, dim);
        product(room, tokens, There::Replaced, 1.0, gradient, head.view(qkv, 2, tokens).turned());
        for (row, room) in probabilities.chunks_exact(tokens).zip(room.chunks_exact_mut(tokens)) {
            softmax_back(row, room);
        }
        let weights = View::new(probabilities, outputs, tokens).turned();
        let [query, key, value] = head.at;
        product(&mut back[value..], head.stride, There::Replaced, 1.0, weights, gradient);
        let slopes = View::new(room, outputs, tokens);
        let (queries, keys) = (head.view(qkv, 0, outputs), head.view(qkv, 1, tokens));
        product(&mut back[query..], head.stride, There::Replaced, scale, slopes, keys);
        product(&mut back[key..], head.stride, There::Replaced, scale, slopes.turned(), queries);
    }
}

/// Adds the attention of the first `class_tokens` tokens to `told`, over all heads.
pub(super) fn tell(shape: &Shape, probabilities: &[f32], told: &mut [f32]) {
    let Shape { tokens, outputs, class_tokens, .. } = *shape;
    for head in probabilities.chunks_exact(outputs * tokens) {
        for row in head.chunks_exact(tokens).take(class_tokens) {
            super::rows::add(told, row);
        }
    }
}
