//! Sampling error: bootstrap intervals, and McNemar's test of two rankings of the same queries.

use super::localisation::quantile;
use serde::Serialize;

/// Bootstrap samples.
const SAMPLES: usize = 2000;

/// A share with its 95 % bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// The measured share.
    pub value: f64,
    /// 2.5th percentile of the bootstrap distribution.
    pub low: f64,
    /// 97.5th percentile.
    pub high: f64,
}

/// Two rankings of the same queries, compared query by query.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PairedTest {
    /// Share of correct queries of the second minus that of the first, with its 95 % bootstrap interval.
    pub difference: Interval,
    /// Queries that only the first gets right.
    pub only_first: usize,
    /// Queries that only the second gets right.
    pub only_second: usize,
    /// p-value of McNemar's exact test, two-sided: the probability of a split of the discordant queries at least this
    /// uneven if both rankings were equally good.
    pub p: f64,
}

impl PairedTest {
    /// [`Self::p`] with three digits, or `< 0.001`.
    pub fn p_text(&self) -> String {
        if self.p < 0.001 { "< 0.001".into() } else { format!("{:.3}", self.p) }
    }
}

/// The share of correct queries with its 95 % interval: percentile bootstrap of 2000 samples, with a fixed seed, so that
/// equal input gives equal output.
///
/// # Examples
///
/// ```
/// use r2former_eval::bootstrap;
///
/// let correct: Vec<bool> = (0..40).map(|query| query % 4 != 0).collect();
/// let recall = bootstrap(&correct);
/// assert_eq!(recall.value, 0.75);
/// // About 1.96 * sqrt(0.75 * 0.25 / 40) = 0.134 to either side.
/// assert!((recall.low - 0.61).abs() < 0.03 && (recall.high - 0.88).abs() < 0.03);
/// ```
pub fn bootstrap(correct: &[bool]) -> Interval {
    let values: Vec<f64> = correct.iter().map(|hit| f64::from(u8::from(*hit))).collect();
    interval(&values)
}

/// Compares two rankings, each given by which queries it gets right. Queries beyond the shorter list are ignored.
///
/// # Examples
///
/// ```
/// use r2former_eval::paired_test;
///
/// let global = [true, true, false, false, false, false, false];
/// let reranked = [true, false, true, true, true, true, true];
/// let test = paired_test(&global, &reranked);
/// assert_eq!((test.only_first, test.only_second), (1, 5));
/// // Of 6 discordant queries at most one on either side: 2 * (1 + 6) / 2^6.
/// assert!((test.p - 14.0 / 64.0).abs() < 1e-12);
/// assert!((test.difference.value - 4.0 / 7.0).abs() < 1e-12);
/// ```
pub fn paired_test(first: &[bool], second: &[bool]) -> PairedTest {
    let pairs: Vec<(bool, bool)> = first.iter().copied().zip(second.iter().copied()).collect();
    let differences: Vec<f64> =
        pairs.iter().map(|(a, b)| f64::from(u8::from(*b)) - f64::from(u8::from(*a))).collect();
    let only_first = pairs.iter().filter(|(a, b)| *a && !*b).count();
    let only_second = pairs.iter().filter(|(a, b)| !*a && *b).count();
    PairedTest {
        difference: interval(&differences),
        only_first,
        only_second,
        p: mcnemar(only_first, only_second),
    }
}

fn interval(values: &[f64]) -> Interval {
    mean_of_sets(&[values])
}

/// The mean over sets of each set's mean, every set counting the same, with its 95 % interval: each bootstrap sample
/// resamples the values of every set. Empty sets are left out.
pub(crate) fn mean_of_sets(sets: &[impl AsRef<[f64]>]) -> Interval {
    let sets: Vec<&[f64]> = sets.iter().map(AsRef::as_ref).filter(|set| !set.is_empty()).collect();
    if sets.is_empty() {
        return Interval { value: 0.0, low: 0.0, high: 0.0 };
    }
    let mut random = fastrand::Rng::with_seed(0);
    let mean = |values: &[f64], sum: f64| sum / values.len() as f64;
    let over_sets = |of: &mut dyn FnMut(&[f64]) -> f64| -> f64 {
        sets.iter().map(|set| of(set)).sum::<f64>() / sets.len() as f64
    };
    let mut resampled =
        |set: &[f64]| mean(set, (0..set.len()).map(|_| set[random.usize(..set.len())]).sum::<f64>());
    let mut means: Vec<f64> = (0..SAMPLES).map(|_| over_sets(&mut resampled)).collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| quantile(&means, share).unwrap_or(0.0);
    let value = over_sets(&mut |set| mean(set, set.iter().sum()));
    Interval { value, low: at(0.025), high: at(0.975) }
}

/// Twice the probability of at most `min(a, b)` heads in `a + b` tosses of a fair coin, at most 1.
fn mcnemar(a: usize, b: usize) -> f64 {
    let n = a + b;
    // In logarithms: 2^-n underflows from n = 1075 on.
    let mut log_probability = -(n as f64) * std::f64::consts::LN_2;
    let mut total = 0.0;
    for k in 0..=a.min(b) {
        total += log_probability.exp();
        log_probability += ((n - k) as f64 / (k + 1) as f64).ln();
    }
    (2.0 * total).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_counts_the_same_in_a_mean_of_sets() {
        // 100 queries at 0.9 and 4 at 0.5.
        let large: Vec<f64> = (0..100).map(|i| f64::from(u8::from(i >= 10))).collect();
        let small = vec![0.0, 1.0, 0.0, 1.0];
        let found = mean_of_sets(&[large.clone(), Vec::new(), small]);
        assert!((found.value - 0.7).abs() < 1e-12);
        // The standard error of the small set, 0.25, is halved.
        assert!((found.low - 0.46).abs() < 0.05 && (found.high - 0.94).abs() < 0.05, "{found:?}");
        assert_eq!(mean_of_sets(&[&large]), interval(&large));
        assert_eq!(mean_of_sets(&[[0.0; 0]]).value, 0.0);
    }

    #[test]
    fn mcnemar_by_hand() {
        // 1 against 5 of 6 tosses: 2 * (1 + 6) / 64.
        assert!((mcnemar(1, 5) - 14.0 / 64.0).abs() < 1e-12);
        assert_eq!(mcnemar(0, 0), 1.0);
        assert_eq!(mcnemar(3, 3), 1.0);
        assert!(mcnemar(400, 1600) < 1e-100, "underflow: {}", mcnemar(400, 1600));
    }

    #[test]
    fn an_interval_contains_the_share_and_narrows_with_queries() {
        let queries = |n: usize| -> Vec<bool> { (0..n).map(|i| i % 4 != 0).collect() };
        let (few, many) = (bootstrap(&queries(40)), bootstrap(&queries(4000)));
        assert_eq!(few.value, 0.75);
        assert!(few.low < 0.75 && 0.75 < few.high);
        // The normal approximation: 1.96 * sqrt(0.75 * 0.25 / n).
        assert!((few.high - few.low - 0.268).abs() < 0.04, "{few:?}");
        assert!((many.high - many.low - 0.0268).abs() < 0.004, "{many:?}");
        assert_eq!(bootstrap(&[]), Interval { value: 0.0, low: 0.0, high: 0.0 });
    }

    #[test]
    fn discordant_pairs_are_counted() {
        let found = paired_test(&[true, true, false, false], &[true, false, true, true]);
        assert_eq!((found.only_first, found.only_second), (1, 2));
        assert_eq!(found.difference.value, 0.25);
        assert_eq!(found.p, 1.0);
    }
}
