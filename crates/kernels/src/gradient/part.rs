//! Forward and backward pass of a block for one part of a batch, on one thread.

use super::attention::{add_class_attention, attend, attend_backward};
use super::product::{Update, View, product};
use super::rows::{Moments, add, add_rows, broadcast, gelu, gelu_backward};
use super::{GradientMask, Shape, Tensors};
use pulp::{Simd, WithSimd};

/// The activations of a part that its backward pass needs.
#[derive(Debug)]
pub(super) struct PartActivations {
    /// Of each token at norm1, and of each output token at norm2.
    moments: [Vec<Moments>; 2],
    qkv: Vec<f32>,
    probabilities: Vec<f32>,
    context: Vec<f32>,
    /// Output tokens between the two branches.
    middle: Vec<f32>,
    /// Hidden layer of the MLP, before GELU.
    hidden: Vec<f32>,
}

/// `x w + b` for rows `x`.
fn project(x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let outputs = bias.len();
    let inputs = weight.len() / outputs;
    let rows = x.len() / inputs;
    let mut out = vec![0.0; rows * outputs];
    broadcast(bias, &mut out);
    let (x, weight) = (View::new(x, rows, inputs), View::new(weight, inputs, outputs));
    product(&mut out, outputs, Update::Accumulate, 1.0, x, weight);
    out
}

/// Backward pass of [`project`]: returns the gradient of its input, and writes those of weight and bias to `tensors`.
#[inline(always)]
fn project_backward(
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
        let x = View::new(x, rows, inputs).transposed();
        product(of_weight, outputs, Update::Overwrite, 1.0, x, rows_of);
        add_rows(gradient, of_bias);
    }
    let mut d_x = vec![0.0; rows * inputs];
    product(
        &mut d_x,
        inputs,
        Update::Overwrite,
        1.0,
        rows_of,
        View::new(weight, inputs, outputs).transposed(),
    );
    d_x
}

/// Layer norm of rows, and their moments.
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

/// [`norm`] with known moments.
#[inline(always)]
fn norm_with(x: &[f32], moments: &[Moments], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    let dim = weight.len();
    for ((row, out), moments) in x.chunks_exact(dim).zip(out.chunks_exact_mut(dim)).zip(moments) {
        moments.apply(row, weight, bias, out);
    }
    out
}

/// Backward pass of [`norm`] to its weight and bias.
#[inline(always)]
fn norm_tensors_backward(
    x: &[f32],
    moments: &[Moments],
    gradient: &[f32],
    [weight, bias]: [&mut Vec<f32>; 2],
    dim: usize,
) {
    *weight = vec![0.0; dim];
    *bias = vec![0.0; dim];
    for ((row, gradient), moments) in x.chunks_exact(dim).zip(gradient.chunks_exact(dim)).zip(moments) {
        moments.backward_tensors(row, gradient, [weight, bias]);
    }
}

/// The forward pass of a part.
pub(super) struct Forward<'a> {
    pub(super) shape: Shape,
    pub(super) tensors: &'a Tensors<&'a [f32]>,
    pub(super) x: &'a [f32],
    pub(super) out: &'a mut [f32],
    /// Attention of the class tokens; empty if not requested.
    pub(super) attention: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = PartActivations;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> PartActivations {
        let Self { shape, tensors, x, out, attention } = self;
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
            if !attention.is_empty() {
                add_class_attention(&shape, probabilities, &mut attention[i * tokens..][..tokens]);
            }
        }
        let mut middle = project(&context, proj_w, proj_b);
        for (middle, x) in middle.chunks_exact_mut(outputs * dim).zip(x.chunks_exact(tokens * dim)) {
            add(middle, &x[..outputs * dim]);
        }
        let (moments2, normed) = norm(&middle, weight2, bias2, epsilon);
        let hidden = project(&normed, fc1_w, fc1_b);
        let mut activated = vec![0.0; hidden.len()];
        gelu(simd, &hidden, &mut activated);
        broadcast(fc2_b, out);
        let rows = middle.len() / dim;
        let (activated, weight) =
            (View::new(&activated, rows, shape.hidden), View::new(fc2_w, shape.hidden, dim));
        product(out, dim, Update::Accumulate, 1.0, activated, weight);
        add(out, &middle);
        PartActivations { moments: [moments1, moments2], qkv, probabilities, context, middle, hidden }
    }
}

