//! Numbers that look random and are the same on every machine.

/// Spreads every bit over all bits (the finalizer of SplitMix64).
pub(super) fn scramble(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// One number out of several, order mattering.
pub(super) fn hash(parts: &[u64]) -> u64 {
    parts.iter().fold(0x51_7c_c1_b7_27_22_0a_95, |h, &p| scramble(h ^ p))
}

/// The fast hash of textures: two cell numbers and a key.
pub(super) fn cell(key: u32, x: i32, y: i32) -> u32 {
    let mut h = key ^ (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77);
    h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d);
    h = (h ^ (h >> 12)).wrapping_mul(0x297a_2d39);
    h ^ (h >> 15)
}

/// A hash as a number from 0 up to 1.
pub(super) fn fraction(h: u32) -> f32 {
    (h >> 8) as f32 * (1.0 / 16_777_216.0)
}

fn ease(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}

/// Smooth noise with one hill a unit, 0 to 1.
pub(super) fn value(key: u32, x: f32, y: f32) -> f32 {
    let (fx, fy) = (x.floor(), y.floor());
    let (ix, iy) = (fx as i32, fy as i32);
    let (tx, ty) = (ease(x - fx), ease(y - fy));
    let at = |dx, dy| fraction(cell(key, ix.wrapping_add(dx), iy.wrapping_add(dy)));
    let low = at(0, 0) + (at(1, 0) - at(0, 0)) * tx;
    let high = at(0, 1) + (at(1, 1) - at(0, 1)) * tx;
    low + (high - low) * ty
}

/// Smooth noise in space, 0 to 1.
pub(super) fn value3(key: u32, x: f32, y: f32, z: f32) -> f32 {
    let floor = z.floor();
    let layer = |n: i32| value(key.wrapping_add((n as u32).wrapping_mul(0x68e3_1da4)), x, y);
    let low = layer(floor as i32);
    low + (layer(floor as i32 + 1) - low) * ease(z - floor)
}

/// Noise of several sizes, 0 to 1; sizes smaller than `footprint` (in units of `x`) are left out, so
/// that what is far away does not flicker.
pub(super) fn fbm(key: u32, x: f32, y: f32, octaves: u32, footprint: f32) -> f32 {
    let (mut sum, mut weight, mut scale) = (0.0, 0.5, 1.0);
    let mut total = 0.0;
    for octave in 0..octaves {
        let visible = (1.5 - footprint * scale * 1.5).clamp(0.0, 1.0);
        let layer =
            if visible > 0.0 { value(key.wrapping_add(octave * 7919), x * scale, y * scale) } else { 0.5 };
        sum += weight * (0.5 + (layer - 0.5) * visible);
        total += weight;
        weight *= 0.5;
        scale *= 2.03;
    }
    sum / total
}

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(parts: &[u64]) -> Self {
        Self(hash(parts))
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scramble(self.0)
    }

    pub(super) fn key(&mut self) -> u32 {
        (self.bits() >> 32) as u32
    }

    /// 0 up to 1.
    pub(super) fn fraction(&mut self) -> f32 {
        fraction(self.key())
    }

    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.fraction()
    }

    /// 0 up to `count` - 1; 0 when `count` is 0.
    pub(super) fn below(&mut self, count: usize) -> usize {
        (((self.bits() >> 32) * count as u64) >> 32) as usize
    }

    pub(super) fn chance(&mut self, probability: f32) -> bool {
        self.fraction() < probability
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_in_range_and_repeat() {
        let (mut a, mut b) = (Rng::new(&[1, 2]), Rng::new(&[1, 2]));
        for i in 0..2000 {
            assert_eq!(a.bits(), b.bits());
            let (x, y) = (a.between(-300.0, 300.0), a.between(-300.0, 300.0));
            b.between(0.0, 1.0);
            b.between(0.0, 1.0);
            for n in [value(7, x, y), value3(7, x, y, x), fbm(7, x, y, 4, 0.3)] {
                assert!((0.0..=1.0).contains(&n), "{n} at {i}");
            }
        }
        assert_ne!(Rng::new(&[1, 2]).bits(), Rng::new(&[2, 1]).bits());
        assert_eq!(Rng::new(&[3]).below(0), 0);
    }
}
