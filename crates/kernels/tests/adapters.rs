//! Adapters, and blocks that end with values, beside plain sums in f64, on every level of vector instructions of this machine.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod reference;

use r2former_kernels::{AdapterShape, Encoder, EncoderShape, KernelError, Level, MatmulPrecision};
use reference::{Rows, assert_near, attend, columns, linear, mlp, norm, plus, relu, rows, tensor};

const PATCH: usize = 2;
const EPSILON: f64 = 1e-6;

/// A transformer of these sizes on an image of a grid of patches.
#[derive(Debug, Clone, Copy)]
struct Case {
    dim: usize,
    heads: usize,
    depth: usize,
    /// Tokens before the patches.
    prefix: usize,
    grid: [usize; 2],
    adapters: Option<AdapterShape>,
    layer_scale: bool,
    values: bool,
}

/// What the cases of a test begin with.
const SMALL: Case = Case {
    dim: 24,
    heads: 2,
    depth: 2,
    prefix: 1,
    grid: [1, 1],
    adapters: None,
    layer_scale: false,
    values: false,
};

impl Case {
    fn shape(&self) -> EncoderShape {
        EncoderShape {
            patch: PATCH,
            dim: self.dim,
            depth: self.depth,
            heads: self.heads,
            mlp_ratio: 2,
            swiglu: None,
            epsilon: EPSILON as f32,
            layer_scale: self.layer_scale,
            adapters: self.adapters,
            values: self.values,
            final_norm: !self.values,
            class_tokens: 1,
            local_layer: self.depth - 1,
            all_outputs: true,
        }
    }

    fn width(&self) -> usize {
        match self.adapters {
            Some(
                AdapterShape::Linear { width, .. }
                | AdapterShape::Parallel { width, .. }
                | AdapterShape::Side { width, .. },
            ) => width,
            None => 0,
        }
    }

    /// The number of values of a tensor.
    fn len(&self, name: &str) -> usize {
        let (dim, width) = (self.dim, self.width());
        let weight =
            |rows: usize, columns: usize| if name.ends_with("weight") { rows * columns } else { rows };
        match name {
            _ if name.contains("qkv") => weight(3 * dim, dim),
            _ if name.contains("attn.proj") => weight(dim, dim),
            _ if name.contains("mlp.fc1") => weight(2 * dim, dim),
            _ if name.contains("mlp.fc2") => weight(dim, 2 * dim),
            _ if name.contains("D_fc1") => weight(width, dim),
            _ if name.contains("D_fc2") => weight(dim, width),
            _ if name.contains("branch1") => weight(width / 2, width),
            _ if name.contains("2.0.") || name.contains("3.0.") => weight(width / 16, width),
            _ if name.contains("branch2.1") => weight(width / 4, 9 * width / 16),
            _ if name.contains("branch3.1") => weight(width / 4, 25 * width / 16),
            "patch_embed.proj.weight" => dim * 3 * PATCH * PATCH,
            _ => dim,
        }
    }

    /// What lies under the taps of a kernel on each patch, channel after channel; of other tokens zeros.
    fn under(&self, x: &Rows, side: usize) -> Rows {
        let [height, width] = self.grid;
        let around = |token: usize| -> Vec<f64> {
            let value = |channel: usize, tap: usize| {
                let patch = token.checked_sub(self.prefix)?;
                let row = (patch / width + tap / side).checked_sub(side / 2).filter(|row| *row < height)?;
                let column = (patch % width + tap % side).checked_sub(side / 2).filter(|c| *c < width)?;
                Some(x[self.prefix + row * width + column][channel])
            };
            let taps = || 0..side * side;
            (0..x[0].len()).flat_map(|c| taps().map(move |tap| value(c, tap).unwrap_or(0.0))).collect()
        };
        (0..x.len()).map(around).collect()
    }

