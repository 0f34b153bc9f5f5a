//! MixVPR.

use super::part;
use crate::graph::{Graph, Value};
use r2former_model::MixVprConfig;
use r2former_model::aggregate::EPSILON;

pub(super) fn mixvpr(g: &mut Graph<'_>, c: &MixVprConfig, map: &Value) -> Value {
    let mut x = g.transpose(map, &[0, 2, 1]);
    for i in 0..c.depth {
        let name = |index: usize| part(&format!("mix.{i}.mix.{index}"));
        let hidden = g.layer_norm(&x, &name(0), EPSILON);
        let hidden = g.linear(&hidden, &name(1));
        let hidden = g.relu(&hidden);
        let mixed = g.linear(&hidden, &name(3));
        x = g.add(&x, &mixed);
    }
    let x = g.transpose(&x, &[0, 2, 1]);
    let channels = g.linear(&x, &part("channel_proj"));
    let channels = g.transpose(&channels, &[0, 2, 1]);
    let rows = g.linear(&channels, &part("row_proj"));
    g.node("Flatten", &[&rows], Vec::new())
}
