//! Synthetic features, for databases larger than the images at hand.

use rayon::prelude::*;

/// A small random number generator (linear congruential): equal seeds give equal numbers on every platform.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// Uniform in -1 to 1.
    pub fn number(&mut self) -> f32 {
        self.bits() as f32 / (1u32 << 31) as f32 - 1.0
    }
}

/// Local features as an index stores them: random bytes.
pub fn random_local_features(random: &mut Random, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|_| (random.bits() >> 24) as u8).collect()
}

/// Synthetic global descriptors: images of places that differ in 32 directions, plus noise in all.
#[derive(Debug, Clone)]
pub struct SyntheticDescriptors {
    directions: Vec<Vec<f32>>,
}

impl SyntheticDescriptors {
    /// Images per place.
    pub const PER_PLACE: u32 = 16;

    /// Descriptors of `dim` dimensions.
    pub fn new(dim: usize) -> Self {
        let mut random = Random(6);
        let mut direction = || (0..dim).map(|_| random.number()).collect();
        Self { directions: (0..32).map(|_| direction()).collect() }
    }

    /// Another image of a place; not normalised.
    pub fn of(&self, place: u32, random: &mut Random) -> Vec<f32> {
        let mut own = Random(u64::from(place) << 20);
        // The first numbers of neighbouring seeds are similar.
        own.bits();
        own.bits();
        let mut view: Vec<f32> = self.directions[0].iter().map(|_| 0.2 * random.number()).collect();
        for direction in &self.directions {
            let share = own.number() + 0.3 * random.number();
            view.iter_mut().zip(direction).for_each(|(view, d)| *view += share * d);
        }
        view
    }

    /// The same, normalised, as a network's output.
    pub fn unit(&self, place: u32, random: &mut Random) -> Vec<f32> {
        let mut view = self.of(place, random);
        let length = view.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
        view.iter_mut().for_each(|v| *v /= length);
        view
    }

    /// A database: one unit descriptor after the other, [`SyntheticDescriptors::PER_PLACE`] of each place in turn.
    pub fn database(&self, images: usize) -> Vec<f32> {
        let dim = self.directions[0].len();
        let mut all = vec![0.0; images * dim];
        all.par_chunks_mut(dim.max(1)).enumerate().for_each(|(i, row)| {
            row.copy_from_slice(&self.unit(i as u32 / Self::PER_PLACE, &mut Random(1 + i as u64)));
        });
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_a_place_are_more_similar_than_others() {
        let descriptors = SyntheticDescriptors::new(64);
        let all = descriptors.database(64);
        assert_eq!(all, descriptors.database(64));
        let dot = |a: usize, b: usize| -> f32 {
            all[a * 64..][..64].iter().zip(&all[b * 64..][..64]).map(|(a, b)| a * b).sum()
        };
        assert!((dot(3, 3) - 1.0).abs() < 1e-5);
        let (same, other) =
            ((1..16).map(|i| dot(0, i)).sum::<f32>() / 15.0, (16..64).map(|i| dot(0, i)).sum::<f32>() / 48.0);
        assert!(same > other + 0.3, "{same} {other}");
    }
}
