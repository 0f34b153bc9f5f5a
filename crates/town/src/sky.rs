//! The sky, its clouds, and what stands on the horizon.

use crate::light::Light;
use crate::noise::{Rng, cell, fbm, fraction, value};
use crate::vector::{P2, V3, smooth, v3};

/// A tower or hill far outside the town.
#[derive(Debug, Clone, Copy)]
struct Landmark {
    at: P2,
    half: f32,
    high: f32,
    pointed: bool,
}

/// What is seen beyond the town; the same at every visit.
#[derive(Debug)]
pub(super) struct Horizon {
    key: u32,
    landmarks: Vec<Landmark>,
}

impl Horizon {
    pub(super) fn new(seed: u64, radius: f32) -> Self {
        let mut rng = Rng::new(&[seed, 31]);
        let landmarks = (0..14)
            .map(|_| {
                let (turn, far) =
                    (rng.between(0.0, std::f32::consts::TAU), radius * 1.6 + rng.between(300.0, 1800.0));
                Landmark {
                    at: [turn.sin() * far, turn.cos() * far],
                    half: rng.between(8.0, 28.0),
                    high: rng.between(50.0, 190.0),
                    pointed: rng.chance(0.35),
                }
            })
            .collect();
        Self { key: rng.key(), landmarks }
    }

    /// The light that comes from direction `along` (length 1) to a camera at `from`; `pixel` is the
    /// angle of a pixel in radians.
    pub(super) fn look(&self, light: &Light, from: V3, along: V3, pixel: f32) -> V3 {
        let slope = along.z / along.x.hypot(along.y).max(1e-6);
        let far = light.horizon.mix(light.zenith, 0.12);
        if slope < 0.35 {
            let azimuth = along.x.atan2(along.y);
            for mark in &self.landmarks {
                let off = [mark.at[0] - from.x, mark.at[1] - from.y];
                let away = off[0].hypot(off[1]);
                let mut turn = azimuth - off[0].atan2(off[1]);
                turn -= (turn / std::f32::consts::TAU).round() * std::f32::consts::TAU;
                let (x, z) = (turn * away, slope * away + from.z);
                let half = if mark.pointed { mark.half * (1.0 - z / mark.high).max(0.0) } else { mark.half };
                if x.abs() < half && z < mark.high {
                    let air = 1.0 - (-away / (light.clear * 1.6)).exp();
                    let lit = fraction(cell(self.key, (x * 0.25).floor() as i32, (z * 0.25).floor() as i32));
                    let glow = if lit < light.moment.lit * 0.5 {
                        v3(0.5, 0.36, 0.2) * light.moment.lamp
                    } else {
                        V3::default()
                    };
                    return (light.above * 0.3 + glow).mix(far, air);
                }
            }
            // Two ranges of hills.
            for (far_away, high, scale) in [(0.55, 0.055, 5.0), (0.8, 0.10, 2.5)] {
                let (sin, cos) = (along.x * scale, along.y * scale);
                let flat = 1.0 / along.x.hypot(along.y).max(1e-6);
                let ridge = high * fbm(self.key ^ scale as u32, sin * flat + 9.0, cos * flat + 9.0, 4, pixel);
                if slope < ridge {
                    let wood = v3(0.13, 0.17, 0.11).mix(v3(0.7, 0.72, 0.76), light.moment.snow * 0.8);
                    return (wood * light.ambient(v3(0.0, 0.5, 0.8))).mix(far, far_away);
                }
            }
        }
        self.open(light, along, pixel, slope)
    }

    fn open(&self, light: &Light, along: V3, pixel: f32, slope: f32) -> V3 {
        let up = along.z.clamp(0.0, 1.0);
        let mut sky = gradient(light, along);
        if light.stars > 0.0 && up > 0.05 {
            let (x, y) = (along.x / (0.4 + up) * 160.0, along.y / (0.4 + up) * 160.0);
            let dice = cell(self.key, x.floor() as i32, y.floor() as i32);
            if dice.is_multiple_of(90) {
                sky += v3(0.5, 0.5, 0.6)
                    * (light.stars * fraction(dice.wrapping_mul(31)) * smooth(0.05, 0.3, up));
            }
        }
        if slope > 0.02 {
            let shift = (light.moment.key & 0xffff) as f32 * 0.37;
            let (x, y) = (along.x / (up + 0.12) * 1.6 + shift, along.y / (up + 0.12) * 1.6 - shift);
            let foot = pixel * 1.6 / (up + 0.12);
            let form = fbm(light.moment.key, x, y, 5, foot);
            let edge = 0.72 - 0.5 * light.clouds;
            let thick = smooth(edge, edge + 0.2, form) * smooth(0.02, 0.16, slope);
            let shade = 1.0
                - 0.35
                    * smooth(
                        edge + 0.05,
                        edge + 0.35,
                        value(light.moment.key, x + 0.25, y + 0.3) * 0.5 + form * 0.5,
                    );
            let bright = light.cloud + light.glow * (light.sun.dot(along).max(0.0).powi(6) * 0.5);
            sky = sky.mix(bright * shade, thick * 0.9);
        }
        sky
    }
}

/// The sky without clouds: cheap enough for reflections.
pub(super) fn gradient(light: &Light, along: V3) -> V3 {
    let up = along.z.clamp(0.0, 1.0);
    let base = light.horizon.mix(light.zenith, 1.0 - (1.0 - up).powi(3));
    let near = light.sun.dot(along).max(0.0);
    let disc = smooth(0.9990, 0.9996, near) * 4.0;
    base + light.glow * (near.powi(8) * 0.35 + near.powi(64) * 0.8 + disc)
}
