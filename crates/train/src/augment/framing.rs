//! Framing: which part of a photograph is seen, and through what lens.

use super::{AugmentConfig, Chosen, Picture};
use crate::Result;
use crate::random::Rng;
use r2former_data::image::{Preprocess, ResizeMode, Rgb8, to_input};
use rand::Rng as _;

/// Corners of the unit square, clockwise from the upper left.
pub(crate) const CORNERS: [[f64; 2]; 4] = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];

/// Largest radial distortion of a fisheye lens.
const FISHEYE: f64 = 0.6;

/// Pixels of the shrunk photograph per pixel of the result: interpolation takes four neighbours only.
const OVERSAMPLING: f64 = 1.15;

/// A projective map of the plane.
pub(crate) type Homography = [[f64; 3]; 3];

/// What lies beyond a photograph's border.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Border {
    /// The pixel at the border, again.
    Clamp,
    /// The photograph mirrored at the centres of its outermost pixels, as OpenCV's `BORDER_REFLECT_101`.
    Reflect,
}

impl AugmentConfig {
    /// A photograph scaled to `size` (height, width), with the framing that was chosen.
    pub(super) fn frame(
        &self,
        image: &Rgb8,
        size: [usize; 2],
        flip: bool,
        chosen: &Chosen,
        rng: &mut Rng,
    ) -> Result<Picture> {
        let mut quad = CORNERS;
        if chosen.crop {
            let area: f64 = rng.random_range(self.crop_area..=1.0);
            let ratio = rng.random_range(-1.0..=1.0f64) * self.crop_ratio.ln();
            let side = |sign: f64| (area.sqrt() * (sign * ratio / 2.0).exp()).min(1.0);
            let (width, height) = (side(1.0), side(-1.0));
            let (left, top) = (rng.random::<f64>() * (1.0 - width), rng.random::<f64>() * (1.0 - height));
            quad.iter_mut().for_each(|[x, y]| (*x, *y) = (left + *x * width, top + *y * height));
        }
        if chosen.perspective {
            let (width, height) = (quad[1][0] - quad[0][0], quad[2][1] - quad[0][1]);
            for [x, y] in &mut quad {
                let mut shift = |side: f64| rng.random_range(-1.0..=1.0) * self.perspective_shift * side;
                (*x, *y) = ((*x + shift(width)).clamp(0.0, 1.0), (*y + shift(height)).clamp(0.0, 1.0));
            }
        }
        let distortion = if chosen.fisheye { rng.random_range(0.1..=FISHEYE) } else { 0.0 };
        framed(image, quad, size, flip, distortion)
    }
}

/// The part of an image inside `quad` (corners clockwise from the upper left, shares of the sides), at `size`.
fn framed(
    image: &Rgb8,
    quad: [[f64; 2]; 4],
    [height, width]: [usize; 2],
    flip: bool,
    distortion: f64,
) -> Result<Picture> {
    // Shrunk first so that one source pixel is about one of the result.
    let length = |a: usize, b: usize| {
        ((quad[a][0] - quad[b][0]) * image.width as f64)
            .hypot((quad[a][1] - quad[b][1]) * image.height as f64)
    };
    let shrink = |sides: f64, wanted: usize| (wanted as f64 * OVERSAMPLING / (sides / 2.0).max(1.0)).min(1.0);
    let across = shrink(length(0, 1) + length(3, 2), width);
    let down = shrink(length(0, 3) + length(1, 2), height);
    let map = homography(quad);
    sampled(image, [down, across], [height, width], Border::Clamp, |x, y| {
        let column = if flip { width - 1 - x } else { x };
        apply(&map, distorted(centre([column, y], [height, width]), distortion))
    })
}

/// An image at `size` seen through a homography from the result to the image, both in shares of the sides; `zoom` is
/// the length of the image's side in the result, in lengths of the result's.
pub(crate) fn warped(
    image: &Rgb8,
    to_source: &Homography,
    zoom: f64,
    [height, width]: [usize; 2],
) -> Result<Picture> {
    let shrink = |wanted: usize, side: usize| (wanted as f64 * OVERSAMPLING * zoom / side as f64).min(1.0);
    let scale = [shrink(height, image.height), shrink(width, image.width)];
    let at = |x, y| apply(to_source, centre([x, y], [height, width]));
    sampled(image, scale, [height, width], Border::Reflect, at)
}

