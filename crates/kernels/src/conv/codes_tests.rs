//! Convolutions in 8 bits beside plain loops that quantise in the same way.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

use super::tests::{CHAINS, Layer, Random, chain};
use super::*;
use crate::int8::DotProduct;
use proptest::prelude::*;

/// A level's instructions, and the emulation.
fn all(level: Level) -> Vec<DotProduct> {
    let all = DotProduct::available(level).into_iter();
    all.flat_map(|products| [Some(products), products.wide()])
        .flatten()
        .chain([DotProduct::Emulated])
        .collect()
}

/// The codes of values and their scale, by the largest magnitude; `share` multiplies a value by the inverse of a scale.
fn quantise(values: &[f32], top: f32, share: impl Fn(f32, f32) -> f64) -> (Vec<i64>, f64) {
    let most = values.iter().fold(1e-30f32, |most, value| most.max(value.abs()));
    let codes = values.iter().map(|value| share(*value, most).round_ties_even() as i64);
    (codes.collect(), f64::from(most / top))
}

/// A convolution of a map as the kernels compute it, but for the order of sums of floats.
fn plain(
    layer: &Layer,
    (level, products): (Level, DotProduct),
    x: &FeatureMap,
    added: Option<&FeatureMap>,
) -> FeatureMap {
    let [most_pixel, most_weight] = if products.values() == 4 { [255.0, 127.0] } else { [2_047.0, 2_047.0] };
    let of_weight = |value: f32, most: f32| f64::from(value) * (f64::from(most_weight) / f64::from(most));
    let of_pixel = |value: f32, most: f32| {
        let inverse = most_pixel / most;
        // Scalar code has no fused multiply-add.
        if level == Level::Scalar {
            f64::from(value * inverse)
        } else {
            f64::from(value) * f64::from(inverse)
        }
    };
    let (channels, taps) = (x.channels, layer.side * layer.side);
    let pixels: Vec<_> =
        x.values.chunks(channels).map(|pixel| quantise(pixel, most_pixel, of_pixel)).collect();
    let kernels: Vec<_> =
        layer.weight.chunks(channels * taps).map(|kernel| quantise(kernel, most_weight, of_weight)).collect();
    let [rows, columns] = [x.rows, x.columns].map(|length| length.div_ceil(layer.stride));
    let mut values = Vec::new();
    for place in 0..rows * columns {
        for ((kernel, weight_scale), bias) in kernels.iter().zip(&layer.bias) {
            let mut sum = 0.0;
            for tap in 0..taps {
                let at = |p: usize, tap: usize| (p * layer.stride + tap).wrapping_sub(layer.side / 2);
                let (y, x_at) =
                    (at(place / columns, tap / layer.side), at(place % columns, tap % layer.side));
                if y < x.rows && x_at < x.columns {
                    let (codes, scale) = &pixels[y * x.columns + x_at];
                    let weights = kernel.iter().skip(tap).step_by(taps);
                    let integers: i64 = codes.iter().zip(weights).map(|(a, b)| a * b).sum();
                    sum += scale * integers as f64;
                }
            }
            let added = added.map_or(0.0, |added| f64::from(added.values[values.len()]));
            let sum = sum * weight_scale + f64::from(*bias) + added;
            values.push(if layer.relu { sum.max(0.0) } else { sum } as f32);
        }
    }
    FeatureMap { values, rows, columns, channels: layer.bias.len() }
}

fn assert_near(found: &FeatureMap, expected: &FeatureMap, what: &str) {
    let size = |map: &FeatureMap| [map.rows, map.columns, map.channels];
    assert_eq!(size(found), size(expected), "{what}");
    let scale = (expected.values.iter().map(|v| v * v).sum::<f32>() / expected.values.len() as f32).sqrt();
    for (i, (found, expected)) in found.values.iter().zip(&expected.values).enumerate() {
        let error = (found - expected).abs();
        assert!(error <= 3e-6 * scale.max(0.1), "{what}: {found} instead of {expected} at {i}");
    }
}

