//! Which column of a table of photographs means what, by the many names in use.

use super::angle::Side;
use super::column_names::{NAMES, Role, is_radius, key};
use super::names::ordinal;
use super::number::{Notation, ascii_minus, number};
use super::point::{self, Order};
use super::table::Table;
use super::times::Times;
use super::walk::is_photo_by_name;
use super::zone::parse_zone;
use crate::{DataError, PositionKind, Result, tag_refusal};
use std::path::Path;

/// The header that is asked for when one cannot be understood.
pub(super) const WANTED: &str = "path,lat,lon (and optionally heading,altitude,timestamp), or \
                                 path,easting,northing,zone for UTM metres, or path,x,y,z for local metres";

/// Where a position is stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Columns of latitude and longitude, and of their sides.
    Degrees(Coordinate, Coordinate),
    /// One column of both.
    Point(usize, Order),
    /// Columns of easting and northing.
    Metres(usize, usize),
    /// Columns of x, y and z in local metres.
    Local(usize, usize, Option<usize>),
}

/// The columns of a latitude or longitude.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Coordinate {
    /// The surest name first; the others must agree with it.
    pub(super) columns: Vec<usize>,
    /// N or S, E or W.
    pub(super) side: Option<usize>,
}

/// The columns of a table of photographs.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) path: usize,
    /// None for a table that states none.
    pub(super) place: Option<Place>,
    pub(super) zone: Option<usize>,
    pub(super) hemisphere: Option<usize>,
    pub(super) heading: Option<usize>,
    /// Whether a heading of -1 stands for none: no other one is negative.
    pub(super) unknown_heading: bool,
    pub(super) altitude: Option<usize>,
    pub(super) altitude_side: Option<usize>,
    pub(super) times: Times,
    /// Columns without a meaning here; those without a name are left out.
    pub(super) others: Vec<usize>,
    /// How numbers are written.
    pub(super) notation: Notation,
}

