//! One thread's sequences through a block and back.

use super::attention::{attend, attend_back, tell};
use super::product::{There, View, product};
use super::rows::{Moments, add, add_rows, gelu_all, gelu_back, spread};
use super::{GradientMask, Shape, Tensors};
use pulp::{Simd, WithSimd};

/// What a part keeps for the way back.
#[derive(Debug)]
pub(super) struct Kept {
    /// Of each token before norm1, of each output token before norm2.
    moments: [Vec<Moments>; 2],
    qkv: Vec<f32>,
    probabilities: Vec<f32>,
    context: Vec<f32>,
    /// Output tokens between attention and MLP.
    middle: Vec<f32>,
    /// The MLP's inside, before GELU.
    hidden: Vec<f32>,
}

/// `x w + b`, row after row.
fn project(x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let outputs = bias.len();
    let inputs = weight.len() / outputs;
    let rows = x.len() / inputs;
    let mut out = vec![0.0; rows * outputs];
    spread(bias, &mut out);
    let (x, weight) = (View::new(x, rows, inputs), View::new(weight, inputs, outputs));
    product(&mut out, outputs, There::Added, 1.0, x, weight);
    out
}

/// The way back through [`project`]: the gradient of its input; those of weight and bias where wanted.
#[inline(always)]
fn project_back(
    x: &[f32],
    weight: &[f32],
    gradient: &[f32],
    outputs: usize,
    tensors: Option<[&mut Vec<f32>; 2]>,
) -> Vec<f32> {
    let inputs = weight.len() / outputs;
    let rows = gradient.len() / outputs;
    let rows_of = View::new(gradient, rows, outputs);
    if let Some([of_weight, of_bias]) = tensors {
        *of_weight = vec![0.0; weight.len()];
        *of_bias = vec![0.0; outputs];
        let x = View::new(x, rows, inputs).turned();
        product(of_weight, outputs, There::Replaced, 1.0, x, rows_of);
        add_rows(gradient, of_bias);
    }
    let mut back = vec![0.0; rows * inputs];
    product(&mut back, inputs, There::Replaced, 1.0, rows_of, View::new(weight, inputs, outputs).turned());
    back
}

/// Layer norm of all rows.
#[inline(always)]
fn norm(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32) -> (Vec<Moments>, Vec<f32>) {
    let mut out = vec![0.0; x.len()];
    let dim = weight.len();
    let mut moments = Vec::with_capacity(x.len() / dim);
    for (row, out) in x.chunks_exact(dim).zip(out.chunks_exact_mut(dim)) {
        let found = Moments::of(row, epsilon);
        found.apply(row, weight, bias, out);
        moments.push(found);
    }
    (moments, out)
}

/// [`norm`] again, with the moments known.
#[inline(always)]
fn norm_again(x: &[f32], moments: &[Moments], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    let dim = weight.len();
    for ((row, out), moments) in x.chunks_exact(dim).zip(out.chunks_exact_mut(dim)).zip(moments) {
        moments.apply(row, weight, bias, out);
    }
    out
}

/// The gradients of a norm's weight and bias.
#[inline(always)]
fn norm_tensors(
    x: &[f32],
    moments: &[Moments],
    gradient: &[f32],
    [weight, bias]: [&mut Vec<f32>; 2],
    dim: usize,
) {
    *weight = vec![0.0; dim];
    *bias = vec![0.0; dim];
    for ((row, gradient), moments) in x.chunks_exact(dim).zip(gradient.chunks_exact(dim)).zip(moments) {
        moments.back_tensors(row, gradient, [weight, bias]);
    }
}

/// The way forward.
pub(super) struct Forward<'a> {
    pub(super) shape: Shape,
    pub(super) tensors: &'a Tensors<&'a [f32]>,
    pub(super) x: &'a [f32],
    pub(super) out: &'a mut [f32],
    /// Empty where no attention is told.
    pub(super) told: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = Kept;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Kept {
        let Self { shape, tensors, x, out, told } = self;
        let Shape { dim, heads, epsilon, tokens, outputs, .. } = shape;
        let [weight1, bias1, qkv_w, qkv_b, proj_w, proj_b, weight2, bias2, fc1_w, fc1_b, fc2_w, fc2_b] =
            *tensors;
        let (moments1, normed) = norm(x, weight1, bias1, epsilon);
        let qkv = project(&normed, qkv_w, qkv_b);
        let batch = x.len() / (tokens * dim);
        let mut probabilities = vec![0.0; batch * heads * outputs * tokens];
        let mut context = vec![0.0; batch * outputs * dim];
        let each = qkv
            .chunks_exact(tokens * 3 * dim)
            .zip(probabilities.chunks_exact_mut(heads * outputs * tokens))
            .zip(context.chunks_exact_mut(outputs * dim));
        for (i, ((qkv, probabilities), context)) in each.enumerate() {
            attend(simd, &shape, qkv, probabilities, context);
            if !told.is_empty() {
                tell(&shape, probabilities, &mut told[i * tokens..][..tokens]);
            }
        }
        let mut middle = project(&context, proj_w, proj_b);
        for (middle, x) in middle.chunks_exact_mut(outputs * dim).zip(x.chunks_exact(tokens * dim)) {
            add(middle, &x[..outputs * dim]);
        }
        let (moments2, normed) = norm(&middle, weight2, bias2, epsilon);
        let hidden = project(&normed, fc1_w, fc1_b);
        let mut bent = vec![0.0; hidden.len()];
        gelu_all(simd, &hidden, &mut bent);
        spread(fc2_b, out);
        let rows = middle.len() / dim;
        let (bent, weight) = (View::new(&bent, rows, shape.hidden), View::new(fc2_w, shape.hidden, dim));
        product(out, dim, There::Added, 1.0, bent, weight);
        add(out, &middle);
        Kept { moments: [moments1, moments2], qkv, probabilities, context, middle, hidden }
    }
}