    fn adapter(&self, name: &str, x: &Rows) -> Rows {
        let width = self.width();
        let hidden = relu(linear(&format!("{name}.D_fc1"), x, width));
        if matches!(self.adapters, Some(AdapterShape::Linear { .. })) {
            return linear(&format!("{name}.D_fc2"), &hidden, self.dim);
        }
        let conv = |part: &str, x: &Rows, side: usize, out: usize| {
            relu(linear(&format!("{name}.{part}.conv"), &self.under(x, side), out))
        };
        let first = conv("branch1", &hidden, 1, width / 2);
        let second = conv("branch2.1", &conv("branch2.0", &hidden, 1, width / 16), 3, width / 4);
        let third = conv("branch3.1", &conv("branch3.0", &hidden, 1, width / 16), 5, width / 4);
        let mut branches: Rows = Vec::new();
        for (t, h) in hidden.iter().enumerate() {
            let found = [&first[t][..], &second[t], &third[t]].concat();
            branches.push(if t < self.prefix { h.clone() } else { found });
        }
        linear(&format!("{name}.D_fc2"), &plus(&hidden, &branches), self.dim)
    }

    fn scaled(&self, name: &str, x: Rows) -> Rows {
        let gamma = tensor(&format!("{name}.gamma"), self.dim);
        let each = |row: Vec<f64>| row.iter().zip(&gamma).map(|(v, g)| v * f64::from(*g)).collect();
        if self.layer_scale { x.into_iter().map(each).collect() } else { x }
    }

    /// Tokens and the attention of the first of them in the last block.
    fn expected(&self, tokens: &Rows) -> [Rows; 2] {
        let (dim, mut x) = (self.dim, tokens.clone());
        let (mut side, mut attention) = (None, Rows::new());
        for i in 0..self.depth {
            let name = |part: &str| format!("blocks.{i}.{part}");
            if let Some(AdapterShape::Side { count, .. }) = self.adapters
                && i == self.depth - count
            {
                side = Some(x.clone());
            }
            let qkv = linear(&name("attn.qkv"), &norm(&name("norm1"), &x, EPSILON), 3 * dim);
            let [q, k, v] = [0, 1, 2].map(|part| columns(&qkv, part * dim, dim));
            let (context, weights) = attend(&q, &k, &v, self.heads);
            attention = vec![weights[0].iter().map(|w| w * self.heads as f64).collect()];
            if self.values && i + 1 == self.depth {
                return [v, attention];
            }
            let mut attended = linear(&name("attn.proj"), &context, dim);
            if matches!(self.adapters, Some(AdapterShape::Linear { .. })) {
                attended = plus(&attended, &self.adapter(&name("adapter1"), &attended));
            }
            x = plus(&x, &self.scaled(&name("ls1"), attended));
            let normed = norm(&name("norm2"), &x, EPSILON);
            let mut out = mlp(&name("mlp"), &normed, 2 * dim);
            let beside = match self.adapters {
                Some(AdapterShape::Linear { factor, .. }) => Some(("adapter2", factor)),
                Some(AdapterShape::Parallel { factor, .. }) => Some(("adapter", factor)),
                _ => None,
            };
            if let Some((part, factor)) = beside {
                let mut more = self.adapter(&name(part), &normed);
                more.iter_mut().flatten().for_each(|v| *v *= f64::from(factor));
                out = plus(&out, &more);
            }
            x = plus(&x, &self.scaled(&name("ls2"), out));
            if let (Some(path), Some(AdapterShape::Side { count, .. })) = (&mut side, self.adapters) {
                let more = self.adapter(&format!("adapters.{}", i + count - self.depth), &plus(path, &x));
                *path = plus(path, &more);
            }
        }
        [norm("norm", &side.unwrap_or(x), EPSILON), attention]
    }

