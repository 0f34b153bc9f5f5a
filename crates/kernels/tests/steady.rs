//! No allocations in the steady state, and behaviour at the limits of f32.

use allocation_counter::measure;
use r2former_kernels::{
    ConvNet, Convolution, Encoder, EncoderShape, FeatureMap, Level, MatmulPrecision, Reranker,
    RerankerArithmetic, RerankerShape, Slot, TensorValues,
};
use std::collections::HashMap;

/// Synthetic tensors of the given sizes.
fn weights(sizes: &[(String, usize)]) -> HashMap<String, Vec<f32>> {
    let values = |seed: usize, len: usize| {
        (0..len).map(|i| ((i * 7919 + seed * 104_729) % 1000) as f32 / 5000.0 - 0.1).collect()
    };
    sizes.iter().enumerate().map(|(i, (name, len))| (name.clone(), values(i, *len))).collect()
}

fn block(name: &str, dim: usize) -> Vec<(String, usize)> {
    let matrix = |part: &str, rows: usize, columns: usize| {
        [(format!("{name}.{part}.weight"), rows * columns), (format!("{name}.{part}.bias"), rows)]
    };
    let mut all: Vec<_> = [("attn.qkv", 3 * dim, dim), ("attn.proj", dim, dim)]
        .into_iter()
        .chain([("mlp.fc1", 4 * dim, dim), ("mlp.fc2", dim, 4 * dim)])
        .flat_map(|(part, rows, columns)| matrix(part, rows, columns))
        .collect();
    for norm in ["norm1", "norm2"] {
        all.extend([(format!("{name}.{norm}.weight"), dim), (format!("{name}.{norm}.bias"), dim)]);
    }
    all
}

#[test]
fn reranking_a_second_pair_allocates_nothing() {
    let shape = RerankerShape {
        feature: 16,
        dim: 32,
        heads: 4,
        pair_depth: 2,
        depth: 3,
        mlp_ratio: 4,
        neighbours: 5,
        use_xy: true,
        use_attention: true,
        use_correlation: true,
        use_position_embedding: true,
        epsilon: 1e-6,
    };
    let named = |name: &str, len: usize| (name.to_string(), len);
    let mut sizes = vec![named("pair_head.weight", 32 * 7), named("pair_head.bias", 32)];
    sizes.extend([named("pair_head_2.weight", 32 * 32), named("pair_head_2.bias", 32)]);
    sizes.extend([named("decoder_pred.weight", 2 * 32), named("decoder_pred.bias", 2)]);
    sizes.extend(
        ["cls_token", "cls_token_2", "decoder_norm.weight", "decoder_norm.bias"].map(|n| named(n, 32)),
    );
    sizes.extend((0..2).flat_map(|i| block(&format!("blocks_2.{i}"), 32)));
    sizes.extend((0..3).flat_map(|i| block(&format!("blocks.{i}"), 32)));
    let weights = weights(&sizes);
    let rows = |count: usize| -> Vec<u8> { (0..count * 19).map(|i| (i * 31 % 251) as u8).collect() };
    let query: Vec<f32> = rows(40).iter().map(|byte| f32::from(*byte) / 255.0).collect();
    let both = [RerankerArithmetic::F32, RerankerArithmetic::Int16];
    for (level, arithmetic) in Level::available().flat_map(|level| both.map(|arithmetic| (level, arithmetic)))
    {
        let get = |name: &str| weights.get(name).map(TensorValues::from);
        let reranker = Reranker::new(level, arithmetic, shape, &get).unwrap();
        let query = reranker.query(&query).unwrap();
        let (large, small) = (rows(50), rows(9));
        let first = reranker.score_bytes(&query, &large).unwrap();
        let counted = measure(|| {
            reranker.score_bytes(&query, &small).unwrap();
            assert_eq!(reranker.score_bytes(&query, &large).unwrap(), first);
        });
        assert_eq!(counted.count_total, 0, "{level} {arithmetic:?}");
    }
}

#[test]
fn encoding_a_second_image_allocates_only_its_result() {
    let (dim, depth) = (24, 4);
    let mut sizes = vec![("patch_embed.proj.weight".to_string(), dim * 3 * 64)];
    sizes.extend([("norm.weight".to_string(), dim), ("norm.bias".to_string(), dim)]);
    sizes.extend((0..depth).flat_map(|i| block(&format!("blocks.{i}"), dim)));
    let weights = weights(&sizes);
    let shape = EncoderShape {
        patch: 8,
        dim,
        depth,
        heads: 3,
        mlp_ratio: 4,
        swiglu: None,
        epsilon: 1e-6,
        layer_scale: false,
        adapters: None,
        values: false,
        final_norm: true,
        class_tokens: 2,
        local_layer: depth - 1,
        all_outputs: true,
    };
    let (height, width) = (72, 104);
    let tokens = 2 + 9 * 13;
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for (level, products) in Level::available().flat_map(|level| {
        [MatmulPrecision::F32, MatmulPrecision::Bf16Emulated, MatmulPrecision::Int8Emulated]
            .map(|products| (level, products))
    }) {
        let get = |name: &str| weights.get(name).map(TensorValues::from);
        let encoder = Encoder::new(level, products, shape, &get).unwrap();
        let prefix = encoder.precompute_prefix(&vec![0.1; tokens * dim], height, width).unwrap();
        let image: Vec<f32> = (0..3 * height * width).map(|i| (i % 97) as f32 / 50.0 - 1.0).collect();
        let counted = one_thread.install(|| {
            let first = encoder.run(&prefix, &image).unwrap();
            measure(|| assert_eq!(encoder.run(&prefix, &image).unwrap(), first))
        });
        // The tokens before and after the last block, the attention, and its raw scores of a head.
        let returned = 4 * (2 * tokens * dim + tokens + 2 * tokens) as u64;
        assert_eq!(counted.bytes_total, returned, "{level}, {products:?}");
        assert_eq!(counted.count_total, 4, "{level}, {products:?}");
    }
}

