//! Weather: haze, snow and rain.

use super::Picture;
use crate::random::Rng;
use rand::Rng as _;

/// A veil of light grey, denser towards the top of the picture, where what is seen is farther away.
pub(super) fn veil(picture: &mut Picture, rng: &mut Rng) {
    let [height, width] = picture.size;
    let grey: f32 = rng.random_range(0.55..0.9);
    let top: f32 = rng.random_range(0.3..0.85);
    let bottom = top * rng.random_range(0.0..0.5f32);
    for plane in picture.planes() {
        for (i, v) in plane.iter_mut().enumerate() {
            let down = (i / width) as f32 / height as f32;
            let dense = top + (bottom - top) * down;
            *v += (grey - *v) * dense;
        }
    }
}

/// Snow: the ground turns white, bright surfaces first, and flakes fall.
pub(super) fn snow(picture: &mut Picture, rng: &mut Rng) {
    let [height, width] = picture.size;
    let horizon: f32 = rng.random_range(0.35..0.7);
    let cover: f32 = rng.random_range(0.4..0.95);
    let white: f32 = rng.random_range(0.75..1.0);
    for plane in picture.planes() {
        for (i, v) in plane.iter_mut().enumerate() {
            let down = (i / width) as f32 / height as f32;
            let ground = ((down - horizon) / (1.0 - horizon) * 3.0).clamp(0.0, 1.0);
            // Texture stays faintly visible.
            *v += (white * (0.8 + 0.2 * v.clamp(0.0, 1.0)) - *v) * cover * ground;
        }
    }
    let flakes = (height * width) as f32 * rng.random_range(0.0..0.004f32);
    for _ in 0..flakes as usize {
        let (x, y) = (rng.random_range(0..width), rng.random_range(0..height));
        let radius = rng.random_range(0.4..1.0f32) * (height.max(width) as f32 / 200.0).max(0.8);
        let opaque: f32 = rng.random_range(0.4..0.9);
        let reach = (2.0 * radius).ceil() as usize;
        for plane in picture.planes() {
            for row in y.saturating_sub(reach)..(y + reach + 1).min(height) {
                for column in x.saturating_sub(reach)..(x + reach + 1).min(width) {
                    let (dx, dy) = (column as f32 - x as f32, row as f32 - y as f32);
                    let alpha = opaque * (-0.5 * (dx * dx + dy * dy) / (radius * radius)).exp();
                    let v = &mut plane[row * width + column];
                    *v += (0.97 - *v) * alpha;
                }
            }
        }
    }
}

/// Rain: less contrast, and bright streaks along one slant.
pub(super) fn rain(picture: &mut Picture, rng: &mut Rng) {
    let [height, width] = picture.size;
    let contrast: f32 = rng.random_range(0.5..0.85);
    let light: f32 = rng.random_range(0.7..0.95);
    for plane in picture.planes() {
        let mean = plane.iter().sum::<f32>() / plane.len() as f32;
        plane.iter_mut().for_each(|v| *v = light * ((*v - mean) * contrast + mean));
    }
    let slant: f32 = rng.random_range(-0.35..0.35);
    let streaks = (height * width) as f32 * rng.random_range(0.0005..0.004f32);
    for _ in 0..streaks as usize {
        let (x, y) = (rng.random_range(0.0..width as f32), rng.random_range(0..height));
        let length = (height as f32 * rng.random_range(0.03..0.12f32)) as usize + 1;
        let opaque: f32 = rng.random_range(0.08..0.35);
        for row in y..(y + length).min(height) {
            let column = x + slant * (row - y) as f32;
            if column < 0.0 || column >= width as f32 {
                break;
            }
            for plane in picture.planes() {
                let v = &mut plane[row * width + column as usize];
                *v += (0.85 - *v) * opaque;
            }
        }
    }
}
