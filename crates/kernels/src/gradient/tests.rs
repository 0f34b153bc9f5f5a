//! Against a plain block in f64 and its finite differences.

use super::*;
use proptest::prelude::*;

fn noise(seed: &mut u32, count: usize, scale: f32) -> Vec<f32> {
    (0..count)
        .map(|_| {
            *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((*seed >> 8) as f32 / (1 << 24) as f32 - 0.5) * 2.0 * scale
        })
        .collect()
}

fn tensors(shape: &Shape, seed: &mut u32) -> Tensors<Vec<f32>> {
    let sizes = shape.sizes();
    std::array::from_fn(|i| {
        let mut values = noise(seed, sizes[i], 0.5);
        if i == 0 || i == 6 {
            values.iter_mut().for_each(|v| *v += 1.0);
        }
        values
    })
}

/// The block for one sequence, and the attention of the class tokens summed over heads.
fn plain(shape: &Shape, tensors: &Tensors<Vec<f64>>, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let Shape { dim, heads, hidden, tokens, outputs, class_tokens, .. } = *shape;
    let linear = |x: &[f64], w: &[f64], b: &[f64]| -> Vec<f64> {
        let (n, m) = (b.len(), w.len() / b.len());
        x.chunks(m)
            .flat_map(|row| {
                (0..n).map(|j| b[j] + (0..m).map(|i| row[i] * w[i * n + j]).sum::<f64>()).collect::<Vec<_>>()
            })
            .collect()
    };
    let norm = |x: &[f64], w: &[f64], b: &[f64]| -> Vec<f64> {
        x.chunks(dim)
            .flat_map(|row| {
                let mean = row.iter().sum::<f64>() / dim as f64;
                let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / dim as f64;
                let deviation = (variance + f64::from(shape.epsilon)).sqrt();
                row.iter().enumerate().map(|(i, v)| (v - mean) / deviation * w[i] + b[i]).collect::<Vec<_>>()
            })
            .collect()
    };
    let t = tensors;
    let qkv = linear(&norm(x, &t[0], &t[1]), &t[2], &t[3]);
    let size = dim / heads;
    let at = |token: usize, which: usize, i: usize| qkv[token * 3 * dim + which * dim + i];
    let (mut context, mut attention) = (vec![0.0; outputs * dim], vec![0.0; tokens]);
    for h in 0..heads {
        for q in 0..outputs {
            let scores: Vec<f64> = (0..tokens)
                .map(|k| {
                    (h * size..(h + 1) * size).map(|i| at(q, 0, i) * at(k, 1, i)).sum::<f64>()
                        / (size as f64).sqrt()
                })
                .collect();
            let total: f64 = scores.iter().map(|s| s.exp()).sum();
            for k in 0..tokens {
                let p = scores[k].exp() / total;
                if q < class_tokens {
                    attention[k] += p;
                }
                for i in h * size..(h + 1) * size {
                    context[q * dim + i] += p * at(k, 2, i);
                }
            }
        }
    }
    let add = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a + b).collect() };
    let middle = add(&linear(&context, &t[4], &t[5]), x);
    let mut hidden_tokens = linear(&norm(&middle, &t[6], &t[7]), &t[8], &t[9]);
    assert_eq!(hidden_tokens.len(), outputs * hidden);
    hidden_tokens.iter_mut().for_each(|v| *v *= 0.5 * (1.0 + libm::erf(*v / 2f64.sqrt())));
    (add(&linear(&hidden_tokens, &t[10], &t[11]), &middle), attention)
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}

fn close(found: f32, expected: f64, what: &str) {
    assert!(
        (f64::from(found) - expected).abs() < 2e-4 * expected.abs().max(1.0),
        "{what}: {found}, not {expected}"
    );
}