impl Columns {
    /// Finds each meaning's column. The position is of the `wanted` kind where the table has several; by default degrees
    /// count before metres, and metres named x and y without a zone are local.
    ///
    /// # Errors
    /// [`DataError::Format`] for a first row that is data, a header without a path or with half a position, columns
    /// separated by spaces, a name that no tag can have; the message says which header is needed.
    pub(super) fn detect(table: &Table, wanted: Option<PositionKind>) -> Result<Self> {
        let names: Vec<String> = table.header.iter().map(|name| key(name)).collect();
        let all = |role: Role| -> Vec<usize> {
            let known = NAMES.iter().filter(|(r, _)| *r == role).flat_map(|(_, known)| *known);
            known
                .flat_map(|known| (0..names.len()).filter(|i| names[*i] == *known).collect::<Vec<_>>())
                .collect()
        };
        let find = |role: Role| all(role).first().copied();
        check_header(table, find(Role::Path).is_some())?;
        let missing = |what: &str| Self::missing(table, what);
        let path = find(Role::Path).ok_or_else(|| missing("the image's path"))?;

        let (mut lat, mut lon) = (all(Role::Lat), all(Role::Lon));
        // Breite and Länge are also width and length: they are coordinates only together and alone.
        let german = |columns: &[usize]| columns.iter().all(|i| names[*i] == "breite");
        if german(&lat) && (lon.is_empty() || !lon.iter().any(|i| names[*i].starts_with(['l', 'g']))) {
            lat.clear();
        } else if lat.len() > 1 {
            lat.retain(|i| names[*i] != "breite");
        }
        if lon.len() > 1 {
            lon.retain(|i| !matches!(names[*i].as_str(), "länge" | "laenge"));
        }
        let pixels = names.iter().any(|name| name == "width")
            || names.iter().enumerate().any(|(i, name)| name == "breite" && !lat.contains(&i));
        // A column of places may as well hold their names.
        let pairs = |at: usize| {
            table.rows.is_empty() || table.rows.iter().any(|(_, cells)| point::is_pair(&cells[at]))
        };
        let points = [Order::LatLon, Order::LonLat, Order::Unstated];
        let point = points.into_iter().find_map(|order| find(Role::Point(order)).map(|at| (at, order)));
        let point = point.filter(|(at, order)| *order != Order::Unstated || pairs(*at));
        let mut hemisphere = find(Role::Hemisphere);
        let metres = (find(Role::Easting), find(Role::Northing));
        let local =
            find(Role::LocalX).zip(find(Role::LocalY)).map(|(x, y)| Place::Local(x, y, find(Role::LocalZ)));
        let zone = find(Role::Zone);
        let sided = find(Role::Hemisphere).map(|_| Side::North);
        let has_degrees = !lat.is_empty() && !lon.is_empty();
        let local = local.filter(|_| match wanted {
            Some(PositionKind::Local) => zone.is_none_or(|at| !all_zones(table, at, sided)),
            Some(PositionKind::Wgs84) => false,
            Some(PositionKind::None) | None => {
                !has_degrees && point.is_none() && zone.is_none() && metres_are_local(&names)
            }
        });
        let place = match (lat.is_empty(), lon.is_empty(), point, metres) {
            _ if local.is_some() => local,
            (false, false, ..) => {
                let lat_side = find(Role::LatRef).or(hemisphere.take().filter(|at| all_sides(table, *at)));
                Some(Place::Degrees(
                    Coordinate { columns: lat, side: lat_side },
                    Coordinate { columns: lon, side: find(Role::LonRef) },
                ))
            }
            (_, _, _, (Some(east), Some(north))) => Some(Place::Metres(east, north)),
            (true, true, Some((at, order)), _) => Some(Place::Point(at, order)),
            (false, true, ..) => return Err(missing("the longitude")),
            (true, false, ..) => return Err(missing("the latitude")),
            (.., (Some(_), None)) => return Err(missing("the northing")),
            (.., (None, Some(_))) => return Err(missing("the easting")),
            (true, true, None, (None, None)) => None,
        };
        // A height beside a width is the image's, in pixels.
        let altitude = find(Role::Altitude)
            .filter(|at| !(pixels && matches!(names[*at].as_str(), "height" | "höhe" | "hoehe")));
        let in_metres = matches!(place, Some(Place::Metres(..)));
        let mut columns = Self {
            path,
            notation: notation(table, place.as_ref()),
            place,
            zone: find(Role::Zone).filter(|_| in_metres),
            hemisphere: hemisphere.filter(|_| in_metres),
            heading: find(Role::Heading),
            unknown_heading: find(Role::Heading).is_some_and(|at| only_minus_one(table, at)),
            altitude,
            altitude_side: find(Role::AltitudeRef).filter(|_| altitude.is_some()),
            times: Times::detect(table, &names, all),
            others: Vec::new(),
        };
        let taken = columns.taken(table);
        columns.others =
            (0..names.len()).filter(|i| !taken.contains(i) && !table.header[*i].is_empty()).collect();
        for at in &columns.others {
            let name = &table.header[*at];
            if let Some(why) = tag_refusal(name, "") {
                let short: String = name.chars().take(80).collect();
                return Err(
                    table.complain(1, format!("the column \"{short}\" would become a tag: {why}; rename it"))
                );
            }
        }
        Ok(columns)
    }

    /// Columns that are no tags.
    fn taken(&self, table: &Table) -> Vec<usize> {
        let mut taken = vec![self.path];
        taken.extend(self.times.taken(table));
        match &self.place {
            Some(Place::Degrees(lat, lon)) => {
                taken.extend([lat.columns[0], lon.columns[0]]);
                taken.extend(lat.side.into_iter().chain(lon.side));
            }
            Some(Place::Point(at, _)) => taken.push(*at),
            Some(Place::Metres(east, north)) => taken.extend([*east, *north]),
            Some(Place::Local(x, y, z)) => taken.extend([*x, *y].into_iter().chain(*z)),
            None => {}
        }
        let single = [self.zone, self.hemisphere, self.heading, self.altitude, self.altitude_side];
        taken.extend(single.into_iter().flatten());
        taken
    }

    /// The complaint about a column that is not there.
    pub(super) fn missing(table: &Table, what: &str) -> DataError {
        let header = table.header.join(", ");
        table.complain(1, format!("no column for {what} among \"{header}\": needed is {WANTED}"))
    }

