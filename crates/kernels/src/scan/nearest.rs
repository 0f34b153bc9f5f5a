//! What can still be among the nearest, and the exact ranking of it.

use super::Query;
use super::exact::dot_bytes;
use crate::Level;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Collects, for one query, every row that can still be among the `top` best by dot product.
///
/// Each row comes with bounds of its score. The `top`-th best lower bound is the threshold: a row whose upper bound is
/// below it has at least `top` better ones. Threads each have a collector, which are then [merged](Self::merge).
#[derive(Debug, Clone)]
pub struct Nearest {
    top: usize,
    /// The `top` best lower bounds, the worst on top.
    best: BinaryHeap<Ranked>,
    /// The worst of `best` once there are `top`.
    threshold: f32,
    candidates: Vec<Candidate>,
    /// The number of candidates at which those below the threshold are removed.
    prune_at: usize,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    /// The upper bound.
    upper: Ranked,
    lower: f32,
}

/// A slot with a score or a bound of it; the better rank is the lesser: a higher score, then a smaller slot. NaN is the
/// lowest score.
#[derive(Debug, Clone, Copy)]
struct Ranked {
    score: f32,
    slot: u32,
}

/// Candidates that are collected before the first are removed.
const FEW: usize = 1024;

impl Nearest {
    /// A collector of the `top` best rows. Memory grows with the rows collected, not with `top`.
    pub fn new(top: usize) -> Self {
        Self {
            top,
            best: BinaryHeap::new(),
            threshold: if top == 0 { f32::INFINITY } else { f32::NEG_INFINITY },
            candidates: Vec::new(),
            prune_at: FEW,
        }
    }

    /// Rows collected so far; more than [`finish`](Self::finish) reads, and at least `top` once so many were scanned.
    pub fn candidates(&self) -> usize {
        self.candidates.len()
    }

    /// An f64 bound below this one, rounded to f32, is below the threshold.
    pub(super) fn limit(&self) -> f64 {
        f64::from(self.threshold.next_down())
    }

    /// Adds a row whose score is within `lower..=upper`. Neither is NaN or -0.
    pub(super) fn offer(&mut self, slot: u32, lower: f32, upper: f32) {
        if self.top == 0 || upper < self.threshold {
            return;
        }
        self.candidates.push(Candidate { upper: Ranked { score: upper, slot }, lower });
        self.raise(Ranked { score: lower, slot });
        if self.candidates.len() >= self.prune_at {
            self.prune();
            self.prune_at = FEW.max(2 * self.candidates.len());
        }
    }

    fn raise(&mut self, lower: Ranked) {
        push(&mut self.best, self.top, lower);
        if self.best.len() == self.top
            && let Some(worst) = self.best.peek()
        {
            // A merged collector's threshold can be higher until all of its rows are here.
            self.threshold = self.threshold.max(worst.score);
        }
    }

    fn prune(&mut self) {
        let threshold = self.threshold;
        self.candidates.retain(|candidate| candidate.upper.score >= threshold);
    }

    /// Adds what another collector of the same query and `top` found in other rows.
    ///
    /// Of collectors with different `top`, the result is one of the smaller.
    pub fn merge(&mut self, other: Self) {
        if other.top < self.top {
            let larger = std::mem::replace(self, other);
            return self.merge(larger);
        }
        self.threshold = self.threshold.max(other.threshold);
        for Candidate { upper, lower } in other.candidates {
            self.offer(upper.slot, lower, upper.score);
        }
    }

    /// Rescores what was collected and returns (slot, dot product), best first; ties by the smaller slot, NaN last.
    ///
    /// The answer is that of a scan of all rows by [`dot`](super::dot). `exact` returns the f32 row of a slot as
    /// little-endian bytes at any alignment, as they lie in a memory map: no copy is made. It is called in descending
    /// order of upper bounds, until no bound can enter the `top` best.
    ///
    /// # Errors
    /// The first one of `exact`.
    pub fn finish<'a, E>(
        self,
        level: Level,
        query: &Query,
        mut exact: impl FnMut(u32) -> Result<&'a [u8], E>,
    ) -> Result<Vec<(u32, f32)>, E> {
        let mut score = |slot: &u32| Ok(dot_bytes(level, query.vector(), exact(*slot)?));
        self.finish_by(|slots| slots.iter().map(&mut score).collect())
    }

    /// Like [`finish`](Self::finish) by a function that scores several slots at a time, by [`dot`](super::dot), so that
    /// threads can share them: first the `top` that must be read, then those that may have to be, one by one.
    ///
    /// # Errors
    /// The first one of `scores`.
    pub fn finish_by<E>(
        mut self,
        mut scores: impl FnMut(&[u32]) -> Result<Vec<f32>, E>,
    ) -> Result<Vec<(u32, f32)>, E> {
        self.prune();
        self.candidates.sort_unstable_by_key(|candidate| candidate.upper);
        let (first, rest) = self.candidates.split_at(self.top.min(self.candidates.len()));
        let first: Vec<u32> = first.iter().map(|candidate| candidate.upper.slot).collect();
        let scored = scores(&first)?.into_iter().zip(&first);
        let mut best: BinaryHeap<_> = scored.map(|(score, &slot)| Ranked { score, slot }).collect();
        for Candidate { upper, .. } in rest {
            // Sorted by the same rule, no later candidate can be better than this bound.
            if best.peek().is_none_or(|worst| upper > worst) {
                break;
            }
            for score in scores(&[upper.slot])? {
                push(&mut best, self.top, Ranked { score, slot: upper.slot });
            }
        }
        Ok(best.into_sorted_vec().into_iter().map(|ranked| (ranked.slot, ranked.score)).collect())
    }
}

