//! The rendered town: any number of places with exact positions, in any light and weather.

use super::{Item, Source};
use crate::random::Rng;
use crate::{Result, TrainError};
use r2former_data::Photo;
use r2former_data::image::Rgb8;
use r2former_town::{Camera, Condition, StreetPoint, Town, TownConfig, View};
use rand::Rng as _;
use rand::seq::IndexedRandom as _;

/// Directions per street point: along the street and across it.
const DIRECTIONS: usize = 4;

/// Largest random offset of a view from its place: metres, degrees.
const OFFSET: f64 = 2.5;
const TURN: f64 = 16.0;

/// Streets of one town.
pub(super) struct Streets {
    town: Town,
    points: Vec<StreetPoint>,
    conditions: Vec<Condition>,
    name: String,
}

impl Streets {
    pub(super) fn open(seed: u64, blocks: u32, spacing: f64, conditions: &[Condition]) -> Result<Self> {
        if spacing.is_nan() || spacing <= 0.0 {
            return Err(TrainError::Config(format!("data.spacing = {spacing}: must be above 0 metres")));
        }
        let town = Town::new(&TownConfig { seed, blocks: (blocks, blocks), ..TownConfig::default() })?;
        let points = town.street_positions(spacing);
        let conditions = if conditions.is_empty() { Condition::ALL.to_vec() } else { conditions.to_vec() };
        Ok(Self { town, points, conditions, name: format!("town {seed}") })
    }

    fn heading(&self, key: usize) -> f64 {
        self.points[key / DIRECTIONS].heading + (key % DIRECTIONS) as f64 * 360.0 / DIRECTIONS as f64
    }
}

impl Source for Streets {
    fn items(&self) -> Vec<Item> {
        let item = |key: usize| {
            let point = self.points[key / DIRECTIONS];
            let mut photo = Photo::new("", format!("{} place {key}", self.name));
            photo.position = Some(self.town.to_latlon(point.x, point.y).into());
            photo.heading = Some(self.heading(key).rem_euclid(360.0));
            Item { photo, place: None }
        };
        (0..self.points.len() * DIRECTIONS).map(item).collect()
    }

    fn image(&self, key: usize, [height, width]: [usize; 2], vary: Option<&mut Rng>) -> Result<Rgb8> {
        let point = self.points[key / DIRECTIONS];
        let mut camera = Camera { x: point.x, y: point.y, heading: self.heading(key), ..Camera::default() };
        let (mut condition, mut visit) = (Condition::Day, 0);
        if let Some(rng) = vary {
            condition = self.conditions.choose(rng).copied().unwrap_or(condition);
            visit = rng.random();
            let (east, north) = (rng.random_range(-OFFSET..OFFSET), rng.random_range(-OFFSET..OFFSET));
            if self.town.is_free(point.x + east, point.y + north) {
                camera.x += east;
                camera.y += north;
            }
            camera.heading += rng.random_range(-TURN..TURN);
            camera.pitch = rng.random_range(-3.0..6.0);
            camera.roll = rng.random_range(-2.0..2.0);
            camera.height = rng.random_range(1.3..2.4);
            camera.fov = rng.random_range(60.0..95.0);
        }
        Ok(self.town.render(&View { camera, condition, visit }, width, height)?)
    }

    fn is_static(&self) -> bool {
        false
    }
}
