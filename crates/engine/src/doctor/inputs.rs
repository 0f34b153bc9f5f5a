//! What the stages are compared on: noise, and what looks like photographs.

use super::Array;
use r2former_model::ModelConfig;

/// Kinds of input. Noise leaves nothing out; photographs have the large, smooth areas and strong outliers that
/// networks make of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Independent random values.
    Random,
    /// A spectrum that falls with the frequency, as that of photographs.
    PhotoLike,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Random => "random",
            Self::PhotoLike => "photo-like",
        })
    }
}

/// SplitMix64: the same values on every machine.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 0 to 1.
    pub(super) fn uniform(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32
    }

    /// About normal: mean 0, variance 1.
    pub(super) fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }
}

/// Images as the network takes them, `[batch, 3, height, width]`, normalised.
pub fn images(
    config: &ModelConfig,
    kind: Kind,
    batch: usize,
    [height, width]: [usize; 2],
    seed: u64,
) -> Array {
    let random = &mut Random::new(seed);
    let mut values = Vec::with_capacity(batch * 3 * height * width);
    for _ in 0..batch {
        // What all channels share is most of a photograph.
        let shared = if kind == Kind::PhotoLike { octaves(random, height, width) } else { Vec::new() };
        for channel in 0..3 {
            let own = match kind {
                Kind::Random => (0..height * width).map(|_| random.uniform()).collect(),
                Kind::PhotoLike => octaves(random, height, width),
            };
            let (mean, std) = (config.input.mean[channel], config.input.std[channel]);
            values.extend(own.iter().enumerate().map(|(i, own)| {
                let value = shared.get(i).map_or(*own, |shared| 0.8 * shared + 0.2 * own);
                (value.clamp(0.0, 1.0) - mean) / std
            }));
        }
    }
    Array { dims: vec![batch, 3, height, width], values }
}

/// Noise of every octave, each half as strong as the one of twice its size: 0 to 1, about.
fn octaves(random: &mut Random, height: usize, width: usize) -> Vec<f32> {
    let mut image = vec![0.5; height * width];
    let mut cell = height.max(width);
    let mut strength = 0.5;
    while cell >= 2 {
        let columns = width / cell + 2;
        let knots: Vec<f32> = (0..(height / cell + 2) * columns).map(|_| random.uniform() - 0.5).collect();
        for (i, value) in image.iter_mut().enumerate() {
            let (y, x) = (i / width, i % width);
            let (fy, fx) = ((y % cell) as f32 / cell as f32, (x % cell) as f32 / cell as f32);
            let at = |row: usize, column: usize| knots[(y / cell + row) * columns + x / cell + column];
            let top = at(0, 0) + fx * (at(0, 1) - at(0, 0));
            let bottom = at(1, 0) + fx * (at(1, 1) - at(1, 0));
            *value += strength * (top + fy * (bottom - top));
        }
        cell /= 2;
        strength /= 2.0;
    }
    image
}

/// Tokens `[batch, count, width]`. Those of photographs are alike within an image, with a few channels that are far
/// larger than the others.
pub(super) fn tokens(kind: Kind, [batch, count, width]: [usize; 3], seed: u64) -> Array {
    let random = &mut Random::new(seed);
    let channels: Vec<f32> =
        (0..width).map(|c| if c % 37 == 5 { 12.0 } else { 0.5 + random.uniform() }).collect();
    let mut common = vec![0.0; width];
    Array::from_fn(&[batch, count, width], |i| {
        let (channel, token) = (i % width, i / width);
        if token.is_multiple_of(count) {
            common[channel] = random.normal();
        }
        match kind {
            Kind::Random => random.normal(),
            Kind::PhotoLike => channels[channel] * (0.7 * common[channel] + 0.3 * random.normal()),
        }
    })
}

/// Two sides of pairs, local features `[pairs, count, row]` each. Those of photographs are of pairs that share most
/// features, at other places.
pub(super) fn pairs(kind: Kind, pairs: usize, counts: [usize; 2], row: usize, seed: u64) -> [Array; 2] {
    let random = &mut Random::new(seed);
    let rows = |random: &mut Random, count: usize| {
        Array::from_fn(&[pairs, count, row], |i| match i % row {
            0..3 => random.uniform(),
            _ => random.normal(),
        })
    };
    let (query, mut reference) = (rows(random, counts[0]), rows(random, counts[1]));
    if kind == Kind::PhotoLike {
        for pair in 0..pairs {
            for feature in 0..counts[1].min(counts[0]) {
                let from = &query.values[(pair * counts[0] + feature) * row..][..row];
                let to = &mut reference.values[(pair * counts[1] + counts[1] - 1 - feature) * row..][..row];
                for (to, from) in to.iter_mut().zip(from).skip(3) {
                    *to = 0.85 * from + 0.5 * *to;
                }
                to[0] = 0.7 * from[0] + 0.2;
                to[1] = 0.7 * from[1] + 0.1;
            }
        }
    }
    [query, reference]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LoadedModel;

    #[test]
    fn photo_like_images_are_smooth_and_use_the_range() {
        let config = LoadedModel::built_in().unwrap().config;
        let roughness = |kind| {
            let image = images(&config, kind, 1, [64, 64], 3);
            let steps = image.values.chunks_exact(64).flat_map(|row| row.windows(2));
            let steps: Vec<f32> = steps.map(|pair| (pair[1] - pair[0]).abs()).collect();
            let spread = image.values.iter().fold(0.0f32, |a, b| a.max(b.abs()));
            assert!(spread > 0.3, "{kind}: {spread}");
            steps.iter().sum::<f32>() / steps.len() as f32
        };
        assert!(4.0 * roughness(Kind::PhotoLike) < roughness(Kind::Random));
    }

    #[test]
    fn inputs_depend_on_the_seed_alone() {
        let make = |seed| pairs(Kind::PhotoLike, 2, [7, 5], 11, seed);
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
    }
}
