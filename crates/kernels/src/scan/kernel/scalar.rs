//! The reference, on any machine.

use super::LINE;
use super::tile::{ROWS, tiled};
use crate::scan::Line;
use crate::scan::query::Plane;

tiled!(tile, square, planes: 2, biased: false);

fn tile<const R: usize, const Q: usize>(rows: [&[[u8; LINE]]; R], planes: [&[Line<i8>]; Q]) -> [[i32; R]; Q] {
    planes.map(|plane| {
        rows.map(|row| {
            let lines = row.iter().zip(plane);
            lines.map(|(row, plane)| line(row, &plane.0)).fold(0, i32::wrapping_add)
        })
    })
}

fn line(row: &[u8; LINE], plane: &[i8; LINE]) -> i32 {
    let product = |(row, plane): (&u8, &i8)| (i32::from(*row) - 128) * i32::from(*plane);
    row.iter().zip(plane).map(product).sum()
}

fn square<const R: usize>(rows: [&[[u8; LINE]]; R]) -> [i32; R] {
    let square = |code: &u8| (i32::from(*code) - 128) * (i32::from(*code) - 128);
    rows.map(|row| row.iter().map(|line| line.iter().map(square).sum()).fold(0, i32::wrapping_add))
}
