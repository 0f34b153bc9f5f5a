//! The loops around the tiles of a kernel: rows by fours, and as many planes as its registers hold.

use crate::scan::query::Plane;
use crate::scan::{LINE, Line};

/// Rows of a tile.
pub(super) const ROWS: usize = 4;

/// Defines `products` by the functions `$tile::<R, Q>`, the sums of R rows with Q planes, and `$square::<R>`, those of R
/// rows with themselves. `$planes` are multiplied at a time. A tile that takes codes with their offset is `$biased`.
///
/// A macro, as generic code cannot be compiled for the target features of its arguments.
macro_rules! tiled {
    ($(#[$attribute:meta])* $tile:ident, $square:ident, planes: $planes:literal, biased: $biased:literal) => {
        $(#[$attribute])*
        pub(super) fn products(
            rows: &[[u8; LINE]],
            lines: usize,
            planes: &[&Plane],
            sums: &mut [i32],
            squares: &mut [i32],
        ) {
            let sum = |sum: i32, plane: &Plane| if $biased { sum.wrapping_sub(plane.offset) } else { sum };
            let count = rows.len() / lines;
            for (tile, rows) in rows.chunks(ROWS * lines).enumerate() {
                let first = ROWS * tile;
                if rows.len() < ROWS * lines {
                    for (r, row) in rows.chunks_exact(lines).enumerate() {
                        if !squares.is_empty() {
                            [squares[first + r]] = $square([row]);
                        }
                        for (p, plane) in planes.iter().enumerate() {
                            let [[found]] = $tile([row], [&plane.codes[..lines]]);
                            sums[p * count + first + r] = sum(found, plane);
                        }
                    }
                    continue;
                }
                let rows: [_; ROWS] = $crate::scan::kernel::tile::split(rows, lines);
                if !squares.is_empty() {
                    squares[first..][..ROWS].copy_from_slice(&$square(rows));
                }
                let (groups, rest) = planes.as_chunks::<$planes>();
                for (group, planes) in groups.iter().enumerate() {
                    let found = $tile(rows, $crate::scan::kernel::tile::codes(planes, lines));
                    for (p, plane) in planes.iter().enumerate() {
                        let sums = &mut sums[(group * $planes + p) * count + first..][..ROWS];
                        for (r, out) in sums.iter_mut().enumerate() {
                            *out = sum(found[p][r], plane);
                        }
                    }
                }
                for (p, plane) in rest.iter().enumerate() {
                    let [found] = $tile(rows, [&plane.codes[..lines]]);
                    let sums = &mut sums[(groups.len() * $planes + p) * count + first..][..ROWS];
                    for (r, out) in sums.iter_mut().enumerate() {
                        *out = sum(found[r], plane);
                    }
                }
            }
        }
    };
}
pub(super) use tiled;

/// The rows of a tile.
#[inline(always)]
pub(super) fn split(tile: &[[u8; LINE]], lines: usize) -> [&[[u8; LINE]]; ROWS] {
    let mut rows = [tile; ROWS];
    for r in 0..ROWS {
        rows[r] = &tile[r * lines..][..lines];
    }
    rows
}

/// The codes of planes. By a loop: in functions with target features the closures of `map` are not inlined.
#[inline(always)]
pub(super) fn codes<'a, const Q: usize>(planes: &[&'a Plane; Q], lines: usize) -> [&'a [Line<i8>]; Q] {
    let mut codes: [&[_]; Q] = [&[]; Q];
    for q in 0..Q {
        codes[q] = &planes[q].codes[..lines];
    }
    codes
}

/// Slices of `lines` elements each, so that indices below are not checked one by one.
#[inline(always)]
pub(super) fn cut<T, const N: usize>(mut slices: [&[T]; N], lines: usize) -> [&[T]; N] {
    for slice in &mut slices {
        *slice = &slice[..lines];
    }
    slices
}