/// Adds to the `top` best, at least one.
fn push(best: &mut BinaryHeap<Ranked>, top: usize, ranked: Ranked) {
    if best.len() < top {
        best.push(ranked);
    } else if let Some(mut worst) = best.peek_mut()
        && ranked < *worst
    {
        *worst = ranked;
    }
}

impl Ranked {
    /// The score for `total_cmp`, which ranks this NaN below all numbers.
    fn key(self) -> f32 {
        if self.score.is_nan() { -f32::NAN.copysign(1.0) } else { self.score }
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().total_cmp(&self.key()).then(self.slot.cmp(&other.slot))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn finish(nearest: Nearest, rows: &[[u8; 4]]) -> Vec<(u32, f32)> {
        let exact = |slot: u32| Ok::<_, Infallible>(&rows[slot as usize][..]);
        nearest.finish(Level::Scalar, &Query::new(&[1.0]), exact).unwrap()
    }

    #[test]
    fn ties_go_by_slot_and_nan_is_last() {
        let scores = [1.0, f32::NAN, 2.0, 1.0, f32::NEG_INFINITY, 2.0, 1.0f32];
        let rows = scores.map(f32::to_le_bytes);
        let mut nearest = Nearest::new(10);
        for slot in [6, 3, 1, 0, 5, 4, 2] {
            nearest.offer(slot, f32::NEG_INFINITY, f32::INFINITY);
        }
        let slots = |found: Vec<(u32, f32)>| found.into_iter().map(|(slot, _)| slot).collect::<Vec<_>>();
        assert_eq!(slots(finish(nearest.clone(), &rows)), [2, 5, 0, 3, 6, 4, 1]);
        nearest.merge(Nearest::new(3));
        assert_eq!(slots(finish(nearest.clone(), &rows)), [2, 5, 0]);
        nearest.merge(Nearest::new(0));
        assert_eq!(finish(nearest, &rows), []);
    }

    #[test]
    fn rescoring_stops_at_a_bound_that_cannot_enter() {
        let rows = [5.0, 4.0, 3.0, 5.0f32].map(f32::to_le_bytes);
        let mut nearest = Nearest::new(1);
        for (slot, lower, upper) in [(0, 4.0, 6.0), (1, 2.0, 5.0), (2, 1.0, 4.5), (3, 3.0, 5.0)] {
            nearest.offer(slot, lower, upper);
        }
        assert_eq!(nearest.candidates(), 4);
        let mut read = Vec::new();
        let exact = |slot: u32| {
            read.push(slot);
            Ok::<_, Infallible>(&rows[slot as usize][..])
        };
        let found = nearest.finish(Level::Scalar, &Query::new(&[1.0]), exact).unwrap();
        assert_eq!((found, read), (vec![(0, 5.0)], vec![0]));
    }

    #[test]
    fn those_that_must_be_read_are_scored_together() {
        let scores = [1.0, 5.0, 3.0, 2.0f32];
        let mut nearest = Nearest::new(2);
        for (slot, lower, upper) in [(0, 0.0, 9.0), (1, 4.0, 6.0), (2, 1.0, 4.0), (3, 1.0, 2.5)] {
            nearest.offer(slot, lower, upper);
        }
        let mut asked = Vec::new();
        let found = nearest.finish_by(|slots| {
            asked.push(slots.to_vec());
            Ok::<_, Infallible>(slots.iter().map(|&slot| scores[slot as usize]).collect())
        });
        assert_eq!((found, asked), (Ok(vec![(1, 5.0), (2, 3.0)]), vec![vec![0, 1], vec![2]]));
    }

    #[test]
    fn candidates_below_the_threshold_are_removed() {
        let mut nearest = Nearest::new(2);
        for slot in 0..100_000 {
            nearest.offer(slot, slot as f32, slot as f32 + 10.0);
        }
        assert!(nearest.candidates() <= 2 * FEW, "{}", nearest.candidates());
        nearest.prune();
        assert_eq!(nearest.candidates(), 12);
    }

    #[test]
    fn an_error_of_the_reader_is_returned() {
        let mut nearest = Nearest::new(2);
        nearest.offer(7, 0.0, 1.0);
        let found = nearest.finish(Level::Scalar, &Query::new(&[1.0]), Err::<&[u8], u32>);
        assert_eq!(found, Err(7));
    }
}
