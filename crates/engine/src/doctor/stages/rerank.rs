//! The reranker: correlation, best matches, both stacks, logits.

use super::{cases, counted};
use crate::Result;
use crate::doctor::inputs::{pairs, tokens};
use crate::doctor::plain::{axes, unit_features};
use crate::doctor::reference::dot;
use crate::doctor::{Array, BestMatches, Comparison, Compute, Kind, Setup, Stage, deviation};
use r2former_model::RerankerConfig;

/// Correlations of the best matches, as values.
pub(super) struct Correlation;

/// The numbers of the best matches.
pub(super) struct BestMatchesStage;

/// Local features of a side; 0 is the model's own number. Multiples of four are read in vectors where that can be.
const FEATURES: &[(Kind, usize, usize)] = &[
    (Kind::PhotoLike, 2, 200),
    (Kind::Random, 1, 0),
    (Kind::Random, 2, 500),
    (Kind::PhotoLike, 7, 61),
    (Kind::PhotoLike, 100, 24),
];

impl Stage for Correlation {
    fn name(&self) -> &'static str {
        "correlation"
    }

    fn compare(&self, setup: &Setup<'_>) -> Result<Vec<Comparison>> {
        over_pairs(setup, |_, found, expected| {
            deviation(&found.correlation.values, &expected.correlation.values)
        })
    }
}

impl Stage for BestMatchesStage {
    fn name(&self) -> &'static str {
        "best matches"
    }

    fn compare(&self, setup: &Setup<'_>) -> Result<Vec<Comparison>> {
        over_pairs(setup, |[own, other], found, expected| mismatch([own, other], found, expected))
    }
}

/// How far the features that were found are from the best: two that correlate alike may change places.
fn mismatch([own, other]: [&Array; 2], found: &BestMatches, expected: &BestMatches) -> f32 {
    let ([_, rows, dim], [_, columns, _]) = (axes(own), axes(other));
    let [_, _, k] = axes(&expected.correlation);
    if found.other.len() != expected.other.len() {
        return f32::INFINITY;
    }
    let mut worst = 0.0f32;
    for (at, (numbers, best)) in
        found.other.chunks_exact(k).zip(expected.correlation.values.chunks_exact(k)).enumerate()
    {
        let (pair, feature) = (at / rows, &own.values[at * dim..][..dim]);
        for (i, (number, best)) in numbers.iter().zip(best).enumerate() {
            let valid =
                usize::try_from(*number).ok().filter(|n| *n < columns && !numbers[..i].contains(number));
            let Some(number) = valid else { return f32::INFINITY };
            let matched = &other.values[(pair * columns + number) * dim..][..dim];
            worst = worst.max((dot(feature, matched) - best).abs());
        }
    }
    worst
}

fn over_pairs(
    setup: &Setup<'_>,
    apart: impl Fn([&Array; 2], &BestMatches, &BestMatches) -> f32,
) -> Result<Vec<Comparison>> {
    let config = &setup.loaded.config;
    let (Some(_), Some(local)) = (&config.reranker, &config.local) else { return Ok(Vec::new()) };
    let compare = |(seed, (kind, batch, count)): (usize, &(Kind, usize, usize))| {
        let count = if *count == 0 { local.count } else { *count };
        // Sides differ in length where the kind is of photographs.
        let counts = if *kind == Kind::PhotoLike { [count, count + count / 5] } else { [count; 2] };
        let [query, reference] = pairs(*kind, *batch, counts, config.local_row(), 61 + seed as u64);
        let input =
            format!("{kind}, {} of {} and {} features", counted(*batch, "pair"), counts[0], counts[1]);
        let units = [unit_features(&query), unit_features(&reference)];
        let run = |compute: &dyn Compute| compute.correlate(&query, &reference);
        setup.compare(input, 1e-3, run, |found, expected| {
            let [own, other] = [&units[0], &units[1]];
            apart([own, other], &found[0], &expected[0]).max(apart([other, own], &found[1], &expected[1]))
        })
    };
    cases(setup.extent, FEATURES, 1).iter().enumerate().map(compare).collect()
}

