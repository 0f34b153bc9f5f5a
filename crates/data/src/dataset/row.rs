//! One row of a table of photographs.

use super::SkipKind;
use super::angle::{self, Axis, Side};
use super::columns::{Columns, Coordinate, Place};
use super::names::resolve;
use super::number::{Quantity, number_of};
use super::point;
use super::remarks::Remarks;
use super::table::Table;
use super::times::WithoutTime;
use super::timestamps;
use super::zone::{is_degrees, parse_zone, place_metres};
use crate::photo::check_altitude;
use crate::{LatLon, LocalPoint, Photo, Position, Utm, UtmZone, tag_refusal};
use std::path::Path;

/// Why a row gives no photograph.
pub(super) struct Problem {
    pub(super) kind: SkipKind,
    pub(super) reason: String,
}

impl Problem {
    pub(super) fn unreadable(reason: impl Into<String>) -> Self {
        Self { kind: SkipKind::Unreadable, reason: reason.into() }
    }

    pub(super) fn without_position(reason: impl Into<String>) -> Self {
        Self { kind: SkipKind::WithoutPosition, reason: reason.into() }
    }
}

/// One row of the table.
pub(super) struct Row<'a> {
    pub(super) table: &'a Table,
    pub(super) columns: &'a Columns,
    pub(super) line: u64,
    pub(super) cells: &'a [String],
    pub(super) remarks: &'a mut Remarks,
}

