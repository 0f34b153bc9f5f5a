//! A map without a background: references, queries, and arrows from each query to where it was said to be.

use super::svg::Svg;
use r2former_data::LatLon;

/// One query.
#[derive(Debug, Clone)]
pub struct MapPoint {
    /// What it is called.
    pub name: String,
    /// Where it was taken.
    pub position: LatLon,
    /// Where its first match was taken.
    pub answer: Option<LatLon>,
    /// Whether that is right.
    pub right: bool,
}

const SIDE: f64 = 720.0;
const MARGIN: f64 = 30.0;
const METRES_A_DEGREE: f64 = 111_320.0;

/// References as dots, queries as discs (green where right), an arrow to each answer. North is up, both axes have
/// one scale, a bar tells metres. Meant for areas of a few kilometres.
pub fn map(references: &[LatLon], queries: &[MapPoint]) -> String {
    let positions = || {
        references
            .iter()
            .copied()
            .chain(queries.iter().map(|q| q.position))
            .chain(queries.iter().filter_map(|q| q.answer))
    };
    let Some(first) = positions().next() else { return Svg::new(SIDE, 60.0).finish() };
    // Differences from one position, so that the date line is no border.
    let east = |p: LatLon| {
        let degrees = p.lon - first.lon;
        (degrees - 360.0 * (degrees / 360.0).round()) * METRES_A_DEGREE * first.lat.to_radians().cos()
    };
    let north = |p: LatLon| (p.lat - first.lat) * METRES_A_DEGREE;
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
    let (width, height) = (size[0].max(360.0), size[1].max(80.0) + 34.0);
    let mut svg = Svg::new(width, height);
    let at = |p: LatLon| [MARGIN + (east(p) - low[0]) * scale, MARGIN + (high[1] - north(p)) * scale];
    for reference in references {
        svg.circle(at(*reference), 1.6, "fill='#b0b7c3'");
    }
    for query in queries {
        let colour = if query.right { "#2ca02c" } else { "#d62728" };
        let from = at(query.position);
        svg.titled(&query.name, |svg| {
            if let Some(answer) = query.answer {
                let to = at(answer);
                svg.line(from, to, &format!("stroke='{colour}' stroke-width='1.2' stroke-opacity='0.7'"));
                svg.circle(to, 2.0, &format!("fill='{colour}'"));
            }
            svg.circle(from, 4.0, &format!("fill='{colour}' fill-opacity='0.85' stroke='#fff'"));
        });
    }
    // A round number of metres, at most a third of the width.
    let most = (width - 2.0 * MARGIN) / 3.0 / scale;
    let power = 10f64.powf(most.log10().floor());
    let bar = [5.0, 2.0, 1.0].into_iter().map(|m| m * power).find(|m| *m <= most).unwrap_or(power);
    let bottom = height - 14.0;
    svg.line([MARGIN, bottom], [MARGIN + bar * scale, bottom], "stroke='#333' stroke-width='3'");
    svg.text([MARGIN + bar * scale + 8.0, bottom + 4.0], 12.0, &format!("{bar} m"), "fill='#333'");
    let right = queries.iter().filter(|q| q.right).count();
    let text = format!("{right} of {} queries right", queries.len());
    svg.text([width - MARGIN, bottom + 4.0], 12.0, &text, "fill='#333' text-anchor='end'");
    svg.finish()
}