/// The way back.
pub(super) struct Backward<'a> {
    pub(super) shape: Shape,
    pub(super) tensors: &'a Tensors<&'a [f32]>,
    pub(super) kept: &'a Kept,
    pub(super) x: &'a [f32],
    /// Of the output.
    pub(super) gradient: &'a [f32],
    /// Of the input; empty where it is not wanted.
    pub(super) input: &'a mut [f32],
    pub(super) mask: GradientMask,
}

impl WithSimd for Backward<'_> {
    type Output = Tensors<Vec<f32>>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Tensors<Vec<f32>> {
        let Self { shape, tensors, kept, x, gradient, input, mask } = self;
        let Shape { dim, heads, hidden, tokens, outputs, .. } = shape;
        let [weight1, bias1, qkv_w, _, proj_w, _, weight2, bias2, fc1_w, _, fc2_w, _] = *tensors;
        let mut found = Tensors::<Vec<f32>>::default();
        let [
            d_weight1,
            d_bias1,
            d_qkv_w,
            d_qkv_b,
            d_proj_w,
            d_proj_b,
            d_weight2,
            d_bias2,
            d_fc1_w,
            d_fc1_b,
            d_fc2_w,
            d_fc2_b,
        ] = &mut found;
        let mut unit = vec![0.0; dim];

        // The MLP. GELU and its slope come from the same pass; fc2's gradients need the first, fc1's the second.
        let mut bent = kept.hidden.clone();
        let mut inside = {
            let rows = gradient.len() / dim;
            let mut inside = vec![0.0; rows * hidden];
            let weight = View::new(fc2_w, hidden, dim).turned();
            product(&mut inside, hidden, There::Replaced, 1.0, View::new(gradient, rows, dim), weight);
            inside
        };
        gelu_back(simd, &mut bent, &mut inside);
        if mask.tensors {
            let rows = gradient.len() / dim;
            *d_fc2_w = vec![0.0; fc2_w.len()];
            *d_fc2_b = vec![0.0; dim];
            let bent = View::new(&bent, rows, hidden).turned();
            product(d_fc2_w, dim, There::Replaced, 1.0, bent, View::new(gradient, rows, dim));
            add_rows(gradient, d_fc2_b);
        }
        drop(bent);
        let normed = norm_again(&kept.middle, &kept.moments[1], weight2, bias2);
        let normed_back =
            project_back(&normed, fc1_w, &inside, hidden, mask.tensors.then_some([d_fc1_w, d_fc1_b]));
        inside.clear();
        if mask.tensors {
            norm_tensors(&kept.middle, &kept.moments[1], &normed_back, [d_weight2, d_bias2], dim);
        }
        let mut middle = gradient.to_vec();
        let rows = middle.chunks_exact_mut(dim).zip(kept.middle.chunks_exact(dim));
        for (((into, row), back), moments) in rows.zip(normed_back.chunks_exact(dim)).zip(&kept.moments[1]) {
            moments.back(row, weight2, back, &mut unit, into);
        }

        // Attention.
        let context =
            project_back(&kept.context, proj_w, &middle, dim, mask.tensors.then_some([d_proj_w, d_proj_b]));
        let mut qkv = vec![0.0; kept.qkv.len()];
        let mut room = vec![0.0; outputs * tokens];
        let each = kept
            .qkv
            .chunks_exact(tokens * 3 * dim)
            .zip(kept.probabilities.chunks_exact(heads * outputs * tokens))
            .zip(context.chunks_exact(outputs * dim))
            .zip(qkv.chunks_exact_mut(tokens * 3 * dim));
        for (((forward, probabilities), context), back) in each {
            attend_back(&shape, forward, probabilities, context, back, &mut room);
        }
        if !mask.tensors && !mask.input {
            return found;
        }
        let normed = norm_again(x, &kept.moments[0], weight1, bias1);
        let normed_back =
            project_back(&normed, qkv_w, &qkv, 3 * dim, mask.tensors.then_some([d_qkv_w, d_qkv_b]));
        if mask.tensors {
            norm_tensors(x, &kept.moments[0], &normed_back, [d_weight1, d_bias1], dim);
        }
        if mask.input {
            for (input, middle) in
                input.chunks_exact_mut(tokens * dim).zip(middle.chunks_exact(outputs * dim))
            {
                input[..outputs * dim].copy_from_slice(middle);
            }
            let rows = input.chunks_exact_mut(dim).zip(x.chunks_exact(dim));
            for (((into, row), back), moments) in
                rows.zip(normed_back.chunks_exact(dim)).zip(&kept.moments[0])
            {
                moments.back(row, weight1, back, &mut unit, into);
            }
        }
        found
    }
}