impl Row<'_> {
    /// The photograph, with nothing but its file and name.
    pub(super) fn file(&self, root: &Path) -> Result<Photo, Problem> {
        let cell = &self.cells[self.columns.path];
        if cell.is_empty() {
            let name = &self.table.header[self.columns.path];
            return Err(Problem::unreadable(format!("{name} is empty")));
        }
        if cell.contains('\0') {
            return Err(Problem::unreadable("the path has a zero byte"));
        }
        let (path, name) = resolve(root, cell);
        if name.is_empty() {
            return Err(Problem::unreadable(format!("path \"{cell}\" names no file")));
        }
        Ok(Photo::new(path, name))
    }

    /// Position, and metres where they are stated.
    pub(super) fn position(&self, zone: Option<UtmZone>) -> Result<(Option<Position>, Option<Utm>), Problem> {
        let (lat, lon) = match &self.columns.place {
            None => return Ok((None, None)),
            Some(Place::Degrees(lat, lon)) => {
                (self.coordinate(lat, Axis::Latitude), self.coordinate(lon, Axis::Longitude))
            }
            Some(Place::Point(at, order)) => {
                let (name, cell) = (&self.table.header[*at], &self.cells[*at]);
                if cell.is_empty() {
                    return Err(Problem::without_position(format!("{name} is empty")));
                }
                let pair = point::parse(name, cell, *order, self.columns.notation);
                let (lat, lon) = pair.map_err(Problem::unreadable)?;
                (Ok(lat), Ok(lon))
            }
            Some(Place::Metres(east, north)) => return self.metres(*east, *north, zone),
            Some(Place::Local(x, y, z)) => return self.local(*x, *y, *z),
        };
        let (lat, lon) = match (lat, lon) {
            (Ok(lat), Ok(lon)) => (lat, lon),
            // What cannot be read says more than what is not there.
            (Err(a), Err(b)) if a.kind == SkipKind::WithoutPosition => return Err(b),
            (Err(problem), _) | (_, Err(problem)) => return Err(problem),
        };
        if lon > 180.0 && lon <= 360.0 {
            return Err(Problem::unreadable(format!(
                "longitude {lon} counts from 0 to 360 degrees: write {}, as longitudes go from -180 to 180",
                // Without the digits that a subtraction makes up.
                (1e9 * (lon - 360.0)).round() / 1e9
            )));
        }
        let position = LatLon::new(lat, lon).map_err(|e| Problem::unreadable(e.to_string()))?;
        if position.lat == 0.0 && position.lon == 0.0 {
            return Err(Problem::without_position("the position 0,0 stands for none"));
        }
        Ok((Some(position.into()), None))
    }

    /// A point in local metres, whose height may be missing; 0,0 is one like any other.
    fn local(
        &self,
        x: usize,
        y: usize,
        z: Option<usize>,
    ) -> Result<(Option<Position>, Option<Utm>), Problem> {
        let value = |at: usize| {
            let (name, cell) = (&self.table.header[at], &self.cells[at]);
            if cell.is_empty() {
                return Err(Problem::without_position(format!("{name} is empty")));
            }
            number_of(name, cell, Quantity::Other, self.columns.notation).map_err(Problem::unreadable)
        };
        let height = z.filter(|at| !self.cells[*at].is_empty()).map(value).transpose()?;
        let point = LocalPoint::new(value(x)?, value(y)?, height);
        Ok((Some(point.map_err(|e| Problem::unreadable(e.to_string()))?.into()), None))
    }

    fn coordinate(&self, coordinate: &Coordinate, axis: Axis) -> Result<f64, Problem> {
        let at = coordinate.columns.iter().copied().find(|at| !self.cells[*at].is_empty());
        let at = at.unwrap_or(coordinate.columns[0]);
        let (name, cell) = (&self.table.header[at], &self.cells[at]);
        if cell.is_empty() {
            return Err(Problem::without_position(format!("{name} is empty")));
        }
        let angle = angle::parse(name, cell, axis, self.columns.notation).map_err(Problem::unreadable)?;
        let side = match coordinate.side.map(|at| (&self.table.header[at], &self.cells[at])) {
            None => None,
            Some((column, text)) => match Side::parse_cell(text).filter(|side| side.axis() == axis) {
                Some(side) => Some(side),
                None if text.is_empty() && (angle.is_sided() || angle.degrees(None) == Ok(0.0)) => None,
                None => {
                    return Err(Problem::unreadable(format!(
                        "{column} is \"{text}\" beside {name} {cell}: {} is needed",
                        axis.sides()
                    )));
                }
            },
        };
        angle.degrees(side).map_err(|e| Problem::unreadable(format!("{name} \"{cell}\" {e}")))
    }

    fn metres(
        &self,
        east: usize,
        north: usize,
        zone: Option<UtmZone>,
    ) -> Result<(Option<Position>, Option<Utm>), Problem> {
        let value = |at: usize| {
            let (name, cell) = (&self.table.header[at], &self.cells[at]);
            if cell.is_empty() {
                return Err(Problem::without_position(format!("{name} is empty")));
            }
            number_of(name, cell, Quantity::Metres, self.columns.notation).map_err(Problem::unreadable)
        };
        let (easting, northing) = (value(east)?, value(north)?);
        if easting == 0.0 && northing == 0.0 {
            return Err(Problem::without_position("the position 0,0 stands for none"));
        }
        if self.columns.zone.is_some_and(|at| is_degrees(&self.cells[at])) {
            // x is the longitude, as in every export of a GIS.
            let position = LatLon::new(northing, easting).map_err(|e| Problem::unreadable(e.to_string()))?;
            return Ok((Some(position.into()), None));
        }
        let zone = self.zone(zone).map_err(Problem::unreadable)?;
        let position = place_metres(easting, northing, zone).map_err(Problem::unreadable)?;
        Ok((Some(position.into()), Some(Utm { easting, northing, zone: Some(zone) })))
    }

    /// The zone that the row states, else the one given for the whole table.
    fn zone(&self, given: Option<UtmZone>) -> Result<UtmZone, String> {
        let cell = |at: Option<usize>| at.map(|at| self.cells[at].as_str()).filter(|cell| !cell.is_empty());
        match (cell(self.columns.zone), given) {
            (Some(zone), _) => {
                let hemisphere = cell(self.columns.hemisphere)
                    .map(|text| {
                        Side::parse_cell(text).ok_or_else(|| format!("\"{text}\" is no hemisphere: N or S"))
                    })
                    .transpose()?;
                parse_zone(zone, hemisphere)
            }
            (None, Some(zone)) => Ok(zone),
            (None, None) => Err("the UTM zone is empty".into()),
        }
    }

    /// Fills in what may be absent; what cannot be read is remarked on. Returns how the time was written.
    pub(super) fn fill(&mut self, photo: &mut Photo) -> Option<timestamps::Unit> {
        photo.heading = self.optional("without a heading", self.columns.heading, |this, name, cell| {
            let degrees = cell.trim_end_matches(['°', ' ']);
            match number_of(name, degrees, Quantity::Other, this.columns.notation)? {
                -1.0 if this.columns.unknown_heading => {
                    Err(format!("{name} {cell} stands for none, as no other heading is negative"))
                }
                degrees if !(-360.0..=360.0).contains(&degrees) => {
                    Err(format!("{name} {cell} is outside -360..360 degrees"))
                }
                // The remainder of a tiny negative angle rounds up to a whole turn.
                degrees => Ok(degrees.rem_euclid(360.0) % 360.0),
            }
        });
        photo.altitude = self.optional("without an altitude", self.columns.altitude, Self::altitude);
        for at in &self.columns.others {
            let (key, value) = (&self.table.header[*at], &self.cells[*at]);
            match tag_refusal(key, value) {
                _ if value.is_empty() => {}
                Some(why) => self.remarks.add("without a tag", self.line, format!("{key}: {why}")),
                None => drop(photo.tags.insert(key.clone(), value.clone())),
            }
        }
        let (time, unit) = self.time().unzip();
        photo.time = time;
        unit
    }

    /// A value that may be absent: no column, or an empty cell.
    fn optional(
        &mut self,
        kind: &'static str,
        at: Option<usize>,
        read: impl Fn(&Self, &str, &str) -> Result<f64, String>,
    ) -> Option<f64> {
        let at = at.filter(|at| !self.cells[*at].is_empty())?;
        match read(self, &self.table.header[at], &self.cells[at]) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.remarks.add(kind, self.line, problem);
                None
            }
        }
    }

    /// `12.5`, `12.5 m`, exiftool's `12.5 m Below Sea Level`.
    fn altitude(&self, name: &str, cell: &str) -> Result<f64, String> {
        let lower = cell.to_lowercase();
        let (size, words) = lower.split_once('m').unwrap_or((&lower, ""));
        let Ok(metres) = number_of(name, size.trim(), Quantity::Other, self.columns.notation) else {
            // The whole cell is what was written.
            return number_of(name, cell, Quantity::Other, self.columns.notation);
        };
        let below = |text: &str| text.trim() == "1" || text.to_lowercase().contains("below");
        let side = self.columns.altitude_side.is_some_and(|at| below(&self.cells[at]));
        let metres = if side || below(words) { -metres.abs() } else { metres };
        check_altitude(metres).map_err(|why| format!("{name} {cell} {why}"))
    }

    /// Seconds since 1970, and how they were written.
    fn time(&mut self) -> Option<(i64, timestamps::Unit)> {
        match self.columns.times.of(self.table, self.cells) {
            Ok(found) => found,
            Err(WithoutTime { kind, problem }) => {
                self.remarks.add(kind, self.line, problem);
                None
            }
        }
    }
}
