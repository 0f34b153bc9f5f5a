//! The fused reranker and transformer against the model's own, on every level of vector instructions of this machine.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod random_models;

use burn::tensor::{Device, Tensor, TensorData};
use r2former_engine::{FusedBackbone, LoadedModel, fused_reranker};
use r2former_kernels::{KernelError, Level, MatmulPrecision, RerankerArithmetic};
use r2former_model::backbone::Tokens;
use r2former_model::quantize::{dequantize, quantize};
use r2former_model::{
    AdapterConfig, LocalConfig, ModelConfig, PositionMode, Precision, R2Former, RerankerConfig, VitConfig,
};
use random_models::{Random, fixture, transformer};

const TOLERANCE: f32 = 1e-4;

/// Both arithmetics of a reranker, and how far logits may be from the model's.
const ARITHMETICS: [(RerankerArithmetic, f32); 2] =
    [(RerankerArithmetic::F32, TOLERANCE), (RerankerArithmetic::Int16, 5e-3)];

/// The published-format fixture, as a model with another reranker.
fn model(change: impl FnOnce(&mut RerankerConfig, &mut LocalConfig), seed: u64) -> R2Former {
    let mut config = fixture().config().clone();
    change(config.reranker.as_mut().unwrap(), config.local.as_mut().unwrap());
    let mut model = R2Former::random(&config, seed, &Device::flex()).unwrap();
    // Random weights are small: without larger ones, every candidate would look the same.
    let mut tensors = model.to_tensors().unwrap();
    let mut random = Random(seed + 1);
    for (name, tensor) in &mut tensors {
        if name.starts_with("reranker.") {
            let scale = if name.ends_with("bias") { 0.2 } else { 0.35 };
            let base = if name.contains("norm") && name.ends_with("weight") { 1.0 } else { 0.0 };
            tensor.data.iter_mut().for_each(|v| *v = base + scale * random.next());
        }
    }
    model = R2Former::from_tensors(&config, tensors, &Device::flex()).unwrap();
    model
}

fn rows(config: &ModelConfig, count: usize, seed: u64) -> Vec<f32> {
    let mut random = Random(seed);
    let row = config.local_row();
    (0..count * row).map(|i| if i % row < 3 { 0.5 + 0.6 * random.next() } else { random.next() }).collect()
}

fn plain(model: &R2Former, query: &[f32], reference: &[f32]) -> Vec<f32> {
    let row = model.config().local_row();
    let tensor = |rows: &[f32]| {
        Tensor::<3>::from_data(TensorData::new(rows.to_vec(), [1, rows.len() / row, row]), &Device::flex())
    };
    let logits = model.reranker.as_ref().unwrap().forward(tensor(query), tensor(reference)).unwrap();
    logits.try_into_vec_as::<f32>().unwrap()
}

fn compare(model: &R2Former, nq: usize, nr: usize, seed: u64, what: &str) {
    let row = model.config().local_row();
    let (query, reference) = (rows(model.config(), nq, seed), rows(model.config(), nr, seed + 7));
    let bytes = quantize(&reference, row);
    let expected = plain(model, &query, &reference);
    let expected_bytes = plain(model, &query, &dequantize(&bytes, row));
    let mut in_16_bits = None;
    for (level, (arithmetic, tolerance)) in
        Level::available().flat_map(|level| ARITHMETICS.map(|a| (level, a)))
    {
        let fused = fused_reranker(model, level, arithmetic).unwrap();
        let prepared = fused.query(&query).unwrap();
        let found = fused.score_floats(&prepared, &reference).unwrap();
        let found_bytes = fused.score_bytes(&prepared, &bytes).unwrap();
        if arithmetic == RerankerArithmetic::Int16 && level.multiplies_int16() {
            // What a model's file says of its scores holds for every CPU.
            let own = [found, found_bytes];
            assert_eq!(*in_16_bits.get_or_insert(own), own, "{what} {nq} x {nr}, {level}");
        }
        for (found, expected) in [(found, &expected), (found_bytes, &expected_bytes)] {
            for (a, b) in found.iter().zip(expected) {
                let allowed = tolerance * b.abs().max(1.0);
                assert!(
                    (a - b).abs() <= allowed,
                    "{what} {nq} x {nr}, {level} {arithmetic:?}: {found:?}, not {expected:?}"
                );
            }
        }
    }
}

