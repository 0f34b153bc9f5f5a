//! The homography between the two pictures of a pair, and which patches it maps onto each other.

use crate::augment::{CORNERS, Homography, apply, homography};
use crate::config::WarpConfig;
use crate::random::Rng;
use rand::Rng as _;

/// Draws before corners are no longer shifted by themselves.
const TRIES: usize = 16;

/// A homography from picture a to picture b, in shares of their sides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Warp {
    to_b: Homography,
    /// Its inverse, up to a factor.
    pub(crate) to_a: Homography,
    /// How much larger things are in b, about.
    pub(crate) zoom: f64,
}

impl WarpConfig {
    /// A random homography between pictures of a size (height, width).
    pub(crate) fn draw(&self, [height, width]: [usize; 2], rng: &mut Rng) -> Warp {
        let mut symmetric = |most: f64| rng.random_range(-1.0..=1.0) * most;
        let [least, most] = self.zoom.map(f64::ln);
        let zoom = ((least + most) / 2.0 + symmetric((most - least) / 2.0)).exp();
        let (sine, cosine) = symmetric(self.rotation_deg).to_radians().sin_cos();
        let stretch = (symmetric(self.aspect) / 2.0).exp();
        let shift = [symmetric(self.shift), symmetric(self.shift)];
        let sides = [width as f64, height as f64];
        let mut quad = CORNERS;
        for attempt in 0..=TRIES {
            let own = if attempt == TRIES { 0.0 } else { self.corners };
            quad = CORNERS.map(|[u, v]| {
                let (x, y) = ((u - 0.5) * sides[0] * zoom * stretch, (v - 0.5) * sides[1] * zoom / stretch);
                let turned = [cosine * x - sine * y, sine * x + cosine * y];
                std::array::from_fn(|i| 0.5 + turned[i] / sides[i] + shift[i] + symmetric(own))
            });
            if convex(&quad) {
                break;
            }
        }
        Warp::new(homography(quad), zoom)
    }
}

impl Warp {
    fn new(to_b: Homography, zoom: f64) -> Self {
        Self { to_b, to_a: adjugate(&to_b), zoom }
    }

    /// For each patch of a, row by row, the patch of b that its centre falls into. `grid` is rows and columns of both.
    pub(crate) fn matches(&self, grid: [usize; 2]) -> Vec<Option<u32>> {
        let [rows, columns] = grid;
        let centre = |row: usize, column: usize| {
            [(column as f64 + 0.5) / columns as f64, (row as f64 + 0.5) / rows as f64]
        };
        (0..rows)
            .flat_map(|row| (0..columns).map(move |column| centre(row, column)))
            .map(|point| patch(apply(&self.to_b, point), grid))
            .collect()
    }

    /// The same of two photographs with known matches, of which the second is warped: x and y in the first, x and y in
    /// the second, in shares of the sides. A patch with several matches has the first of them.
    pub(crate) fn listed(&self, points: &[[f64; 4]], grid: [usize; 2]) -> Vec<Option<u32>> {
        let mut found = vec![None; grid[0] * grid[1]];
        for [x, y, u, v] in points {
            if let (Some(a), Some(b)) = (patch([*x, *y], grid), patch(apply(&self.to_b, [*u, *v]), grid)) {
                found[a as usize].get_or_insert(b);
            }
        }
        found
    }
}

/// The patch that a point of a picture falls into.
fn patch([x, y]: [f64; 2], [rows, columns]: [usize; 2]) -> Option<u32> {
    let inside = (0.0..1.0).contains(&x) && (0.0..1.0).contains(&y);
    let cell = |at: f64, count: usize| ((at * count as f64) as usize).min(count - 1);
    inside.then(|| (cell(y, rows) * columns + cell(x, columns)) as u32)
}

/// Whether a quadrilateral is convex and keeps the orientation of the unit square.
fn convex(quad: &[[f64; 2]; 4]) -> bool {
    (0..4).all(|i| {
        let [a, b, c] = [0, 1, 2].map(|k| quad[(i + k) % 4]);
        (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0]) > 1e-6
    })
}

/// The inverse of a matrix times its determinant: as a homography, its inverse.
fn adjugate(m: &Homography) -> Homography {
    let minor = |r: usize, c: usize| {
        let [r0, r1] = [(r + 1) % 3, (r + 2) % 3];
        let [c0, c1] = [(c + 1) % 3, (c + 2) % 3];
        m[r0][c0] * m[r1][c1] - m[r0][c1] * m[r1][c0]
    };
    std::array::from_fn(|r| std::array::from_fn(|c| minor(c, r)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Use, at};

    fn shifted(x: f64) -> Warp {
        Warp::new([[1.0, 0.0, x], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], 1.0)
    }

    #[test]
    fn patches_of_known_homographies() {
        let grid = [3, 4];
        let same: Vec<Option<u32>> = (0..12).map(Some).collect();
        assert_eq!(shifted(0.0).matches(grid), same);
        // 16 of 64 pixels to the right: the neighbour, and nothing for the last column.
        let right: Vec<Option<u32>> = (0..12).map(|i| (i % 4 < 3).then_some(i + 1)).collect();
        assert_eq!(shifted(16.0 / 64.0).matches(grid), right);
    }

    #[test]
    fn listed_matches_move_with_the_warp() {
        let grid = [2, 4];
        let points = [[0.1, 0.1, 0.1, 0.6], [0.2, 0.2, 0.9, 0.9], [0.6, 0.6, 0.9, 0.1], [1.2, 0.5, 0.5, 0.5]];
        let mut expected = vec![None; 8];
        // Patch 0 keeps its first match; the third leaves the picture; the last never was in it.
        expected[0] = Some(4 + 1);
        assert_eq!(shifted(0.25).listed(&points, grid), expected);
    }

    #[test]
    fn warps_repeat_vary_and_invert() {
        let config = WarpConfig::default();
        let draw = |n: u64| config.draw([240, 320], &mut at(1, Use::Image, [n, 0]));
        assert_eq!(draw(0), draw(0));
        let mut matched = 0;
        for n in 0..200 {
            let warp = draw(n);
            assert!((0.5..=1.6).contains(&warp.zoom));
            for point in [[0.5, 0.5], [0.1, 0.9], [0.8, 0.3]] {
                let back = apply(&warp.to_a, apply(&warp.to_b, point));
                assert!((back[0] - point[0]).abs() < 1e-9 && (back[1] - point[1]).abs() < 1e-9);
            }
            matched += warp.matches([15, 20]).iter().flatten().count();
        }
        let share = matched as f64 / (200.0 * 300.0);
        assert!((0.3..0.95).contains(&share), "{share}");
        // Nothing moves where nothing may.
        let still = WarpConfig { zoom: [1.0, 1.0], shift: 0.0, rotation_deg: 0.0, aspect: 0.0, corners: 0.0 };
        let same: Vec<Option<u32>> = (0..300).map(Some).collect();
        assert_eq!(still.draw([240, 320], &mut at(1, Use::Image, [0, 0])).matches([15, 20]), same);
    }
}
