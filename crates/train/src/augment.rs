//! Augmentation of photographs: framing, light, lens and weather vary, so that the network learns the place and not the
//! picture.

use crate::random::Rng;
use crate::{Result, TrainError};
use r2former_data::image::{Preprocess, ResizeMode, Rgb8, to_input};
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
    /// Probability of a night simulation: darker, bluer or yellower, highlights preserved, noise in the shadows.
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

    /// A photograph scaled to `size` (height, width), augmented at random.
    pub(crate) fn apply(&self, image: &Rgb8, size: [usize; 2], flip: bool, rng: &mut Rng) -> Result<Picture> {
        let mut chance = |p: f64| p > 0.0 && rng.random_bool(p);
        let (crop, perspective) = (chance(self.crop), chance(self.perspective));
        let (colour, grey, night) = (chance(self.colour), chance(self.grey), chance(self.night));
        let (blur, noise, erase) = (chance(self.blur), chance(self.noise), chance(self.erase));

        let mut quad = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
        if crop {
            let area: f64 = rng.random_range(self.crop_area..=1.0);
            let ratio = rng.random_range(-1.0..=1.0f64) * self.crop_ratio.ln();
            let side = |sign: f64| (area.sqrt() * (sign * ratio / 2.0).exp()).min(1.0);
            let (width, height) = (side(1.0), side(-1.0));
            let (left, top) = (rng.random::<f64>() * (1.0 - width), rng.random::<f64>() * (1.0 - height));
            quad.iter_mut().for_each(|[x, y]| (*x, *y) = (left + *x * width, top + *y * height));
        }
        if perspective {
            let (width, height) = (quad[1][0] - quad[0][0], quad[2][1] - quad[0][1]);
            for [x, y] in &mut quad {
                let mut shift = |side: f64| rng.random_range(-1.0..=1.0) * self.perspective_shift * side;
                (*x, *y) = ((*x + shift(width)).clamp(0.0, 1.0), (*y + shift(height)).clamp(0.0, 1.0));
            }
        }
        let mut picture = framed(image, quad, size, flip)?;
        if colour {
            recolour(&mut picture, self.colour_strength as f32, rng);
        }
        if grey {
            desaturate(&mut picture, 0.0);
        }
        if night {
            darken(&mut picture, rng);
        }
        if blur {
            let radius = rng.random_range(0.0..=self.blur_radius);
            blur_by(&mut picture, radius as f32);
        }
        if noise {
            let strength = rng.random_range(0.0..=self.noise_strength) as f32;
            picture.values.iter_mut().for_each(|v| *v += strength * normal(rng));
        }
        if erase {
            cover(&mut picture, self.erase_area, rng);
        }
        picture.values.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
        Ok(picture)
    }
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

/// A standard normal number.
fn normal(rng: &mut Rng) -> f32 {
    let (a, b): (f32, f32) = (rng.random(), rng.random());
    (-2.0 * (1.0 - a).ln()).sqrt() * (std::f32::consts::TAU * b).cos()
}

/// The part of an image inside `quad` (corners clockwise from the upper left, shares of the sides), at `size`.
fn framed(image: &Rgb8, quad: [[f64; 2]; 4], [height, width]: [usize; 2], flip: bool) -> Result<Picture> {
    // Shrunk first so that one source pixel is about one of the result: interpolation takes four neighbours only.
    let length = |a: usize, b: usize| {
        ((quad[a][0] - quad[b][0]) * image.width as f64)
            .hypot((quad[a][1] - quad[b][1]) * image.height as f64)
    };
    let shrink = |sides: f64, wanted: usize| (wanted as f64 * 1.15 / (sides / 2.0).max(1.0)).min(1.0);
    let across = shrink(length(0, 1) + length(3, 2), width);
    let down = shrink(length(0, 3) + length(1, 2), height);
    let [h, w] =
        [image.height as f64 * down, image.width as f64 * across].map(|v| (v.round() as usize).max(1));
    let plain = Preprocess { mean: [0.0; 3], std: [1.0; 3], resize: ResizeMode::Antialias };
    let source = to_input(image, h, w, &plain)?;

    let map = homography(quad);
    let mut values = vec![0.0; 3 * height * width];
    for y in 0..height {
        for x in 0..width {
            let column = if flip { width - 1 - x } else { x };
            let (u, v) = ((column as f64 + 0.5) / width as f64, (y as f64 + 0.5) / height as f64);
            let [a, b, c] = map.map(|row| row[0] * u + row[1] * v + row[2]);
            let (sx, sy) = ((a / c * w as f64 - 0.5) as f32, (b / c * h as f64 - 0.5) as f32);
            let (sx, sy) = (sx.clamp(0.0, (w - 1) as f32), sy.clamp(0.0, (h - 1) as f32));
            let (left, top) = (sx as usize, sy as usize);
            let (right, bottom) = ((left + 1).min(w - 1), (top + 1).min(h - 1));
            let (fx, fy) = (sx - left as f32, sy - top as f32);
            for k in 0..3 {
                let at = |row: usize, column: usize| source[(k * h + row) * w + column];
                let upper = at(top, left) + (at(top, right) - at(top, left)) * fx;
                let lower = at(bottom, left) + (at(bottom, right) - at(bottom, left)) * fx;
                values[(k * height + y) * width + x] = upper + (lower - upper) * fy;
            }
        }
    }
    Ok(Picture { values, size: [height, width] })
}