#[test]
fn the_published_sizes_with_any_number_of_features() {
    let model = model(|_, local| local.dim = 128, 3);
    for (nq, nr) in [(5, 5), (5, 60), (23, 24), (24, 24), (47, 48), (61, 7), (100, 83)] {
        compare(&model, nq, nr, (nq * nr) as u64, "published");
    }
}

#[test]
fn as_many_features_as_an_image_has() {
    compare(&model(|_, local| local.dim = 128, 4), 500, 500, 11, "full");
}

#[test]
fn other_sizes_and_inputs() {
    type Change = fn(&mut RerankerConfig, &mut LocalConfig);
    let cases: [(&str, Change); 10] = [
        ("heads of 4", |r, _| r.heads = 8),
        ("heads of 16", |r, _| r.heads = 2),
        ("wide", |r, _| r.dim = 64),
        ("one block each", |r, _| (r.depth, r.pair_depth) = (1, 1)),
        ("one neighbour", |r, _| r.neighbours = 1),
        ("eight neighbours", |r, _| r.neighbours = 8),
        ("narrow MLP", |r, _| r.mlp_ratio = 1),
        ("correlation alone", |r, _| (r.use_xy, r.use_attention) = (false, false)),
        ("no correlation", |r, _| r.use_correlation = false),
        ("no position", |r, l| (r.use_position_embedding, l.dim) = (false, 33)),
    ];
    for (i, (what, change)) in cases.into_iter().enumerate() {
        compare(&model(change, i as u64), 30, 41, 100 + i as u64, what);
    }
}

#[test]
fn the_published_fixture() {
    let model = fixture();
    for seed in 0..10 {
        compare(&model, 20, 20, seed, "fixture");
    }
}

/// As `model check` asks, but of every level: candidates whose features are more and more like the query's.
#[test]
fn the_built_in_model_ranks_alike_in_16_bits() {
    let model = LoadedModel::built_in().unwrap().into_checkpoint().model(&Device::flex()).unwrap();
    let row = model.config().local_row();
    let query = rows(model.config(), 200, 1);
    let candidates: Vec<Vec<u8>> = (0..40u8)
        .map(|i| {
            let other = rows(model.config(), 200, 50 + u64::from(i));
            let share = f32::from(i) / 40.0;
            let mixed: Vec<f32> =
                query.iter().zip(&other).map(|(a, b)| a * share + b * (1.0 - share)).collect();
            quantize(&mixed, row)
        })
        .collect();
    for level in Level::available().filter(|level| level.multiplies_int16()) {
        let [exact, fixed] = [RerankerArithmetic::F32, RerankerArithmetic::Int16].map(|arithmetic| {
            let reranker = fused_reranker(&model, level, arithmetic).unwrap();
            let query = reranker.query(&query).unwrap();
            let score = |candidate: &Vec<u8>| reranker.score_bytes(&query, candidate).unwrap();
            candidates.iter().map(score).collect::<Vec<_>>()
        });
        assert_ne!(exact, fixed, "{level}");
        let score = |logits: [f32; 2]| logits[1] - logits[0];
        for (a, (before, after)) in exact.iter().zip(&fixed).enumerate() {
            for (x, y) in before.iter().zip(after) {
                assert!((x - y).abs() < 0.02, "{level}: {before:?}, {after:?}");
            }
            for b in 0..a {
                let gaps = [&exact, &fixed].map(|all| score(all[a]) - score(all[b]));
                assert!(gaps[0].abs() <= 1e-3 || gaps[0] * gaps[1] >= 0.0, "{level}: {a} and {b}, {gaps:?}");
            }
        }
    }
}

