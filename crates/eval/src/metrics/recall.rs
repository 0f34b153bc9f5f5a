//! Recall@N: the share of queries with at least one positive among the first N.

use serde::Serialize;
use std::collections::BTreeMap;

/// The N that are reported.
pub const RECALL_AT: [usize; 5] = [1, 5, 10, 20, 100];

/// Recall at each N that was asked, as fractions of the counted queries, keyed by N as text.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Recall(pub BTreeMap<usize, f64>);

impl Recall {
    /// Recall at `n`, 0 where that N was not computed.
    pub fn at(&self, n: usize) -> f64 {
        self.0.get(&n).copied().unwrap_or(0.0)
    }
}

/// Recall at each N of [`RECALL_AT`] of ranked predictions: for each query the database's numbers, best first, and the right ones.
///
/// Every query counts: one without positives can only fail, so leave it out to drop it.
pub fn recall<'a>(queries: impl IntoIterator<Item = (&'a [u32], &'a [u32])>) -> Recall {
    recall_at(queries, &RECALL_AT)
}

/// As [`recall`], at other N.
pub fn recall_at<'a>(queries: impl IntoIterator<Item = (&'a [u32], &'a [u32])>, at: &[usize]) -> Recall {
    let first_hit: Vec<Option<usize>> = queries
        .into_iter()
        .map(|(ranking, right)| ranking.iter().position(|candidate| right.contains(candidate)))
        .collect();
    let share = |n: usize| match first_hit.len() {
        0 => 0.0,
        queries => {
            first_hit.iter().filter(|hit| hit.is_some_and(|rank| rank < n)).count() as f64 / queries as f64
        }
    };
    Recall(at.iter().map(|n| (*n, share(*n))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_queries_with_a_positive_in_time() {
        // Query 0 is right at once, query 1 at rank 5 (counting from 1), query 2 at rank 6, query 3
        // never: recall@1 = 1/4, @5 = 2/4, @10 = 3/4.
        let rankings: [&[u32]; 4] = [&[7], &[0, 1, 2, 3, 9], &[0, 1, 2, 3, 4, 8], &[0, 1]];
        let positives: [&[u32]; 4] = [&[7, 3], &[9], &[8], &[]];
        let r = recall(rankings.iter().zip(&positives).map(|(r, p)| (*r, *p)));
        assert_eq!([r.at(1), r.at(5), r.at(10), r.at(100)], [0.25, 0.5, 0.75, 0.75]);
    }

    #[test]
    fn no_queries_is_zero_not_a_number() {
        assert_eq!(recall([]).at(1), 0.0);
    }
}
