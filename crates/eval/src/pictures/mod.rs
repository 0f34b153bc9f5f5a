//! Pictures that tell what the model saw and what it made of it: attention, matches, galleries, maps, plots.
//!
//! All are SVG, photographs within: they stay sharp, open offline in any browser, and go into a report as they are.

mod attention;
mod gallery;
mod map;
mod matches;
mod pair;
mod plots;
mod svg;

pub use attention::attention;
pub use gallery::{GalleryRow, Tile, gallery};
pub use map::{MapPoint, map};
pub use matches::{Side, matches};
pub use pair::{draw_attention, draw_matches};
pub use plots::{Series, plot};
pub use svg::Photograph;
