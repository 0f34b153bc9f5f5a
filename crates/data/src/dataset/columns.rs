//! Which column of a table of photographs means what, by the many names in use.

use super::table::{Table, number};
use crate::{DataError, Result};

/// What a column of a table of photographs can mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Path,
    Lat,
    Lon,
    Easting,
    Northing,
    Zone,
    Heading,
    Altitude,
    Time,
}

/// Names of each meaning, the surest first; in lower case, words joined by `_`.
const NAMES: [(Role, &[&str]); 9] = [
    (Role::Path, &["path", "file", "filename", "file_name", "image", "img", "name"]),
    (Role::Lat, &["lat", "latitude"]),
    (Role::Lon, &["lon", "lng", "long", "longitude"]),
    (Role::Easting, &["easting", "utm_east", "utm_easting", "east", "x"]),
    (Role::Northing, &["northing", "utm_north", "utm_northing", "north", "y"]),
    (Role::Zone, &["utm_zone", "zone"]),
    (Role::Heading, &["heading", "compass", "bearing", "yaw", "northdeg", "ca", "direction"]),
    (Role::Altitude, &["altitude", "alt", "elevation", "height"]),
    (Role::Time, &["timestamp", "time", "captured_at", "date"]),
];

/// The header that is asked for when one cannot be understood.
pub(super) const WANTED: &str = "path,lat,lon (and optionally heading,altitude,timestamp), or \
                                 path,easting,northing,zone for UTM metres";

/// Where a position is stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Columns of latitude and longitude.
    Degrees(usize, usize),
    /// Columns of easting and northing.
    Metres(usize, usize),
}

/// The columns of a table of photographs.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) path: usize,
    /// None for a table that states none.
    pub(super) place: Option<Place>,
    pub(super) zone: Option<usize>,
    pub(super) heading: Option<usize>,
    pub(super) altitude: Option<usize>,
    pub(super) time: Option<usize>,
    /// Columns without a meaning here; those without a name are left out.
    pub(super) others: Vec<usize>,
}

impl Columns {
    /// Finds each meaning's column.
    ///
    /// # Errors
    /// [`DataError::Format`] for a first row that is data, or a header without a path or with
    /// half a position; the message tells which header is needed.
    pub(super) fn detect(table: &Table) -> Result<Self> {
        if let Some(cell) = table.header.iter().find(|cell| number("", cell).is_ok()) {
            return Err(table.complain(
                1,
                format!("the first row looks like data (\"{cell}\"): add a header such as {WANTED}"),
            ));
        }
        let names: Vec<String> = table.header.iter().map(|name| normalised(name)).collect();
        let find = |role: Role| {
            let (_, all) = NAMES.iter().find(|(r, _)| *r == role)?;
            all.iter().find_map(|wanted| names.iter().position(|name| name == wanted))
        };
        let missing = |what: &str| Self::missing(table, what);
        let path = find(Role::Path).ok_or_else(|| missing("the image's path"))?;
        let place = match (find(Role::Lat), find(Role::Lon), find(Role::Easting), find(Role::Northing)) {
            (Some(lat), Some(lon), _, _) => Some(Place::Degrees(lat, lon)),
            (_, _, Some(east), Some(north)) => Some(Place::Metres(east, north)),
            (Some(_), None, ..) => return Err(missing("the longitude")),
            (None, Some(_), ..) => return Err(missing("the latitude")),
            (.., Some(_), None) => return Err(missing("the northing")),
            (.., None, Some(_)) => return Err(missing("the easting")),
            (None, None, None, None) => None,
        };
        // A height beside a width is the image's, in pixels.
        let pixels = names.iter().any(|name| name == "width");
        let altitude = find(Role::Altitude).filter(|at| !(pixels && names[*at] == "height"));
        let zone = find(Role::Zone).filter(|_| matches!(place, Some(Place::Metres(..))));
        let mut columns = Self {
            path,
            place,
            zone,
            heading: find(Role::Heading),
            altitude,
            time: find(Role::Time),
            others: Vec::new(),
        };
        let (a, b) = place.map(|(Place::Degrees(a, b) | Place::Metres(a, b))| (a, b)).unzip();
        let taken = [Some(path), a, b, zone, columns.heading, altitude, columns.time];
        columns.others =
            (0..names.len()).filter(|i| !taken.contains(&Some(*i)) && !names[*i].is_empty()).collect();
        Ok(columns)
    }