fn check(shape: Shape, batch: usize, seed: u32, level: Level) {
    let seed = &mut seed.clone();
    let values = tensors(&shape, seed);
    let Shape { dim, tokens, outputs, class_tokens, .. } = shape;
    let x = noise(seed, batch * tokens * dim, 1.0);
    let weight_of_output = noise(seed, batch * outputs * dim, 1.0);
    let slices = std::array::from_fn(|i| values[i].as_slice());
    let found = forward(level, shape, &slices, &x).unwrap();
    let exact: Tensors<Vec<f64>> = std::array::from_fn(|i| wide(&values[i]));
    let all = |tensors: &Tensors<Vec<f64>>, x: &[f64]| -> (Vec<f64>, Vec<f64>) {
        let each: Vec<_> = x.chunks(tokens * dim).map(|x| plain(&shape, tensors, x)).collect();
        (each.iter().flat_map(|e| e.0.clone()).collect(), each.iter().flat_map(|e| e.1.clone()).collect())
    };
    let (expected, attention) = all(&exact, &wide(&x));
    for (found, expected) in found.tokens.iter().zip(&expected) {
        close(*found, *expected, "output");
    }
    assert_eq!(found.attention.len(), if class_tokens > 0 { attention.len() } else { 0 });
    for (found, expected) in found.attention.iter().zip(&attention) {
        close(*found, *expected, "attention");
    }

    let mask = GradientMask { input: true, tensors: true };
    let back = backward(level, &found.activations, &slices, &x, &weight_of_output, mask).unwrap();
    let loss = |tensors: &Tensors<Vec<f64>>, x: &[f64]| -> f64 {
        all(tensors, x).0.iter().zip(&weight_of_output).map(|(y, w)| y * f64::from(*w)).sum()
    };
    const STEP: f64 = 1e-5;
    // Some of each tensor: finite differences of all would take minutes.
    for i in 0..TENSORS {
        let count = values[i].len();
        for at in (0..count).step_by(count.div_ceil(4)) {
            let mut moved = exact.clone();
            moved[i][at] += STEP;
            let above = loss(&moved, &wide(&x));
            moved[i][at] -= 2.0 * STEP;
            let difference = (above - loss(&moved, &wide(&x))) / (2.0 * STEP);
            close(back.tensors[i][at], difference, &format!("tensor {i} at {at}"));
        }
    }
    for at in (0..x.len()).step_by(x.len().div_ceil(12)) {
        let mut moved = wide(&x);
        moved[at] += STEP;
        let above = loss(&exact, &moved);
        moved[at] -= 2.0 * STEP;
        let difference = (above - loss(&exact, &moved)) / (2.0 * STEP);
        close(back.input[at], difference, &format!("input at {at}"));
    }

    // A masked gradient does not change the others.
    let only = |input: bool, tensors: bool| {
        backward(level, &found.activations, &slices, &x, &weight_of_output, GradientMask { input, tensors })
            .unwrap()
    };
    assert_eq!(only(true, false).input, back.input);
    assert_eq!(only(false, true).tensors, back.tensors);
    assert!(only(false, true).input.is_empty() && only(true, false).tensors.iter().all(Vec::is_empty));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn gradients_equal_finite_differences(
        heads in 1usize..4, size in 1usize..10, hidden in 1usize..40, tokens in 1usize..20, batch in 1usize..4,
        outputs in 1usize..20, class_tokens in 0usize..3, seed in any::<u32>(),
    ) {
        let outputs = outputs.min(tokens);
        let shape = Shape {
            dim: heads * size, heads, hidden, epsilon: 1e-6, tokens, outputs, class_tokens: class_tokens.min(outputs),
        };
        // At a width of one or two the norms amplify noise.
        prop_assume!(shape.dim > 3);
        for level in Level::available() {
            check(shape, batch, seed, level);
        }
    }
}

#[test]
fn parts_sum_to_the_whole_batch() {
    // 40 sequences of 50 tokens are split into parts.
    let shape =
        Shape { dim: 8, heads: 2, hidden: 12, epsilon: 1e-6, tokens: 50, outputs: 1, class_tokens: 1 };
    assert!(shape.sequences_per_part(40) < 40);
    check(shape, 40, 7, Level::best());
}

#[test]
fn results_are_bit_identical_for_any_number_of_threads() {
    let shape =
        Shape { dim: 16, heads: 2, hidden: 32, epsilon: 1e-6, tokens: 30, outputs: 30, class_tokens: 0 };
    let seed = &mut 3;
    let values = tensors(&shape, seed);
    let slices = std::array::from_fn(|i| values[i].as_slice());
    let x = noise(seed, 41 * 30 * 16, 1.0);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let out = forward(Level::best(), shape, &slices, &x).unwrap();
            let mask = GradientMask { input: true, tensors: true };
            let back = backward(Level::best(), &out.activations, &slices, &x, &out.tokens, mask).unwrap();
            (out.tokens, back.input, back.tensors)
        })
    };
    assert!(run(1) == run(3));
}

#[test]
fn mismatched_sizes_are_errors() {
    let shape = Shape { dim: 8, heads: 2, hidden: 12, epsilon: 1e-6, tokens: 3, outputs: 3, class_tokens: 0 };
    let values = tensors(&shape, &mut 1);
    let slices: Tensors<&[f32]> = std::array::from_fn(|i| values[i].as_slice());
    let x = vec![0.0; 2 * 3 * 8];
    assert!(forward(Level::best(), shape, &slices, &x[1..]).unwrap_err().to_string().contains("47 values"));
    let odd = Shape { heads: 3, ..shape };
    assert!(forward(Level::best(), odd, &slices, &x).is_err());
    let mut short = slices;
    short[4] = &short[4][1..];
    assert!(forward(Level::best(), shape, &short, &x).unwrap_err().to_string().contains("tensor 4"));
    let out = forward(Level::best(), shape, &slices, &x).unwrap();
    let mask = GradientMask { input: true, tensors: true };
    assert!(backward(Level::best(), &out.activations, &slices, &x, &x[1..], mask).is_err());
}