#[test]
fn what_is_not_covered_is_said() {
    let tried = |change: fn(&mut RerankerConfig, &mut LocalConfig)| {
        fused_reranker(&model(change, 1), Level::Scalar, RerankerArithmetic::F32)
    };
    let cases: [fn(&mut RerankerConfig, &mut LocalConfig); 4] =
        [|r, _| r.pair_depth = 0, |r, _| r.depth = 0, |r, _| r.neighbours = 9, |r, _| r.heads = 16];
    for change in cases {
        assert!(matches!(tried(change), Err(KernelError::Unsupported(_))));
    }
    let fused = tried(|_, _| ()).unwrap();
    let row = fused.shape().row();
    assert!(matches!(fused.query(&vec![0.5; 4 * row]), Err(KernelError::Unsupported(_))));
    assert!(matches!(fused.query(&vec![0.5; 9 * row + 1]), Err(KernelError::Input(_))));
    let query = fused.query(&vec![0.5; 9 * row]).unwrap();
    let short = fused.score_bytes(&query, &vec![7; 6 * row - 1]);
    assert!(matches!(short, Err(KernelError::Input(_))));
}

#[test]
fn no_number_stays_none() {
    let model = model(|_, _| (), 9);
    let mut query = rows(model.config(), 12, 1);
    let reference = rows(model.config(), 12, 2);
    query[0] = f32::NAN;
    for (level, (arithmetic, _)) in Level::available().flat_map(|level| ARITHMETICS.map(|a| (level, a))) {
        let fused = fused_reranker(&model, level, arithmetic).unwrap();
        let prepared = fused.query(&query).unwrap();
        let logits = fused.score_floats(&prepared, &reference).unwrap();
        assert!(logits.iter().all(|v| v.is_nan()), "{level}: {logits:?}");
    }
}

#[test]
fn transformers_equal_the_model() {
    type Change = fn(&mut VitConfig);
    let cases: [(&str, Change, [usize; 2]); 10] = [
        ("as published", |_| (), [96, 128]),
        ("one token a side", |_| (), [16, 16]),
        ("CLS only", |c| c.distilled = false, [64, 96]),
        (
            "registers and layer scale",
            |c| (c.distilled, c.registers, c.layer_scale) = (false, 4, true),
            [80, 48],
        ),
        ("heads of 64", |c| (c.dim, c.heads) = (128, 2), [112, 112]),
        ("small patches", |c| (c.patch, c.depth) = (14, 2), [56, 70]),
        ("an odd width", |c| (c.dim, c.heads) = (36, 3), [48, 48]),
        ("no final norm", |c| (c.distilled, c.final_norm) = (false, false), [64, 96]),
        (
            "DINOv2's positions",
            |c| (c.distilled, c.layer_scale, c.position) = (false, true, PositionMode::Dinov2),
            [80, 128],
        ),
        ("one block, more tokens than a slice", |c| (c.depth, c.heads) = (1, 1), [256, 272]),
    ];
    for (seed, (what, change, size)) in cases.into_iter().enumerate() {
        compare_tokens(&transformer(change, None, seed as u64), size, seed as u64, what);
    }
}

#[test]
fn adapters_equal_the_model() {
    type Change = fn(&mut VitConfig);
    let cases: [(&str, Change, [usize; 2]); 6] = [
        ("linear", |c| c.adapters = Some(AdapterConfig::Linear { width: 29 }), [64, 96]),
        (
            "linear, with registers and layer scale",
            |c| {
                (c.registers, c.layer_scale) = (4, true);
                c.adapters = Some(AdapterConfig::Linear { width: 70 });
            },
            [80, 48],
        ),
        ("of convolutions", |c| c.adapters = Some(AdapterConfig::Parallel { width: 16 }), [112, 96]),
        (
            "of convolutions, gated, an odd grid",
            |c| {
                (c.layer_scale, c.registers, c.swiglu) = (true, 1, Some(37));
                c.adapters = Some(AdapterConfig::Parallel { width: 48 });
            },
            [16, 560],
        ),
        (
            "beside all blocks",
            |c| c.adapters = Some(AdapterConfig::Side { width: 32, count: c.depth }),
            [96, 80],
        ),
        (
            "beside the last block",
            |c| {
                (c.layer_scale, c.final_norm) = (true, false);
                c.adapters = Some(AdapterConfig::Side { width: 16, count: 1 });
            },
            [48, 112],
        ),
    ];
    for (seed, (what, change, size)) in cases.into_iter().enumerate() {
        let with_cls = |c: &mut VitConfig| {
            c.distilled = false;
            change(c);
        };
        compare_tokens(&transformer(with_cls, None, 120 + seed as u64), size, seed as u64, what);
    }
}

