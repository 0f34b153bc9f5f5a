//! Augmentation of photographs: framing, light, lens and weather vary, so that the network learns the place and not the
//! picture.

mod artefacts;
mod framing;
mod light;
mod weather;

pub(crate) use framing::{CORNERS, Homography, apply, homography, warped};

use crate::random::Rng;
use crate::{Result, TrainError};
use artefacts::normal;
use r2former_data::image::{Preprocess, Rgb8};
use rand::Rng as _;
use serde::{Deserialize, Serialize};

/// Augmentations, each with its probability, 0 to 1, and its strength.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentConfig {
    /// Probability of a random crop.
    pub crop: f64,
    /// Smallest share of the photograph's area that a crop keeps.
    pub crop_area: f64,
    /// Largest change of the aspect ratio of a crop.
    pub crop_ratio: f64,
    /// Probability of a perspective distortion.
    pub perspective: f64,
    /// Largest shift of a corner, as a share of the side.
    pub perspective_shift: f64,
    /// Probability of colour jitter: brightness, contrast, saturation and white balance.
    pub colour: f64,
    /// Largest change by colour jitter: 0.4 means a factor of 0.6 to 1.4.
    pub colour_strength: f64,
    /// Probability of conversion to greyscale.
    pub grey: f64,
    /// Probability of a night simulation: darker, bluer or yellower, highlights preserved, noise in the shadows, lamps
    /// in more than half of them.
    pub night: f64,
    /// Probability of Gaussian blur.
    pub blur: f64,
    /// Largest standard deviation of the blur in pixels.
    pub blur_radius: f64,
    /// Probability of Gaussian noise.
    pub noise: f64,
    /// Largest standard deviation of the noise, where white is 1.
    pub noise_strength: f64,
    /// Probability of erasing a rectangle.
    pub erase: f64,
    /// Largest share of the area that is erased.
    pub erase_area: f64,
    /// Probability of a shadow: a random quadrilateral at 0.3 to 0.7 of its light.
    pub shadow: f64,
    /// Probability of haze: a grey veil, denser towards the top of the picture.
    pub haze: f64,
    /// Probability of snow: white ground and flakes.
    pub snow: f64,
    /// Probability of rain: streaks and less contrast.
    pub rain: f64,
    /// Probability of a low resolution: down to 0.25 to 0.7 of the sides and up again.
    pub low_resolution: f64,
    /// Probability of strong JPEG compression, of quality 10 to 50.
    pub jpeg: f64,
    /// Probability of the barrel distortion of a fisheye lens.
    pub fisheye: f64,
}

impl Default for AugmentConfig {
    /// No augmentation, as in the published stages.
    fn default() -> Self {
        Self {
            crop: 0.0,
            crop_area: 0.5,
            crop_ratio: 1.33,
            perspective: 0.0,
            perspective_shift: 0.15,
            colour: 0.0,
            colour_strength: 0.4,
            grey: 0.0,
            night: 0.0,
            blur: 0.0,
            blur_radius: 1.5,
            noise: 0.0,
            noise_strength: 0.06,
            erase: 0.0,
            erase_area: 0.2,
            shadow: 0.0,
            haze: 0.0,
            snow: 0.0,
            rain: 0.0,
            low_resolution: 0.0,
            jpeg: 0.0,
            fisheye: 0.0,
        }
    }
}

/// An augmented photograph before normalisation: `[3, height, width]`, 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Picture {
    pub(crate) values: Vec<f32>,
    pub(crate) size: [usize; 2],
}

