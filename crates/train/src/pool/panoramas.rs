//! Panoramas of four tiles, rendered in any direction and with any field of view.
//!
//! The tiles side by side are a strip of 360 degrees: tile k is centred on heading 90 k, a column is a heading and
//! a row a height above the horizon, both on the same scale: a tile spans 45 degrees up to 45 down.

use super::{Item, Source};
use crate::random::Rng;
use crate::{Result, TrainError};
use r2former_data::Photo;
use r2former_data::dataset::{Region, list_panoramas};
use r2former_data::image::{AngularGrid, DirectedView, Limits, Rgb8, decode_file, render_view};
use rand::Rng as _;
use std::path::{Path, PathBuf};

/// Tiles of a panorama.
const TILES: usize = 4;

/// Largest random rotation of a view from its item's heading, and its largest pitch, in degrees.
const TURN: f64 = 16.0;
const TILT: f64 = 4.0;

/// Panoramas on disk.
pub(super) struct Panoramas {
    /// Tiles of each, and its position and tags.
    panoramas: Vec<([PathBuf; TILES], Photo)>,
    headings: u32,
    fov: [f64; 2],
}

impl Panoramas {
    pub(super) fn open(root: &Path, region: Region, headings: u32, fov: [f64; 2]) -> Result<Self> {
        if headings == 0 || !(20.0..=120.0).contains(&fov[0]) || !(fov[0]..=120.0).contains(&fov[1]) {
            return Err(TrainError::Config(format!(
                "data: headings {headings}, fov {fov:?}: must be at least one heading, fields of view 20 to 120 degrees"
            )));
        }
        let mut panoramas: Vec<([PathBuf; TILES], Photo)> = Vec::new();
        let mut listing = list_panoramas(root)?;
        region.keep(&mut listing);
        let photos = listing.photos;
        // A panorama with a missing tile has directions without an image.
        for tiles in photos.chunk_by(|a, b| a.tags.get("pano_id") == b.tags.get("pano_id")) {
            let paths: Vec<PathBuf> = tiles.iter().map(|t| t.path.clone()).collect();
            if let Ok(paths) = <[PathBuf; TILES]>::try_from(paths) {
                panoramas.push((paths, tiles[0].clone()));
            }
        }
        if panoramas.is_empty() {
            return Err(TrainError::run(root, "has no complete panorama in this region"));
        }
        Ok(Self { panoramas, headings, fov })
    }

    /// The heading of a direction in degrees.
    fn heading(&self, direction: usize) -> f64 {
        360.0 * direction as f64 / f64::from(self.headings)
    }
}

impl Source for Panoramas {
    fn items(&self) -> Vec<Item> {
        let directions = self.headings as usize;
        let item = |key: usize| {
            let mut photo = self.panoramas[key / directions].1.clone();
            photo.heading = Some(self.heading(key % directions));
            Item { photo, place: None }
        };
        (0..self.panoramas.len() * directions).map(item).collect()
    }

    fn image(&self, key: usize, size: [usize; 2], vary: Option<&mut Rng>) -> Result<Rgb8> {
        let directions = self.headings as usize;
        let tiles = &self.panoramas[key / directions].0;
        let heading = self.heading(key % directions);
        let view = match vary {
            None => DirectedView { heading, pitch: 0.0, fov: 90.0, rectilinear: false },
            Some(rng) => DirectedView {
                heading: heading + rng.random_range(-TURN..TURN),
                pitch: rng.random_range(-TILT..TILT),
                fov: rng.random_range(self.fov[0]..=self.fov[1]),
                rectilinear: rng.random_bool(0.5),
            },
        };
        render(tiles, view, size)
    }
}

/// The strip of a panorama; tiles are decoded when a view first touches them.
struct Strip<'a> {
    paths: &'a [PathBuf; TILES],
    tiles: [Option<Rgb8>; TILES],
    side: usize,
}

