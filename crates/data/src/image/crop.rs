//! A part of a network's input.

use crate::{DataError, Result};

/// The rectangle of `part` (height, width) pixels whose upper left corner is `corner` (row, column), out of an input
/// of `size` (height, width) as [`to_input`](super::to_input) makes it: 3 planes again.
///
/// # Errors
/// [`DataError::Request`] for an input of another size, or a rectangle that is empty or not within it.
pub fn crop_input(input: &[f32], size: [usize; 2], corner: [usize; 2], part: [usize; 2]) -> Result<Vec<f32>> {
    let [height, width] = size;
    let [top, left] = corner;
    let within = |from: usize, length: usize, side: usize| {
        length > 0 && from.checked_add(length).is_some_and(|end| end <= side)
    };
    if height.checked_mul(width).and_then(|n| n.checked_mul(3)) != Some(input.len())
        || !within(top, part[0], height)
        || !within(left, part[1], width)
    {
        return Err(DataError::Request(format!(
            "{} x {} pixels at {top}, {left} are not within 3 x {height} x {width} of {} values",
            part[0],
            part[1],
            input.len()
        )));
    }
    let mut out = Vec::with_capacity(3 * part[0] * part[1]);
    for plane in input.chunks_exact(height * width) {
        for row in plane.chunks_exact(width).skip(top).take(part[0]) {
            out.extend_from_slice(&row[left..left + part[1]]);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rectangle_of_every_plane() {
        let input: Vec<f32> = (0..3 * 4 * 5).map(|v| v as f32).collect();
        let part = crop_input(&input, [4, 5], [1, 2], [2, 3]).unwrap();
        assert_eq!(part[..6], [7.0, 8.0, 9.0, 12.0, 13.0, 14.0]);
        assert_eq!(part[6..9], [27.0, 28.0, 29.0]);
        assert_eq!(crop_input(&input, [4, 5], [0, 0], [4, 5]).unwrap(), input);
        for (corner, part) in
            [([0, 3], [1, 3]), ([3, 0], [2, 1]), ([0, 0], [0, 1]), ([usize::MAX, 0], [2, 1])]
        {
            assert!(crop_input(&input, [4, 5], corner, part).is_err(), "{corner:?} {part:?}");
        }
        assert!(crop_input(&input, [5, 5], [0, 0], [1, 1]).is_err());
    }
}
