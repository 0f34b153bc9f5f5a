//! Layers as plain sums in f64, with weights that follow from their names.

/// Values that depend on a name: near 1 for the weights of norms, else around 0.
pub(crate) fn tensor(name: &str, len: usize) -> Vec<f32> {
    let mut state = name.bytes().fold(17u64, |state, byte| state.wrapping_mul(31).wrapping_add(byte.into()));
    let base = if name.contains("norm") && name.ends_with("weight") { 1.0 } else { 0.0 };
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        base + 0.25 * (((state >> 40) as f32) / (1 << 23) as f32 - 1.0)
    };
    (0..len).map(|_| next()).collect()
}

pub(crate) type Rows = Vec<Vec<f64>>;

pub(crate) fn rows(values: &[f32], width: usize) -> Rows {
    values.chunks_exact(width).map(|row| row.iter().copied().map(f64::from).collect()).collect()
}

pub(crate) fn linear(name: &str, x: &Rows, out: usize) -> Rows {
    let width = x[0].len();
    let weight = rows(&tensor(&format!("{name}.weight"), out * width), width);
    let bias = tensor(&format!("{name}.bias"), out);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    x.iter().map(|x| weight.iter().zip(&bias).map(|(w, b)| dot(w, x) + f64::from(*b)).collect()).collect()
}

pub(crate) fn norm(name: &str, x: &Rows, epsilon: f64) -> Rows {
    let width = x[0].len();
    let [weight, bias] = ["weight", "bias"].map(|part| tensor(&format!("{name}.{part}"), width));
    let each = |x: &Vec<f64>| {
        let mean = x.iter().sum::<f64>() / width as f64;
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / width as f64;
        let unit = |v: &f64| (v - mean) / (variance + epsilon).sqrt();
        let scaled = x.iter().zip(weight.iter().zip(&bias));
        scaled.map(|(v, (w, b))| unit(v) * f64::from(*w) + f64::from(*b)).collect()
    };
    x.iter().map(each).collect()
}

pub(crate) fn plus(a: &Rows, b: &Rows) -> Rows {
    a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a + b).collect()).collect()
}

pub(crate) fn columns(x: &Rows, first: usize, count: usize) -> Rows {
    x.iter().map(|row| row[first..first + count].to_vec()).collect()
}

/// Contexts of queries, and the probabilities of each query and token, averaged over heads.
pub(crate) fn attend(q: &Rows, k: &Rows, v: &Rows, heads: usize) -> (Rows, Rows) {
    let (width, size) = (q[0].len(), q[0].len() / heads);
    let mut context = vec![vec![0.0; width]; q.len()];
    let mut mean = vec![vec![0.0; k.len()]; q.len()];
    for (i, query) in q.iter().enumerate() {
        for head in 0..heads {
            let own = head * size..(head + 1) * size;
            let score =
                |key: &Vec<f64>| own.clone().map(|h| query[h] * key[h]).sum::<f64>() / (size as f64).sqrt();
            let scores: Vec<f64> = k.iter().map(score).collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - most).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for (t, weight) in weights.iter().enumerate() {
                mean[i][t] += weight / sum / heads as f64;
                own.clone().for_each(|h| context[i][h] += weight / sum * v[t][h]);
            }
        }
    }
    (context, mean)
}

pub(crate) fn assert_near<'a>(found: &[f32], expected: impl Iterator<Item = &'a f64>, what: &str) {
    let expected: Vec<f64> = expected.copied().collect();
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
        assert!((f64::from(*a) - b).abs() <= 1e-5 * b.abs().max(1.0), "{what} {i}: {a}, not {b}");
    }
}

/// The hidden layer of an MLP, and what follows from it: `fc2(gelu(fc1 x))`.
pub(crate) fn mlp(name: &str, x: &Rows, hidden: usize) -> Rows {
    let mut inner = linear(&format!("{name}.fc1"), x, hidden);
    inner.iter_mut().flatten().for_each(|v| *v *= 0.5 * (1.0 + libm::erf(*v / 2f64.sqrt())));
    linear(&format!("{name}.fc2"), &inner, x[0].len())
}

pub(crate) fn relu(mut x: Rows) -> Rows {
    x.iter_mut().flatten().for_each(|v| *v = v.max(0.0));
    x
}
