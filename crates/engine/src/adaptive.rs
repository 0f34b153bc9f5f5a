//! Adaptive reranking: where the global order is clear, it is left as it is.
//!
//! Reranking costs most of a query, and on a strong global order it can do harm. How clear an order is, is told by how
//! far its first image is ahead of the first one of another place: further images of the same place say nothing
//! against it.

/// By how much the cosine of the first candidate exceeds that of the first one of another place; infinite where there
/// is no other place.
///
/// `similarities` are in order, best first; `same_place(i)` tells whether candidate `i` shows the place of candidate 0.
pub fn top1_margin(similarities: &[f32], same_place: impl Fn(usize) -> bool) -> f32 {
    let Some((first, others)) = similarities.split_first() else { return f32::INFINITY };
    let other = others.iter().enumerate().find(|(i, _)| !same_place(i + 1));
    other.map_or(f32::INFINITY, |(_, similarity)| first - similarity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_the_same_place_do_not_count() {
        let similarities = [0.9, 0.875, 0.75, 0.5];
        assert_eq!(top1_margin(&similarities, |_| false), 0.9 - 0.875);
        assert_eq!(top1_margin(&similarities, |i| i == 1), 0.9 - 0.75);
        assert_eq!(top1_margin(&similarities, |i| i != 3), 0.9 - 0.5);
        assert_eq!(top1_margin(&similarities, |_| true), f32::INFINITY);
        assert_eq!(top1_margin(&[0.4], |_| false), f32::INFINITY);
        assert_eq!(top1_margin(&[], |_| false), f32::INFINITY);
    }
}