/// The centre of a pixel, in shares of the sides.
fn centre([x, y]: [usize; 2], [height, width]: [usize; 2]) -> [f64; 2] {
    [(x as f64 + 0.5) / width as f64, (y as f64 + 0.5) / height as f64]
}

/// Scales an image by `scale` (down, across) and samples it bilinearly at the point `at` each pixel (column, row) of the result.
fn sampled(
    image: &Rgb8,
    [down, across]: [f64; 2],
    [height, width]: [usize; 2],
    border: Border,
    at: impl Fn(usize, usize) -> [f64; 2],
) -> Result<Picture> {
    let [h, w] =
        [image.height as f64 * down, image.width as f64 * across].map(|v| (v.round() as usize).max(1));
    let plain = Preprocess { mean: [0.0; 3], std: [1.0; 3], resize: ResizeMode::Antialias };
    let source = to_input(image, h, w, &plain)?;
    let mut values = vec![0.0; 3 * height * width];
    for y in 0..height {
        for x in 0..width {
            let [a, b] = at(x, y);
            let (sx, sy) = ((a * w as f64 - 0.5) as f32, (b * h as f64 - 0.5) as f32);
            let (sx, sy) = (border.inside(sx, w), border.inside(sy, h));
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

impl Border {
    /// A coordinate between the centres of the first and the last of `count` pixels.
    fn inside(self, at: f32, count: usize) -> f32 {
        let last = (count - 1) as f32;
        match self {
            Self::Reflect if last > 0.0 && at.is_finite() => {
                let folded = at.rem_euclid(2.0 * last);
                folded.min(2.0 * last - folded).clamp(0.0, last)
            }
            _ => at.clamp(0.0, last),
        }
    }
}

/// A point of a picture moved as a lens of barrel distortion does; corners stay.
fn distorted([u, v]: [f64; 2], strength: f64) -> [f64; 2] {
    if strength == 0.0 {
        return [u, v];
    }
    let (x, y) = (2.0 * u - 1.0, 2.0 * v - 1.0);
    let factor = (1.0 + strength * (x * x + y * y)) / (1.0 + 2.0 * strength);
    [0.5 + 0.5 * factor * x, 0.5 + 0.5 * factor * y]
}

/// A point mapped by a homography.
pub(crate) fn apply(map: &Homography, [u, v]: [f64; 2]) -> [f64; 2] {
    let [a, b, c] = map.map(|row| row[0] * u + row[1] * v + row[2]);
    [a / c, b / c]
}

/// The projective map from the unit square to a quadrilateral (Heckbert, 1989).
pub(crate) fn homography(quad: [[f64; 2]; 4]) -> Homography {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_map_to_the_quad() {
        let quad = [[0.1, 0.2], [0.9, 0.1], [1.0, 0.8], [0.0, 1.0]];
        let map = homography(quad);
        for (corner, expected) in CORNERS.into_iter().zip(quad) {
            let found = apply(&map, corner);
            assert!((found[0] - expected[0]).abs() < 1e-12 && (found[1] - expected[1]).abs() < 1e-12);
        }
    }

    #[test]
    fn borders_reflect_as_opencvs() {
        // gfedcb|abcdefgh|gfedcba of pixels 0 to 7.
        for (at, expected) in [(-1.0, 1.0), (-2.0, 2.0), (3.5, 3.5), (8.0, 6.0), (15.0, 1.0)] {
            assert_eq!(Border::Reflect.inside(at, 8), expected);
        }
        assert_eq!((Border::Reflect.inside(5.0, 1), Border::Clamp.inside(-3.0, 8)), (0.0, 0.0));
    }

    #[test]
    fn a_lens_leaves_centre_and_corners() {
        for point in [[0.5, 0.5], [0.0, 0.0], [1.0, 0.0]] {
            let found = distorted(point, 0.4);
            assert!((found[0] - point[0]).abs() < 1e-12 && (found[1] - point[1]).abs() < 1e-12);
        }
        assert!(distorted([0.75, 0.5], 0.4)[0] < 0.75);
    }
}
