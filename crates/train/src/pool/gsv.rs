//! GSV-Cities: tables of places, several photographs each, over years (Ali-bey et al., 2022).

use super::{Item, Source};
use crate::random::Rng;
use crate::{Result, TrainError};
use r2former_data::image::{Limits, Rgb8, decode_file};
use r2former_data::{DataError, LatLon, Photo};
use serde::Deserialize;
use std::path::Path;

/// Photographs listed in the tables.
pub(super) struct GsvCities(Vec<Item>);

/// A row of `Dataframes/<City>.csv`.
#[derive(Debug, Deserialize)]
struct Row {
    place_id: u32,
    year: u32,
    month: u32,
    northdeg: u32,
    city_id: String,
    lat: f64,
    lon: f64,
    panoid: String,
    /// Latitude and longitude as written: the file's name repeats them digit by digit.
    #[serde(skip)]
    written: [String; 2],
}

/// Place numbers of a city are offset by this times the city's number.
const PLACES: u32 = 1 << 20;

impl GsvCities {
    pub(super) fn open(root: &Path, cities: &[String]) -> Result<Self> {
        let tables = root.join("Dataframes");
        let mut names: Vec<String> = std::fs::read_dir(&tables)
            .map_err(TrainError::io(&tables))?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".csv").map(str::to_owned))
            .filter(|name| cities.is_empty() || cities.contains(name))
            .collect();
        names.sort();
        if names.is_empty() || (!cities.is_empty() && names.len() != cities.len()) {
            return Err(TrainError::run(
                tables,
                format!("has tables of {names:?}, of the cities {cities:?}"),
            ));
        }
        let mut items = Vec::new();
        for (number, city) in names.iter().enumerate() {
            let path = tables.join(format!("{city}.csv"));
            for row in rows(&path)? {
                if row.place_id >= PLACES {
                    return Err(TrainError::run(&path, format!("place_id {} is too large", row.place_id)));
                }
                let name = format!(
                    "{}_{:07}_{}_{:02}_{:03}_{}_{}_{}.jpg",
                    row.city_id,
                    row.place_id,
                    row.year,
                    row.month,
                    row.northdeg,
                    row.written[0],
                    row.written[1],
                    row.panoid
                );
                let mut photo = Photo::new(root.join("Images").join(&row.city_id).join(&name), name);
                photo.position = Some(LatLon::new(row.lat, row.lon).map_err(DataError::from)?.into());
                photo.heading = Some(f64::from(row.northdeg));
                items.push(Item { photo, place: Some(number as u32 * PLACES + row.place_id) });
            }
        }
        if let Some(lost) = items.first().filter(|item| !item.photo.path.is_file()) {
            return Err(TrainError::run(
                &lost.photo.path,
                "does not exist, although the table lists it: is the folder Images complete?",
            ));
        }
        Ok(Self(items))
    }
}

fn rows(path: &Path) -> Result<Vec<Row>> {
    let bad = |e: csv::Error| TrainError::run(path, e.to_string());
    let mut reader = csv::Reader::from_path(path).map_err(bad)?;
    let headers = reader.headers().map_err(bad)?.clone();
    let at = |name: &str| headers.iter().position(|h| h == name);
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(bad)?;
        let mut row: Row = record.deserialize(Some(&headers)).map_err(bad)?;
        let cell = |name: &str| at(name).and_then(|i| record.get(i)).unwrap_or_default().to_owned();
        row.written = [cell("lat"), cell("lon")];
        rows.push(row);
    }
    Ok(rows)
}

impl Source for GsvCities {
    fn items(&self) -> Vec<Item> {
        self.0.clone()
    }

    fn image(&self, key: usize, _: [usize; 2], _: Option<&mut Rng>) -> Result<Rgb8> {
        Ok(decode_file(&self.0[key].photo.path, &Limits::default())?)
    }
}
