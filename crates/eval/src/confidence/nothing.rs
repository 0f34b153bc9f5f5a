//! Synthetic pictures that show no place: covered lenses, blank walls, noise.

use r2former_engine::Rgb8;

/// Pixels of a side: less than any model's input, as detail is of no interest.
const SIDE: usize = 224;

/// The `number`-th picture: each kind in turn, each time another one.
pub(crate) fn picture(number: usize) -> Rgb8 {
    let mut random = fastrand::Rng::with_seed(0x6e6f_7468 + number as u64);
    let base: [f64; 3] = std::array::from_fn(|_| 255.0 * random.f64());
    let grey = random.f64() * 255.0;
    let grain = 2.0 + 10.0 * random.f64();
    let (slope_x, slope_y) = (120.0 * (random.f64() - 0.5), 120.0 * (random.f64() - 0.5));
    let (width, height) = (12.0 + 50.0 * random.f64(), 8.0 + 30.0 * random.f64());
    let coarse = blocks(&mut random);
    let mut pixels = Vec::with_capacity(SIDE * SIDE * 3);
    for y in 0..SIDE {
        for x in 0..SIDE {
            let (along, down) = (x as f64, y as f64);
            let (u, v) = (along / SIDE as f64, down / SIDE as f64);
            let noise = random.f64() - 0.5;
            let pixel: [f64; 3] = match number % 8 {
                // Darkness, with a sensor's noise.
                0 => [6.0 + grain * noise; 3],
                // One colour.
                1 => base,
                // A wall, lit from one side.
                2 | 3 => base.map(|c| c + slope_x * u + slope_y * v + grain * noise),
                // White noise, of grey and of each channel.
                4 => [128.0 + 255.0 * noise; 3],
                5 => std::array::from_fn(|_| 255.0 * random.f64()),
                // Noise of large grain, as of a picture out of focus.
                6 => [interpolated(&coarse, u, v) * 255.0; 3],
                // Bricks.
                _ => {
                    let row = (down / height).floor();
                    let shifted = along + if row % 2.0 == 0.0 { 0.0 } else { width / 2.0 };
                    let joint = down % height < 2.0 || shifted % width < 2.0;
                    if joint { [grey; 3] } else { base.map(|c| c + grain * noise) }
                }
            };
            pixels.extend(pixel.map(|value| value.clamp(0.0, 255.0) as u8));
        }
    }
    Rgb8 { width: SIDE, height: SIDE, pixels }
}

/// A grid of random values.
fn blocks(random: &mut fastrand::Rng) -> Vec<f64> {
    (0..100).map(|_| random.f64()).collect()
}

/// The grid of 10 x 10 values at a point, bilinear.
fn interpolated(grid: &[f64], u: f64, v: f64) -> f64 {
    let at = |x: usize, y: usize| grid[(10 * y.min(9)) + x.min(9)];
    let ((x, fx), (y, fy)) =
        (((9.0 * u) as usize, (9.0 * u).fract()), ((9.0 * v) as usize, (9.0 * v).fract()));
    let across = |y: usize| at(x, y) * (1.0 - fx) + at(x + 1, y) * fx;
    across(y) * (1.0 - fy) + across(y + 1) * fy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_whole_repeatable_and_differ() {
        let all: Vec<Rgb8> = (0..16).map(picture).collect();
        for (i, one) in all.iter().enumerate() {
            assert_eq!(one.pixels.len(), SIDE * SIDE * 3);
            assert_eq!(one.pixels, picture(i).pixels);
            assert!(all[..i].iter().all(|other| other.pixels != one.pixels), "{i} is a repetition");
        }
        assert!(all[0].pixels.iter().all(|v| *v < 20), "the first is dark");
    }
}