    /// A line on columns that no name says the meaning of, where they hold anything.
    pub(super) fn nameless(table: &Table) -> Option<String> {
        let holds = |at: usize| {
            let (line, cells) = table.rows.iter().find(|(_, cells)| !cells[at].is_empty())?;
            Some(format!("the {}, as in \"{}\" on line {line}", ordinal(at + 1), cells[at]))
        };
        let unnamed = (0..table.header.len()).filter(|at| table.header[*at].is_empty());
        let found: Vec<String> = unnamed.filter_map(holds).collect();
        let (columns, are) = if found.len() == 1 { ("column", "is") } else { ("columns", "are") };
        (!found.is_empty())
            .then(|| format!("{} {columns} without a name {are} not read: {}", found.len(), found.join("; ")))
    }

    /// One line on what was found, with the names that the file uses; with `radius` a column of that name is read as well.
    pub(super) fn describe(&self, table: &Table, radius: bool) -> String {
        let name = |at: usize| table.header[at].as_str();
        let with_side = |c: &Coordinate| match c.side {
            Some(side) => format!("{} with {}", name(c.columns[0]), name(side)),
            None => name(c.columns[0]).to_owned(),
        };
        let mut parts = vec![format!("path = {}", name(self.path))];
        match &self.place {
            Some(Place::Degrees(lat, lon)) => {
                parts.push(format!(
                    "latitude = {}, longitude = {} (degrees)",
                    with_side(lat),
                    with_side(lon)
                ));
            }
            Some(Place::Point(at, _)) => {
                parts.push(format!("latitude and longitude = {} (degrees)", name(*at)))
            }
            Some(Place::Metres(east, north)) => {
                parts.push(format!("easting = {}, northing = {} (UTM metres)", name(*east), name(*north)));
            }
            Some(Place::Local(x, y, z)) => {
                let z = z.map_or(String::new(), |z| format!(", z = {}", name(z)));
                parts.push(format!("x = {}, y = {}{z} (local metres)", name(*x), name(*y)));
            }
            None => {}
        }
        for (what, at) in [
            ("zone", self.zone),
            ("hemisphere", self.hemisphere),
            ("heading", self.heading),
            ("altitude", self.altitude),
        ] {
            parts.extend(at.map(|at| format!("{what} = {}", name(at))));
        }
        parts.extend(self.times.describe(table));
        let (radii, others): (Vec<usize>, Vec<usize>) =
            self.others.iter().partition(|at| radius && is_radius(name(**at)));
        parts.extend(radii.first().map(|at| format!("radius = {}", name(*at))));
        if !others.is_empty() {
            let others: Vec<_> = others.iter().map(|at| name(*at)).collect();
            parts.push(format!("kept as tags: {}", others.join(", ")));
        }
        let delimiter = match table.delimiter {
            '\t' => "tabs".into(),
            other => format!("\"{other}\""),
        };
        format!("columns: {}; separated by {delimiter}", parts.join("; "))
    }
}

/// Complains about a header that is none: data, or columns separated by spaces.
fn check_header(table: &Table, has_path: bool) -> Result<()> {
    if let [only] = table.header.as_slice()
        && !has_path
        && only.split_whitespace().count() > 1
    {
        return Err(table.complain(
            1,
            format!(
                "the columns of \"{only}\" are separated by spaces: separate them by commas, semicolons, tabs or |"
            ),
        ));
    }
    match table.header.iter().find(|cell| number("", cell).is_ok()) {
        Some(cell) => Err(table.complain(
            1,
            format!("the first row looks like data (\"{cell}\"): add a header such as {WANTED}"),
        )),
        None => match table.header.iter().find(|cell| is_photo_by_name(Path::new(cell))) {
            Some(cell) if !has_path => Err(table.complain(
                1,
                format!(
                    "the first row names a photograph (\"{cell}\") and no columns: add a header, path alone where no \
                     positions are needed, else one such as {WANTED}"
                ),
            )),
            _ => Ok(()),
        },
    }
}

