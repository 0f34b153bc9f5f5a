//! Two photographs and the matches of their local features.

use super::svg::{Photograph, Svg, colour, fit};
use r2former_engine::{Contribution, Verification};

/// One photograph of a pair.
#[derive(Debug, Clone, Copy)]
pub struct PairSide<'a> {
    /// The photograph.
    pub photo: &'a Photograph,
    /// Its name.
    pub name: &'a str,
}

/// Lines drawn for each method, at most.
const LINES: usize = 60;
const HEADER: f64 = 26.0;
/// Height of a legend: a line of samples and a line of text.
const LEGEND: f64 = 44.0;
const GAP: f64 = 12.0;
const WIDTH: f64 = 420.0;
const AGAINST: &str = "#d62728";
const INLIER: &str = "#2ca02c";

/// The pair twice: above with the local features that move the reranker most (if `learned`), below with RANSAC's inliers,
/// each with a legend of its colours.
///
/// `size` is the network's input, height x width; the `f32` of `learned` is the reranker's score.
pub fn matches(
    query: PairSide<'_>,
    reference: PairSide<'_>,
    size: [usize; 2],
    learned: Option<(&[Contribution], f32)>,
    geometric: &Verification,
) -> String {
    let height = |side: &PairSide<'_>| WIDTH * side.photo.height / side.photo.width;
    let strip = HEADER + height(&query).max(height(&reference)) + LEGEND;
    let strips = 1 + usize::from(learned.is_some());
    let mut svg = Svg::new(2.0 * WIDTH + GAP, HEADER + strip * strips as f64);
    for (left, role, name) in [(0.0, "query", query.name), (WIDTH + GAP, "reference", reference.name)] {
        let text = format!("{role} {}", fit(name, 13.0, WIDTH - 80.0));
        svg.text([left, 17.0], 13.0, &text, "fill='#333'");
    }
    let mut top = HEADER;
    let pair = |svg: &mut Svg, top: f64, title: &str| {
        svg.text([0.0, top + 16.0], 14.0, title, "fill='#111' font-weight='600'");
        svg.photograph(query.photo, [0.0, top + HEADER], WIDTH);
        svg.photograph(reference.photo, [WIDTH + GAP, top + HEADER], WIDTH);
    };
    let ends = |q: [f32; 2], r: [f32; 2], top: f64| {
        let (a, b) = (query.photo.point(q, size), reference.photo.point(r, size));
        let (s, t) = (WIDTH / query.photo.width, WIDTH / reference.photo.width);
        ([a[0] * s, top + HEADER + a[1] * s], [WIDTH + GAP + b[0] * t, top + HEADER + b[1] * t])
    };
    let draw = |svg: &mut Svg, (a, b): ([f64; 2], [f64; 2]), colour: &str, opacity: f64| {
        let dot = format!("fill='{colour}' stroke='#fff' stroke-width='0.8'");
        svg.line(a, b, &format!("stroke='{colour}' stroke-width='1.4' stroke-opacity='{opacity:.2}'"));
        svg.circle(a, 3.0, &dot);
        svg.circle(b, 3.0, &dot);
    };
    if let Some((contributions, score)) = learned {
        pair(&mut svg, top, &format!("Reranker: score {score:.3} (not calibrated: not a probability)"));
        let most = contributions.iter().map(|c| c.margin.abs()).fold(f32::MIN_POSITIVE, f32::max);
        let mut strongest: Vec<&Contribution> = contributions.iter().collect();
        strongest.sort_by(|a, b| b.margin.abs().total_cmp(&a.margin.abs()));
        strongest.truncate(LINES);
        // The strongest is drawn last, on top.
        for c in strongest.iter().rev() {
            let share = f64::from(c.margin / most);
            let stroke = if share < 0.0 { AGAINST.to_string() } else { colour(share) };
            svg.titled(&format!("contribution {:+.4}, similarity {:.3}", c.margin, c.similarity), |svg| {
                draw(svg, ends(c.query, c.reference, top), &stroke, 0.35 + 0.6 * share.abs());
            });
        }
        reranker_legend(&mut svg, top + strip - LEGEND, strongest.len(), contributions.len());
        top += strip;
    }
    let found = geometric.pairs.len();
    pair(
        &mut svg,
        top,
        &format!("RANSAC: {} inliers of {found} pairs of mutual nearest neighbours", geometric.inliers),
    );
    for p in geometric.pairs.iter().filter(|p| p.inlier) {
        draw(&mut svg, ends(p.query, p.reference, top), INLIER, 0.8);
    }
    let y = top + strip - LEGEND + 16.0;
    svg.line([0.0, y], [22.0, y], &format!("stroke='{INLIER}' stroke-width='3'"));
    let text = "inlier: both local features fit one transformation between the photographs";
    svg.text([30.0, y + 4.0], 12.0, text, "fill='#333'");
    svg.finish()
}

/// The colours of the reranker's lines: a ramp from weak to strong support, and red.
fn reranker_legend(svg: &mut Svg, top: f64, shown: usize, all: usize) {
    let y = top + 14.0;
    svg.text([0.0, y + 4.0], 12.0, "supports the same place: weakly", "fill='#333'");
    let (left, step) = (230.0, 6.0);
    for i in 0..20 {
        let style = format!("fill='{}'", colour(f64::from(i) / 19.0));
        svg.rect([left + step * f64::from(i), y - 5.0], [step + 0.5, 10.0], &style);
    }
    svg.text([left + 20.0 * step + 8.0, y + 4.0], 12.0, "strongly", "fill='#333'");
    let right = left + 20.0 * step + 84.0;
    svg.line([right, y], [right + 22.0, y], &format!("stroke='{AGAINST}' stroke-width='3'"));
    svg.text([right + 30.0, y + 4.0], 12.0, "speaks against it", "fill='#333'");
    let text = format!(
        "Each line joins a local feature of the query to the most similar one of the reference; the {shown} of {all} that \
         change the score most are drawn."
    );
    svg.text([0.0, y + 20.0], 12.0, &text, "fill='#555'");
}
