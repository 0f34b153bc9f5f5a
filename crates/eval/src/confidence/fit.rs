//! Logistic regression without negative weights: what is evidence for an answer never counts against it.

use r2former_model::{Clue, Clues};

/// Sweeps over all weights, at most.
const SWEEPS: usize = 2000;
/// A sweep that changes no weight by more than this is the last; features are standardised.
const STILL: f64 = 1e-7;
/// Strength of the quadratic penalty on standardised weights, per unit of the examples' weight.
const PENALTY: f64 = 0.002;

/// An answer to learn from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Example {
    pub(crate) clues: Clues,
    pub(crate) correct: bool,
    /// How much it counts.
    pub(crate) weight: f64,
}

/// Fits bias and weights of `clues` by maximum likelihood: Newton steps on one weight after the other, each projected onto
/// what is allowed. The problem is convex, so that it ends at the optimum. Weights of 0 are left out.
pub(crate) fn fit(examples: &[Example], clues: &[Clue]) -> (f64, Clues) {
    let total: f64 = examples.iter().map(|e| e.weight).sum();
    let value = |e: &Example, clue: &Clue| e.clues.get(clue).copied().unwrap_or(0.0);
    let mean = |of: &dyn Fn(&Example) -> f64| examples.iter().map(|e| e.weight * of(e)).sum::<f64>() / total;
    let scales: Vec<(f64, f64)> = clues
        .iter()
        .map(|clue| {
            let centre = mean(&|e| value(e, clue));
            let variance = mean(&|e| (value(e, clue) - centre).powi(2));
            (centre, variance.sqrt())
        })
        .collect();
    // A clue that is always the same says nothing.
    let used: Vec<usize> = (0..clues.len()).filter(|j| scales[*j].1 > 1e-9).collect();
    // The first column is the bias.
    let rows: Vec<Vec<f64>> = examples
        .iter()
        .map(|e| {
            let of = |j: &usize| (value(e, &clues[*j]) - scales[*j].0) / scales[*j].1;
            std::iter::once(1.0).chain(used.iter().map(of)).collect()
        })
        .collect();
    let mut theta = vec![0.0f64; used.len() + 1];
    let mut odds = vec![0.0f64; examples.len()];
    for _ in 0..SWEEPS {
        let mut moved = 0.0f64;
        for j in 0..theta.len() {
            let penalty = if j == 0 { 1e-9 } else { PENALTY } * total;
            let (mut gradient, mut curvature) = (penalty * theta[j], penalty);
            for ((e, row), odds) in examples.iter().zip(&rows).zip(&odds) {
                let p = 1.0 / (1.0 + (-odds).exp());
                gradient += e.weight * (p - f64::from(u8::from(e.correct))) * row[j];
                // Far from the middle the curvature vanishes; a least one keeps steps short.
                curvature += e.weight * (p * (1.0 - p)).max(0.05) * row[j] * row[j];
            }
            let next = theta[j] - gradient / curvature;
            let next = if j == 0 { next } else { next.max(0.0) };
            let step = next - theta[j];
            theta[j] = next;
            odds.iter_mut().zip(&rows).for_each(|(odds, row)| *odds += step * row[j]);
            moved = moved.max(step.abs());
        }
        if moved < STILL {
            break;
        }
    }
    let mut bias = theta[0];
    let mut weights = Clues::new();
    for (j, theta) in used.iter().zip(&theta[1..]) {
        let (centre, scale) = scales[*j];
        bias -= theta * centre / scale;
        if *theta > 0.0 {
            weights.insert(clues[*j], theta / scale);
        }
    }
    (bias, weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers that are correct with the probability of a logistic law of two clues; the third is noise against it.
    fn drawn(count: usize) -> Vec<Example> {
        let mut random = fastrand::Rng::with_seed(3);
        (0..count)
            .map(|_| {
                let (a, b) = (random.f64() * 4.0, random.f64());
                let correct = random.f64() < 1.0 / (1.0 + (3.0 - 2.0 * a).exp());
                let against = if correct { -random.f64() } else { random.f64() };
                let clues = [(Clue::Score, a), (Clue::Agreement, b), (Clue::Similarity, against)].into();
                Example { clues, correct, weight: 1.0 }
            })
            .collect()
    }

    #[test]
    fn the_law_is_found_and_no_sign_is_wrong() {
        let examples = drawn(4000);
        let (bias, weights) = fit(&examples, &[Clue::Score, Clue::Agreement, Clue::Similarity]);
        assert!((weights[&Clue::Score] - 2.0).abs() < 0.25 && (bias + 3.0).abs() < 0.4, "{bias} {weights:?}");
        assert!(weights.get(&Clue::Agreement).is_none_or(|weight| *weight < 0.3), "{weights:?}");
        assert!(!weights.contains_key(&Clue::Similarity), "a clue against the answer: {weights:?}");
    }

    #[test]
    fn weights_count_as_copies_do() {
        let examples = drawn(200);
        let copies: Vec<Example> = examples.iter().chain(&examples[..50]).cloned().collect();
        let mut weighted = examples;
        weighted[..50].iter_mut().for_each(|e| e.weight = 2.0);
        let clues = [Clue::Score, Clue::Agreement];
        let ((a, of_copies), (b, of_weights)) = (fit(&copies, &clues), fit(&weighted, &clues));
        assert!((a - b).abs() < 1e-4, "{a} {b}");
        assert!((of_copies[&Clue::Score] - of_weights[&Clue::Score]).abs() < 1e-4);
    }

    #[test]
    fn what_can_be_told_apart_perfectly_stays_finite() {
        let examples: Vec<Example> = (0..20)
            .map(|i| Example { clues: [(Clue::Score, f64::from(i))].into(), correct: i >= 10, weight: 1.0 })
            .collect();
        let (bias, weights) = fit(&examples, &[Clue::Score, Clue::Inliers]);
        assert!(bias.is_finite() && weights[&Clue::Score] > 0.5 && weights[&Clue::Score] < 50.0);
        let (bias, weights) = fit(&examples[..10], &[Clue::Score]);
        assert!(bias < -2.0 && weights.values().all(|w| w.is_finite()), "all wrong: {bias} {weights:?}");
    }
}