impl AugmentConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`TrainError::Config`] with the key that is out of range.
    pub fn check(&self) -> Result<()> {
        let shares = [
            ("crop", self.crop),
            ("perspective", self.perspective),
            ("colour", self.colour),
            ("colour_strength", self.colour_strength),
            ("grey", self.grey),
            ("night", self.night),
            ("blur", self.blur),
            ("noise", self.noise),
            ("noise_strength", self.noise_strength),
            ("erase", self.erase),
            ("erase_area", self.erase_area),
            ("shadow", self.shadow),
            ("haze", self.haze),
            ("snow", self.snow),
            ("rain", self.rain),
            ("low_resolution", self.low_resolution),
            ("jpeg", self.jpeg),
            ("fisheye", self.fisheye),
        ];
        if let Some((name, value)) = shares.iter().find(|(_, v)| !(0.0..=1.0).contains(v)) {
            return Err(TrainError::Config(format!("augment.{name} = {value}: must be 0 to 1")));
        }
        let ranges = [
            ("crop_area", self.crop_area, 0.05..=1.0),
            ("crop_ratio", self.crop_ratio, 1.0..=4.0),
            ("perspective_shift", self.perspective_shift, 0.0..=0.4),
            ("blur_radius", self.blur_radius, 0.0..=20.0),
        ];
        for (name, value, range) in ranges {
            if !range.contains(&value) {
                let (low, high) = (range.start(), range.end());
                return Err(TrainError::Config(format!("augment.{name} = {value}: must be {low} to {high}")));
            }
        }
        Ok(())
    }

    /// Augmentations that change where a point of the scene is seen, by key.
    pub(crate) fn geometric(&self) -> [(&'static str, f64); 4] {
        [
            ("crop", self.crop),
            ("perspective", self.perspective),
            ("fisheye", self.fisheye),
            ("erase", self.erase),
        ]
    }

    /// A photograph scaled to `size` (height, width), augmented at random.
    pub(crate) fn apply(&self, image: &Rgb8, size: [usize; 2], flip: bool, rng: &mut Rng) -> Result<Picture> {
        let chosen = self.choose(rng);
        let mut picture = self.frame(image, size, flip, &chosen, rng)?;
        self.light(&mut picture, &chosen, rng)?;
        Ok(picture)
    }

    /// Changes a picture's light, weather and quality at random, but not where anything is seen.
    pub(crate) fn relight(&self, picture: &mut Picture, rng: &mut Rng) -> Result<()> {
        let chosen = self.choose(rng);
        self.light(picture, &chosen, rng)
    }

    /// Draws which augmentations a picture gets. Those of probability 0 draw nothing, so that a new one leaves the
    /// others as they were.
    fn choose(&self, rng: &mut Rng) -> Chosen {
        let mut chance = |p: f64| p > 0.0 && rng.random_bool(p);
        Chosen {
            crop: chance(self.crop),
            perspective: chance(self.perspective),
            colour: chance(self.colour),
            grey: chance(self.grey),
            night: chance(self.night),
            blur: chance(self.blur),
            noise: chance(self.noise),
            erase: chance(self.erase),
            shadow: chance(self.shadow),
            haze: chance(self.haze),
            snow: chance(self.snow),
            rain: chance(self.rain),
            low_resolution: chance(self.low_resolution),
            jpeg: chance(self.jpeg),
            fisheye: chance(self.fisheye),
        }
    }

    /// Applies what was chosen, except for the framing, from the scene to the file.
    fn light(&self, picture: &mut Picture, chosen: &Chosen, rng: &mut Rng) -> Result<()> {
        if chosen.colour {
            light::recolour(picture, self.colour_strength as f32, rng);
        }
        if chosen.shadow {
            light::shade(picture, rng);
        }
        if chosen.snow {
            weather::snow(picture, rng);
        }
        if chosen.rain {
            weather::rain(picture, rng);
        }
        if chosen.haze {
            weather::veil(picture, rng);
        }
        if chosen.grey {
            light::desaturate(picture, 0.0);
        }
        if chosen.night {
            light::darken(picture, rng);
        }
        if chosen.blur {
            let radius = rng.random_range(0.0..=self.blur_radius);
            artefacts::blur_by(picture, radius as f32);
        }
        if chosen.low_resolution {
            artefacts::coarsen(picture, rng);
        }
        if chosen.noise {
            let strength = rng.random_range(0.0..=self.noise_strength) as f32;
            picture.values.iter_mut().for_each(|v| *v += strength * normal(rng));
        }
        if chosen.jpeg {
            artefacts::compress(picture, rng)?;
        }
        if chosen.erase {
            artefacts::cover(picture, self.erase_area, rng);
        }
        picture.values.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
        Ok(())
    }
}

/// The augmentations that a picture gets.
struct Chosen {
    crop: bool,
    perspective: bool,
    colour: bool,
    grey: bool,
    night: bool,
    blur: bool,
    noise: bool,
    erase: bool,
    shadow: bool,
    haze: bool,
    snow: bool,
    rain: bool,
    low_resolution: bool,
    jpeg: bool,
    fisheye: bool,
}

impl Picture {
    /// Each channel's values.
    fn planes(&mut self) -> [&mut [f32]; 3] {
        let plane = self.size[0] * self.size[1];
        let (red, rest) = self.values.split_at_mut(plane);
        let (green, blue) = rest.split_at_mut(plane);
        [red, green, blue]
    }

    /// The network's input.
    pub(crate) fn normalised(mut self, how: &Preprocess) -> Vec<f32> {
        for (c, plane) in self.planes().into_iter().enumerate() {
            plane.iter_mut().for_each(|v| *v = (*v - how.mean[c]) / how.std[c]);
        }
        self.values
    }

