//! Line plots.

use super::svg::{Svg, fit, text_width};

/// A line of a plot.
#[derive(Debug, Clone)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// x and y, from left to right.
    pub points: Vec<[f64; 2]>,
}

/// Distinguishable with colour blindness (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#555555"];
/// Lines beyond the colours repeat them dashed, then dotted; their points are hollow, then square.
const DASHES: [&str; 3] = ["", " stroke-dasharray='7 4'", " stroke-dasharray='2 3'"];
const SIZE: [f64; 2] = [460.0, 332.0];
const LEFT: f64 = 56.0;
const TOP: f64 = 46.0;
const RIGHT: f64 = 16.0;
const BOTTOM: f64 = 46.0;

/// Draws lines with points. `axes` are the labels of x and y; with `percent`, y is a share; with `log`, x is
/// logarithmic.
pub fn plot(title: &str, axes: [&str; 2], series: &[Series], percent: bool, log: bool) -> String {
    let legend = 18.0 * series.len() as f64;
    let mut svg = Svg::new(SIZE[0], SIZE[1] + legend);
    svg.text([LEFT, 20.0], 15.0, &fit(title, 15.0, SIZE[0] - LEFT - RIGHT), "fill='#111' font-weight='600'");
    let along = |x: f64| if log { x.max(1e-9).log10() } else { x };
    let all = || series.iter().flat_map(|s| &s.points).filter(|p| p.iter().all(|v| v.is_finite()));
    let range = |values: &mut dyn Iterator<Item = f64>| {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if low > high {
            (0.0, 1.0)
        } else if high - low < 1e-12 {
            (low - 0.5, high + 0.5)
        } else {
            (low, high)
        }
    };
    let (mut x0, x1) = range(&mut all().map(|p| along(p[0])));
    if !log && (0.0..0.1 * x1).contains(&x0) {
        x0 = 0.0;
    }
    let (mut y0, mut y1) = range(&mut all().map(|p| p[1]));
    if percent {
        // Shares end at one; the axis starts at a multiple of a tenth.
        (y0, y1) = (((y0 * 10.0).floor() / 10.0).clamp(0.0, 0.9), 1.0);
    }
    let place = |x: f64, y: f64| {
        [
            LEFT + (along(x) - x0) / (x1 - x0) * (SIZE[0] - LEFT - RIGHT),
            SIZE[1] - BOTTOM - (y - y0) / (y1 - y0) * (SIZE[1] - TOP - BOTTOM),
        ]
    };
    let grid = "stroke='#e3e6ea' stroke-width='1'";
    for i in 0..=5 {
        let y = y0 + (y1 - y0) * f64::from(i) / 5.0;
        let at = SIZE[1] - BOTTOM - (SIZE[1] - TOP - BOTTOM) * f64::from(i) / 5.0;
        svg.line([LEFT, at], [SIZE[0] - RIGHT, at], grid);
        let label = if percent { format!("{:.0} %", 100.0 * y) } else { short(y) };
        svg.text([LEFT - 6.0, at + 4.0], 11.0, &label, "fill='#444' text-anchor='end'");
    }
    let mut free = f64::NEG_INFINITY;
    for x in ticks(&all().map(|p| p[0]).collect::<Vec<_>>(), (x0, x1), log) {
        let ([at, _], label) = (place(x, y0), short(x));
        let half = text_width(&label, 11.0) / 2.0;
        if at - half < free {
            continue;
        }
        free = at + half + 4.0;
        svg.line([at, TOP], [at, SIZE[1] - BOTTOM], grid);
        svg.text([at, SIZE[1] - BOTTOM + 16.0], 11.0, &label, "fill='#444' text-anchor='middle'");
    }
    let middle = (LEFT + SIZE[0] - RIGHT) / 2.0;
    svg.text([middle, SIZE[1] - 10.0], 12.0, axes[0], "fill='#333' text-anchor='middle'");
    svg.text([LEFT, TOP - 4.0], 11.0, axes[1], "fill='#333'");
    for (i, line) in series.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let round = i / COLOURS.len() % DASHES.len();
        let dash = DASHES[round];
        let values: Vec<[f64; 2]> =
            line.points.iter().copied().filter(|p| p.iter().all(|v| v.is_finite())).collect();
        let points: Vec<[f64; 2]> = values.iter().map(|p| place(p[0], p[1])).collect();
        svg.polyline(&points, &format!("stroke='{colour}' stroke-width='2'{dash}"));
        if points.len() <= 24 {
            for (at, value) in points.iter().zip(&values) {
                let value = if percent { format!("{:.1} %", 100.0 * value[1]) } else { short(value[1]) };
                svg.titled(&format!("{}: {value}", line.name), |svg| point(svg, *at, round, colour));
            }
        }
        let y = SIZE[1] + 4.0 + 18.0 * i as f64;
        if points.len() == 1 {
            point(&mut svg, [LEFT + 11.0, y], round, colour);
        } else {
            svg.line([LEFT, y], [LEFT + 22.0, y], &format!("stroke='{colour}' stroke-width='3'{dash}"));
        }
        let name = fit(&line.name, 12.0, SIZE[0] - LEFT - 28.0 - RIGHT);
        svg.text([LEFT + 28.0, y + 4.0], 12.0, &name, "fill='#333'");
    }
    svg.finish()
}

fn point(svg: &mut Svg, at: [f64; 2], round: usize, colour: &str) {
    match round {
        0 => svg.circle(at, 3.2, &format!("fill='{colour}'")),
        1 => svg.circle(at, 3.2, &format!("fill='#fff' stroke='{colour}' stroke-width='1.6'")),
        _ => svg.rect(at.map(|v| v - 2.8), [5.6, 5.6], &format!("fill='{colour}'")),
    }
}

/// Candidates for labels of x: on a logarithmic axis the values themselves if they are few, else powers of ten; evenly on
/// a linear one.
fn ticks(values: &[f64], (low, high): (f64, f64), log: bool) -> Vec<f64> {
    if log {
        let mut own = values.to_vec();
        own.sort_by(f64::total_cmp);
        own.dedup();
        if own.len() <= 8 {
            return own;
        }
        return (low.ceil() as i32..=high.floor() as i32).map(|power| 10f64.powi(power)).collect();
    }
    (0..=5).map(|i| low + (high - low) * f64::from(i) / 5.0).collect()
}

/// A number with few digits.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1e6 => format!("{:.3} M", value / 1e6).replace(".000", ""),
        v if v >= 10.0 || v == v.round() => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_not_finite_are_not_drawn() {
        let line = |points: &[[f64; 2]]| Series { name: "<a>".into(), points: points.to_vec() };
        let empty = plot("t", ["x", "y"], &[], true, false);
        assert!(empty.starts_with("<svg"));
        let odd = plot("t", ["x", "y"], &[line(&[[1.0, f64::NAN], [0.0, 0.5]]), line(&[])], false, true);
        assert!(!odd.contains("NaN") && !odd.contains("inf") && odd.contains("&lt;a&gt;"), "{odd}");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            ["1000000", "12.4", "3", "0.25"].map(|n| short(n.parse().unwrap())),
            ["1 M", "12", "3", "0.25"]
        );
    }
}