#[test]
fn convolving_a_second_image_allocates_only_its_result() {
    let values =
        |len: usize| -> Vec<f32> { (0..len).map(|i| (i * 7919 % 1000) as f32 / 5000.0 - 0.1).collect() };
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let all = [MatmulPrecision::F32, MatmulPrecision::Int8Emulated];
    for (level, products) in Level::available().flat_map(|level| all.map(|products| (level, products))) {
        let mut net = ConvNet::new(level, products);
        let mut add = |[inputs, outputs, side, stride]: [usize; 4], from, to| {
            let (weight, bias) = (values(inputs * outputs * side * side), values(outputs));
            let layer = Convolution { weight: &weight, bias: &bias, side, stride, relu: true };
            net.convolve(layer, from, to, false).unwrap();
        };
        add([3, 20, 7, 2], Slot::IMAGE, Slot(1));
        add([20, 24, 3, 1], Slot(1), Slot(2));
        add([24, 40, 1, 1], Slot(2), Slot(3));
        add([40, 16, 3, 2], Slot(3), Slot(1));
        net.max_pool([3, 2, 1], Slot(1), Slot(2)).unwrap();
        net.keep(Slot(2)).unwrap();
        let image = values(3 * 72 * 104);
        let counted = one_thread.install(|| {
            let first = net.run(&image, [72, 104]).unwrap();
            measure(|| assert_eq!(net.run(&image, [72, 104]).unwrap(), first))
        });
        // The map, and the list that holds it.
        assert_eq!(net.is_int8(), products == MatmulPrecision::Int8Emulated, "{level}");
        assert_eq!(counted.count_total, 2, "{level}, {products:?}");
        let returned = 4 * 16 * 9 * 13 + size_of::<FeatureMap>();
        assert_eq!(counted.bytes_max, returned as u64, "{level}, {products:?}");
    }
}

/// A non-finite pixel must not give a finite descriptor, and no input may panic.
#[test]
fn extreme_and_non_finite_pixels() {
    let dim = 12;
    let mut sizes = vec![("patch_embed.proj.weight".to_string(), dim * 3 * 16)];
    sizes.extend([("norm.weight".to_string(), dim), ("norm.bias".to_string(), dim)]);
    sizes.extend((0..2).flat_map(|i| block(&format!("blocks.{i}"), dim)));
    let weights = weights(&sizes);
    let shape = EncoderShape {
        patch: 4,
        dim,
        depth: 2,
        heads: 1,
        mlp_ratio: 4,
        swiglu: None,
        epsilon: 1e-6,
        layer_scale: false,
        adapters: None,
        values: false,
        final_norm: true,
        class_tokens: 1,
        local_layer: 1,
        all_outputs: false,
    };
    let all = [MatmulPrecision::F32, MatmulPrecision::Int8Emulated];
    for (level, products) in Level::available().flat_map(|level| all.map(|products| (level, products))) {
        let get = |name: &str| weights.get(name).map(TensorValues::from);
        let encoder = Encoder::new(level, products, shape, &get).unwrap();
        let prefix = encoder.precompute_prefix(&vec![0.1; (1 + 6) * dim], 8, 12).unwrap();
        // Unaligned slices.
        let mut image = vec![0.5; 1 + 3 * 8 * 12];
        let plain = encoder.run(&prefix, &image[1..]).unwrap();
        assert!(plain.last.iter().chain(&plain.local).all(|v| v.is_finite()), "{level}");
        // Weights of 8 bits add up to what their codes do.
        let near = if products == MatmulPrecision::F32 { 1e-5 } else { 0.02 };
        assert!((plain.attention.iter().sum::<f32>() - 1.0).abs() < near, "{level}, {products:?}");
        for (value, sound) in [(f32::NAN, false), (f32::INFINITY, false), (1e30, true), (1e-40, true)] {
            image[50] = value;
            let found = encoder.run(&prefix, &image[1..]).unwrap();
            let finite = found.last.iter().all(|v| v.is_finite());
            assert_eq!(finite, sound, "{level}, {products:?}: {value} gives {:?}", found.last);
        }
        assert!(encoder.run(&prefix, &image).is_err(), "an image of another size");
        assert!(encoder.precompute_prefix(&[0.1; 5], 8, 12).is_err(), "no tokens");
        assert!(encoder.precompute_prefix(&vec![0.1; 7 * dim], 9, 12).is_err(), "incomplete patches");
        let heads = encoder.with_rotary(prefix, &[0.1; 5]);
        assert!(heads.is_err(), "angles of other tokens");
    }
}
