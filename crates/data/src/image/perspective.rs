//! Views into pictures of all directions.

use super::Rgb8;

/// A view: where to, how wide, and in which projection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DirectedView {
    /// Degrees clockwise from the picture's heading 0.
    pub heading: f64,
    /// Degrees above the horizon.
    pub pitch: f64,
    /// Horizontal field of view in degrees; below 180 where the projection is a camera's.
    pub fov: f64,
    /// Whether straight lines stay straight, as in a camera; else columns are headings and rows are heights.
    pub rectilinear: bool,
}

/// Where directions lie in a picture whose columns are headings and whose rows are heights above the horizon, both at
/// one scale: a whole equirectangular panorama or a band of one. Coordinates are those of pixels' edges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AngularGrid {
    /// Pixels per degree.
    pub degree: f64,
    /// Column of heading 0.
    pub forward: f64,
    /// Row of the horizon.
    pub horizon: f64,
}

/// Renders a view of `size` (height, width) pixels, bilinearly. `pixel` returns the picture's value at a column and a
/// row, which may lie outside: it wraps columns around and ends rows.
///
/// # Errors
/// Whatever `pixel` returns.
pub fn render_view<E>(
    view: DirectedView,
    [height, width]: [usize; 2],
    grid: AngularGrid,
    mut pixel: impl FnMut(isize, isize) -> Result<[f32; 3], E>,
) -> Result<Rgb8, E> {
    let focal = width as f64 / 2.0 / (view.fov / 2.0).to_radians().tan();
    let (sin, cos) = view.pitch.to_radians().sin_cos();
    let mut pixels = Vec::with_capacity(height * width * 3);
    for y in 0..height {
        for x in 0..width {
            let (right, down) = (x as f64 + 0.5 - width as f64 / 2.0, y as f64 + 0.5 - height as f64 / 2.0);
            let (turn, fall) = if view.rectilinear {
                let (along, below) = (focal * cos + down * sin, down * cos - focal * sin);
                (right.atan2(along).to_degrees(), below.atan2(right.hypot(along)).to_degrees())
            } else {
                let each = view.fov / width as f64;
                (right * each, down * each - view.pitch)
            };
            let column = grid.forward + (view.heading + turn) * grid.degree - 0.5;
            let row = grid.horizon + fall * grid.degree - 0.5;
            let (left, top) = (column.floor(), row.floor());
            let (fx, fy) = ((column - left) as f32, (row - top) as f32);
            let (left, top) = (left as isize, top as isize);
            let [a, b] = [pixel(left, top)?, pixel(left + 1, top)?];
            let [c, d] = [pixel(left, top + 1)?, pixel(left + 1, top + 1)?];
            for k in 0..3 {
                let (upper, lower) = (a[k] + (b[k] - a[k]) * fx, c[k] + (d[k] - c[k]) * fx);
                pixels.push((upper + (lower - upper) * fy).round() as u8);
            }
        }
    }
    Ok(Rgb8 { width, height, pixels })
}
