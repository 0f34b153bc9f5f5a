//! Rotary positions of DINOv3, for any grid of patches.

use super::Grid;
use crate::graph::{Graph, Value};
use crate::proto::FLOAT;
use crate::sizes::{REST, Size};
use std::f64::consts::TAU;

/// Cosines and sines of each token's angles, `[tokens, head size]`. Tokens before the patches have angles of zero.
pub(super) fn rope(g: &mut Graph<'_>, periods: &[f32], grid: &Grid) -> [Value; 2] {
    let (rows, columns) = (along(g, &grid.rows, periods), along(g, &grid.columns, periods));
    let count = periods.len();
    // By row, then by column.
    let parts = [(rows, 1), (columns, 0)].map(|(angles, axis)| {
        let angles = g.unsqueeze(&angles, axis);
        g.expand(&angles, &[grid.rows.clone(), grid.columns.clone(), count.into()])
    });
    let angles = g.concat(&parts.each_ref(), 2);
    let angles = g.reshape(&angles, &[REST, (2 * count).into()]);
    let zeros = g.floats(&[grid.prefix, 2 * count], &vec![0.0; 2 * count * grid.prefix]);
    let angles = g.concat(&[&zeros, &angles], 0);
    // Either half of a head is turned by all of them.
    let angles = g.concat(&[&angles, &angles], 1);
    [g.cos(&angles), g.sin(&angles)]
}

/// The angles along a side, `[patches, periods]`: centres of patches from -1 to 1, however many there are.
fn along(g: &mut Graph<'_>, side: &Size, periods: &[f32]) -> Value {
    let places = g.count_up_to(side);
    let places = g.cast(&places, FLOAT);
    let places = g.with_number("Add", &places, 0.5);
    let side = g.number(side);
    let places = g.with_number("Div", &places, side);
    let places = g.scale(&places, 2.0);
    let places = g.with_number("Sub", &places, 1.0);
    let angles = g.scale(&places, TAU);
    let angles = g.unsqueeze(&angles, 1);
    let periods = g.floats(&[1, periods.len()], periods);
    g.div(&angles, &periods)
}
