//! BoQ and rotary positions beside plain sums in f64, on every level of vector instructions of this machine.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod reference;

use r2former_kernels::{Boq, BoqShape, Encoder, EncoderShape, Level, MatmulPrecision};
use reference::{Rows, assert_near, attend, columns, linear, mlp, norm, plus, relu, rows, tensor};

/// The number of values of one of BoQ's tensors.
fn boq_len(s: &BoqShape, name: &str) -> usize {
    let weight = |rows: usize, columns: usize| if name.ends_with("weight") { rows * columns } else { rows };
    let w = s.width;
    match name {
        _ if name.contains("proj_c") => weight(w, 9 * s.input),
        _ if name.contains("norm") => w,
        _ if name.contains("in_proj") => weight(3 * w, w),
        _ if name.contains("out_proj") => weight(w, w),
        _ if name.contains("linear1") => weight(s.hidden, w),
        _ if name.contains("linear2") => weight(w, s.hidden),
        _ if name.contains("cross_attn.kv") => weight(2 * w, w),
        _ => s.queries * w,
    }
}

#[test]
fn boq_equals_plain_sums() {
    let shapes = [
        (
            BoqShape { input: 20, width: 12, heads: 2, hidden: 24, queries: 5, layers: 2, epsilon: 1e-5 },
            [5, 7],
        ),
        (
            BoqShape { input: 7, width: 18, heads: 3, hidden: 40, queries: 37, layers: 1, epsilon: 1e-5 },
            [3, 33],
        ),
        (BoqShape { input: 16, width: 8, heads: 1, hidden: 8, queries: 1, layers: 1, epsilon: 1e-5 }, [1, 1]),
    ];
    for (shape, grid) in shapes {
        let BoqShape { input, width, heads, hidden, queries, layers, .. } = shape;
        let count = grid[0] * grid[1];
        let patches: Vec<f32> = tensor("patches", count * input).iter().map(|v| 4.0 * v).collect();
        // Every patch with those around it, as the convolution's weight has them.
        let around = |patch: usize| -> Vec<f64> {
            let at = |channel: usize, tap: usize| {
                let (y, x) = (patch / grid[1] + tap / 3, patch % grid[1] + tap % 3);
                let inside = (1..=grid[0]).contains(&y) && (1..=grid[1]).contains(&x);
                if inside { f64::from(patches[((y - 1) * grid[1] + x - 1) * input + channel]) } else { 0.0 }
            };
            (0..input)
                .flat_map(|channel| (0..9).map(move |tap| (channel, tap)))
                .map(|(c, t)| at(c, t))
                .collect()
        };
        let map = linear("proj_c", &(0..count).map(around).collect(), width);
        let mut x = norm("norm_input", &map, 1e-5);
        let (mut found, mut attention) = (Vec::new(), vec![0.0; count]);
        for layer in 0..layers {
            let (name, encoder) = (format!("boqs.{layer}"), format!("boqs.{layer}.encoder"));
            let qkv = linear(&format!("{encoder}.self_attn.in_proj"), &x, 3 * width);
            let [q, k, v] = [0, 1, 2].map(|part| columns(&qkv, part * width, width));
            let out = linear(&format!("{encoder}.self_attn.out_proj"), &attend(&q, &k, &v, heads).0, width);
            x = norm(&format!("{encoder}.norm1"), &plus(&x, &out), 1e-5);
            let inner = relu(linear(&format!("{encoder}.linear1"), &x, hidden));
            let out = linear(&format!("{encoder}.linear2"), &inner, width);
            x = norm(&format!("{encoder}.norm2"), &plus(&x, &out), 1e-5);
            let kv = linear(&format!("{name}.cross_attn.kv"), &x, 2 * width);
            let query = rows(&tensor(&format!("{name}.query"), queries * width), width);
            let (context, weights) =
                attend(&query, &columns(&kv, 0, width), &columns(&kv, width, width), heads);
            let out = linear(&format!("{name}.cross_attn.out_proj"), &context, width);
            found.extend(norm(&format!("{name}.norm_out"), &out, 1e-5));
            for weights in &weights {
                attention.iter_mut().zip(weights).for_each(|(sum, w)| *sum += w / layers as f64);
            }
        }
        for level in Level::available() {
            let get = |name: &str| Some(tensor(name, boq_len(&shape, name)).into());
            let boq = Boq::new(level, shape, &get).unwrap();
            // The second run finds the memory of the first.
            boq.run(&vec![0.3; patches.len()], grid).unwrap();
            let output = boq.run(&patches, grid).unwrap();
            assert_near(&output.queries, found.iter().flatten(), &format!("{shape:?}, {level}: queries"));
            assert_near(&output.attention, attention.iter(), &format!("{shape:?}, {level}: attention"));
            assert!(boq.run(&patches[1..], grid).is_err(), "patches of another grid");
        }
    }
}

