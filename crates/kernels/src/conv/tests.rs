//! Convolutions and poolings beside plain loops.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

use super::*;
use proptest::prelude::*;

/// `[channels, rows, columns]` in f64.
struct Plain {
    values: Vec<f64>,
    channels: usize,
    size: [usize; 2],
}

pub(super) struct Random(pub(super) u64);

impl Random {
    /// -1 to 1.
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32) / (1 << 23) as f32 - 1.0
    }

    pub(super) fn values(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| scale * self.next()).collect()
    }
}

/// A convolution with weights of its own.
pub(super) struct Layer {
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) side: usize,
    pub(super) stride: usize,
    pub(super) relu: bool,
}

impl Layer {
    pub(super) fn random(
        random: &mut Random,
        [inputs, outputs]: [usize; 2],
        [side, stride]: [usize; 2],
        relu: bool,
    ) -> Self {
        let scale = (1.5 / (inputs * side * side) as f32).sqrt();
        let weight = random.values(outputs * inputs * side * side, scale);
        Self { weight, bias: random.values(outputs, 0.2), side, stride, relu }
    }

    pub(super) fn view(&self) -> Convolution<'_> {
        let Self { weight, bias, side, stride, relu } = self;
        Convolution { weight, bias, side: *side, stride: *stride, relu: *relu }
    }

    fn plain(&self, x: &Plain, added: Option<&Plain>) -> Plain {
        let ([rows, columns], outputs) = (x.size, self.bias.len());
        let size = x.size.map(|length| length.div_ceil(self.stride));
        let mut values = Vec::new();
        for o in 0..outputs {
            for y in 0..size[0] {
                for c in 0..size[1] {
                    let mut sum = f64::from(self.bias[o]);
                    for i in 0..x.channels {
                        for tap in 0..self.side * self.side {
                            let at =
                                |p: usize, tap: usize| (p * self.stride + tap).wrapping_sub(self.side / 2);
                            let (py, px) = (at(y, tap / self.side), at(c, tap % self.side));
                            if py < rows && px < columns {
                                let weight = self.weight[(o * x.channels + i) * self.side * self.side + tap];
                                sum += f64::from(weight) * x.values[(i * rows + py) * columns + px];
                            }
                        }
                    }
                    if let Some(added) = added {
                        sum += added.values[values.len()];
                    }
                    values.push(if self.relu { sum.max(0.0) } else { sum });
                }
            }
        }
        Plain { values, channels: outputs, size }
    }
}

fn plain_pool(x: &Plain, [side, stride, padding]: [usize; 3]) -> Plain {
    let [rows, columns] = x.size;
    let size = x.size.map(|length| (length + 2 * padding - side) / stride + 1);
    let mut values = Vec::new();
    for channel in 0..x.channels {
        for y in 0..size[0] {
            for c in 0..size[1] {
                let mut best = f64::NEG_INFINITY;
                for tap in 0..side * side {
                    let (py, px) = (
                        (y * stride + tap / side).wrapping_sub(padding),
                        (c * stride + tap % side).wrapping_sub(padding),
                    );
                    if py < rows && px < columns {
                        best = best.max(x.values[(channel * rows + py) * columns + px]);
                    }
                }
                values.push(best);
            }
        }
    }
    Plain { values, channels: x.channels, size }
}

