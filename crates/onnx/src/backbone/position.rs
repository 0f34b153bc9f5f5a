//! Position embeddings at the size of the image: resized at export where that is fixed, else by the graph.

use super::Grid;
use super::official::official;
use crate::graph::{Graph, Value};
use crate::proto::FLOAT;
use crate::sizes::{Number, REST, Size};
use burn::tensor::{Tensor, TensorData};
use r2former_model::layers::fit_position;
use r2former_model::{Device, PositionMode, VitConfig};

/// The embedding of every patch, `[1, patches, dim]`.
pub(super) fn position(g: &mut Graph<'_>, c: &VitConfig, grid: &Grid) -> Value {
    let stored = g.read("backbone.pos_embed");
    let cells = stored.get(c.class_tokens() * c.dim..).unwrap_or_default();
    if let (Size::Known(rows), Size::Known(columns)) = (&grid.rows, &grid.columns) {
        let target = [*rows as usize, *columns as usize];
        let fitted = fitted(cells, c, target);
        return g.computed_weight("backbone.pos_embed", vec![1, target[0] * target[1], c.dim], fitted);
    }
    let stored = cells;
    let cells = g.computed_weight("backbone.pos_embed", vec![c.grid[0], c.grid[1] * c.dim], stored);
    let fitted = match c.position {
        PositionMode::Official => official(g, c, grid, &cells, stored),
        _ => {
            let [down, across] = weights(g, c, grid);
            apply(g, c, &cells, [&down, &across])
        }
    };
    g.reshape(&fitted, &[1.into(), REST, c.dim.into()])
}

/// The grid `[rows, columns, dim]` that two matrices `[to, from]` make of the stored one.
pub(super) fn apply(g: &mut Graph<'_>, c: &VitConfig, cells: &Value, [down, across]: [&Value; 2]) -> Value {
    let tall = g.matmul(down, cells);
    let tall = g.reshape(&tall, &[REST, c.grid[1].into(), c.dim.into()]);
    g.matmul(across, &tall)
}

fn fitted(cells: &[f32], c: &VitConfig, target: [usize; 2]) -> Vec<f32> {
    let count = c.grid[0] * c.grid[1];
    if cells.len() != count * c.dim {
        return Vec::new();
    }
    let cells = Tensor::<3>::from_data(TensorData::new(cells.to_vec(), [1, count, c.dim]), &Device::flex());
    fit_position(cells, c.grid, target, c.position).into_data().iter::<f32>().collect()
}

/// The matrices `[to, from]` of the rows and the columns.
fn weights(g: &mut Graph<'_>, c: &VitConfig, grid: &Grid) -> [Value; 2] {
    let sides = [(&grid.rows, c.grid[0]), (&grid.columns, c.grid[1])];
    let offset = match c.position {
        PositionMode::Dinov2 => offset(g, c, grid),
        _ => Number::Known(0.0),
    };
    sides.map(|(to, from)| match c.position {
        PositionMode::Antialias => antialiased(g, from, to),
        _ => points(g, from, to, &offset),
    })
}

/// Whether the image has the stored grid, at which no mode changes the embedding.
pub(super) fn own_size(g: &mut Graph<'_>, c: &VitConfig, grid: &Grid) -> Value {
    let own = [(&grid.rows, c.grid[0]), (&grid.columns, c.grid[1])].map(|(to, from)| {
        let (to, from) = (g.size_value(to), g.ints(&[from as i64]));
        g.node("Equal", &[&to, &from], Vec::new())
    });
    g.node("And", &[&own[0], &own[1]], Vec::new())
}

/// DINOv2's offset at other sizes.
fn offset(g: &mut Graph<'_>, c: &VitConfig, grid: &Grid) -> Number {
    let own = own_size(g, c, grid);
    let other = g.node("Not", &[&own], Vec::new());
    let other = g.cast(&other, FLOAT);
    let by = g.floats(&[1], &[0.1]);
    Number::Computed(g.mul(&other, &by))
}

