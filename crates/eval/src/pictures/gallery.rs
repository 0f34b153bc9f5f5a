//! Queries and what was found for them, right and wrong ones told apart.

use super::svg::{Photograph, Svg, shorten};

/// One photograph of a gallery.
#[derive(Debug, Clone)]
pub struct Tile {
    /// The photograph; none where it cannot be read.
    pub photo: Option<Photograph>,
    /// Lines below it.
    pub caption: Vec<String>,
    /// Whether it is right; none for a query.
    pub right: Option<bool>,
}

/// A query and its matches, best first.
#[derive(Debug, Clone)]
pub struct GalleryRow {
    /// The query.
    pub query: Tile,
    /// Its matches.
    pub matches: Vec<Tile>,
}

const SIDE: f64 = 180.0;
const GAP: f64 = 10.0;
const LINE: f64 = 15.0;
const FRAME: f64 = 4.0;

/// Rows of photographs: the query, then its matches, framed in green where right and red where wrong.
pub fn gallery(rows: &[GalleryRow]) -> String {
    let columns = 1 + rows.iter().map(|row| row.matches.len()).max().unwrap_or(0);
    let tiles = |row: &GalleryRow| -> Vec<Tile> {
        std::iter::once(row.query.clone()).chain(row.matches.iter().cloned()).collect()
    };
    let height = |tile: &Tile| {
        tile.photo.as_ref().map_or(SIDE * 0.75, |p| SIDE * p.height / p.width)
            + LINE * tile.caption.len() as f64
    };
    let tall = |row: &GalleryRow| tiles(row).iter().map(height).fold(0.0, f64::max) + 2.0 * GAP + FRAME;
    let mut svg = Svg::new(columns as f64 * (SIDE + GAP) + GAP, rows.iter().map(tall).sum::<f64>() + GAP);
    let mut top = GAP;
    for row in rows {
        for (column, tile) in tiles(row).iter().enumerate() {
            let left = GAP + column as f64 * (SIDE + GAP);
            let photo = tile.photo.as_ref().map_or(SIDE * 0.75, |p| SIDE * p.height / p.width);
            let colour = match tile.right {
                Some(true) => "#2ca02c",
                Some(false) => "#d62728",
                None => "#555555",
            };
            svg.rect(
                [left - FRAME / 2.0, top - FRAME / 2.0],
                [SIDE + FRAME, photo + FRAME],
                &format!("fill='#eee' stroke='{colour}' stroke-width='{FRAME}'"),
            );
            match &tile.photo {
                Some(photo) => svg.photograph(photo, [left, top], SIDE),
                None => svg.text([left + 8.0, top + 20.0], 12.0, "cannot be read", "fill='#900'"),
            }
            for (i, line) in tile.caption.iter().enumerate() {
                let at = [left, top + photo + FRAME + LINE * (i as f64 + 0.8)];
                svg.text(at, 11.0, &shorten(line, 32), "fill='#333'");
            }
        }
        top += tall(row);
    }
    svg.finish()
}
