//! A map without a background: database, queries, and a line from each query to the position of its first match.

use super::svg::{Svg, text_width};
use r2former_data::LatLon;

/// One query.
#[derive(Debug, Clone)]
pub struct MapPoint {
    /// Its name, shown as a tooltip.
    pub name: String,
    /// Where it was taken.
    pub position: LatLon,
    /// Where its first match was taken.
    pub answer: Option<LatLon>,
    /// Whether that match is correct.
    pub correct: bool,
}

const SIDE: f64 = 720.0;
const MARGIN: f64 = 30.0;
const METRES_PER_DEGREE: f64 = 111_320.0;
const CORRECT: &str = "#2ca02c";
const WRONG: &str = "#d62728";
const DATABASE: &str = "#b0b7c3";
const LINE: f64 = 20.0;
const FONT_SIZE: f64 = 12.0;

/// Database images as dots, queries as discs, and a line from each to the position of its first match, with a scale bar
/// and a legend. `rule` says when a match is correct, as in `within 25 m`. North is up. Meant for areas of a few
/// kilometres.
pub fn map(references: &[LatLon], queries: &[MapPoint], rule: &str) -> String {
    let positions = || {
        references
            .iter()
            .copied()
            .chain(queries.iter().map(|q| q.position))
            .chain(queries.iter().filter_map(|q| q.answer))
    };
    let Some(first) = positions().next() else { return Svg::new(SIDE, 60.0).finish() };
    // Differences from one position, so that the antimeridian is no border.
    let east = |p: LatLon| {
        let degrees = p.lon - first.lon;
        (degrees - 360.0 * (degrees / 360.0).round()) * METRES_PER_DEGREE * first.lat.to_radians().cos()
    };
    let north = |p: LatLon| (p.lat - first.lat) * METRES_PER_DEGREE;
    let (mut low, mut high) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
    for p in positions() {
        for (axis, value) in [east(p), north(p)].into_iter().enumerate() {
            low[axis] = low[axis].min(value);
            high[axis] = high[axis].max(value);
        }
    }
    let extent = (high[0] - low[0]).max(high[1] - low[1]).max(1.0);
    let scale = (SIDE - 2.0 * MARGIN) / extent;
    let size = [0, 1].map(|axis| (high[axis] - low[axis]) * scale + 2.0 * MARGIN);
    let legend = legend(queries, rule);
    let widest = legend.iter().map(|(_, text)| text_width(text, FONT_SIZE)).fold(0.0, f64::max);
    let width = size[0].max(360.0).max(widest + 2.0 * MARGIN + 30.0);
    let plotted = size[1].max(80.0);
    let height = plotted + 34.0 + LINE * legend.len() as f64;
    let mut svg = Svg::new(width, height);
    let at = |p: LatLon| [MARGIN + (east(p) - low[0]) * scale, MARGIN + (high[1] - north(p)) * scale];
    for reference in references {
        svg.circle(at(*reference), 1.6, &format!("fill='{DATABASE}'"));
    }
    for query in queries {
        let colour = if query.correct { CORRECT } else { WRONG };
        let from = at(query.position);
        svg.titled(&query.name, |svg| {
            if let Some(answer) = query.answer {
                let to = at(answer);
                svg.line(from, to, &format!("stroke='{colour}' stroke-width='1.2' stroke-opacity='0.7'"));
                svg.circle(to, 2.0, &format!("fill='{colour}'"));
            }
            svg.circle(from, 4.0, &disc(colour));
        });
    }
    // A round number of metres, at most a third of the width.
    let most = (width - 2.0 * MARGIN) / 3.0 / scale;
    let power = 10f64.powf(most.log10().floor());
    let bar = [5.0, 2.0, 1.0].into_iter().map(|m| m * power).find(|m| *m <= most).unwrap_or(power);
    let y = plotted + 14.0;
    svg.line([MARGIN, y], [MARGIN + bar * scale, y], "stroke='#333' stroke-width='3'");
    svg.text(
        [MARGIN + bar * scale + 8.0, y + 4.0],
        FONT_SIZE,
        &format!("{bar} m; north is up"),
        "fill='#333'",
    );
    for (i, (sample, text)) in legend.iter().enumerate() {
        let y = plotted + 34.0 + LINE * (i as f64 + 0.3);
        let middle = [MARGIN + 8.0, y];
        match sample {
            Sample::Dot => svg.circle(middle, 1.6, &format!("fill='{DATABASE}'")),
            Sample::Disc(colour) => svg.circle(middle, 4.0, &disc(colour)),
            Sample::Line => {
                svg.line([MARGIN, y], [MARGIN + 16.0, y], "stroke='#555' stroke-width='1.2'");
                svg.circle([MARGIN + 16.0, y], 2.0, "fill='#555'");
            }
        }
        svg.text([MARGIN + 28.0, y + 4.0], FONT_SIZE, text, "fill='#333'");
    }
    svg.finish()
}

enum Sample {
    Dot,
    Disc(&'static str),
    Line,
}

fn disc(colour: &str) -> String {
    format!("fill='{colour}' fill-opacity='0.85' stroke='#fff'")
}

fn legend(queries: &[MapPoint], rule: &str) -> Vec<(Sample, String)> {
    let correct = queries.iter().filter(|q| q.correct).count();
    let wrong = queries.len() - correct;
    vec![
        (
            Sample::Disc(CORRECT),
            format!("query whose first match is correct ({rule}): {correct} of {}", queries.len()),
        ),
        (Sample::Disc(WRONG), format!("query whose first match is wrong: {wrong} of {}", queries.len())),
        (Sample::Line, "from a query to where its first match was taken".into()),
        (Sample::Dot, "database image".into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_is_in_the_legend() {
        let at = |lat, lon| LatLon { lat, lon };
        let point = |correct| MapPoint {
            name: "<q>".into(),
            position: at(52.2, 0.12),
            answer: Some(at(52.2001, 0.12)),
            correct,
        };
        let svg = map(&[at(52.2, 0.121)], &[point(true), point(false), point(true)], "within 25 m");
        for part in [
            "(within 25 m): 2 of 3",
            "wrong: 1 of 3",
            "database image",
            "to where its first match",
            "&lt;q&gt;",
        ] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        assert!(!svg.contains("NaN"));
    }
}
