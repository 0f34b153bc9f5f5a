//! Light and weather: what each condition does to sun, sky, air and lamps.

use crate::look::Moment;
use crate::noise::Rng;
use crate::vector::{V3, v3};
use serde::{Deserialize, Serialize};

/// The light and weather of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// Sun and some clouds.
    Day,
    /// Bright, without sun or shadows.
    Overcast,
    /// The sun is about to set; some windows are lit.
    Dusk,
    /// Street lamps, lit windows, a dark sky.
    Night,
    /// A grey sky, streaks, a wet road that mirrors.
    Rain,
    /// Snow on roofs and ground, flakes in the air, bare trees.
    Snow,
}

impl Condition {
    /// Every condition.
    pub const ALL: [Self; 6] = [Self::Day, Self::Overcast, Self::Dusk, Self::Night, Self::Rain, Self::Snow];

    /// Its name in lower case, as it is written in tables and folder names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Overcast => "overcast",
            Self::Dusk => "dusk",
            Self::Night => "night",
            Self::Rain => "rain",
            Self::Snow => "snow",
        }
    }
}

impl std::str::FromStr for Condition {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name);
        Self::ALL
            .into_iter()
            .find(|condition| condition.name() == text)
            .ok_or_else(|| format!("'{text}' is no condition: {}", names.join(", ")))
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The light of one view.
#[derive(Debug, Clone)]
pub(super) struct Light {
    /// Towards the sun (at night, the moon).
    pub(super) sun: V3,
    /// Strength of direct light; dark when there are no shadows to cast.
    pub(super) beam: V3,
    /// Light from the sky on what faces up, and from the ground on what faces down.
    pub(super) above: V3,
    pub(super) below: V3,
    pub(super) zenith: V3,
    pub(super) horizon: V3,
    /// Light of sky around the sun.
    pub(super) glow: V3,
    pub(super) cloud: V3,
    /// Share of the sky under clouds.
    pub(super) clouds: f32,
    pub(super) stars: f32,
    /// Metres after which the air hides all but a third.
    pub(super) clear: f32,
    /// Strength of street lamps.
    pub(super) lamps: f32,
    /// Share of rain streaks or flakes.
    pub(super) falling: f32,
    /// What the camera does: brightness and balance.
    pub(super) exposure: V3,
    /// Strength of sensor noise.
    pub(super) grain: f32,
    pub(super) moment: Moment,
}

impl Light {
    /// The light of a condition at one visit; `seed` is the town's.
    pub(super) fn new(condition: Condition, visit: u64, seed: u64) -> Self {
        let mut rng = Rng::new(&[seed, 21, visit]);
        let key = rng.key();
        let leaves = rng.chance(0.75);
        // The sun stands between east by south and west by south.
        let (azimuth, high) = (rng.between(1.3, 5.0), rng.between(0.35, 0.95));
        let toward =
            |azimuth: f32, high: f32| v3(azimuth.sin() * high.cos(), azimuth.cos() * high.cos(), high.sin());
        let balance = v3(rng.between(0.93, 1.07), 1.0, rng.between(0.93, 1.07));
        let brightness = rng.between(0.85, 1.18);
        let clouds = rng.between(0.05, 0.6);
        let mut light = Self {
            sun: toward(azimuth, high),
            beam: v3(1.75, 1.62, 1.40),
            above: v3(0.62, 0.72, 0.88),
            below: v3(0.34, 0.31, 0.27),
            zenith: v3(0.20, 0.40, 0.82),
            horizon: v3(0.68, 0.80, 0.94),
            glow: v3(0.9, 0.85, 0.7),
            cloud: v3(1.05, 1.05, 1.05),
            clouds,
            stars: 0.0,
            clear: 1400.0,
            lamps: 0.0,
            falling: 0.0,
            exposure: balance * brightness,
            grain: 0.006,
            moment: Moment { key, lit: 0.02, lamp: 0.5, wet: 0.0, snow: 0.0, leaves },
        };
        light.set(condition, &mut rng);
        if condition == Condition::Dusk {
            light.sun = toward(
                if rng.chance(0.5) { 4.4 } else { 1.9 } + rng.between(-0.3, 0.3),
                rng.between(0.06, 0.16),
            );
        }
        light
    }

    /// Turns bright day into another condition.
    fn set(&mut self, condition: Condition, rng: &mut Rng) {
        let dull = |light: &mut Self, level: f32| {
            light.beam = V3::default();
            light.glow = V3::default();
            light.above = v3(0.92, 0.95, 1.0) * level;
            light.below = v3(0.42, 0.41, 0.40) * level;
            light.zenith = v3(0.62, 0.66, 0.72) * level;
            light.horizon = v3(0.80, 0.82, 0.85) * level;
            light.cloud = v3(0.88, 0.89, 0.91) * level;
            light.clouds = 0.95;
        };
        match condition {
            Condition::Day => {}
            Condition::Overcast => {
                dull(self, 1.05);
                self.clear = 900.0;
                self.moment.lit = 0.06;
            }
            Condition::Dusk => {
                self.beam = v3(0.62, 0.30, 0.11);
                self.above = v3(0.23, 0.25, 0.36);
                self.below = v3(0.14, 0.11, 0.10);
                self.zenith = v3(0.09, 0.15, 0.36);
                self.horizon = v3(0.62, 0.36, 0.22);
                self.glow = v3(1.1, 0.55, 0.18);
                self.cloud = v3(0.50, 0.28, 0.25);
                self.clear = 900.0;
                self.lamps = 0.45;
                self.grain = 0.012;
                (self.moment.lit, self.moment.lamp) = (rng.between(0.2, 0.35), 0.9);
            }
            Condition::Night => {
                self.beam = V3::default();
                self.above = v3(0.030, 0.036, 0.060);
                self.below = v3(0.020, 0.018, 0.018);
                self.zenith = v3(0.006, 0.009, 0.022);
                self.horizon = v3(0.045, 0.038, 0.040);
                self.glow = V3::default();
                self.cloud = v3(0.03, 0.027, 0.03);
                self.stars = 1.0 - self.clouds;
                self.clear = 700.0;
                self.lamps = 1.0;
                self.grain = 0.024;
                (self.moment.lit, self.moment.lamp) = (rng.between(0.2, 0.4), 0.85);
            }
            Condition::Rain => {
                dull(self, 0.52);
                self.clear = rng.between(220.0, 420.0);
                self.falling = rng.between(0.5, 1.0);
                self.lamps = 0.12;
                self.grain = 0.012;
                (self.moment.wet, self.moment.lit) = (1.0, rng.between(0.1, 0.25));
                self.moment.lamp = 0.7;
            }
            Condition::Snow => {
                dull(self, 0.88);
                self.clear = rng.between(260.0, 500.0);
                self.falling = rng.between(0.4, 1.0);
                (self.moment.snow, self.moment.leaves) = (rng.between(0.75, 1.0), false);
                self.moment.lit = 0.1;
            }
        }
    }

    /// Light from all around on a surface facing `normal`.
    pub(super) fn ambient(&self, normal: V3) -> V3 {
        self.below.mix(self.above, 0.5 + 0.5 * normal.z)
    }
}