    /// As an image for people.
    pub(crate) fn to_rgb8(&self) -> Rgb8 {
        let [height, width] = self.size;
        let plane = height * width;
        let byte = |v: f32| (v * 255.0).round().clamp(0.0, 255.0) as u8;
        let pixels = (0..plane).flat_map(|i| [0, 1, 2].map(|c| byte(self.values[c * plane + i]))).collect();
        Rgb8 { width, height, pixels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Use, at};

    fn gradient() -> Rgb8 {
        let (width, height) = (60, 40);
        let pixels =
            (0..height).flat_map(|y| (0..width).flat_map(move |x| [4 * x as u8, 6 * y as u8, 90])).collect();
        Rgb8 { width, height, pixels }
    }

    #[test]
    fn without_augmentation_it_is_the_resized_photograph() {
        let image = gradient();
        let rng = &mut at(1, Use::Image, [0, 0]);
        let same = AugmentConfig::default().apply(&image, [40, 60], false, rng).unwrap();
        assert_eq!(same.to_rgb8(), image);
        let flipped = AugmentConfig::default().apply(&image, [40, 60], true, rng).unwrap().to_rgb8();
        assert_eq!(flipped.pixels[..3], image.pixels[59 * 3..60 * 3]);
    }

    #[test]
    fn every_augmentation_stays_in_range_and_repeats() {
        let all = AugmentConfig {
            crop: 1.0,
            perspective: 1.0,
            colour: 1.0,
            grey: 0.3,
            night: 0.5,
            blur: 1.0,
            noise: 1.0,
            erase: 1.0,
            shadow: 0.5,
            haze: 0.3,
            snow: 0.3,
            rain: 0.3,
            low_resolution: 0.3,
            jpeg: 0.5,
            fisheye: 0.5,
            ..Default::default()
        };
        all.check().unwrap();
        for n in 0..40 {
            let apply =
                || all.apply(&gradient(), [32, 48], n % 2 == 0, &mut at(3, Use::Image, [n, 0])).unwrap();
            let picture = apply();
            assert!(picture.values.iter().all(|v| (0.0..=1.0).contains(v)));
            assert_eq!(picture, apply());
        }
        let far = AugmentConfig { crop_area: 0.0, ..all };
        assert!(far.check().unwrap_err().to_string().contains("crop_area"));
    }

    /// A change of one probability.
    type Change = fn(&mut AugmentConfig) -> &mut f64;

    #[test]
    fn each_augmentation_changes_the_picture_in_range_and_none_of_probability_0_draws() {
        let all: [Change; 15] = [
            |c| &mut c.crop,
            |c| &mut c.perspective,
            |c| &mut c.colour,
            |c| &mut c.grey,
            |c| &mut c.night,
            |c| &mut c.blur,
            |c| &mut c.noise,
            |c| &mut c.erase,
            |c| &mut c.shadow,
            |c| &mut c.haze,
            |c| &mut c.snow,
            |c| &mut c.rain,
            |c| &mut c.low_resolution,
            |c| &mut c.jpeg,
            |c| &mut c.fisheye,
        ];
        let plain = AugmentConfig::default();
        let apply = |config: &AugmentConfig, n: u64| {
            let rng = &mut at(7, Use::Image, [n, 0]);
            let picture = config.apply(&gradient(), [48, 64], false, rng).unwrap();
            (picture, rng.random::<u64>())
        };
        let drawn_first = at(7, Use::Image, [0, 0]).random::<u64>();
        assert_eq!(apply(&plain, 0).1, drawn_first, "nothing is drawn without augmentation");
        for (i, change) in all.into_iter().enumerate() {
            let mut config = plain;
            *change(&mut config) = 1.0;
            let mut changed = 0;
            for n in 0..10 {
                let found = apply(&config, n);
                assert!(found.0.values.iter().all(|v| (0.0..=1.0).contains(v)), "{i}");
                assert_eq!(found, apply(&config, n), "{i}");
                changed += usize::from(found.0 != apply(&plain, n).0);
            }
            assert!(changed >= 8, "augmentation {i} changed {changed} of 10 pictures");
        }
    }

    #[test]
    fn relighting_leaves_the_framing() {
        let config = AugmentConfig { colour: 1.0, ..Default::default() };
        let rng = &mut at(7, Use::Image, [1, 0]);
        let mut picture = AugmentConfig::default().apply(&gradient(), [40, 60], false, rng).unwrap();
        config.relight(&mut picture, &mut at(7, Use::Image, [2, 0])).unwrap();
        let whole = config.apply(&gradient(), [40, 60], false, &mut at(7, Use::Image, [2, 0])).unwrap();
        assert_eq!(picture, whole);
    }
}