/// Whether a table names the axes of a local map: x and y, with no name of UTM's beside them.
fn metres_are_local(names: &[String]) -> bool {
    !names.iter().any(|name| {
        name.starts_with("utm") || matches!(name.as_str(), "easting" | "northing" | "east" | "north")
    })
}

/// Whether a column states a UTM zone in each row that it states anything in, and in one at least.
fn all_zones(table: &Table, at: usize, hemisphere: Option<Side>) -> bool {
    let mut cells =
        table.rows.iter().map(|(_, cells)| cells[at].as_str()).filter(|cell| !cell.is_empty()).peekable();
    cells.peek().is_some() && cells.all(|cell| parse_zone(cell, hemisphere).is_ok())
}

/// Whether a column holds nothing but N and S, or words for them.
fn all_sides(table: &Table, at: usize) -> bool {
    let side = |cell: &str| {
        cell.is_empty() || Side::parse(cell).is_some_and(|s| matches!(s, Side::North | Side::South))
    };
    table.rows.iter().all(|(_, cells)| side(&cells[at]))
}

/// Whether -1 is the only negative number of a column, as programs write it for a heading that they do not know.
fn only_minus_one(table: &Table, at: usize) -> bool {
    let value = |cell: &str| number("", cell.trim_end_matches(['°', ' '])).ok().filter(|value| *value < 0.0);
    table.rows.iter().filter_map(|(_, cells)| value(&cells[at])).all(|value| value == -1.0)
}

