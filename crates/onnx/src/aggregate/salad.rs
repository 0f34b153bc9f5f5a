//! SALAD and MegaLoc: optimal transport of patches to clusters, by the Sinkhorn algorithm unrolled.

use super::part;
use crate::backbone::Grid;
use crate::graph::{Graph, Value};
use crate::sizes::Size;
use r2former_model::SaladConfig;
use r2former_model::aggregate::SINKHORN_ROUNDS;

/// The descriptor, and the share of each patch that clusters get, `[batch, patches]`.
pub(super) fn salad(
    g: &mut Graph<'_>,
    c: &SaladConfig,
    patches: &Value,
    token: &Value,
    grid: &Grid,
) -> (Value, Value) {
    let features = mlp(g, patches, "cluster_features", 3);
    let scores = mlp(g, patches, "score", 3);
    let assigned = g.within("sinkhorn", |g| transport(g, c, &scores, grid));
    let used = g.sum(&assigned, &[2], false);
    // [batch, clusters, dim], of which each row has unit length; channels come first in the descriptor.
    let clusters = g.transpose(&assigned, &[0, 2, 1]);
    let sums = g.matmul(&clusters, &features);
    let sums = g.unit(&sums);
    let sums = g.transpose(&sums, &[0, 2, 1]);
    let sums = g.node("Flatten", &[&sums], Vec::new());
    let token = mlp(g, token, "token_features", 2);
    let token = g.unit(&token);
    let all = g.concat(&[&token, &sums], 1);
    let all = g.unit(&all);
    let descriptor = match c.linear {
        Some(_) => g.linear(&all, &part("linear")),
        None => all,
    };
    (descriptor, used)
}

fn mlp(g: &mut Graph<'_>, x: &Value, name: &str, second: usize) -> Value {
    let hidden = g.linear(x, &part(&format!("{name}.0")));
    let hidden = g.relu(&hidden);
    g.linear(&hidden, &part(&format!("{name}.{second}")))
}

/// How much of each patch belongs to each cluster, `[batch, patches, clusters]`.
fn transport(g: &mut Graph<'_>, c: &SaladConfig, scores: &Value, grid: &Grid) -> Value {
    let patches = grid.patches(g);
    let batch = g.size_of(scores, 0);
    let dust = g.weight_shaped(&part("dust_bin"), &[1, 1, 1]);
    let dust = g.expand(&dust, &[batch, patches.clone(), Size::from(1)]);
    let scores = g.concat(&[scores, &dust], 2);
    let count = g.number(&patches);
    let clusters = c.clusters as f64;
    let all = g.numbers("Add", &count, clusters);
    let all = g.ln(&all);
    let mass = g.numbers("Mul", &all, -1.0);
    let rest = g.numbers("Sub", &count, clusters);
    let rest = g.ln(&rest);
    // Every cluster has the mass of one patch, and the dust bin the rest.
    let mut last = vec![0.0; c.clusters + 1];
    last[c.clusters] = 1.0;
    let last = g.floats(&[1, 1, c.clusters + 1], &last);
    let to = g.scale(&last, rest);
    let to = g.with_number("Add", &to, mass.clone());
    let (mut from, mut into): (Option<Value>, Option<Value>) = (None, None);
    for _ in 0..SINKHORN_ROUNDS {
        let moved = from.map_or_else(|| scores.clone(), |from| g.add(&scores, &from));
        let sums = log_sum_exp(g, &moved, 1);
        let towards = g.sub(&to, &sums);
        let moved = g.add(&scores, &towards);
        let sums = log_sum_exp(g, &moved, 2);
        let sums = g.neg(&sums);
        from = Some(g.with_number("Add", &sums, mass.clone()));
        into = Some(towards);
    }
    let mut moved = scores;
    for part in [into, from].into_iter().flatten() {
        moved = g.add(&moved, &part);
    }
    let moved = g.with_number("Sub", &moved, mass);
    let shares = g.exp(&moved);
    g.slice(&shares, 2, 0, Some(c.clusters))
}

/// The logarithm of the sum of exponentials along an axis, which stays with size 1.
fn log_sum_exp(g: &mut Graph<'_>, x: &Value, axis: i64) -> Value {
    let largest = g.max(x, axis);
    let moved = g.sub(x, &largest);
    let powers = g.exp(&moved);
    let sum = g.sum(&powers, &[axis], true);
    let log = g.node("Log", &[&sum], Vec::new());
    g.add(&log, &largest)
}