#[test]
fn values_equal_the_model() {
    let ends = |c: &mut VitConfig| (c.distilled, c.values, c.final_norm) = (false, true, false);
    compare_tokens(&transformer(ends, None, 130), [96, 80], 0, "values of the last block");
    let rotary = |c: &mut VitConfig| {
        ends(c);
        (c.depth, c.registers, c.layer_scale) = (2, 4, true);
        c.rotary = VitConfig::rotary_periods(100.0, c.dim / c.heads);
    };
    compare_tokens(&transformer(rotary, Some(1), 131), [48, 176], 1, "values after rotary positions");
}

/// What kernels do not cover is left to the model's own operations.
#[test]
fn wide_adapters_are_unsupported() {
    let wide = AdapterConfig::Side { width: 64, count: 1 };
    let model = transformer(|c| (c.distilled, c.adapters) = (false, Some(wide)), None, 3);
    let size = [64, 96];
    for level in Level::available() {
        let refused = FusedBackbone::new(&model, level, MatmulPrecision::F32, size);
        assert!(matches!(refused, Err(KernelError::Unsupported(_))), "{level}");
    }
    model.extract(Tensor::ones([1, 3, size[0], size[1]], &Device::flex())).unwrap();
}

#[test]
fn rotary_positions_equal_the_model() {
    fn rotary(c: &mut VitConfig, dim: usize, heads: usize) {
        (c.distilled, c.dim, c.heads) = (false, dim, heads);
        c.rotary = VitConfig::rotary_periods(100.0, dim / heads);
    }
    type Change = fn(&mut VitConfig);
    let cases: [(&str, Change, [usize; 2]); 4] = [
        ("heads of 16", |c| rotary(c, 48, 3), [64, 96]),
        ("one patch", |c| rotary(c, 48, 3), [16, 16]),
        (
            "an odd grid, registers and layer scale",
            |c| {
                rotary(c, 128, 2);
                (c.registers, c.layer_scale) = (4, true);
            },
            [112, 176],
        ),
        (
            "gated, a row of patches",
            |c| {
                rotary(c, 64, 2);
                (c.registers, c.swiglu) = (4, Some(41));
            },
            [16, 1008],
        ),
    ];
    for (seed, (what, change, size)) in cases.into_iter().enumerate() {
        compare_tokens(&transformer(change, None, 60 + seed as u64), size, seed as u64, what);
    }
}

#[test]
fn gated_mlps_equal_the_model() {
    type Change = fn(&mut VitConfig);
    let cases: [(&str, Change, [usize; 2]); 3] = [
        ("SwiGLU", |c| (c.distilled, c.swiglu) = (false, Some(24)), [64, 96]),
        (
            "SwiGLU of odd width, with layer scale",
            |c| (c.distilled, c.swiglu, c.layer_scale, c.registers) = (false, Some(37), true, 4),
            [112, 80],
        ),
        (
            "the width of DINOv2-g",
            |c| {
                (c.distilled, c.layer_scale, c.depth) = (false, true, 1);
                (c.dim, c.heads, c.swiglu) = (1536, 24, Some(4096));
            },
            [48, 64],
        ),
    ];
    for (seed, (what, change, size)) in cases.into_iter().enumerate() {
        let mut model = transformer(change, None, 40 + seed as u64);
        if model.config().backbone_dim() > 1000 {
            // So many terms of the tests' large weights would be beyond what f32 resolves.
            let mut tensors = model.to_tensors().unwrap();
            let large =
                tensors.iter_mut().filter(|(name, tensor)| tensor.shape.len() > 1 && name.contains("blocks"));
            large.for_each(|(_, tensor)| tensor.data.iter_mut().for_each(|v| *v *= 0.2));
            model = R2Former::from_tensors(model.config(), tensors, &Device::flex()).unwrap();
        }
        compare_tokens(&model, size, seed as u64, what);
    }
}