/// The backward pass of a part.
pub(super) struct Backward<'a> {
    pub(super) shape: Shape,
    pub(super) tensors: &'a Tensors<&'a [f32]>,
    pub(super) activations: &'a PartActivations,
    pub(super) x: &'a [f32],
    /// Gradient of the output.
    pub(super) gradient: &'a [f32],
    /// Gradient of the input; empty if masked.
    pub(super) input: &'a mut [f32],
    pub(super) mask: GradientMask,
}

impl WithSimd for Backward<'_> {
    type Output = Tensors<Vec<f32>>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Tensors<Vec<f32>> {
        let Self { shape, tensors, activations, x, gradient, input, mask } = self;
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
        let mut normalised = vec![0.0; dim];

        // The MLP. One pass computes GELU and its derivative: fc2's gradients need the former, fc1's the latter.
        let mut activated = activations.hidden.clone();
        let mut d_hidden = {
            let rows = gradient.len() / dim;
            let mut d_hidden = vec![0.0; rows * hidden];
            let weight = View::new(fc2_w, hidden, dim).transposed();
            product(&mut d_hidden, hidden, Update::Overwrite, 1.0, View::new(gradient, rows, dim), weight);
            d_hidden
        };
        gelu_backward(simd, &mut activated, &mut d_hidden);
        if mask.tensors {
            let rows = gradient.len() / dim;
            *d_fc2_w = vec![0.0; fc2_w.len()];
            *d_fc2_b = vec![0.0; dim];
            let activated = View::new(&activated, rows, hidden).transposed();
            product(d_fc2_w, dim, Update::Overwrite, 1.0, activated, View::new(gradient, rows, dim));
            add_rows(gradient, d_fc2_b);
        }
        drop(activated);
        let normed = norm_with(&activations.middle, &activations.moments[1], weight2, bias2);
        let d_normed =
            project_backward(&normed, fc1_w, &d_hidden, hidden, mask.tensors.then_some([d_fc1_w, d_fc1_b]));
        d_hidden.clear();
        if mask.tensors {
            norm_tensors_backward(
                &activations.middle,
                &activations.moments[1],
                &d_normed,
                [d_weight2, d_bias2],
                dim,
            );
        }
        let mut middle = gradient.to_vec();
        let rows = middle.chunks_exact_mut(dim).zip(activations.middle.chunks_exact(dim));
        for (((into, row), d_row), moments) in
            rows.zip(d_normed.chunks_exact(dim)).zip(&activations.moments[1])
        {
            moments.backward(row, weight2, d_row, &mut normalised, into);
        }

        // Attention.
        let context = project_backward(
            &activations.context,
            proj_w,
            &middle,
            dim,
            mask.tensors.then_some([d_proj_w, d_proj_b]),
        );
        let mut qkv = vec![0.0; activations.qkv.len()];
        let mut scratch = vec![0.0; outputs * tokens];
        let each = activations
            .qkv
            .chunks_exact(tokens * 3 * dim)
            .zip(activations.probabilities.chunks_exact(heads * outputs * tokens))
            .zip(context.chunks_exact(outputs * dim))
            .zip(qkv.chunks_exact_mut(tokens * 3 * dim));
        for (((forward, probabilities), context), d_qkv) in each {
            attend_backward(&shape, forward, probabilities, context, d_qkv, &mut scratch);
        }
        if !mask.tensors && !mask.input {
            return found;
        }
        let normed = norm_with(x, &activations.moments[0], weight1, bias1);
        let d_normed =
            project_backward(&normed, qkv_w, &qkv, 3 * dim, mask.tensors.then_some([d_qkv_w, d_qkv_b]));
        if mask.tensors {
            norm_tensors_backward(x, &activations.moments[0], &d_normed, [d_weight1, d_bias1], dim);
        }
        if mask.input {
            for (input, middle) in
                input.chunks_exact_mut(tokens * dim).zip(middle.chunks_exact(outputs * dim))
            {
                input[..outputs * dim].copy_from_slice(middle);
            }
            let rows = input.chunks_exact_mut(dim).zip(x.chunks_exact(dim));
            for (((into, row), d_row), moments) in
                rows.zip(d_normed.chunks_exact(dim)).zip(&activations.moments[0])
            {
                moments.backward(row, weight1, d_row, &mut normalised, into);
            }
        }
        found
    }
}