/// How a table writes its numbers, from its delimiter and its positions.
fn notation(table: &Table, place: Option<&Place>) -> Notation {
    let comma = table.delimiter != ',';
    let at: &[usize] = match place {
        Some(Place::Degrees(lat, lon)) => &[lat.columns[0], lon.columns[0]],
        Some(Place::Metres(east, north)) => &[*east, *north],
        Some(Place::Local(x, y, _)) => &[*x, *y],
        Some(Place::Point(..)) | None => &[],
    };
    let cells = || table.rows.iter().flat_map(|(_, cells)| at.iter().map(|at| cells[*at].as_str()));
    let point = |cell: &str| cell.contains('.') && ascii_minus(cell).parse::<f64>().is_ok();
    Notation { comma, points: cells().any(point) && !cells().any(|cell| cell.contains(',')) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(header: &str) -> Result<Columns> {
        Columns::detect(&Table::parse(header.as_bytes(), Path::new("t.csv")).unwrap(), None)
    }

    /// The one column of a latitude and of a longitude.
    fn degrees(columns: &Columns) -> (usize, usize) {
        match &columns.place {
            Some(Place::Degrees(lat, lon)) => (lat.columns[0], lon.columns[0]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn synonyms_in_any_case() {
        for (header, at) in [
            ("path,lat,lon", (1, 2)),
            ("FILE;Latitude;Longitude", (1, 2)),
            ("lng\timg\tLAT", (2, 0)),
            ("name,latitude (deg),long [deg]", (1, 2)),
            ("SourceFile,GPSLatitude,GPSLongitude", (1, 2)),
            ("SourceFile,EXIF:GPSLatitude,Composite:GPSLongitude", (1, 2)),
            ("Datei,Breite,Länge", (1, 2)),
            ("Datei,Breite,La\u{308}nge", (1, 2)),
            ("Bild;Breitengrad;Längengrad", (1, 2)),
            ("fichier,latitude,longitude", (1, 2)),
            ("image_path|gps_lat|gps_lon", (1, 2)),
            ("archivo;latitud;longitud", (1, 2)),
            ("path,lat_deg,lon_deg", (1, 2)),
        ] {
            let columns = detect(header).expect(header);
            assert_eq!(degrees(&columns), at, "{header}");
            assert!(columns.others.is_empty(), "{header}");
        }
        for header in ["image,easting,northing", "Filename,UTM East,utm-north,Zone", "path,x,y,utm_zone"] {
            assert!(matches!(detect(header).unwrap().place, Some(Place::Metres(1, 2))), "{header}");
        }
        for heading in [
            "heading",
            "Compass",
            "bearing",
            "yaw",
            "northdeg",
            "ca",
            "direction",
            "GPSImgDirection",
            "azimuth",
        ] {
            assert_eq!(detect(&format!("path,lat,lon,{heading}")).unwrap().heading, Some(3), "{heading}");
        }
        for time in
            ["time", "timestamp", "captured_at", "Date", "DateTimeOriginal", "GPSDateTime", "Zeitstempel"]
        {
            assert_eq!(detect(&format!("path,lat,lon,{time}")).unwrap().times.columns, [3], "{time}");
        }
        for (point, order) in [
            ("latlon", Order::LatLon),
            ("\"lat,lon\"", Order::LatLon),
            ("lon_lat", Order::LonLat),
            ("WKT", Order::Unstated),
            ("geometry", Order::Unstated),
            ("position", Order::Unstated),
        ] {
            assert_eq!(
                detect(&format!("path,{point}")).unwrap().place,
                Some(Place::Point(1, order)),
                "{point}"
            );
        }
    }

    #[test]
    fn sides_of_the_world_have_columns() {
        for header in [
            "path,lat,lat_ref,lon,lon_ref",
            "SourceFile,GPSLatitude,GPSLatitudeRef,GPSLongitude,GPSLongitudeRef",
            "path,latitude,N/S,longitude,E/W",
        ] {
            let columns = detect(header).expect(header);
            let Some(Place::Degrees(lat, lon)) = &columns.place else { panic!("{header}") };
            assert_eq!((lat.side, lon.side), (Some(2), Some(4)), "{header}");
            assert!(columns.others.is_empty());
        }
        let table = |text: &str| {
            Columns::detect(&Table::parse(text.as_bytes(), Path::new("t.csv")).unwrap(), None).unwrap()
        };
        let Some(Place::Degrees(lat, _)) = table("path,lat,lon,hemisphere\na,1,2,S\n").place else {
            panic!()
        };
        assert_eq!(lat.side, Some(3));
        let Some(Place::Degrees(lat, _)) = table("path,lat,lon,hemisphere\na,1,2,SW\n").place else {
            panic!()
        };
        assert_eq!(lat.side, None);
        let metres = detect("path,x,y,zone,hemisphere").unwrap();
        assert_eq!((metres.zone, metres.hemisphere), (Some(3), Some(4)));
    }

    #[test]
    fn the_surer_name_wins_and_the_rest_are_tags() {
        let columns = detect("name,path,lat,lon,x,y,width,height,alt").unwrap();
        assert_eq!((columns.path, degrees(&columns), columns.altitude), (1, (2, 3), Some(8)));
        assert_eq!(columns.others, [0, 4, 5, 6, 7]);
        assert_eq!(detect("path,lat,lon,width,height").unwrap().altitude, None);
        assert_eq!(detect("path,lat,lon,height").unwrap().altitude, Some(3));
        // Width and height, in German.
        let columns = detect("Datei,lat,lon,Breite,Höhe").unwrap();
        assert_eq!((columns.altitude, columns.others.as_slice()), (None, &[3, 4][..]));
        assert!(detect("Datei,Breite,Höhe").unwrap().place.is_none());
        // A column that could be the latitude as well stays a tag, and is compared.
        let columns = detect("path,lat,lon,GPSLatitude").unwrap();
        assert_eq!(columns.others, [3]);
        assert!(matches!(columns.place, Some(Place::Degrees(lat, _)) if lat.columns == [1, 3]));
    }

    #[test]
    fn complaints_name_the_header_needed() {
        for (header, wanted) in [
            ("a.jpg,52.1,0.1", "looks like data (\"52.1\"): add a header such as path,lat,lon"),
            (
                "a.jpg",
                "the first row names a photograph (\"a.jpg\") and no columns: add a header, path alone",
            ),
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
        let message = detect("path lat lon").expect_err("spaces").to_string();
        assert!(message.contains("separated by spaces: separate them by commas"), "{message}");
        let message = detect("path,lat,lon,a=b").expect_err("a tag").to_string();
        assert!(
            message.contains("\"a=b\" would become a tag: the key of a tag is not empty, and holds no '='"),
            "{message}"
        );
    }
}
