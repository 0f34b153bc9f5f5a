//! Two photographs and the local features that speak for their being one place.

use super::svg::{Photograph, Svg, colour};
use r2former_engine::{Contribution, Verification};

/// One photograph of a pair.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// The photograph.
    pub photo: &'a Photograph,
    /// What it is called.
    pub name: &'a str,
}

/// Lines drawn of each method, at most.
const LINES: usize = 60;
const HEADER: f64 = 26.0;
const GAP: f64 = 12.0;

/// The pair twice: above with the pairs that move the reranker most (where there is one), below with RANSAC's inliers.
///
/// `size` is the network's input, height x width; `score` the reranker's probability.
pub fn matches(
    query: Side<'_>,
    reference: Side<'_>,
    size: [usize; 2],
    learned: Option<(&[Contribution], f32)>,
    geometric: &Verification,
) -> String {
    let width = 420.0;
    let height = |side: &Side<'_>| width * side.photo.height / side.photo.width;
    let tall = height(&query).max(height(&reference));
    let strip = HEADER + tall + GAP;
    let strips = 1 + usize::from(learned.is_some());
    let end = HEADER + strip * strips as f64;
    let mut svg = Svg::new(2.0 * width + GAP, end + GAP);
    svg.text([0.0, 17.0], 13.0, &super::svg::shorten(query.name, 55), "fill='#333'");
    svg.text([width + GAP, 17.0], 13.0, &super::svg::shorten(reference.name, 55), "fill='#333'");
    let mut top = HEADER;
    let pair = |svg: &mut Svg, top: f64, title: &str| {
        svg.text([0.0, top + 16.0], 14.0, title, "fill='#111' font-weight='600'");
        svg.photograph(query.photo, [0.0, top + HEADER], width);
        svg.photograph(reference.photo, [width + GAP, top + HEADER], width);
    };
    let ends = |q: [f32; 2], r: [f32; 2], top: f64| {
        let (a, b) = (query.photo.point(q, size), reference.photo.point(r, size));
        let (s, t) = (width / query.photo.width, width / reference.photo.width);
        ([a[0] * s, top + HEADER + a[1] * s], [width + GAP + b[0] * t, top + HEADER + b[1] * t])
    };
    let draw = |svg: &mut Svg, (a, b): ([f64; 2], [f64; 2]), colour: &str, opacity: f64| {
        let dot = format!("fill='{colour}' stroke='#fff' stroke-width='0.8'");
        svg.line(a, b, &format!("stroke='{colour}' stroke-width='1.4' stroke-opacity='{opacity:.2}'"));
        svg.circle(a, 3.0, &dot);
        svg.circle(b, 3.0, &dot);
    };
    if let Some((contributions, score)) = learned {
        pair(&mut svg, top, &format!("Reranker: probability of the same place {score:.3}"));
        let most = contributions.iter().map(|c| c.margin.abs()).fold(f32::MIN_POSITIVE, f32::max);
        let mut order: Vec<&Contribution> = contributions.iter().collect();
        order.sort_by(|a, b| b.margin.abs().total_cmp(&a.margin.abs()));
        order.truncate(LINES);
        // The strongest on top.
        for c in order.iter().rev() {
            let share = f64::from(c.margin / most);
            let stroke = if share < 0.0 { "#d62728".to_string() } else { colour(share) };
            svg.titled(&format!("margin {:+.4}, similarity {:.3}", c.margin, c.similarity), |svg| {
                draw(svg, ends(c.query, c.reference, top), &stroke, 0.35 + 0.6 * share.abs());
            });
        }
        top += strip;
    }
    let found = geometric.pairs.len();
    pair(&mut svg, top, &format!("RANSAC: {} of {found} mutual nearest neighbours agree", geometric.inliers));
    for p in geometric.pairs.iter().filter(|p| p.inlier) {
        draw(&mut svg, ends(p.query, p.reference, top), "#2ca02c", 0.8);
    }
    let legend = "Above: yellow speaks most for the same place, violet least, red against. Below: inliers of one homography.";
    let legend = if learned.is_some() { legend } else { "Inliers of one homography." };
    svg.text([0.0, end + 5.0], 12.0, legend, "fill='#555'");
    svg.finish()
}