/// Keys' kernel with parameter `a` at distances `x`.
fn keys(g: &mut Graph<'_>, x: &Value, a: f64) -> Value {
    let x = g.node("Abs", &[x], Vec::new());
    // ((a + 2) x - (a + 3)) x x + 1 up to 1, ((a x - 5 a) x + 8 a) x - 4 a up to 2, then 0.
    let square = g.mul(&x, &x);
    let near = g.scale(&x, a + 2.0);
    let near = g.with_number("Sub", &near, a + 3.0);
    let near = g.mul(&near, &square);
    let near = g.with_number("Add", &near, 1.0);
    let far = g.scale(&x, a);
    let far = g.with_number("Sub", &far, 5.0 * a);
    let far = g.mul(&far, &x);
    let far = g.with_number("Add", &far, 8.0 * a);
    let far = g.mul(&far, &x);
    let far = g.with_number("Sub", &far, 4.0 * a);
    let zero = g.floats(&[1], &[0.0]);
    let beyond = g.with_number("GreaterOrEqual", &x, 2.0);
    let far = g.node("Where", &[&beyond, &zero, &far], Vec::new());
    let within = g.with_number("LessOrEqual", &x, 1.0);
    g.node("Where", &[&within, &near, &far], Vec::new())
}

/// Centres of samples, of which there are `scaled_to`, among `from` ones, `[places, 1]`, before half a sample is taken off.
fn centres(g: &mut Graph<'_>, from: usize, places: &Value, scaled_to: &Number) -> Value {
    let places = g.with_number("Add", places, 0.5);
    let step = g.numbers("Div", &Number::Known(from as f64), scaled_to.clone());
    let places = g.scale(&places, step);
    g.unsqueeze(&places, 1)
}

/// Weights of PyTorch's bicubic interpolation: a = -0.75, edges repeated.
fn points(g: &mut Graph<'_>, from: usize, to: &Size, offset: &Number) -> Value {
    let target = g.number(to);
    let scaled_to = g.numbers("Add", &target, offset.clone());
    let places = g.count_up_to(to);
    let places = g.cast(&places, FLOAT);
    sampled(g, from, &places, &scaled_to)
}

/// The same of samples at some places of a side of `scaled_to`, `[places, from]`.
pub(super) fn sampled(g: &mut Graph<'_>, from: usize, places: &Value, scaled_to: &Number) -> Value {
    let centres = centres(g, from, places, scaled_to);
    let centres = g.with_number("Sub", &centres, 0.5);
    // Two samples beyond either edge, whose weights those at the edge get.
    let wide = from + 4;
    let places: Vec<f32> = (0..wide).map(|i| i as f32 - 2.0).collect();
    let places = g.floats(&[1, wide], &places);
    let distances = g.sub(&centres, &places);
    let weights = keys(g, &distances, -0.75);
    let mut edges = vec![0.0; wide * from];
    for i in 0..wide {
        edges[i * from + i.saturating_sub(2).min(from - 1)] = 1.0;
    }
    let edges = g.floats(&[wide, from], &edges);
    g.matmul(&weights, &edges)
}

/// Weights of PyTorch's antialiased bicubic interpolation: a = -0.5, the kernel as wide as the step when shrinking, and a
/// sum of one.
fn antialiased(g: &mut Graph<'_>, from: usize, to: &Size) -> Value {
    let target = g.number(to);
    let places = g.count_up_to(to);
    let places = g.cast(&places, FLOAT);
    let centres = centres(g, from, &places, &target);
    let step = g.numbers("Div", &Number::Known(from as f64), target);
    let wide = g.numbers("Max", &step, 1.0);
    let places: Vec<f32> = (0..from).map(|i| i as f32 + 0.5).collect();
    let places = g.floats(&[1, from], &places);
    let distances = g.sub(&places, &centres);
    let distances = g.with_number("Div", &distances, wide);
    let weights = keys(g, &distances, -0.5);
    let sum = g.sum(&weights, &[1], true);
    g.div(&weights, &sum)
}
