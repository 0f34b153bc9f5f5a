//! Bilinear resizing without antialiasing, as torch interpolates tensors.

use super::Rgb8;

/// For one output coordinate: the two source coordinates and the weight of the second.
#[derive(Clone, Copy)]
struct Tap {
    first: usize,
    second: usize,
    weight: f32,
}

/// The taps of one axis, in 32-bit arithmetic in the order of torch's `upsample_bilinear2d` with
/// `align_corners=False`, so that even the roundings agree.
fn taps(from: usize, to: usize) -> Vec<Tap> {
    let scale = from as f32 / to as f32;
    let tap = |i: usize| {
        let source = (scale * (i as f32 + 0.5) - 0.5).max(0.0);
        let first = (source as usize).min(from - 1);
        let weight = (source - first as f32).clamp(0.0, 1.0);
        Tap { first, second: (first + 1).min(from - 1), weight }
    };
    (0..to).map(tap).collect()
}

/// Bilinear without antialias of the values `table[channel][byte]`, into `out` of
/// 3 x `height` x `width`. Downscaling skips pixels: only four are looked at for each of the output.
pub(super) fn resize(image: &Rgb8, height: usize, width: usize, table: &[[f32; 256]; 3], out: &mut [f32]) {
    let columns = taps(image.width, width);
    let rows = taps(image.height, height);
    let stride = image.width * 3;
    for (channel, (plane, table)) in out.chunks_exact_mut(height * width).zip(table).enumerate() {
        for (line, row) in plane.chunks_exact_mut(width).zip(&rows) {
            let upper = &image.pixels[row.first * stride..][..stride];
            let lower = &image.pixels[row.second * stride..][..stride];
            for (value, tap) in line.iter_mut().zip(&columns) {
                let (a, b) = (tap.first * 3 + channel, tap.second * 3 + channel);
                let across = |source: &[u8]| {
                    let (left, right) = (table[usize::from(source[a])], table[usize::from(source[b])]);
                    left * (1.0 - tap.weight) + right * tap.weight
                };
                *value = across(upper) * (1.0 - row.weight) + across(lower) * row.weight;
            }
        }
    }
}
