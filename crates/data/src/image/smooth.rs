//! Antialiased resizing without rounding to 8 bits, as torchvision resizes tensors.

use super::Rgb8;
use super::filter::Filter;

/// The source coordinates that an output coordinate is computed from: the first, and the weight of each.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

/// The taps of one axis as torch's `_upsample_bilinear2d_aa` and `_upsample_bicubic2d_aa` choose them.
fn taps(from: usize, to: usize, filter: Filter) -> Vec<Taps> {
    // Rounded to 32 bits where torch does.
    let scale = f64::from(from as f32 / to as f32);
    let tap = |i: usize| {
        let centre = f64::from((scale * (i as f64 + 0.5)) as f32);
        let (first, weights) = filter.window(from, scale, centre);
        Taps { first, weights: weights.iter().map(|&w| w as f32).collect() }
    };
    (0..to).map(tap).collect()
}

/// Resizes the values `table[channel][byte]` into `out` of 3 x `height` x `width`. Weights sum to one, so that it is the
/// same whether values are normalised before or afterwards.
pub(super) fn resize(
    image: &Rgb8,
    height: usize,
    width: usize,
    table: &[[f32; 256]; 3],
    filter: Filter,
    out: &mut [f32],
) {
    let (columns, rows) = (taps(image.width, width, filter), taps(image.height, height, filter));
    let mut line = vec![0.0f32; image.width];
    let mut narrow = vec![0.0f32; image.height * width];
    for (channel, (plane, table)) in out.chunks_exact_mut(height * width).zip(table).enumerate() {
        for (pixels, narrow) in image.pixels.chunks_exact(3 * image.width).zip(narrow.chunks_exact_mut(width))
        {
            for (value, pixel) in line.iter_mut().zip(pixels.chunks_exact(3)) {
                *value = table[usize::from(pixel[channel])];
            }
            for (value, taps) in narrow.iter_mut().zip(&columns) {
                let source = &line[taps.first..];
                *value = source.iter().zip(&taps.weights).map(|(v, w)| v * w).sum();
            }
        }
        for (line, taps) in plane.chunks_exact_mut(width).zip(&rows) {
            line.fill(0.0);
            for (source, weight) in narrow[taps.first * width..].chunks_exact(width).zip(&taps.weights) {
                for (value, v) in line.iter_mut().zip(source) {
                    *value += v * weight;
                }
            }
        }
    }
}