    /// The complaint about a column that is not there.
    pub(super) fn missing(table: &Table, what: &str) -> DataError {
        let header = table.header.join(", ");
        table.complain(1, format!("no column for {what} among \"{header}\": needed is {WANTED}"))
    }

    /// One line on what was found, with the names that the file uses.
    pub(super) fn describe(&self, table: &Table) -> String {
        let name = |at: usize| table.header[at].as_str();
        let mut parts = vec![format!("path = {}", name(self.path))];
        match self.place {
            Some(Place::Degrees(lat, lon)) => {
                parts.push(format!("latitude = {}, longitude = {} (degrees)", name(lat), name(lon)));
            }
            Some(Place::Metres(east, north)) => {
                parts.push(format!("easting = {}, northing = {} (UTM metres)", name(east), name(north)));
            }
            None => {}
        }
        for (what, at) in
            [("zone", self.zone), ("heading", self.heading), ("altitude", self.altitude), ("time", self.time)]
        {
            parts.extend(at.map(|at| format!("{what} = {}", name(at))));
        }
        if !self.others.is_empty() {
            let others: Vec<_> = self.others.iter().map(|at| name(*at)).collect();
            parts.push(format!("kept as tags: {}", others.join(", ")));
        }
        let delimiter = match table.delimiter {
            '\t' => "tabs".into(),
            other => format!("\"{other}\""),
        };
        format!("columns: {}; separated by {delimiter}", parts.join("; "))
    }
}

/// A column's name in lower case, without a unit in brackets, words joined by `_`.
fn normalised(name: &str) -> String {
    let name = name.split(['(', '[']).next().unwrap_or_default();
    name.trim().to_lowercase().replace([' ', '-', '.'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn detect(header: &str) -> Result<Columns> {
        Columns::detect(&Table::parse(header.as_bytes(), Path::new("t.csv")).unwrap())
    }

    #[test]
    fn synonyms_in_any_case() {
        for header in
            ["path,lat,lon", "FILE;Latitude;Longitude", "lng\timg\tLAT", "name,latitude (deg),long [deg]"]
        {
            let columns = detect(header).unwrap();
            assert!(
                matches!(columns.place, Some(Place::Degrees(..))) && columns.others.is_empty(),
                "{header}"
            );
        }
        for header in ["image,easting,northing", "Filename,UTM East,utm-north,Zone", "path,x,y,utm_zone"] {
            assert!(matches!(detect(header).unwrap().place, Some(Place::Metres(1, 2))), "{header}");
        }
        for heading in ["heading", "Compass", "bearing", "yaw", "northdeg", "ca", "direction"] {
            assert_eq!(detect(&format!("path,lat,lon,{heading}")).unwrap().heading, Some(3), "{heading}");
        }
        for time in ["time", "timestamp", "captured_at", "Date"] {
            assert_eq!(detect(&format!("path,lat,lon,{time}")).unwrap().time, Some(3), "{time}");
        }
    }

    #[test]
    fn the_surer_name_wins_and_the_rest_are_tags() {
        let columns = detect("name,path,lat,lon,x,y,width,height,alt").unwrap();
        assert_eq!((columns.path, columns.place, columns.altitude), (1, Some(Place::Degrees(2, 3)), Some(8)));
        assert_eq!(columns.others, [0, 4, 5, 6, 7]);
        assert_eq!(detect("path,lat,lon,width,height").unwrap().altitude, None);
        assert_eq!(detect("path,lat,lon,height").unwrap().altitude, Some(3));
    }

    #[test]
    fn complaints_tell_the_header_needed() {
        for (header, wanted) in [
            ("a.jpg,52.1,0.1", "looks like data (\"52.1\"): add a header such as path,lat,lon"),
            ("lat,lon", "no column for the image's path among \"lat, lon\""),
            ("path,lat", "no column for the longitude"),
            ("path,lon", "no column for the latitude"),
            ("path,easting", "no column for the northing"),
            ("path,north", "no column for the easting"),
        ] {
            let message = detect(header).expect_err(header).to_string();
            assert!(message.starts_with("t.csv:1: ") && message.contains(wanted), "{message}");
            assert!(message.contains("path,easting,northing,zone"), "{message}");
        }
    }
}
