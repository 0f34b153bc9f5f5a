//! Pictures of attention, matches, answers, maps and plots.
//!
//! All are SVG with photographs embedded: they scale, open offline in any browser, and are part of reports unchanged.

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
pub use matches::{PairSide, matches};
pub use pair::{draw_attention, draw_matches};
pub use plots::{Series, plot};
pub use svg::Photograph;