impl Strip<'_> {
    /// A pixel; columns wrap around, rows end.
    fn pixel(&mut self, column: isize, row: isize) -> Result<[f32; 3]> {
        // The first tile decides the side; the others must have the same.
        if self.side == 0 {
            self.decode(0)?;
        }
        let side = self.side as isize;
        let column = column.rem_euclid(side * TILES as isize);
        let number = (column / side) as usize;
        if self.tiles[number].is_none() {
            self.decode(number)?;
        }
        let at = ((row.clamp(0, side - 1) * side + column % side) * 3) as usize;
        let tile = self.tiles[number].as_ref().map_or(&[][..], |tile| &tile.pixels[at..at + 3]);
        Ok([0, 1, 2].map(|c| f32::from(tile[c])))
    }

    fn decode(&mut self, number: usize) -> Result<()> {
        let path = &self.paths[number];
        let tile = decode_file(path, &Limits::default())?;
        if tile.width != tile.height || (self.side != 0 && self.side != tile.width) {
            let (width, height) = (tile.width, tile.height);
            let problem =
                format!("is {width} x {height} pixels: the tiles of a panorama must be squares of one size");
            return Err(TrainError::Tile { path: path.clone(), problem });
        }
        self.side = tile.width;
        self.tiles[number] = Some(tile);
        Ok(())
    }
}

/// Renders a view of a panorama; `size` is height, width. Above and below the tiles their edge is repeated.
fn render(paths: &[PathBuf; TILES], view: DirectedView, size: [usize; 2]) -> Result<Rgb8> {
    let mut strip = Strip { paths, tiles: [const { None }; TILES], side: 0 };
    strip.decode(((view.heading + 45.0).rem_euclid(360.0) / 90.0) as usize % TILES)?;
    let degree = strip.side as f64 / 90.0;
    let grid = AngularGrid { degree, forward: 45.0 * degree, horizon: 45.0 * degree };
    render_view(view, size, grid, |column, row| strip.pixel(column, row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use r2former_data::image::{PhotoTags, jpeg_with_tags};

    /// A strip whose colours differ by direction: red grows with the heading, the lower half is greener.
    fn strip(dir: &Path) -> [PathBuf; TILES] {
        std::array::from_fn(|k| {
            let side = 64;
            let pixels = (0..side * side).flat_map(|i| {
                let red = (k * side + i % side) as u8;
                [red, if i / side < 32 { 40 } else { 200 }, 90]
            });
            let image = Rgb8 { width: side, height: side, pixels: pixels.collect() };
            let path = dir.join(format!("1_{k}.jpg"));
            std::fs::write(&path, jpeg_with_tags(&image, 98, &PhotoTags::default()).unwrap()).unwrap();
            path
        })
    }

    #[test]
    fn a_view_along_a_tile_is_the_tile_and_edges_are_seamless() {
        let dir = tempfile::tempdir().unwrap();
        let paths = strip(dir.path());
        let flat = DirectedView { heading: 90.0, pitch: 0.0, fov: 90.0, rectilinear: false };
        let tile = decode_file(&paths[1], &Limits::default()).unwrap();
        assert_eq!(render(&paths, flat, [64, 64]).unwrap(), tile);
        for rectilinear in [false, true] {
            // Over the edge at 45 degrees headings continue without a step.
            let over = render(&paths, DirectedView { heading: 45.0, rectilinear, ..flat }, [64, 64]).unwrap();
            let row: Vec<i32> = (0..64).map(|x| i32::from(over.pixels[(20 * 64 + x) * 3])).collect();
            assert!(row.windows(2).all(|w| (-1..=3).contains(&(w[1] - w[0]))), "{row:?}");
            // A view downwards shows the lower half, a view upwards the upper.
            for (pitch, green) in [(-30.0, 200u8), (30.0, 40)] {
                let view = DirectedView { heading: 180.0, pitch, fov: 40.0, rectilinear };
                let view = render(&paths, view, [32, 32]).unwrap();
                let middle = view.pixels[(16 * 32 + 16) * 3 + 1];
                assert!(middle.abs_diff(green) < 12, "{pitch}: {middle}");
            }
        }
    }
}
