//! Attention of the model: its local features over the photograph.

use super::svg::{Photograph, Svg, colour};
use r2former_model::Placement;

/// The selected patches over the photograph, coloured by attention. `rows` are local features of `row` values each (x, y,
/// attention, descriptor), `size` is the network's input, height x width in pixels, `patch` the side of its patches.
pub fn attention(photo: &Photograph, rows: &[f32], row: usize, size: [usize; 2], patch: usize) -> String {
    let (width, height) = (photo.width, photo.height);
    let gap = 8.0;
    let mut svg = Svg::new(2.0 * width + gap, height + 28.0);
    svg.photograph(photo, [0.0, 0.0], width);
    svg.photograph(photo, [width + gap, 0.0], width);
    let Placement { resized, size: seen, .. } = photo.placement(size);
    let cell = [width * patch as f64 / resized[1] as f64, height * patch as f64 / resized[0] as f64];
    let left = width + gap;
    for values in rows.chunks_exact(row.max(3)) {
        let [x, y] = photo.point([values[0], values[1]], size);
        // The square root spreads the many small values.
        let strength = f64::from(values[2].clamp(0.0, 1.0)).sqrt();
        let style = format!("fill='{}' fill-opacity='{:.2}'", colour(strength), 0.15 + 0.6 * strength);
        svg.titled(&format!("attention {:.3}", values[2]), |svg| {
            svg.rect([left + x - cell[0] / 2.0, y - cell[1] / 2.0], cell, &style);
        });
    }
    let count = rows.len() / row.max(3);
    let patches = (seen[0] / patch.max(1)) * (seen[1] / patch.max(1));
    let text = format!("{count} of {patches} patches selected; attention from violet (low) to yellow (high)");
    svg.text([left, height + 19.0], 13.0, &text, "fill='#333'");
    svg.finish()
}
