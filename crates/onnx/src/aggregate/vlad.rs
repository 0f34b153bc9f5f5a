//! Residuals to cluster centres: NetVLAD with a soft assignment, AnyLoc's VLAD with a hard one.

use super::part;
use crate::graph::{Graph, Value, int};
use crate::proto::FLOAT;
use r2former_model::{LocalVladConfig, NetVladConfig, VladConfig};

pub(super) fn netvlad(g: &mut Graph<'_>, c: &NetVladConfig, map: &Value) -> Value {
    let features = g.unit(map);
    let assign = g.transposed_weight(&part("assign"));
    let scores = g.matmul(&features, &assign);
    let shares = g.softmax(&scores);
    let shares = g.transpose(&shares, &[0, 2, 1]);
    let centres = g.weight(&part("centroids"));
    let vlad = residuals(g, &shares, &features, &centres);
    let vlad = g.unit(&vlad);
    match c.whitened {
        Some(_) => g.linear(&vlad, &part("whitening")),
        None => vlad,
    }
}

pub(super) fn vlad(g: &mut Graph<'_>, c: &VladConfig, features: &Value) -> Value {
    let features = g.unit(features);
    let centres = g.weight(&part("centroids"));
    // Of unit length, for the assignment alone.
    let directions = g.unit(&centres);
    let directions = g.transpose(&directions, &[1, 0]);
    let scores = g.matmul(&features, &directions);
    let nearest = g.node("ArgMax", &[&scores], vec![int("axis", 2), int("keepdims", 1)]);
    let clusters: Vec<i64> = (0..c.clusters as i64).collect();
    let clusters = g.ints(&clusters);
    let members = g.node("Equal", &[&nearest, &clusters], Vec::new());
    let members = g.cast(&members, FLOAT);
    let members = g.transpose(&members, &[0, 2, 1]);
    residuals(g, &members, &features, &centres)
}

/// Of local features, softly assigned and whitened.
pub(super) fn local_vlad(g: &mut Graph<'_>, c: &LocalVladConfig, features: &Value) -> Value {
    let features = g.unit(features);
    let centres = g.weight(&part("centroids"));
    let across = g.transpose(&centres, &[1, 0]);
    let scores = g.matmul(&features, &across);
    let scores = g.scale(&scores, c.softness);
    let shares = g.softmax(&scores);
    let shares = g.transpose(&shares, &[0, 2, 1]);
    let vlad = residuals(g, &shares, &features, &centres);
    let vlad = g.unit(&vlad);
    g.linear(&vlad, &part("whitening"))
}

/// The sums of weighted residuals, each of unit length, as one vector: weighted features, less the centre as often as it was
/// assigned.
fn residuals(g: &mut Graph<'_>, shares: &Value, features: &Value, centres: &Value) -> Value {
    let assigned = g.sum(shares, &[2], true);
    let sums = g.matmul(shares, features);
    let expected = g.mul(&assigned, centres);
    let residuals = g.sub(&sums, &expected);
    let residuals = g.unit(&residuals);
    g.node("Flatten", &[&residuals], Vec::new())
}
