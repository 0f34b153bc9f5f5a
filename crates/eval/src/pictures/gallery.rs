//! Queries and their matches as photographs, correct and wrong ones marked.

use super::svg::{Photograph, Svg, fit, text_width};

/// One photograph of a gallery.
#[derive(Debug, Clone)]
pub struct Tile {
    /// The photograph; `None` if it cannot be read.
    pub photo: Option<Photograph>,
    /// Its role: `query`, `1.`.
    pub label: String,
    /// Its name; a long one is cut at its start.
    pub name: String,
    /// Further lines of its caption.
    pub notes: Vec<String>,
    /// Whether it is correct; `None` for a query.
    pub correct: Option<bool>,
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
const FONT_SIZE: f64 = 11.0;

/// Rows of photographs: the query, then its matches, framed green if correct, red if wrong and grey if unknown.
pub fn gallery(rows: &[GalleryRow]) -> String {
    let columns = 1 + rows.iter().map(|row| row.matches.len()).max().unwrap_or(0);
    let tiles = |row: &GalleryRow| -> Vec<Tile> {
        std::iter::once(row.query.clone()).chain(row.matches.iter().cloned()).collect()
    };
    let height = |tile: &Tile| {
        tile.photo.as_ref().map_or(SIDE * 0.75, |p| SIDE * p.height / p.width)
            + LINE * tile.caption().len() as f64
    };
    let tall = |row: &GalleryRow| tiles(row).iter().map(height).fold(0.0, f64::max) + 2.0 * GAP + FRAME;
    let mut svg = Svg::new(columns as f64 * (SIDE + GAP) + GAP, rows.iter().map(tall).sum::<f64>() + GAP);
    let mut top = GAP;
    for row in rows {
        for (column, tile) in tiles(row).iter().enumerate() {
            let left = GAP + column as f64 * (SIDE + GAP);
            let photo = tile.photo.as_ref().map_or(SIDE * 0.75, |p| SIDE * p.height / p.width);
            let colour = match tile.correct {
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
            svg.titled(&tile.name, |svg| {
                for (i, line) in tile.caption().iter().enumerate() {
                    let at = [left, top + photo + FRAME + LINE * (i as f64 + 0.8)];
                    svg.text(at, FONT_SIZE, line, "fill='#333'");
                }
            });
        }
        top += tall(row);
    }
    svg.finish()
}

impl Tile {
    fn caption(&self) -> Vec<String> {
        let label = format!("{} ", fit(&self.label, FONT_SIZE, SIDE));
        let room = SIDE - text_width(&label, FONT_SIZE);
        let mut lines = vec![label + &fit(&self.name, FONT_SIZE, room)];
        lines.extend(self.notes.iter().map(|note| fit(note, FONT_SIZE, SIDE)));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_fit_under_their_photograph() {
        let tile = |name: &str, notes: &[&str]| Tile {
            photo: None,
            label: "1.".into(),
            name: name.into(),
            notes: notes.iter().map(|note| note.to_string()).collect(),
            correct: Some(true),
        };
        let long = tile(&"folder/".repeat(20), &["score 0.5", &"W".repeat(60)]).caption();
        assert!(long[0].starts_with("1. …") && long[0].ends_with("folder/"), "{long:?}");
        assert_eq!(long[1], "score 0.5");
        assert!(long.iter().all(|line| text_width(line, FONT_SIZE) <= SIDE), "{long:?}");
        assert_eq!(tile("a.jpg", &[]).caption(), ["1. a.jpg"]);
    }
}