#[test]
fn an_early_layer_gives_local_features() {
    let early = transformer(|c| c.depth = 4, Some(2), 31);
    compare_tokens(&early, [96, 64], 31, "after two blocks");
    let last = transformer(|c| c.depth = 4, None, 31);
    let images = || Tensor::<4>::ones([1, 3, 96, 64], &Device::flex());
    let [early, last] = [early, last]
        .map(|m| m.backbone().forward(images()).unwrap().local.try_into_vec_as::<f32>().unwrap());
    assert_ne!(early, last);
}

/// Tokens by the kernels of every level beside the model's own.
fn compare_tokens(model: &R2Former, [height, width]: [usize; 2], seed: u64, what: &str) {
    let mut random = Random(seed + 99);
    let pixels: Vec<f32> = (0..3 * height * width).map(|_| 2.0 * random.next()).collect();
    let images =
        || Tensor::<4>::from_data(TensorData::new(pixels.clone(), [1, 3, height, width]), &Device::flex());
    let expected = model.backbone().forward(images()).unwrap();
    let prefix = expected.last_prefix;
    let host = |tensor: Tensor<3>| tensor.try_into_vec_as::<f32>().unwrap();
    for level in Level::available() {
        let backbone = FusedBackbone::new(model, level, MatmulPrecision::F32, [height, width]).unwrap();
        // The second run finds the memory of the first.
        let other: Vec<f32> = pixels.iter().map(|v| 1.0 - v).collect();
        backbone.tokens(&other).unwrap();
        let found = backbone.tokens(&pixels).unwrap();
        let first = found.last.dims()[1];
        let whole = model.config().global.uses_patch_tokens();
        assert_eq!(first, if whole { expected.last.dims()[1] } else { prefix }, "{what}");
        let attention = |tokens: &Tokens| tokens.attention.clone().unwrap().try_into_vec_as::<f32>().unwrap();
        for (part, found, expected) in [
            ("last", host(found.last.clone()), host(expected.last.clone().narrow(1, 0, first))),
            ("local", host(found.local.clone()), host(expected.local.clone())),
            ("attention", attention(&found), attention(&expected)),
        ] {
            assert_eq!(found.len(), expected.len(), "{what} {part}");
            for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
                assert!(
                    (a - b).abs() <= TOLERANCE * b.abs().max(1.0),
                    "{what} {part} {i}, {level}: {a}, not {b}"
                );
            }
        }
    }
}

/// What bfloat16 does to a backbone's tokens is what it does to the model's own, and little.
#[test]
fn bf16_stays_close() {
    let kinds: [(&str, Change); 7] = [
        ("as published", |_| ()),
        ("adapters", |c| {
            (c.distilled, c.adapters) = (false, Some(AdapterConfig::Parallel { width: 16 }));
        }),
        ("values", |c| (c.distilled, c.values, c.final_norm) = (false, true, false)),
        ("heads of 64, pooled", |c| (c.dim, c.heads, c.distilled) = (128, 2, false)),
        ("small patches of odd number", |c| (c.patch, c.depth) = (7, 2)),
        ("gated", |c| (c.distilled, c.swiglu) = (false, Some(41))),
        ("rotary", |c| (c.distilled, c.rotary) = (false, VitConfig::rotary_periods(100.0, c.dim / c.heads))),
    ];
    stays_close(&kinds, (MatmulPrecision::Bf16Emulated, Precision::Bf16), 0.9995, |_, _, _, _| ());
}

