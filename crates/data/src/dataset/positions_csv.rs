//! A CSV of photographs and their positions.

use super::Listing;
use super::columns::{Columns, Place};
use super::table::{Table, number};
use super::timestamps;
use super::walk::resolve;
use super::zone::{parse_zone, place_metres};
use crate::{DataError, LatLon, Photo, Result, Utm, UtmZone};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// Lists the photographs of a CSV: `path,lat,lon` and more.
///
/// Columns are found by name in any case and order (`notes` tell which): a path (`path`, `file`,
/// `filename`, `image`, `name`, `img`) relative to the CSV's folder; `lat`/`latitude` and
/// `lon`/`lng`/`long`/`longitude` in degrees, or `easting`/`utm_east`/`x` and `northing`/`utm_north`/`y`
/// in metres with a `zone` (or `zone` given here); optionally a heading in degrees (`heading`,
/// `compass`, `bearing`, `yaw`, `northdeg`, `ca`, `direction`), an altitude in metres (`altitude`,
/// `alt`, `elevation`, `height`) and a time (`timestamp`, `time`, `captured_at`, `date`: Unix seconds
/// or milliseconds, ISO 8601). Other columns become tags. Comma, semicolon or tab separate.
///
/// A photograph whose file is missing is skipped with the reason.
///
/// # Errors
/// [`DataError::Io`]; [`DataError::Format`] with the line for everything that would make a position
/// wrong or ambiguous: a missing header or column, an empty or unreadable cell, degrees out of
/// range, a path that appears twice, rows of unequal length, metres without a zone.
pub fn list_positions_csv(path: &Path, zone: Option<UtmZone>) -> Result<Listing> {
    let table = Table::read(path)?;
    if Columns::detect(&table)?.place.is_none() {
        return Err(Columns::missing(&table, "the position"));
    }
    list_table(&table, folder(path), zone, &|file| file.is_file())
}

/// As [`list_positions_csv`], of a table that may do without positions. Photographs whose file is missing are kept.
pub(super) fn list_images_csv(path: &Path) -> Result<Listing> {
    list_table(&Table::read(path)?, folder(path), None, &|_| true)
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Lists a table that is already read; `exists` tells whether a file is there.
fn list_table(
    table: &Table,
    root: &Path,
    zone: Option<UtmZone>,
    exists: &dyn Fn(&Path) -> bool,
) -> Result<Listing> {
    let columns = Columns::detect(table)?;
    if table.rows.is_empty() {
        return Err(table.complain(None, "has a header but no rows"));
    }
    if let (Some(Place::Metres(..)), None, None) = (columns.place, columns.zone, zone) {
        return Err(table.complain(
            1,
            "positions in metres need their UTM zone: add a column zone (such as 33U), or give the zone as an option",
        ));
    }
    check_order(table, &columns)?;
    let mut listing = Listing { notes: vec![columns.describe(table)], ..Listing::default() };
    let mut first_line = HashMap::new();
    let mut units = BTreeSet::new();
    let mut bare_zones = 0usize;
    for (line, cells) in &table.rows {
        let row = Row { table, columns: &columns, line: *line, cells };
        let (photo, unit) = row.photo(root, zone)?;
        units.extend(unit);
        bare_zones += usize::from(columns.zone.is_some_and(|at| cells[at].parse::<u8>().is_ok()));
        if let Some(before) = first_line.insert(photo.name.clone(), *line) {
            return Err(
                table.complain(*line, format!("path \"{}\" was already on line {before}", photo.name))
            );
        }
        if exists(&photo.path) {
            listing.photos.push(photo);
        } else {
            listing.skipped.push((photo.path, format!("named on line {line}, does not exist")));
        }
    }
    if !units.is_empty() {
        let units: Vec<_> = units.into_iter().map(timestamps::Unit::describe).collect();
        listing.notes.push(format!("times: {}", units.join(", ")));
    }
    if bare_zones > 0 {
        listing
            .notes
            .push(format!("{bare_zones} UTM zones without a letter: taken as the northern hemisphere"));
    }
    let missing = listing.skipped.len();
    listing.notes.push(format!("{} photographs, {missing} files missing", listing.photos.len()));
    Ok(listing)
}

/// Looks at all latitudes and longitudes at once: a swap shows in one line, but is sure only from all.
fn check_order(table: &Table, columns: &Columns) -> Result<()> {
    let Some(Place::Degrees(lat, lon)) = columns.place else { return Ok(()) };
    let values = |at: usize| table.rows.iter().filter_map(move |(_, cells)| cells[at].parse::<f64>().ok());
    let Some((line, cells)) =
        table.rows.iter().find(|(_, cells)| cells[lat].parse::<f64>().is_ok_and(|v| v.abs() > 90.0))
    else {
        return Ok(());
    };
    let within = |at: usize, limit: f64| values(at).all(|v| v.abs() <= limit);
    let hint = if within(lat, 180.0) && within(lon, 90.0) {
        "are the columns of latitude and longitude swapped?"
    } else if values(lat).chain(values(lon)).filter(|v| v.abs() > 1000.0).count() > table.rows.len() {
        "are these metres? Then name the columns easting, northing and zone"
    } else {
        return Ok(());
    };
    let name = &table.header[lat];
    Err(table.complain(*line, format!("{name} {} is beyond -90..90 degrees: {hint}", cells[lat])))
}

/// One row of the table.
struct Row<'a> {
    table: &'a Table,
    columns: &'a Columns,
    line: u64,
    cells: &'a [String],
}

