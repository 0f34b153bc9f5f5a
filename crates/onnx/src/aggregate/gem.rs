//! GeM over L2-normalised patch tokens: SelaVPR, SelaVPR++.

use super::part;
use crate::graph::{Graph, Value};
use r2former_model::GemConfig;

pub(super) fn gem(g: &mut Graph<'_>, c: &GemConfig, patches: &Value) -> Value {
    let patches = match c.projected {
        true => g.linear(patches, &part("project")),
        false => patches.clone(),
    };
    let patches = g.unit(&patches);
    let mean = g.gem(&patches, Some(&part("p")));
    match c.dim {
        Some(_) => g.linear(&mean, &part("head")),
        None => mean,
    }
}