/// 8-bit integers in the linear layers of every kind of block, by every instruction set: near the 32-bit tokens, the farther the
/// larger and deeper these random weights make a network.
#[test]
fn int8_stays_close() {
    let kinds: [(&str, Change); 12] = [
        ("as published", |_| ()),
        ("linear adapters", |c| {
            (c.distilled, c.adapters) = (false, Some(AdapterConfig::Linear { width: 29 }));
        }),
        ("adapters", |c| {
            (c.distilled, c.adapters) = (false, Some(AdapterConfig::Parallel { width: 16 }));
        }),
        ("adapters on a path of their own", |c| {
            (c.distilled, c.adapters) = (false, Some(AdapterConfig::Side { width: 32, count: 2 }));
        }),
        ("values", |c| (c.distilled, c.values, c.final_norm) = (false, true, false)),
        ("heads of 64, pooled", |c| (c.dim, c.heads, c.distilled) = (128, 2, false)),
        // From 256 on layers are in 8 bits, below in 16 where there are such products.
        ("wide", |c| (c.dim, c.heads, c.distilled) = (256, 4, false)),
        ("wide and gated", |c| {
            (c.dim, c.heads, c.distilled, c.swiglu, c.layer_scale) = (260, 4, false, Some(301), true);
        }),
        ("an odd width", |c| (c.dim, c.heads) = (37, 1)),
        ("registers and layer scale", |c| (c.distilled, c.registers, c.layer_scale) = (false, 4, true)),
        ("gated", |c| (c.distilled, c.swiglu) = (false, Some(41))),
        ("rotary", |c| (c.distilled, c.rotary) = (false, VitConfig::rotary_periods(100.0, c.dim / c.heads))),
    ];
    let emulated = (MatmulPrecision::Int8Emulated, Precision::Int8);
    stays_close(&kinds, emulated, 0.995, |what, level, [exact, rounded], tokens| {
        let fallback = tokens(MatmulPrecision::Int8);
        match level.multiplies_int8() {
            true => assert_eq!(fallback.last, rounded.last, "{what}, {level}"),
            false => assert_eq!(fallback.last, exact.last, "{what}, {level}: without the instruction"),
        }
    });
}

type Change = fn(&mut VitConfig);

/// What a backbone found, and in which arithmetic.
struct Found {
    last: Vec<f32>,
    local: Vec<f32>,
    products: Precision,
}

/// Compares the tokens of random networks in another arithmetic with those in 32 bits, on every level: others, with a cosine of more
/// than `least`. Then `also` is given both, and what finds tokens by other products.
fn stays_close(
    kinds: &[(&str, Change)],
    (products, precision): (MatmulPrecision, Precision),
    least: f64,
    also: impl Fn(&str, Level, [&Found; 2], &dyn Fn(MatmulPrecision) -> Found),
) {
    let cosine = |a: &[f32], b: &[f32]| {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(x * y)).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    for (what, change) in kinds {
        let model = transformer(*change, None, 3);
        let mut random = Random(17);
        let (height, width) = (7 * 16, 14 * 16);
        let pixels: Vec<f32> = (0..3 * height * width).map(|_| 2.0 * random.next()).collect();
        for level in Level::available() {
            let tokens = |products| {
                let backbone = FusedBackbone::new(&model, level, products, [height, width]).unwrap();
                let tokens = backbone.tokens(&pixels).unwrap();
                let host = |tensor: Tensor<3>| tensor.try_into_vec_as::<f32>().unwrap();
                Found { last: host(tokens.last), local: host(tokens.local), products: backbone.products() }
            };
            let (exact, rounded) = (tokens(MatmulPrecision::F32), tokens(products));
            assert_eq!((exact.products, rounded.products), (Precision::F32, precision));
            assert_ne!(
                exact.last, rounded.last,
                "{what}, {level}: {precision} changed nothing, so it was not used"
            );
            for (part, a, b) in
                [("last", &exact.last, &rounded.last), ("local", &exact.local, &rounded.local)]
            {
                let near = cosine(a, b);
                assert!(near > least, "{what}, {level}, {part}: {near}");
            }
            also(what, level, [&exact, &rounded], &tokens);
        }
    }
}
