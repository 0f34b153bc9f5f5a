//! The curves of a run as a picture.

use crate::record::Line;
use crate::{Result, TrainError};
use plotters::prelude::*;
use std::path::Path;

/// Width and height of the picture.
const SIZE: (u32, u32) = (1200, 900);

/// A curve: its name, its points, its colour.
type Curve = (&'static str, Vec<(f64, f64)>, RGBColor);

/// Draws loss, recall and learning rate over steps.
pub(crate) fn draw(lines: &[Line], path: &Path) -> Result<()> {
    let bad = |e: &dyn std::fmt::Display| TrainError::run(path, format!("could not be drawn: {e}"));
    let mut picture = String::new();
    {
        let root = SVGBackend::with_string(&mut picture, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|e| bad(&e))?;
        let all = [
            ("loss", loss_curves(lines)),
            ("recall@1 on the validation set", recall_curves(lines)),
            ("share of pairs told right", right_curves(lines)),
            ("learning rate", rate_curves(lines)),
        ];
        // A stage draws what it measures: no panel is empty.
        let drawn = all.iter().filter(|(_, curves)| curves.iter().any(|curve| !curve.1.is_empty()));
        for (panel, (title, curves)) in root.split_evenly((2, 2)).iter().zip(drawn) {
            chart(panel, title, curves).map_err(|e| bad(&e))?;
        }
        root.present().map_err(|e| bad(&e))?;
    }
    Ok(r2former_model::checkpoint::write_atomically(path, picture.as_bytes())?)
}

fn chart<E: std::error::Error + Send + Sync>(
    panel: &DrawingArea<impl DrawingBackend<ErrorType = E>, plotters::coord::Shift>,
    title: &str,
    curves: &[Curve],
) -> Result<(), DrawingAreaErrorKind<E>> {
    let points = || curves.iter().flat_map(|c| &c.1);
    let right = points().map(|p| p.0).fold(1.0, f64::max);
    let top = points().map(|p| p.1).fold(f64::MIN, f64::max);
    let bottom = points().map(|p| p.1).fold(f64::MAX, f64::min);
    let room = ((top - bottom) * 0.08).max(1e-9);
    let mut chart = ChartBuilder::on(panel)
        .caption(title, ("sans-serif", 22))
        .margin(12)
        .x_label_area_size(32)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..right, bottom - room..top + room)?;
    chart.configure_mesh().x_desc("step").light_line_style(WHITE.mix(0.0)).draw()?;
    for (name, points, colour) in curves.iter().filter(|c| !c.1.is_empty()) {
        let colour = *colour;
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        // A line of one point is none.
        if points.len() <= FEW {
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 4, colour.filled())))?;
        }
    }
    chart.configure_series_labels().border_style(BLACK.mix(0.3)).background_style(WHITE.mix(0.8)).draw()
}

/// Points of a curve that are drawn one by one, at most.
const FEW: usize = 60;

const BLUE_LINE: RGBColor = RGBColor(31, 119, 180);
const ORANGE_LINE: RGBColor = RGBColor(220, 110, 20);
const GREY_LINE: RGBColor = RGBColor(120, 120, 120);

/// Values of steps, smoothed over about a fiftieth of the run.
fn of_steps(lines: &[Line], value: impl Fn(&Line) -> Option<f64>) -> Vec<(f64, f64)> {
    let raw: Vec<(f64, f64)> =
        lines.iter().filter_map(|line| Some((line.step() as f64, value(line)?))).collect();
    let window = (raw.len() / 50).max(1);
    let mean = |part: &[(f64, f64)]| part.iter().map(|p| p.1).sum::<f64>() / part.len() as f64;
    (0..raw.len()).map(|i| (raw[i].0, mean(&raw[i.saturating_sub(window - 1)..=i]))).collect()
}

fn loss_curves(lines: &[Line]) -> Vec<Curve> {
    let of = |pick: fn(&Line) -> Option<f32>| of_steps(lines, |line| pick(line).map(f64::from));
    let global: fn(&Line) -> Option<f32> = |l| if let Line::Step { global, .. } = l { *global } else { None };
    let rerank: fn(&Line) -> Option<f32> = |l| if let Line::Step { rerank, .. } = l { *rerank } else { None };
    vec![("global", of(global), BLUE_LINE), ("rerank", of(rerank), ORANGE_LINE)]
}

fn recall_curves(lines: &[Line]) -> Vec<Curve> {
    let of = |reranked: bool| -> Vec<(f64, f64)> {
        let value = |line: &Line| match line {
            Line::Epoch { global_recall, reranked_recall, .. } => {
                (if reranked { reranked_recall } else { global_recall }).map(|r| r[0])
            }
            Line::Step { .. } => None,
        };
        lines.iter().filter_map(|line| Some((line.step() as f64, value(line)?))).collect()
    };
    vec![("global", of(false), BLUE_LINE), ("reranked", of(true), ORANGE_LINE)]
}

fn right_curves(lines: &[Line]) -> Vec<Curve> {
    let right =
        |l: &Line| if let Line::Step { rerank_right, .. } = l { rerank_right.map(f64::from) } else { None };
    vec![("of the reranker", of_steps(lines, right), ORANGE_LINE)]
}

fn rate_curves(lines: &[Line]) -> Vec<Curve> {
    let rate = |l: &Line| if let Line::Step { lr, .. } = l { Some(*lr) } else { None };
    let points = lines.iter().filter_map(|l| Some((l.step() as f64, rate(l)?))).collect();
    vec![("learning rate", points, GREY_LINE)]
}
