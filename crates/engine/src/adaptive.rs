//! Adaptive reranking: a global ranking whose top-1 margin is large is kept as it is.
//!
//! Reranking costs most of a query, and on a strong global ranking it can do harm. The top-1 margin is the similarity
//! of the first match minus that of the first match of another place: further images of the same place do not
//! count.

/// The top-1 margin: the cosine of the first candidate minus that of the first one of another place; infinite where
/// there is no other place.
///
/// `similarities` are best first; `same_place(i)` is whether candidate `i` shows the place of candidate 0.
///
/// ```
/// // The second shows the same place as the first.
/// let margin = r2former_engine::top1_margin(&[0.75, 0.625, 0.5], |i| i == 1);
/// assert_eq!(margin, 0.25);
/// ```
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