#[test]
fn rotary_positions_equal_plain_sums() {
    let (dim, heads, patch, grid) = (24, 3, 2, [5, 9]);
    let (size, count, hidden) = (dim / heads, 1 + 5 * 9, 2 * dim);
    let shape = EncoderShape {
        patch,
        dim,
        depth: 1,
        heads,
        mlp_ratio: 2,
        swiglu: None,
        epsilon: 1e-6,
        layer_scale: false,
        adapters: None,
        values: false,
        final_norm: false,
        class_tokens: 1,
        local_layer: 0,
        all_outputs: true,
    };
    let tokens: Vec<f32> = tensor("tokens", count * dim).iter().map(|v| 4.0 * v).collect();
    // CLS stays as it is.
    let mut angles: Vec<f32> = tensor("angles", count * size / 2).iter().map(|v| 10.0 * v).collect();
    angles[..size / 2].fill(0.0);
    let turn = |x: &mut Rows| {
        for (row, angles) in x.iter_mut().zip(angles.chunks_exact(size / 2)) {
            for head in row.chunks_exact_mut(size) {
                for (i, angle) in angles.iter().enumerate() {
                    let (a, b, (sin, cos)) = (head[i], head[i + size / 2], f64::from(*angle).sin_cos());
                    (head[i], head[i + size / 2]) = (a * cos - b * sin, b * cos + a * sin);
                }
            }
        }
    };
    let x = rows(&tokens, dim);
    let qkv = linear("blocks.0.attn.qkv", &norm("blocks.0.norm1", &x, 1e-6), 3 * dim);
    let [mut q, mut k, v] = [0, 1, 2].map(|part| columns(&qkv, part * dim, dim));
    turn(&mut q);
    turn(&mut k);
    let (context, weights) = attend(&q, &k, &v, heads);
    let x = plus(&x, &linear("blocks.0.attn.proj", &context, dim));
    let x = plus(&x, &mlp("blocks.0.mlp", &norm("blocks.0.norm2", &x, 1e-6), hidden));
    let attention: Vec<f64> = weights[0].iter().map(|w| w * heads as f64).collect();

    let get = |name: &str| {
        let weight =
            |rows: usize, columns: usize| if name.ends_with("weight") { rows * columns } else { rows };
        let len = match name {
            _ if name.contains("qkv") => weight(3 * dim, dim),
            _ if name.contains("attn.proj") => weight(dim, dim),
            _ if name.contains("fc1") => weight(hidden, dim),
            _ if name.contains("fc2") => weight(dim, hidden),
            "patch_embed.proj.weight" => dim * 3 * patch * patch,
            _ => dim,
        };
        Some(tensor(name, len).into())
    };
    let [height, width] = grid.map(|side| side * patch);
    let image = vec![0.0; 3 * height * width];
    for level in Level::available() {
        let encoder = Encoder::new(level, MatmulPrecision::F32, shape, &get).unwrap();
        let still = encoder.precompute_prefix(&tokens, height, width).unwrap();
        let unturned = encoder.run(&still, &image).unwrap();
        let prefix = encoder.with_rotary(still, &angles).unwrap();
        let found = encoder.run(&prefix, &image).unwrap();
        assert_near(&found.last, x.iter().flatten(), &format!("{level}: tokens"));
        assert_near(&found.attention, attention.iter(), &format!("{level}: attention"));
        assert_ne!(found.last, unturned.last, "{level}");
        assert!(encoder.with_rotary(prefix, &angles[1..]).is_err(), "angles of other tokens");
    }
}