/// The stack over a feature's matches.
pub(super) struct FeatureStack;

/// The stack over a pair's features.
pub(super) struct PairStack;

/// Features; each has as many tokens as neighbours, or one more or less.
const MATCHES: &[(Kind, usize, usize)] = &[
    (Kind::Random, 100, 0),
    (Kind::PhotoLike, 1, 0),
    (Kind::Random, 2, 1),
    (Kind::PhotoLike, 7, 3),
    (Kind::PhotoLike, 1600, 0),
];

/// Tokens of a pair.
const PAIRS: &[(Kind, usize, usize)] = &[
    (Kind::PhotoLike, 2, 200),
    (Kind::Random, 1, 400),
    (Kind::Random, 2, 123),
    (Kind::PhotoLike, 7, 60),
    (Kind::Random, 100, 16),
];

impl Stage for FeatureStack {
    fn name(&self) -> &'static str {
        "feature blocks"
    }

    fn compare(&self, setup: &Setup<'_>) -> Result<Vec<Comparison>> {
        over_stack(setup, MATCHES, "feature", "matches", |compute, x| compute.feature_tokens(x))
    }
}

impl Stage for PairStack {
    fn name(&self) -> &'static str {
        "pair blocks"
    }

    fn compare(&self, setup: &Setup<'_>) -> Result<Vec<Comparison>> {
        over_stack(setup, PAIRS, "pair", "tokens", |compute, x| compute.pair_tokens(x))
    }
}

fn over_stack(
    setup: &Setup<'_>,
    inputs: &'static [(Kind, usize, usize)],
    what: &str,
    of: &str,
    run: impl Fn(&dyn Compute, &Array) -> Result<Array>,
) -> Result<Vec<Comparison>> {
    let Some(RerankerConfig { dim, neighbours, .. }) = &setup.loaded.config.reranker else {
        return Ok(Vec::new());
    };
    let compare = |(seed, (kind, batch, count)): (usize, &(Kind, usize, usize))| {
        let count = if *count == 0 { *neighbours } else { *count };
        let x = tokens(*kind, [*batch, count, *dim], 71 + seed as u64);
        let input = format!("{kind}, {} of {count} {of}", counted(*batch, what));
        setup.compare(input, 1e-3, |compute| run(compute, &x), |f, e| deviation(&f.values, &e.values))
    };
    cases(setup.extent, inputs, 1).iter().enumerate().map(compare).collect()
}

/// Local features to logits: the whole reranker.
pub(super) struct Logits;

/// Local features of a side; 0 is the model's own number.
const LOGITS: &[(Kind, usize, usize)] = &[
    (Kind::PhotoLike, 2, 100),
    (Kind::Random, 7, 24),
    (Kind::PhotoLike, 1, 0),
    (Kind::PhotoLike, 7, 61),
    (Kind::PhotoLike, 100, 20),
];

impl Stage for Logits {
    fn name(&self) -> &'static str {
        "logits"
    }

    fn compare(&self, setup: &Setup<'_>) -> Result<Vec<Comparison>> {
        let config = &setup.loaded.config;
        let (Some(_), Some(local)) = (&config.reranker, &config.local) else { return Ok(Vec::new()) };
        let compare = |(seed, (kind, batch, count)): (usize, &(Kind, usize, usize))| {
            let count = if *count == 0 { local.count } else { *count };
            let [query, reference] = pairs(*kind, *batch, [count; 2], config.local_row(), 81 + seed as u64);
            let input = format!("{kind}, {} of {count} features", counted(*batch, "pair"));
            let run = |compute: &dyn Compute| compute.logits(&query, &reference);
            setup.compare(input, 5e-3, run, |f, e| deviation(&f.values, &e.values))
        };
        cases(setup.extent, LOGITS, 2).iter().enumerate().map(compare).collect()
    }
}
