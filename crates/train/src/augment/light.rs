//! Light: colour, shadows, and night with its lamps.

use super::Picture;
use super::artefacts::normal;
use crate::random::Rng;
use rand::Rng as _;

/// Share of night pictures with lamps, and their largest number.
const LIT: f64 = 0.6;
const LAMPS: usize = 6;

/// Scales saturation: 0 is grey, above 1 more colourful.
pub(super) fn desaturate(picture: &mut Picture, keep: f32) {
    let [red, green, blue] = picture.planes();
    for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
        let grey = 0.299 * *r + 0.587 * *g + 0.114 * *b;
        for v in [r, g, b] {
            *v = grey + (*v - grey) * keep;
        }
    }
}

pub(super) fn recolour(picture: &mut Picture, strength: f32, rng: &mut Rng) {
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

/// Simulates a photograph at night: dark, with highlights preserved, in the colour of street lamps, some of which are seen.
pub(super) fn darken(picture: &mut Picture, rng: &mut Rng) {
    let gamma: f32 = rng.random_range(1.6..3.2);
    let gain: f32 = rng.random_range(0.5..1.1);
    let warm: f32 = rng.random_range(-0.15..0.35);
    let noise: f32 = rng.random_range(0.0..0.05);
    let by_day = picture.values.clone();
    desaturate(picture, rng.random_range(0.4..0.9));
    let tint = [1.0 + warm, 1.0, 1.0 - warm];
    for (c, plane) in picture.planes().into_iter().enumerate() {
        for v in plane {
            *v = gain * tint[c] * v.clamp(0.0, 1.0).powf(gamma) + noise * normal(rng);
        }
    }
    if rng.random_bool(LIT) {
        for _ in 0..rng.random_range(1..=LAMPS) {
            lamp(picture, &by_day, rng);
        }
    }
}

/// A lamp: its glow, and around it surfaces in the brightness that they have by day, in warm light.
fn lamp(picture: &mut Picture, by_day: &[f32], rng: &mut Rng) {
    let [height, width] = picture.size;
    let longer = height.max(width) as f32;
    let (x, y) = (rng.random::<f32>() * width as f32, rng.random_range(0.0..0.8f32) * height as f32);
    let reach: f32 = rng.random_range(0.05..0.3f32) * longer;
    let core = reach * rng.random_range(0.05..0.25f32);
    let (lit, glow): (f32, f32) = (rng.random_range(0.3..1.0), rng.random_range(0.2..1.0));
    let warmth: f32 = rng.random_range(0.0..1.0);
    let tint = [1.0, 1.0 - 0.25 * warmth, 1.0 - 0.6 * warmth];
    let fall = |square: f32, radius: f32| (-0.5 * square / (radius * radius)).exp();
    for (c, plane) in picture.planes().into_iter().enumerate() {
        let day = &by_day[c * height * width..];
        for (i, v) in plane.iter_mut().enumerate() {
            let (dx, dy) = ((i % width) as f32 - x, (i / width) as f32 - y);
            let square = dx * dx + dy * dy;
            let light = lit * fall(square, reach) * day[i].clamp(0.0, 1.0) + glow * fall(square, core);
            *v += tint[c] * light;
        }
    }
}

/// Darkens a random quadrilateral to 0.3 to 0.7 of its light.
pub(super) fn shade(picture: &mut Picture, rng: &mut Rng) {
    let [height, width] = picture.size;
    let keep: f32 = rng.random_range(0.3..0.7);
    let corners: [[f32; 2]; 4] =
        std::array::from_fn(|_| [rng.random::<f32>() * width as f32, rng.random::<f32>() * height as f32]);
    // Even-odd rule: a point is inside if a ray to its right crosses the outline an odd number of times.
    let inside = |x: f32, y: f32| {
        let crosses = |i: usize| {
            let ([x0, y0], [x1, y1]) = (corners[i], corners[(i + 1) % 4]);
            (y0 > y) != (y1 > y) && x < x0 + (y - y0) * (x1 - x0) / (y1 - y0)
        };
        (0..4).filter(|i| crosses(*i)).count() % 2 == 1
    };
    let mask: Vec<bool> =
        (0..height * width).map(|i| inside((i % width) as f32 + 0.5, (i / width) as f32 + 0.5)).collect();
    for plane in picture.planes() {
        plane.iter_mut().zip(&mask).filter(|(_, inside)| **inside).for_each(|(v, _)| *v *= keep);
    }
}