    fn compare(&self) {
        let Self { dim, prefix, grid, .. } = *self;
        let [height, width] = grid.map(|side| side * PATCH);
        let count = prefix + grid[0] * grid[1];
        let tokens: Vec<f32> = tensor("tokens", count * dim).iter().map(|v| 4.0 * v).collect();
        let [x, attention] = self.expected(&rows(&tokens, dim));
        let get = |name: &str| Some(tensor(name, self.len(name)).into());
        let image = vec![0.0; 3 * height * width];
        for level in Level::available() {
            let encoder = |shape| {
                let encoder = Encoder::new(level, MatmulPrecision::F32, shape, &get).unwrap();
                let prefix = encoder.precompute_prefix(&tokens, height, width).unwrap();
                // The second run finds the memory of the first.
                encoder.run(&prefix, &vec![0.7; image.len()]).unwrap();
                encoder.run(&prefix, &image).unwrap()
            };
            let found = encoder(self.shape());
            assert_near(&found.last, x.iter().flatten(), &format!("{self:?}, {level}: tokens"));
            assert_near(
                &found.attention,
                attention.iter().flatten(),
                &format!("{self:?}, {level}: attention"),
            );
            let first = encoder(EncoderShape { all_outputs: false, ..self.shape() });
            assert_eq!((&first.last[..], first.attention), (&found.last[..dim], found.attention), "{level}");
        }
    }
}

#[test]
fn adapters_equal_plain_sums() {
    let case = Case { heads: 3, prefix: 3, grid: [5, 9], layer_scale: true, ..SMALL };
    let of = |adapters: AdapterShape| Case { adapters: Some(adapters), ..case };
    let parallel = AdapterShape::Parallel { width: 16, factor: 0.2 };
    let cases = [
        of(AdapterShape::Linear { width: 7, factor: 0.2 }),
        // A hidden layer wider than the MLP's.
        Case { layer_scale: false, depth: 1, ..of(AdapterShape::Linear { width: 61, factor: 1.0 }) },
        of(parallel),
        Case { layer_scale: false, prefix: 1, grid: [1, 1], ..of(parallel) },
        // One row, one column; prefix tokens beyond the first panel of the narrow levels.
        Case { prefix: 20, grid: [1, 40], ..of(parallel) },
        Case { grid: [33, 1], dim: 48, ..of(AdapterShape::Parallel { width: 48, factor: 0.5 }) },
        of(AdapterShape::Side { width: 16, count: 2 }),
        Case { depth: 3, grid: [7, 6], ..of(AdapterShape::Side { width: 16, count: 1 }) },
    ];
    cases.iter().for_each(Case::compare);
}

#[test]
fn values_equal_plain_sums() {
    let case = Case { grid: [5, 9], layer_scale: true, values: true, ..SMALL };
    [case, Case { depth: 1, prefix: 5, grid: [1, 2], ..case }].iter().for_each(Case::compare);
}

#[test]
fn sizes_that_are_not_covered_are_named() {
    let get = |_: &str| None;
    let refused = |shape: EncoderShape, products: MatmulPrecision| {
        let found = Encoder::new(Level::Scalar, products, shape, &get);
        assert!(matches!(found, Err(KernelError::Unsupported(_))), "{shape:?}: {found:?}");
    };
    let exact = MatmulPrecision::F32;
    for adapters in [
        AdapterShape::Linear { width: 0, factor: 0.2 },
        AdapterShape::Parallel { width: 24, factor: 0.2 },
        AdapterShape::Parallel { width: 32, factor: 0.2 },
        AdapterShape::Side { width: 16, count: 3 },
        AdapterShape::Side { width: 16, count: 0 },
    ] {
        refused(EncoderShape { adapters: Some(adapters), ..SMALL.shape() }, exact);
    }
    let narrow = AdapterShape::Linear { width: 3, factor: 0.2 };
    refused(EncoderShape { adapters: Some(narrow), ..SMALL.shape() }, MatmulPrecision::Int8Emulated);
    refused(EncoderShape { values: true, ..SMALL.shape() }, exact);
}