/// The projective map from the unit square to a quadrilateral (Heckbert, 1989).
fn homography(quad: [[f64; 2]; 4]) -> [[f64; 3]; 3] {
    let [[x0, y0], [x1, y1], [x2, y2], [x3, y3]] = quad;
    let (sx, sy) = (x0 - x1 + x2 - x3, y0 - y1 + y2 - y3);
    let (dx1, dx2, dy1, dy2) = (x1 - x2, x3 - x2, y1 - y2, y3 - y2);
    let det = dx1 * dy2 - dx2 * dy1;
    let (g, h) = match det.abs() < 1e-12 {
        true => (0.0, 0.0),
        false => ((sx * dy2 - dx2 * sy) / det, (dx1 * sy - sx * dy1) / det),
    };
    [[x1 - x0 + g * x1, x3 - x0 + h * x3, x0], [y1 - y0 + g * y1, y3 - y0 + h * y3, y0], [g, h, 1.0]]
}

/// Scales saturation: 0 is grey, above 1 more colourful.
fn desaturate(picture: &mut Picture, keep: f32) {
    let [red, green, blue] = picture.planes();
    for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
        let grey = 0.299 * *r + 0.587 * *g + 0.114 * *b;
        for v in [r, g, b] {
            *v = grey + (*v - grey) * keep;
        }
    }
}

fn recolour(picture: &mut Picture, strength: f32, rng: &mut Rng) {
    let mut factor = || 1.0 + strength * rng.random_range(-1.0..=1.0f32);
    let (brightness, contrast, saturation) = (factor(), factor(), factor());
    // Each channel by itself, like the white balance of another camera.
    let tint = [factor(), factor(), factor()].map(|f| 1.0 + (f - 1.0) * 0.25);
    desaturate(picture, saturation);
    for (c, plane) in picture.planes().into_iter().enumerate() {
        let mean = plane.iter().sum::<f32>() / plane.len() as f32;
        for v in plane {
            *v = ((*v - mean) * contrast + mean) * brightness * tint[c];
        }
    }
}

/// Simulates a photograph at night: dark, with highlights preserved, in the colour of street lamps.
fn darken(picture: &mut Picture, rng: &mut Rng) {
    let gamma: f32 = rng.random_range(1.6..3.2);
    let gain: f32 = rng.random_range(0.5..1.1);
    let warm: f32 = rng.random_range(-0.15..0.35);
    let noise: f32 = rng.random_range(0.0..0.05);
    desaturate(picture, rng.random_range(0.4..0.9));
    let tint = [1.0 + warm, 1.0, 1.0 - warm];
    for (c, plane) in picture.planes().into_iter().enumerate() {
        for v in plane {
            *v = gain * tint[c] * v.clamp(0.0, 1.0).powf(gamma) + noise * normal(rng);
        }
    }
}

/// Separable Gaussian blur.
fn blur_by(picture: &mut Picture, radius: f32) {
    if radius < 0.2 {
        return;
    }
    let reach = (3.0 * radius).ceil() as isize;
    let mut weights: Vec<f32> =
        (-reach..=reach).map(|i| (-0.5 * (i as f32 / radius).powi(2)).exp()).collect();
    let total: f32 = weights.iter().sum();
    weights.iter_mut().for_each(|w| *w /= total);
    let [height, width] = picture.size;
    let line = |values: &[f32], start: usize, step: usize, count: usize| -> Vec<f32> {
        let at = |i: isize| values[start + step * i.clamp(0, count as isize - 1) as usize];
        (0..count as isize).map(|i| weights.iter().zip(-reach..).map(|(w, o)| w * at(i + o)).sum()).collect()
    };
    for plane in picture.planes() {
        for y in 0..height {
            let row = line(plane, y * width, 1, width);
            plane[y * width..][..width].copy_from_slice(&row);
        }
        for x in 0..width {
            let column = line(plane, x, width, height);
            column.into_iter().enumerate().for_each(|(y, v)| plane[y * width + x] = v);
        }
    }
}

fn cover(picture: &mut Picture, area: f64, rng: &mut Rng) {
    let [height, width] = picture.size;
    let share = rng.random_range(0.0..=area);
    let ratio: f64 = rng.random_range(-0.7..0.7f64).exp();
    let side = |length: usize, r: f64| ((length as f64 * (share * r).sqrt()) as usize).clamp(1, length);
    let (h, w) = (side(height, ratio), side(width, 1.0 / ratio));
    let (top, left) = (rng.random_range(0..=height - h), rng.random_range(0..=width - w));
    let tone: [f32; 3] = rng.random();
    for (c, plane) in picture.planes().into_iter().enumerate() {
        for y in top..top + h {
            for v in &mut plane[y * width + left..][..w] {
                *v = (tone[c] + 0.2 * normal(rng)).clamp(0.0, 1.0);
            }
        }
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
    fn corners_map_to_the_quad() {
        let quad = [[0.1, 0.2], [0.9, 0.1], [1.0, 0.8], [0.0, 1.0]];
        let map = homography(quad);
        for ([u, v], expected) in [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]].into_iter().zip(quad) {
            let [a, b, c] = map.map(|row| row[0] * u + row[1] * v + row[2]);
            assert!((a / c - expected[0]).abs() < 1e-12 && (b / c - expected[1]).abs() < 1e-12);
        }
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
}
