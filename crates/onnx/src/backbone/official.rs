//! Position embeddings of the published R2Former at any size of image: the square window of its code
//! ([`PositionMode::Official`](r2former_model::PositionMode::Official)).

use super::Grid;
use super::position::{apply, own_size, sampled};
use crate::graph::{Graph, Value};
use crate::proto::FLOAT;
use crate::sizes::{Number, Size};
use r2former_model::VitConfig;

/// The embedding of every patch, `[rows, columns, dim]`, from the stored `cells` `[rows, columns * dim]`, whose values are `stored`.
///
/// The window has `n` patches a side, the larger number of the image's rows and columns. If the stored grid is as large, or that of the image,
/// its middle is taken as it is; else it is resized to `n` x `n` and its distances from the centre are rescaled. Of either, the middle as
/// large as the image remains.
pub(super) fn official(
    g: &mut Graph<'_>,
    c: &VitConfig,
    grid: &Grid,
    cells: &Value,
    stored: &[f32],
) -> Value {
    let n = g.size_max(&grid.rows, &grid.columns);
    let enough = g.size_value(&(c.grid[0].min(c.grid[1])).into());
    let side = g.size_value(&n);
    let cropped = g.node("LessOrEqual", &[&side, &enough], Vec::new());
    let own = own_size(g, c, grid);
    let cropped = g.node("Or", &[&cropped, &own], Vec::new());
    let (count, middle) = (g.number(&n), g.size_div(&n, 2));
    let half = g.number(&middle);
    let [down, across] = [(&grid.rows, c.grid[0]), (&grid.columns, c.grid[1])].map(|(to, from)| {
        let own_half = g.size_div(to, 2);
        let own_half = g.number(&own_half);
        let shift = g.numbers("Sub", &half, own_half.clone());
        let own_shift = g.numbers("Sub", &Number::Known((from / 2) as f64), own_half);
        let shift = select(g, &cropped, &own_shift, &shift);
        let scaled_to = select(g, &cropped, &Number::Known(from as f64), &count);
        let places = g.count_up_to(to);
        let places = g.cast(&places, FLOAT);
        let places = g.add(&places, &shift);
        sampled(g, from, &places, &Number::Computed(scaled_to))
    });
    let fitted = apply(g, c, cells, [&down, &across]);
    let cell = |g: &mut Graph<'_>, row: &Size| {
        let [down, across] = [(row, c.grid[0]), (&middle, c.grid[1])].map(|(place, from)| {
            let place = g.size_value(place);
            let place = g.cast(&place, FLOAT);
            sampled(g, from, &place, &count)
        });
        apply(g, c, cells, [&down, &across])
    };
    let centre = cell(g, &middle);
    // Negative for a window much smaller than the grid, where Python's negative indices wrap around.
    let row = wrapped(g, &middle, c.grid[0] / 2, &n);
    let above = cell(g, &row);
    let distance = g.sub(&above, &centre);
    let squares = g.mul(&distance, &distance);
    let now = g.sum(&squares, &[0, 1, 2], false);
    let before = g.floats(&[1], &[stored_distance(c, stored)]);
    let ratio = g.div(&before, &now);
    let ratio = g.node("Sqrt", &[&ratio], Vec::new());
    let one = g.floats(&[1], &[1.0]);
    let ratio = g.node("Where", &[&cropped, &one, &ratio], Vec::new());
    let moved = g.sub(&fitted, &centre);
    let scaled = g.mul(&moved, &ratio);
    g.add(&scaled, &centre)
}

/// One number or the other.
fn select(g: &mut Graph<'_>, condition: &Value, yes: &Number, no: &Number) -> Value {
    let (yes, no) = (g.number_value(yes), g.number_value(no));
    g.node("Where", &[condition, &yes, &no], Vec::new())
}

/// `middle - less`, from the end of `n` where that is negative.
fn wrapped(g: &mut Graph<'_>, middle: &Size, less: usize, n: &Size) -> Size {
    let (middle, less, n) = (g.size_value(middle), g.ints(&[less as i64]), g.size_value(n));
    let row = g.sub(&middle, &less);
    Size::Computed(g.node("Mod", &[&row, &n], Vec::new()))
}

/// The squared distance of the middle of the stored grid's first row from its centre.
fn stored_distance(c: &VitConfig, stored: &[f32]) -> f32 {
    let cell = |row: usize| {
        let first = (row * c.grid[1] + c.grid[1] / 2) * c.dim;
        stored.get(first..first + c.dim).unwrap_or_default()
    };
    cell(0).iter().zip(cell(c.grid[0] / 2)).map(|(a, b)| (a - b) * (a - b)).sum()
}