fn assert_near(found: &FeatureMap, expected: &Plain, what: &str) {
    assert_eq!(
        [found.rows, found.columns, found.channels],
        [expected.size[0], expected.size[1], expected.channels]
    );
    let pixels = found.rows * found.columns;
    let scale = (expected.values.iter().map(|v| v * v).sum::<f64>() / expected.values.len() as f64).sqrt();
    for (i, value) in found.values.iter().enumerate() {
        let expected = expected.values[i % found.channels * pixels + i / found.channels];
        let error = (f64::from(*value) - expected).abs();
        assert!(error <= 1e-5 * scale.max(0.1), "{what}: {value} instead of {expected} at {i}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn layers_equal_plain_loops(
        rows in 1usize..28,
        columns in 1usize..28,
        widths in prop::collection::vec(1usize..70, 3),
        first in prop::sample::select(vec![[1usize, 1usize], [3, 1], [3, 2], [7, 2], [5, 3]]),
        second in prop::sample::select(vec![[1usize, 1usize], [1, 2], [3, 1], [3, 1], [3, 2], [5, 1]]),
        relu in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let random = &mut Random(seed);
        let [a, b, c] = [widths[0], widths[1], widths[2]];
        let image = random.values(3 * rows * columns, 1.0);
        let stem = Layer::random(random, [3, a], first, relu);
        let middle = Layer::random(random, [a, b], second, !relu);
        let shortcut = Layer::random(random, [a, c], [1, second[1]], false);
        let last = Layer::random(random, [b, c], [3, 1], relu);
        let x = Plain { values: image.iter().map(|v| f64::from(*v)).collect(), channels: 3, size: [rows, columns] };
        let x = stem.plain(&x, None);
        let pooled = plain_pool(&x, [3, 2, 1]);
        let (middle_plain, shortcut_plain) = (middle.plain(&pooled, None), shortcut.plain(&pooled, None));
        let sum = last.plain(&middle_plain, Some(&shortcut_plain));
        for level in Level::available() {
            let mut net = ConvNet::new(level, MatmulPrecision::F32);
            net.convolve(stem.view(), Slot::IMAGE, Slot(1), false).unwrap();
            net.keep(Slot(1)).unwrap();
            net.max_pool([3, 2, 1], Slot(1), Slot(2)).unwrap();
            net.keep(Slot(2)).unwrap();
            net.convolve(middle.view(), Slot(2), Slot(0), false).unwrap();
            net.keep(Slot(0)).unwrap();
            net.convolve(shortcut.view(), Slot(2), Slot(1), false).unwrap();
            net.convolve(last.view(), Slot(0), Slot(1), true).unwrap();
            net.keep(Slot(1)).unwrap();
            // The second run finds the memory of the first.
            net.run(&vec![0.5; 3 * 30 * 31], [30, 31]).unwrap();
            let found = net.run(&image, [rows, columns]).unwrap();
            for (found, (expected, what)) in found.iter().zip([
                (&x, "first"), (&pooled, "pooled"), (&middle_plain, "middle"), (&sum, "sum"),
            ]) {
                assert_near(found, expected, &format!("{level} {what}"));
            }
        }
    }
}

/// More channels than a slice of depth, and more pixels than a task.
#[test]
fn wide_layers_equal_plain_loops() {
    let random = &mut Random(5);
    for (widths, side, stride, size) in [
        ([300, 40], 3, 1, [13, 9]),
        ([300, 70], 1, 1, [21, 17]),
        ([300, 33], 3, 2, [11, 14]),
        ([520, 32], 3, 1, [5, 6]),
    ] {
        let image = random.values(3 * size[0] * size[1], 1.0);
        let stem = Layer::random(random, [3, widths[0]], [3, 1], true);
        let layer = Layer::random(random, widths, [side, stride], false);
        let x = Plain { values: image.iter().map(|v| f64::from(*v)).collect(), channels: 3, size };
        let expected = layer.plain(&stem.plain(&x, None), None);
        for level in Level::available() {
            let mut net = ConvNet::new(level, MatmulPrecision::F32);
            net.convolve(stem.view(), Slot::IMAGE, Slot(1), false).unwrap();
            net.convolve(layer.view(), Slot(1), Slot(2), false).unwrap();
            net.keep(Slot(2)).unwrap();
            let found = net.run(&image, size).unwrap();
            assert_near(&found[0], &expected, &format!("{level} {widths:?} {side} / {stride}"));
        }
    }
}

/// Sizes of images, and side and stride of the first convolution of a [`chain`].
pub(super) const CHAINS: [([usize; 2], [usize; 2]); 4] =
    [([37, 41], [3, 1]), ([37, 41], [3, 2]), ([37, 41], [1, 1]), ([1, 2], [3, 1])];

/// A stem, what is added to the second convolution of a chain, and the chain.
pub(super) fn chain(random: &mut Random, head: [usize; 2]) -> (Layer, Layer, [Layer; 3]) {
    let stem = Layer::random(random, [3, 20], [3, 1], true);
    let shortcut = Layer::random(random, [20, 70], [1, head[1]], false);
    let layers = [
        Layer::random(random, [20, 33], head, true),
        Layer::random(random, [33, 70], [1, 1], true),
        Layer::random(random, [70, 20], [1, 1], true),
    ];
    (stem, shortcut, layers)
}

/// Convolutions of single pixels within the tasks of the one before, over several tasks.
#[test]
fn chains_equal_plain_loops() {
    let random = &mut Random(7);
    for (size, head) in CHAINS {
        let image = random.values(3 * size[0] * size[1], 1.0);
        let (stem, shortcut, layers) = chain(random, head);
        let x = Plain { values: image.iter().map(|v| f64::from(*v)).collect(), channels: 3, size };
        let x = stem.plain(&x, None);
        let first = layers[0].plain(&x, None);
        let sum = layers[1].plain(&first, Some(&shortcut.plain(&x, None)));
        let last = layers[2].plain(&sum, None);
        for level in Level::available() {
            let mut net = ConvNet::new(level, MatmulPrecision::F32);
            net.convolve(stem.view(), Slot::IMAGE, Slot(1), false).unwrap();
            net.convolve(shortcut.view(), Slot(1), Slot(2), false).unwrap();
            net.convolve(layers[0].view(), Slot(1), Slot(3), false).unwrap();
            net.convolve(layers[1].view(), Slot(3), Slot(2), true).unwrap();
            net.convolve(layers[2].view(), Slot(2), Slot(4), false).unwrap();
            let Some(Step::Convolve { following, .. }) = net.steps.last() else { panic!("a convolution") };
            assert_eq!(following.len(), FOLLOWING, "what is tested is a chain");
            for slot in [3, 2, 4] {
                net.keep(Slot(slot)).unwrap();
            }
            let found = net.run(&image, size).unwrap();
            for (found, expected) in found.iter().zip([&first, &sum, &last]) {
                assert_near(found, expected, &format!("{level} {size:?} {head:?}"));
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_said() {
    let random = &mut Random(1);
    let stem = Layer::random(random, [3, 8], [3, 1], true);
    let next = Layer::random(random, [8, 8], [1, 1], true);
    for level in Level::available() {
        let mut net = ConvNet::new(level, MatmulPrecision::F32);
        assert!(net.keep(Slot(1)).is_err(), "no map yet");
        assert!(net.keep(Slot::IMAGE).is_err(), "the image itself");
        assert!(net.max_pool([2, 2, 0], Slot::IMAGE, Slot(1)).is_err(), "pooling of an image");
        assert!(net.convolve(stem.view(), Slot::IMAGE, Slot::IMAGE, false).is_err(), "in place");
        assert!(net.convolve(stem.view(), Slot::IMAGE, Slot(1), true).is_err(), "nothing to add to");
        let short = Convolution { weight: &stem.weight[1..], ..stem.view() };
        assert!(matches!(net.convolve(short, Slot::IMAGE, Slot(1), false), Err(KernelError::Tensor { .. })));
        assert!(net.convolve(Convolution { side: 2, ..stem.view() }, Slot::IMAGE, Slot(1), false).is_err());
        net.convolve(stem.view(), Slot::IMAGE, Slot(1), false).unwrap();
        assert!(net.convolve(stem.view(), Slot::IMAGE, Slot(2), false).is_err(), "the image is read once");
        net.convolve(next.view(), Slot(1), Slot(2), false).unwrap();
        net.max_pool([4, 4, 0], Slot(2), Slot(1)).unwrap();
        net.keep(Slot(1)).unwrap();
        assert!(net.run(&[0.0; 3 * 16], [4, 4]).is_ok());
        assert!(matches!(net.run(&[0.0; 3 * 12], [4, 3]), Err(KernelError::Input(_))), "too small");
        assert!(matches!(net.run(&[0.0; 3 * 12], [4, 4]), Err(KernelError::Input(_))), "another size");
    }
}

#[test]
fn what_is_not_finite_stays_so() {
    let random = &mut Random(2);
    let stem = Layer::random(random, [3, 20], [3, 1], true);
    let next = Layer::random(random, [20, 20], [3, 1], true);
    for level in Level::available() {
        let mut net = ConvNet::new(level, MatmulPrecision::F32);
        net.convolve(stem.view(), Slot::IMAGE, Slot(1), false).unwrap();
        net.max_pool([3, 2, 1], Slot(1), Slot(2)).unwrap();
        net.convolve(next.view(), Slot(2), Slot(1), false).unwrap();
        net.keep(Slot(1)).unwrap();
        let mut image = random.values(3 * 9 * 9, 1.0);
        image[40] = f32::NAN;
        let found = net.run(&image, [9, 9]).unwrap();
        assert!(found[0].values.iter().any(|v| v.is_nan()), "{level}");
    }
}
