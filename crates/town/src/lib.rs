//! The rendered town: streets, houses and weather generated from a seed, seen by any camera.
//!
//! A town is an endless source of synthetic photographs, each with its exact position: the same place
//! by day, at dusk, at night, in rain and in snow, with other cars parked at every visit. It serves as
//! demonstration, as test data and as training data for visual place recognition. Materials and styles
//! repeat between houses, as they do in real towns; their combination does not.
//!
//! ```
//! use r2former_town::{Camera, Condition, Town, TownConfig, View};
//!
//! let town = Town::new(&TownConfig { seed: 7, blocks: (3, 3), ..TownConfig::default() })?;
//! let place = town.street_positions(20.0)[0];
//! let camera = Camera { x: place.x, y: place.y, heading: place.heading, ..Camera::default() };
//! let picture = town.render(&View { camera, condition: Condition::Dusk, visit: 1 }, 64, 48)?;
//! assert_eq!(picture.pixels.len(), 64 * 48 * 3);
//! # Ok::<(), r2former_data::DataError>(())
//! ```
//!
//! # How a picture is made
//! One ray per pixel walks over a grid of cells and meets convex solids and blobs (houses, lamps, cars,
//! crowns), the ground, or the sky; where it ends, the surface is computed from the point itself
//! (bricks, windows, shop signs) and averaged over the pixel's footprint. Three more rays are sent
//! where surfaces meet.

mod camera;
mod cells;
mod dataset;
mod facade;
mod font;
mod ground;
mod house;
mod layout;
mod light;
mod look;
mod material;
mod noise;
mod prop_paint;
mod props;
mod render;
mod scene;
mod shade;
mod sky;
mod solid;
mod sprites;
mod style;
#[cfg(test)]
mod tests;
mod transient;
mod vector;
mod window;

pub use camera::Camera;
pub use dataset::{TownDatasetConfig, TownDatasetSummary, write_dataset, write_dataset_while};
pub use light::Condition;
pub use render::View;

use cells::{Cells, around};
use r2former_data::geo::destination;
use r2former_data::{DataError, LatLon, Result};
use serde::{Deserialize, Serialize};

/// What decides a town.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TownConfig {
    /// Everything permanent follows from it.
    pub seed: u64,
    /// Blocks from west to east and from south to north, each 1 to 64; a block is 50 to 110 m wide.
    pub blocks: (u32, u32),
    /// The town's middle; its latitude within 85 degrees of the equator.
    pub origin: LatLon,
}

impl Default for TownConfig {
    fn default() -> Self {
        Self { seed: 1, blocks: (8, 8), origin: LatLon { lat: 52.0, lon: 0.0 } }
    }
}

/// A point in the middle of a street.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StreetPoint {
    /// Metres east of the town's middle.
    pub x: f64,
    /// Metres north of the town's middle.
    pub y: f64,
    /// The street's direction in degrees clockwise from north, 0 up to 360.
    pub heading: f64,
}

/// A town, ready to be photographed.
#[derive(Debug)]
pub struct Town {
    config: TownConfig,
    layout: layout::Layout,
    scene: scene::Scene,
    houses: Vec<house::House>,
    house_cells: Cells,
    fixtures: props::Fixtures,
    lamp_cells: Cells,
    ground: ground::Ground,
    horizon: sky::Horizon,
    bare: Vec<sprites::Bare>,
}

impl Town {
    /// Builds the town of a configuration; a few milliseconds per hundred blocks.
    ///
    /// # Errors
    /// [`DataError::Request`] for a number of blocks outside 1 to 64 a side, [`DataError::Position`] for
    /// an origin off the Earth or beyond 85 degrees of latitude.
    pub fn new(config: &TownConfig) -> Result<Self> {
        let (columns, rows) = config.blocks;
        if !(1..=64).contains(&columns) || !(1..=64).contains(&rows) {
            return Err(DataError::Request(format!(
                "a town of {columns} x {rows} blocks: each number must be 1 to 64"
            )));
        }
        let origin = LatLon::new(config.origin.lat, config.origin.lon)?;
        if origin.lat.abs() > 85.0 {
            return Err(DataError::Position(format!(
                "a town at latitude {}: near the poles east and north lose their meaning; stay within 85 degrees",
                origin.lat
            )));
        }
        let layout = layout::lay_out(config.seed, columns as usize, rows as usize);
        let (mut scene, mut houses) = (scene::Scene::default(), Vec::new());
        let mut fixtures = props::Fixtures::default();
        for block in layout.blocks.iter().filter(|b| b.purpose == layout::Use::Houses) {
            house::line_block(block, &mut scene, &mut houses);
        }
        props::furnish_land(&layout, &mut scene, &mut houses, &mut fixtures);
        props::furnish_streets(&layout, &mut scene, &mut fixtures);
        scene.sort();
        let half = layout.radius + 60.0;
        let house_boxes: Vec<_> = houses.iter().map(|h| around(&h.corners, 0.0)).collect();
        let lamp_boxes: Vec<_> =
            fixtures.lamps.iter().map(|l| around(&[[l.x, l.y]], shade::LAMP_REACH)).collect();
        Ok(Self {
            config: *config,
            ground: ground::Ground::new(&layout),
            horizon: sky::Horizon::new(config.seed, layout.radius),
            house_cells: Cells::new(8.0, half, &house_boxes),
            lamp_cells: Cells::new(8.0, half, &lamp_boxes),
            bare: sprites::Bare::grow_all(config.seed),
            layout,
            scene,
            houses,
            fixtures,
        })
    }

    /// The configuration that it was built from.
    pub fn config(&self) -> &TownConfig {
        &self.config
    }

    /// The position of a point `x` metres east and `y` metres north of the middle.
    ///
    /// The projection is azimuthal and equidistant: distance and direction from the origin are those of
    /// the geodesic. Between two points within 2 km of it, plane and geodesic distance differ by less
    /// than a millimetre.
    pub fn to_latlon(&self, x: f64, y: f64) -> LatLon {
        destination(self.config.origin, x.atan2(y).to_degrees(), x.hypot(y))
    }

    /// Points along the middle of all streets, about `spacing_m` metres apart and never fewer than one per
    /// piece of street; a spacing that is not a positive number counts as 10 cm.
    pub fn street_positions(&self, spacing_m: f64) -> Vec<StreetPoint> {
        let spacing = spacing_m.max(0.1);
        let points = |street: &layout::Street| {
            let count = (f64::from(street.length) / spacing).round().max(1.0) as usize;
            let [from, to] = [street.from, street.to].map(|p| p.map(f64::from));
            let heading = (to[0] - from[0]).atan2(to[1] - from[1]).to_degrees().rem_euclid(360.0);
            (0..count).map(move |k| {
                let share = (k as f64 + 0.5) / count as f64;
                let at = |axis: usize| from[axis] + (to[axis] - from[axis]) * share;
                StreetPoint { x: at(0), y: at(1), heading }
            })
        };
        self.layout.streets.iter().flat_map(points).collect()
    }

    /// Whether a camera at this point would stand outside every house.
    pub fn is_free(&self, x: f64, y: f64) -> bool {
        let p = [x as f32, y as f32];
        !self.house_cells.at(p).iter().any(|&number| self.houses[number as usize].contains(p))
    }
}
