//! Photographs of a size or shape that says little about a place.

/// Sides below this many pixels show no street.
const LEAST_SIDE: usize = 32;

/// Longer photographs lose most of their content when they are resized to the network's input.
const MOST_ELONGATED: usize = 8;

/// A warning for an image too small or too elongated to be recognised; `None` for a usual one.
///
/// ```
/// assert_eq!(r2former_engine::size_note(4032, 3024), None);
/// let note = r2former_engine::size_note(1, 1).unwrap();
/// assert_eq!(note, "is 1 x 1 pixels: the answer means little");
/// ```
pub fn size_note(width: usize, height: usize) -> Option<String> {
    let (short, long) = (width.min(height), width.max(height));
    (short < LEAST_SIDE || long > MOST_ELONGATED * short)
        .then(|| format!("is {width} x {height} pixels: the answer means little"))
}
