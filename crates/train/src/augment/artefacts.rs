//! Faults of cameras and files: blur, noise, low resolution, JPEG, and what covers a picture.

use super::Picture;
use crate::Result;
use crate::random::Rng;
use image::ImageFormat;
use image::codecs::jpeg::JpegEncoder;
use r2former_data::DataError;
use rand::Rng as _;

/// A standard normal number.
pub(super) fn normal(rng: &mut Rng) -> f32 {
    let (a, b): (f32, f32) = (rng.random(), rng.random());
    (-2.0 * (1.0 - a).ln()).sqrt() * (std::f32::consts::TAU * b).cos()
}

/// Separable Gaussian blur.
pub(super) fn blur_by(picture: &mut Picture, radius: f32) {
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

pub(super) fn cover(picture: &mut Picture, area: f64, rng: &mut Rng) {
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

/// Down to 0.25 to 0.7 of the sides, each pixel the mean of those it covers, and up again.
pub(super) fn coarsen(picture: &mut Picture, rng: &mut Rng) {
    let share: f64 = rng.random_range(0.25..=0.7);
    let [height, width] = picture.size;
    let [h, w] = picture.size.map(|side| ((side as f64 * share).round() as usize).max(1));
    // Where the pixels of a small side begin among those of the large one.
    let begins = |i: usize, few: usize, many: usize| i * many / few;
    let mut small = vec![0.0f32; h * w];
    for plane in picture.planes() {
        for (i, mean) in small.iter_mut().enumerate() {
            let (y, x) = (i / w, i % w);
            let rows = begins(y, h, height)..begins(y + 1, h, height);
            let columns = begins(x, w, width)..begins(x + 1, w, width);
            let count = (rows.len() * columns.len()) as f32;
            let sum: f32 = rows.map(|r| plane[r * width..][columns.clone()].iter().sum::<f32>()).sum();
            *mean = sum / count;
        }
        let place = |i: usize, many: usize, few: usize| {
            let at = ((i as f32 + 0.5) * few as f32 / many as f32 - 0.5).clamp(0.0, (few - 1) as f32);
            (at as usize, (at as usize + 1).min(few - 1), at.fract())
        };
        for y in 0..height {
            let (top, bottom, fy) = place(y, height, h);
            for x in 0..width {
                let (left, right, fx) = place(x, width, w);
                let row = |r: usize| small[r * w + left] * (1.0 - fx) + small[r * w + right] * fx;
                plane[y * width + x] = row(top) * (1.0 - fy) + row(bottom) * fy;
            }
        }
    }
}

/// Compressed as JPEG of quality 10 to 50.
pub(super) fn compress(picture: &mut Picture, rng: &mut Rng) -> Result<()> {
    let quality = rng.random_range(10..=50u8);
    let bytes = picture.to_rgb8();
    let failed = |e: image::ImageError| DataError::image("augment.jpeg", e.to_string());
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, quality)
        .encode(&bytes.pixels, bytes.width as u32, bytes.height as u32, image::ExtendedColorType::Rgb8)
        .map_err(failed)?;
    let back = image::load_from_memory_with_format(&file, ImageFormat::Jpeg).map_err(failed)?.to_rgb8();
    let plane = bytes.width * bytes.height;
    for (i, pixel) in back.pixels().enumerate() {
        for c in 0..3 {
            picture.values[c * plane + i] = f32::from(pixel.0[c]) / 255.0;
        }
    }
    Ok(())
}