/// Checks a network of a first layer, which stays in 32 bits, one that reads its pooled map, a shortcut, and a last layer that is
/// added to it.
fn check_network(image: &[f32], size: [usize; 2], [stem, middle, shortcut, last]: [&Layer; 4]) {
    for (level, products) in
        Level::available().flat_map(|level| all(level).into_iter().map(move |p| (level, p)))
    {
        let mut net = ConvNet::quantised(level, Some(Codes::new(products, level)));
        net.convolve(stem.view(), Slot::IMAGE, Slot(1), false).unwrap();
        net.max_pool([3, 2, 1], Slot(1), Slot(2)).unwrap();
        net.keep(Slot(2)).unwrap();
        net.convolve(middle.view(), Slot(2), Slot(0), false).unwrap();
        net.keep(Slot(0)).unwrap();
        net.convolve(shortcut.view(), Slot(2), Slot(1), false).unwrap();
        net.keep(Slot(1)).unwrap();
        net.convolve(last.view(), Slot(0), Slot(1), true).unwrap();
        net.keep(Slot(1)).unwrap();
        // The second run finds the memory of the first.
        net.run(&vec![0.5; 3 * 30 * 31], [30, 31]).unwrap();
        let [pooled, inner, projected, sum] = net.run(image, size).unwrap().try_into().unwrap();
        let what = |part: &str| format!("{level}, {products:?}, {size:?}: {part}");
        let plain = |layer: &Layer, x: &FeatureMap, added| {
            // Such layers stay in 32 bits.
            let winograd = layer.side == 3 && layer.stride == 1 && products.values() == 2;
            (!winograd).then(|| plain(layer, (level, products), x, added))
        };
        if let Some(expected) = plain(middle, &pooled, None) {
            assert_near(&inner, &expected, &what("middle"));
        }
        if let Some(expected) = plain(shortcut, &pooled, None) {
            assert_near(&projected, &expected, &what("shortcut"));
        }
        if let Some(expected) = plain(last, &inner, Some(&projected)) {
            assert_near(&sum, &expected, &what("sum"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn layers_equal_plain_loops_of_codes(
        rows in 1usize..28,
        columns in 1usize..28,
        widths in prop::collection::vec(1usize..100, 3),
        second in prop::sample::select(vec![[1usize, 1usize], [1, 2], [3, 1], [3, 2], [5, 1], [7, 1], [7, 2]]),
        third in prop::sample::select(vec![1usize, 3]),
        relu in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let random = &mut Random(seed);
        let [a, b, c] = [widths[0], widths[1], widths[2]];
        let image = random.values(3 * rows * columns, 1.0);
        let stem = Layer::random(random, [3, a], [3, 1], true);
        let middle = Layer::random(random, [a, b], second, true);
        let shortcut = Layer::random(random, [a, c], [1, second[1]], false);
        let last = Layer::random(random, [b, c], [third, 1], relu);
        check_network(&image, [rows, columns], [&stem, &middle, &shortcut, &last]);
    }
}

/// More channels than a slice of depth, and more pixels than a task.
#[test]
fn wide_layers_equal_plain_loops_of_codes() {
    let random = &mut Random(5);
    for (widths, side, stride, size) in [
        ([1100, 40], 3, 1, [13, 9]),
        ([2050, 70], 1, 1, [41, 37]),
        ([520, 33], 3, 2, [21, 24]),
        ([64, 64], 3, 1, [60, 50]),
    ] {
        let image = random.values(3 * size[0] * size[1], 1.0);
        let stem = Layer::random(random, [3, widths[0]], [3, 2], true);
        let layer = Layer::random(random, widths, [side, stride], true);
        let shortcut = Layer::random(random, [widths[0], 20], [1, stride], false);
        let last = Layer::random(random, [widths[1], 20], [1, 1], true);
        check_network(&image, size, [&stem, &layer, &shortcut, &last]);
    }
}

/// Convolutions of single pixels within the tasks of the one before, over several tasks; the first of them within those of the
/// first layer, which stays in 32 bits.
#[test]
fn chains_equal_plain_loops_of_codes() {
    let random = &mut Random(7);
    for (size, head) in CHAINS {
        let image = random.values(3 * size[0] * size[1], 1.0);
        let (stem, shortcut, layers) = chain(random, head);
        for level in Level::available() {
            for products in all(level) {
                let mut net = ConvNet::quantised(level, Some(Codes::new(products, level)));
                net.convolve(stem.view(), Slot::IMAGE, Slot(1), false).unwrap();
                net.keep(Slot(1)).unwrap();
                net.convolve(shortcut.view(), Slot(1), Slot(2), false).unwrap();
                net.keep(Slot(2)).unwrap();
                net.convolve(layers[0].view(), Slot(1), Slot(3), false).unwrap();
                net.convolve(layers[1].view(), Slot(3), Slot(2), true).unwrap();
                net.convolve(layers[2].view(), Slot(2), Slot(4), false).unwrap();
                let Some(Step::Convolve { following, .. }) = net.steps.last() else {
                    panic!("a convolution")
                };
                assert_eq!(following.len(), FOLLOWING, "what is tested is a chain");
                for slot in [3, 2, 4] {
                    net.keep(Slot(slot)).unwrap();
                }
                let [x, added, first, sum, last] = net.run(&image, size).unwrap().try_into().unwrap();
                let what = format!("{level}, {products:?}, {size:?}, {head:?}");
                assert_near(&added, &plain(&shortcut, (level, products), &x, None), &what);
                if head != [3, 1] || products.values() == 4 {
                    assert_near(&first, &plain(&layers[0], (level, products), &x, None), &what);
                }
                assert_near(&sum, &plain(&layers[1], (level, products), &first, Some(&added)), &what);
                assert_near(&last, &plain(&layers[2], (level, products), &sum, None), &what);
            }
        }
    }
}

/// A map with negative values has codes of no kind: what reads it is computed in 32 bits.
#[test]
fn what_is_not_rectified_stays_in_32_bits() {
    let random = &mut Random(11);
    let image = random.values(3 * 20 * 30, 1.0);
    let stem = Layer::random(random, [3, 40], [3, 1], false);
    let layer = Layer::random(random, [40, 40], [1, 1], true);
    let last = Layer::random(random, [40, 40], [3, 1], true);
    for level in Level::available() {
        let of = |codes: Option<Codes>, layers: &[&Layer]| {
            let mut net = ConvNet::quantised(level, codes);
            net.convolve(stem.view(), Slot::IMAGE, Slot(1), false).unwrap();
            net.max_pool([2, 2, 0], Slot(1), Slot(2)).unwrap();
            for (i, layer) in layers.iter().enumerate() {
                net.convolve(layer.view(), Slot(2 + i), Slot(3 + i), false).unwrap();
            }
            net.keep(Slot(2 + layers.len())).unwrap();
            net.run(&image, [20, 30]).unwrap()
        };
        let codes = Some(Codes::new(DotProduct::Emulated, level));
        assert_eq!(of(None, &[&layer]), of(codes, &[&layer]), "{level}");
        assert_ne!(of(None, &[&layer, &last]), of(codes, &[&layer, &last]), "{level}");
    }
}

#[test]
fn what_is_not_finite_stays_so_in_codes() {
    let random = &mut Random(2);
    let stem = Layer::random(random, [3, 20], [3, 1], true);
    let next = Layer::random(random, [20, 20], [3, 1], true);
    for level in Level::available() {
        for products in all(level) {
            let mut net = ConvNet::quantised(level, Some(Codes::new(products, level)));
            net.convolve(stem.view(), Slot::IMAGE, Slot(1), false).unwrap();
            net.max_pool([3, 2, 1], Slot(1), Slot(2)).unwrap();
            net.convolve(next.view(), Slot(2), Slot(1), false).unwrap();
            net.keep(Slot(1)).unwrap();
            for wrong in [f32::NAN, f32::INFINITY] {
                let mut image = random.values(3 * 9 * 9, 1.0);
                image[40] = wrong;
                let found = net.run(&image, [9, 9]).unwrap();
                assert!(found[0].values.iter().any(|v| !v.is_finite()), "{level}, {products:?}, {wrong}");
            }
        }
    }
}
