//! CricaVPR, each image by itself.

use super::part;
use crate::graph::{Graph, Value};
use crate::sizes::{REST, SAME, Size};
use r2former_model::CricaConfig;
use r2former_model::aggregate::{CRICA_HALVES, CRICA_THIRDS, EPSILON};

pub(super) fn crica(
    g: &mut Graph<'_>,
    c: &CricaConfig,
    patches: &Value,
    token: &Value,
    width: usize,
) -> Value {
    let side = Size::from(CricaConfig::GRID);
    let patches = g.unit(patches);
    let map = g.reshape(&patches, &[SAME, side.clone(), side, width.into()]);
    let mut parts = vec![token.clone()];
    for ranges in [&CRICA_HALVES[..], &CRICA_THIRDS] {
        for rows in ranges {
            let band = g.slice(&map, 1, rows.start, Some(rows.end));
            for columns in ranges {
                let region = g.slice(&band, 2, columns.start, Some(columns.end));
                let cells = g.reshape(&region, &[SAME, REST, width.into()]);
                let mean = g.gem(&cells, Some(&part("p")));
                parts.push(g.unsqueeze(&mean, 1));
            }
        }
    }
    let parts: Vec<&Value> = parts.iter().collect();
    let mut x = g.concat(&parts, 1);
    for i in 0..c.layers {
        let name = |layer: &str| part(&format!("layers.{i}.{layer}"));
        let attended = g.linear(&x, &name("attend"));
        x = g.add(&x, &attended);
        x = g.layer_norm(&x, &name("norm1"), EPSILON);
        let hidden = g.linear(&x, &name("linear1"));
        let hidden = g.gelu(&hidden);
        let hidden = g.linear(&hidden, &name("linear2"));
        x = g.add(&x, &hidden);
        x = g.layer_norm(&x, &name("norm2"), EPSILON);
    }
    g.node("Flatten", &[&x], Vec::new())
}
