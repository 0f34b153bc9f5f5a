//! Plots of a run's log.

use crate::record::LogEntry;
use crate::{Result, TrainError};
use plotters::prelude::*;
use std::path::Path;

/// Width and height of the picture.
const SIZE: (u32, u32) = (1200, 900);

/// Name, points and colour of a curve.
type Curve = (&'static str, Vec<(f64, f64)>, RGBColor);

/// Draws loss, recall and learning rate over steps.
pub(crate) fn draw(entries: &[LogEntry], path: &Path) -> Result<()> {
    let bad = |e: &dyn std::fmt::Display| TrainError::run(path, format!("could not be drawn: {e}"));
    let mut picture = String::new();
    {
        let root = SVGBackend::with_string(&mut picture, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|e| bad(&e))?;
        let all = [
            ("loss", loss_curves(entries)),
            ("recall@1 on the validation set", recall_curves(entries)),
            ("share of pairs or patches that are right", accuracy_curves(entries)),
            ("learning rate", learning_rate_curves(entries)),
        ];
        // Panels that the stage has no values for are left out.
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
    // A constant has room around it, too, so that its labels differ.
    let room = ((top - bottom) * 0.08).max(top.abs().max(bottom.abs()) * 0.01).max(1e-12);
    let mut chart = ChartBuilder::on(panel)
        .caption(title, ("sans-serif", 22))
        .margin(12)
        .x_label_area_size(32)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..right, bottom - room..top + room)?;
    let label = |value: &f64| axis_label(*value, top - bottom, top.abs().max(bottom.abs()));
    chart
        .configure_mesh()
        .x_desc("step")
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_label_formatter(&label)
        .light_line_style(WHITE.mix(0.0))
        .draw()?;
    for (name, points, colour) in curves.iter().filter(|c| !c.1.is_empty()) {
        let colour = *colour;
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        // Points of short curves are marked: a line through one point is invisible.
        if points.len() <= FEW {
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 4, colour.filled())))?;
        }
    }
    chart.configure_series_labels().border_style(BLACK.mix(0.3)).background_style(WHITE.mix(0.8)).draw()
}

/// Curves of at most this many points have their points marked.
const FEW: usize = 60;

/// A number on an axis whose values span `range` and reach `most`: with enough decimals for its labels to differ, in
/// scientific notation where they would be long.
fn axis_label(value: f64, range: f64, most: f64) -> String {
    let step = (range / 10.0).max(most * 0.002).max(1e-12);
    let decimals = (-step.log10()).ceil().max(0.0) as usize;
    if value.abs() < step * 1e-3 {
        return "0".into();
    }
    if decimals <= 3 && most < 1e5 {
        return format!("{value:.decimals$}");
    }
    // Digits from the first of the number to the last that differs.
    let digits = (value.abs().log10().floor() - step.log10().floor()).clamp(1.0, 4.0) as usize;
    format!("{value:.digits$e}")
}

const BLUE_LINE: RGBColor = RGBColor(31, 119, 180);
const ORANGE_LINE: RGBColor = RGBColor(220, 110, 20);
const GREEN_LINE: RGBColor = RGBColor(40, 140, 60);
const GREY_LINE: RGBColor = RGBColor(120, 120, 120);

/// Values of steps, smoothed over about 2 % of the run.
fn of_steps(entries: &[LogEntry], value: impl Fn(&LogEntry) -> Option<f64>) -> Vec<(f64, f64)> {
    let raw: Vec<(f64, f64)> = entries.iter().filter_map(|e| Some((e.step() as f64, value(e)?))).collect();
    let window = (raw.len() / 50).max(1);
    let mean = |part: &[(f64, f64)]| part.iter().map(|p| p.1).sum::<f64>() / part.len() as f64;
    (0..raw.len()).map(|i| (raw[i].0, mean(&raw[i.saturating_sub(window - 1)..=i]))).collect()
}

fn loss_curves(entries: &[LogEntry]) -> Vec<Curve> {
    type Pick = fn(&LogEntry) -> Option<f32>;
    let of = |pick: Pick| of_steps(entries, |entry| pick(entry).map(f64::from));
    let global: Pick = |e| if let LogEntry::Step { global_loss, .. } = e { *global_loss } else { None };
    let rerank: Pick = |e| if let LogEntry::Step { rerank_loss, .. } = e { *rerank_loss } else { None };
    let local: Pick = |e| if let LogEntry::Step { local_loss, .. } = e { *local_loss } else { None };
    let distillation: Pick =
        |e| if let LogEntry::Step { distillation_loss, .. } = e { *distillation_loss } else { None };
    vec![
        ("global", of(global), BLUE_LINE),
        ("rerank", of(rerank), ORANGE_LINE),
        ("local", of(local), GREEN_LINE),
        ("distillation", of(distillation), GREY_LINE),
    ]
}

fn recall_curves(entries: &[LogEntry]) -> Vec<Curve> {
    let of = |which: usize| -> Vec<(f64, f64)> {
        entries.iter().filter_map(|e| Some((e.step() as f64, e.recalls()[which]?[0]))).collect()
    };
    vec![("global", of(0), BLUE_LINE), ("reranked", of(1), ORANGE_LINE)]
}

fn accuracy_curves(entries: &[LogEntry]) -> Vec<Curve> {
    let accuracy = |e: &LogEntry| match e {
        LogEntry::Step { rerank_accuracy, .. } => rerank_accuracy.map(f64::from),
        _ => None,
    };
    let local = |e: &LogEntry| match e {
        LogEntry::Step { local_accuracy, .. } => local_accuracy.map(f64::from),
        _ => None,
    };
    vec![
        ("pairs, by the reranker", of_steps(entries, accuracy), ORANGE_LINE),
        ("patches, by the local features", of_steps(entries, local), GREEN_LINE),
    ]
}

fn learning_rate_curves(entries: &[LogEntry]) -> Vec<Curve> {
    let rate = |e: &LogEntry| if let LogEntry::Step { lr, .. } = e { Some(*lr) } else { None };
    let points = entries.iter().filter_map(|e| Some((e.step() as f64, rate(e)?))).collect();
    vec![("learning rate", points, GREY_LINE)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_an_axis_differ_and_are_short() {
        let label = |value, range, most| axis_label(value, range, most);
        assert_eq!(label(1e-5, 0.0, 1e-5), "1.000e-5");
        assert_eq!(label(4e-4, 5e-4, 5e-4), "4.0e-4");
        assert_eq!(label(0.0, 5e-4, 5e-4), "0");
        assert_eq!(label(0.45, 0.6, 0.8), "0.45");
        assert_eq!(label(12.0, 30.0, 30.0), "12");
    }

    #[test]
    fn small_learning_rates_are_legible() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("curves.svg");
        let step = |step: u64| LogEntry::Step {
            step,
            epoch: 0,
            lr: 1e-5,
            loss: 1.0 / step as f32,
            global_loss: Some(1.0 / step as f32),
            rerank_loss: None,
            rerank_accuracy: None,
            local_loss: None,
            local_accuracy: None,
            distillation_loss: None,
            gradient_norm: 1.0,
            images_per_second: 10.0,
        };
        draw(&(1..20).map(step).collect::<Vec<_>>(), &path).unwrap();
        let picture = std::fs::read_to_string(&path).unwrap();
        assert!(picture.contains("e-5"), "{picture}");
    }
}
