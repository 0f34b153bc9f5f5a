//! Antialiased resizing without rounding to 8 bits, as torchvision resizes tensors.

use super::Rgb8;

/// The filter of a resizing, wider when shrinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    /// A triangle of one pixel to each side.
    Bilinear,
    /// Keys' kernel with a = -0.5, two pixels to each side.
    Bicubic,
}

impl Filter {
    fn reach(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    fn at(self, x: f64) -> f64 {
        let x = x.abs();
        match self {
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            Self::Bicubic => 0.0,
        }
    }
}

/// The source coordinates that an output coordinate is computed from: the first, and the weight of each.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

/// The taps of one axis as torch's `_upsample_bilinear2d_aa` and `_upsample_bicubic2d_aa` choose them.
fn taps(from: usize, to: usize, filter: Filter) -> Vec<Taps> {
    // Rounded to 32 bits where torch does.
    let scale = f64::from(from as f32 / to as f32);
    let wide = scale.max(1.0);
    let reach = filter.reach() * wide;
    let tap = |i: usize| {
        let centre = f64::from((scale * (i as f64 + 0.5)) as f32);
        let first = (centre - reach + 0.5).max(0.0) as usize;
        let end = ((centre + reach + 0.5) as usize).min(from);
        let raw: Vec<f64> = (first..end).map(|at| filter.at((at as f64 - centre + 0.5) / wide)).collect();
        let sum: f64 = raw.iter().sum();
        Taps { first, weights: raw.iter().map(|w| (w / sum) as f32).collect() }
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