impl Row<'_> {
    fn photo(&self, root: &Path, zone: Option<UtmZone>) -> Result<(Photo, Option<timestamps::Unit>)> {
        let columns = self.columns;
        let cell = &self.cells[columns.path];
        if cell.is_empty() {
            return Err(self.complain(format!("{} is empty", self.table.header[columns.path])));
        }
        if cell.contains('\0') {
            return Err(self.complain("the path has a zero byte".into()));
        }
        let (path, name) = resolve(root, cell);
        if name.is_empty() {
            return Err(self.complain(format!("path \"{cell}\" names no file")));
        }
        let mut photo = Photo::new(path, name);
        match columns.place {
            Some(Place::Degrees(lat, lon)) => {
                let position = LatLon::new(self.number(lat)?, self.number(lon)?);
                photo.position = Some(position.map_err(|e| self.complain(e.to_string()))?);
            }
            Some(Place::Metres(east, north)) => {
                let zone = self.zone(zone)?;
                let (easting, northing) = (self.number(east)?, self.number(north)?);
                let position = place_metres(easting, northing, zone).map_err(|e| self.complain(e))?;
                photo.position = Some(position);
                photo.utm = Some(Utm { easting, northing, zone: Some(zone) });
            }
            None => {}
        }
        photo.heading = match self.optional(columns.heading)? {
            Some(degrees) if !(-360.0..=360.0).contains(&degrees) => {
                return Err(self.complain(format!("heading {degrees} is outside -360..360 degrees")));
            }
            // The remainder of a tiny negative angle rounds up to a whole turn.
            Some(degrees) => Some(degrees.rem_euclid(360.0) % 360.0),
            None => None,
        };
        photo.altitude = self.optional(columns.altitude)?;
        let mut unit = None;
        if let Some(cell) = columns.time.map(|at| &self.cells[at]).filter(|cell| !cell.is_empty()) {
            let (time, written) = timestamps::parse(cell).map_err(|e| self.complain(e))?;
            photo.time = Some(time);
            unit = Some(written);
        }
        for at in &columns.others {
            if !self.cells[*at].is_empty() {
                photo.tags.insert(self.table.header[*at].clone(), self.cells[*at].clone());
            }
        }
        Ok((photo, unit))
    }

    /// The zone that the row states, else the one given for the whole table.
    fn zone(&self, given: Option<UtmZone>) -> Result<UtmZone> {
        let cell = self.columns.zone.map(|at| self.cells[at].as_str()).filter(|cell| !cell.is_empty());
        match (cell, given) {
            (Some(cell), _) => parse_zone(cell).map_err(|e| self.complain(e)),
            (None, Some(zone)) => Ok(zone),
            (None, None) => Err(self.complain("the UTM zone is empty".into())),
        }
    }

    fn number(&self, at: usize) -> Result<f64> {
        number(&self.table.header[at], &self.cells[at]).map_err(|e| self.complain(e))
    }

    /// A number that may be absent: no column, or an empty cell.
    fn optional(&self, at: Option<usize>) -> Result<Option<f64>> {
        at.filter(|at| !self.cells[*at].is_empty()).map(|at| self.number(at)).transpose()
    }

    fn complain(&self, problem: String) -> DataError {
        self.table.complain(self.line, problem)
    }
}

#[cfg(test)]
#[path = "positions_csv_tests.rs"]
mod tests;
