//! Adapters of frozen transformers: CricaVPR, SelaVPR and SelaVPR++.

use crate::backbone::Grid;
use crate::graph::{Graph, Value};
use r2former_model::layers::CONVOLUTIONS;

/// `up(relu(down x))`.
pub(crate) fn linear(g: &mut Graph<'_>, x: &Value, name: &str) -> Value {
    let hidden = down(g, x, name);
    up(g, &hidden, name)
}

/// `up(h + branches(h))` with `h = relu(down x)`; tokens before the patches take no part in the branches.
pub(crate) fn convolutions(g: &mut Graph<'_>, x: &Value, name: &str, grid: &Grid) -> Value {
    let hidden = down(g, x, name);
    let patches = g.slice(&hidden, 1, grid.prefix, None);
    let prefix = g.slice(&hidden, 1, 0, Some(grid.prefix));
    let map = g.as_map(&patches, grid);
    let [first, second, third, fourth, fifth] = CONVOLUTIONS;
    let branches = [&[first][..], &[second, third], &[fourth, fifth]].map(|branch| {
        branch.iter().fold(map.clone(), |map, (part, _, side)| {
            let map = g.conv(&map, &format!("{name}.{part}.conv"), *side, 1, true);
            g.relu(&map)
        })
    });
    let branches = g.concat(&branches.each_ref(), 1);
    let branches = g.as_tokens(&branches);
    let more = g.concat(&[&prefix, &branches], 1);
    let sum = g.add(&hidden, &more);
    up(g, &sum, name)
}

fn down(g: &mut Graph<'_>, x: &Value, name: &str) -> Value {
    let hidden = g.linear(x, &format!("{name}.D_fc1"));
    g.relu(&hidden)
}

fn up(g: &mut Graph<'_>, x: &Value, name: &str) -> Value {
    g.linear(x, &format!("{name}.D_fc2"))
}
