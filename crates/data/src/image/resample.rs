//! Antialiased resizing of 8-bit pixels, value for value as PIL resizes (`libImaging/Resample.c`) before version 13, which
//! goes down first where the height shrinks more than the width.

use super::Rgb8;
use super::filter::Filter;

/// Bits behind the point of PIL's weights: 32 less 8 for the value and 2 for what a bicubic filter overshoots.
const POINT: u32 = 32 - 8 - 2;

/// The weights of one axis in fixed point: each output's window has `reach` of them, zeros after its own.
struct Axis {
    first: Vec<usize>,
    reach: usize,
    weights: Vec<i32>,
}

impl Axis {
    fn new(from: usize, to: usize, filter: Filter) -> Self {
        let scale = from as f64 / to as f64;
        let windows: Vec<_> = (0..to).map(|i| filter.window(from, scale, (i as f64 + 0.5) * scale)).collect();
        let reach = windows.iter().map(|(_, weights)| weights.len()).max().unwrap_or(0);
        let mut weights = vec![0; to * reach];
        for ((_, exact), fixed) in windows.iter().zip(weights.chunks_exact_mut(reach)) {
            for (fixed, weight) in fixed.iter_mut().zip(exact) {
                let scaled = weight * f64::from(1 << POINT);
                // Towards zero after half a step away from it, as a cast in C.
                *fixed = (scaled + 0.5f64.copysign(scaled)) as i32;
            }
        }
        // A window at the end begins earlier, so that it does not reach beyond the axis.
        let mut axis = Self { first: Vec::with_capacity(to), reach, weights };
        for (i, (first, _)) in windows.iter().enumerate() {
            let begin = (*first).min(from - reach);
            axis.weights[i * reach..][..reach].rotate_right(first - begin);
            axis.first.push(begin);
        }
        axis
    }

    fn windows(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.first.iter().copied().zip(self.weights.chunks_exact(self.reach))
    }
}

/// A sum of weighted values, rounded to 8 bits.
fn rounded(sum: i32) -> u8 {
    (sum >> POINT).clamp(0, 255) as u8
}

/// Half a step, with which each sum begins.
const HALF: i32 = 1 << (POINT - 1);

/// Resizes across, then down; a pass that would change nothing is left out.
pub(super) fn resize(image: &Rgb8, height: usize, width: usize, filter: Filter) -> Rgb8 {
    let narrow = if width == image.width { None } else { Some(across(image, width, filter)) };
    let narrow = narrow.as_deref().unwrap_or(&image.pixels);
    let pixels = if height == image.height {
        narrow.to_vec()
    } else {
        down(narrow, 3 * width, image.height, height, filter)
    };
    Rgb8 { width, height, pixels }
}

fn across(image: &Rgb8, width: usize, filter: Filter) -> Vec<u8> {
    let axis = Axis::new(image.width, width, filter);
    let mut out = vec![0; image.height * width * 3];
    for (source, target) in image.pixels.chunks_exact(3 * image.width).zip(out.chunks_exact_mut(3 * width)) {
        for (pixel, (first, weights)) in target.chunks_exact_mut(3).zip(axis.windows()) {
            let mut sums = [HALF; 3];
            for (source, weight) in source[3 * first..].chunks_exact(3).zip(weights) {
                for (sum, &value) in sums.iter_mut().zip(source) {
                    *sum += i32::from(value) * weight;
                }
            }
            for (value, sum) in pixel.iter_mut().zip(sums) {
                *value = rounded(sum);
            }
        }
    }
    out
}

/// `rows` rows of `stride` bytes become `height`.
fn down(source: &[u8], stride: usize, rows: usize, height: usize, filter: Filter) -> Vec<u8> {
    let axis = Axis::new(rows, height, filter);
    let mut out = vec![0; height * stride];
    let mut sums = vec![0i32; stride];
    for (target, (first, weights)) in out.chunks_exact_mut(stride).zip(axis.windows()) {
        sums.fill(HALF);
        for (source, weight) in source[first * stride..].chunks_exact(stride).zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(source) {
                *sum += i32::from(value) * weight;
            }
        }
        for (value, &sum) in target.iter_mut().zip(&sums) {
            *value = rounded(sum);
        }
    }
    out
}
