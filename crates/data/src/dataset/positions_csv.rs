//! A CSV of photographs and their positions.

use super::angle::{self, Axis, Side};
use super::column_names::is_of_values;
use super::columns::{Columns, Place, WANTED};
use super::names::{Finder, RealFiles, is_address, resolve};
use super::number::{Quantity, number_of};
use super::remarks::Remarks;
use super::row::{Problem, Row};
use super::table::{Table, not_a_file};
use super::timestamps;
use super::walk::is_photo_by_name;
use super::{Listing, SkipKind, Skipped};
use crate::{DataError, Photo, PositionKind, Result, UtmZone};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// Degrees by which two columns of one coordinate may differ: exiftool rounds to a hundredth of a second.
const SAME_DEGREES: f64 = 1e-5;

/// Lists the photographs of a CSV: `path,lat,lon` and more.
///
/// Columns are found by name in any case and order (`notes` say which): a path (`path`, `file`, `filename`, `image`,
/// `name`, `img`, exiftool's `SourceFile`) relative to the CSV's folder; a position; optionally a heading in degrees
/// (`heading`, `compass`, `bearing`, `yaw`, `northdeg`, `ca`, `direction`, `GPSImgDirection`), an altitude in metres
/// (`altitude`, `alt`, `elevation`, `height`, `GPSAltitude`) and a time (`timestamp`, `time`, `captured_at`, `date`,
/// `DateTimeOriginal`: Unix seconds or milliseconds, ISO 8601, EXIF's dates where they state their zone). Other columns
/// become tags. Comma, semicolon, tab or `|` separate; lines that start with `#` are comments.
///
/// The position is one of
/// - `lat`/`latitude` and `lon`/`lng`/`long`/`longitude` (also `GPSLatitude`, `Breite` and similar): decimal degrees or
///   degrees, minutes and seconds, with a sign, a side (`52.1N`, `S 33.8`) or a column of sides (`lat_ref`);
/// - one column: `latlon`, `lonlat`, `geometry` or `wkt` (`POINT (lon lat)`);
/// - `easting`/`utm_east`/`x` and `northing`/`utm_north`/`y` in metres with a `zone`: `33U`, `56 South`, `EPSG:32756`,
///   or a number beside a column `hemisphere`. `zone` here is that of a table without the column.
///
/// - `x`, `y` and optionally `z` in local metres, where `positions` asks for them; where it asks for nothing, in a table
///   without degrees and without a zone.
///
/// `positions` is the kind that is needed: a table with both has that kind, one with only the other is refused, and for
/// [`PositionKind::None`] a table may do without; what it has is not read.
///
/// A comma is a decimal mark where it separates no columns. Files are found whatever Unicode form their names have on
/// disk; [`Photo::name`] is composed (NFC).
///
/// A row whose position cannot be read, whose position is exactly 0,0, or whose file is missing is skipped with its
/// line and the reason; an optional value that cannot be read is left out with a note. A row that leads to the file of
/// one before it, whatever path either states, repeats that one and is noted.
///
/// # Errors
/// [`DataError::Io`]; [`DataError::Format`] for a file that is no table, and for what makes every position doubtful: a
/// missing header or column, latitude and longitude swapped, two columns of latitudes that differ, metres without a
/// zone, a tag's name that no tag can have.
pub fn list_positions_csv(
    path: &Path,
    zone: Option<UtmZone>,
    positions: Option<PositionKind>,
) -> Result<Listing> {
    let table = Table::read_lenient(path)?;
    let needs_position = positions != Some(PositionKind::None);
    let options = Options { zone, positions, needs_position, radius: false };
    list_table(table, folder(path), options, &mut look_on_disk())
}

/// What somebody says of a path in a table: the path to read, or why there is nothing that can be read.
pub type LookUp<'a> = dyn FnMut(&Path) -> Result<PathBuf, String> + 'a;

/// As [`list_positions_csv`], of a table whose `bytes` were read from `path`, wherever that is; `look` says what is at the paths
/// that it names. A table without any column of positions is listed without them.
///
/// Also returns whether it has such columns.
///
/// # Errors
/// As [`list_positions_csv`], of the bytes.
pub fn list_positions_bytes(
    bytes: &[u8],
    path: &Path,
    zone: Option<UtmZone>,
    positions: Option<PositionKind>,
    look: &mut LookUp<'_>,
) -> Result<(Listing, bool)> {
    let table = Table::parse(bytes, path)?;
    let wanted = positions.or(zone.map(|_| PositionKind::Wgs84));
    let has_positions = Columns::detect(&table, wanted)?.place.is_some();
    let needs_position = has_positions && positions != Some(PositionKind::None);
    let options = Options { zone, positions, needs_position, radius: false };
    Ok((list_table(table, folder(path), options, look)?, has_positions))
}

/// The photographs that a plain text names, one a line: paths relative to its folder, or addresses; and their names within the
/// source. Empty lines and those that start with `#` are no names. `None` for what is a table.
pub fn list_of_names(bytes: &[u8], path: &Path) -> Option<Vec<(PathBuf, String)>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).peekable();
    let first = *lines.peek()?;
    // A header has no dot and no slash; a row of a table without one is no name of a photograph.
    let one = is_address(first) || is_photo_by_name(Path::new(first));
    one.then(|| lines.map(|line| resolve(folder(path), line)).collect())
}

/// As [`list_positions_csv`], of a table that may do without positions, and whose every row must be sound otherwise.
/// Photographs whose file is missing are kept.
pub(super) fn list_images_csv(path: &Path) -> Result<Listing> {
    let table = Table::read(path)?;
    let mut finder = Finder::default();
    let mut keep = |file: &Path| Ok(finder.find(file).unwrap_or_else(|| file.to_owned()));
    let options = Options { zone: None, positions: None, needs_position: false, radius: false };
    let listing = list_table(table, folder(path), options, &mut keep)?;
    match listing.skipped.first() {
        Some(skipped) => Err(DataError::Request(skipped.reason.clone())),
        None => Ok(listing),
    }
}

/// As [`list_positions_csv`], of names whose files need not exist.
pub(super) fn list_priors_csv(path: &Path, kind: PositionKind) -> Result<Listing> {
    let table = Table::read_lenient(path)?;
    let options = Options { zone: None, positions: Some(kind), needs_position: true, radius: true };
    list_table(table, folder(path), options, &mut |file| Ok(file.to_owned()))
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Looks for the files that a table names, under the names that they have on disk: a [`LookUp`]. Addresses are no files.
pub fn look_on_disk() -> impl FnMut(&Path) -> Result<PathBuf, String> {
    let mut finder = Finder::default();
    move |path| look_up(&mut finder, path)
}

fn look_up(finder: &mut Finder, path: &Path) -> Result<PathBuf, String> {
    if path.to_str().is_some_and(is_address) {
        return Err("is an address, and only files are read here: `r2former index add` reads addresses, or download the \
                    photographs"
            .into());
    }
    let path = finder.find(path).ok_or("does not exist")?;
    match std::fs::metadata(&path) {
        Ok(about) => match not_a_file(&about) {
            Some(what) => Err(format!("is {what}, not a photograph")),
            None => Ok(path),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err("is a link to something that does not exist".into())
        }
        Err(e) => Err(e.to_string()),
    }
}

/// A path as reports have it: of an address without what may be a signature, a name or a password.
fn without_secrets(path: PathBuf) -> PathBuf {
    let Some((scheme, rest)) =
        path.to_str().filter(|text| is_address(text)).and_then(|text| text.split_once("://"))
    else {
        return path;
    };
    let rest = rest.split(['?', '#']).next().unwrap_or(rest);
    let (host, key) = rest.split_once('/').map_or((rest, None), |(host, key)| (host, Some(key)));
    let host = host.rsplit('@').next().unwrap_or(host);
    key.map_or_else(|| format!("{scheme}://{host}"), |key| format!("{scheme}://{host}/{key}")).into()
}

/// What a table does not say itself.
#[derive(Debug, Clone, Copy)]
struct Options {
    /// Zone of metres in a table without a column for it.
    zone: Option<UtmZone>,
    /// The kind of positions that is needed.
    positions: Option<PositionKind>,
    /// Whether a photograph without a position is skipped.
    needs_position: bool,
    /// Whether a column `radius` is that around a position.
    radius: bool,
}

/// Lists a table that is already read; `look` says what is at a path.
fn list_table(mut table: Table, root: &Path, options: Options, look: &mut LookUp<'_>) -> Result<Listing> {
    table.empty_nothings(is_of_values);
    let table = &table;
    // A zone is that of UTM metres.
    let wanted = options.positions.or(options.zone.map(|_| PositionKind::Wgs84));
    let mut columns = Columns::detect(table, wanted)?;
    if options.needs_position && columns.place.is_none() {
        return Err(Columns::missing(table, "the position"));
    }
    let columns_note = columns.describe(table, options.radius);
    let unused_zone = options.zone.and_then(|zone| unused_zone(table, &columns, zone));
    let ignored = options.positions == Some(PositionKind::None) && columns.place.take().is_some();
    if table.rows.is_empty() && table.bad.is_empty() {
        return Err(table
            .complain(None, format!("has a header but no rows: each photograph needs one, with {WANTED}")));
    }
    check_kind(table, &columns, options)?;
    if let (Some(Place::Metres(..)), None, None) = (&columns.place, columns.zone, options.zone) {
        return Err(table.complain(
            1,
            "positions in metres need their UTM zone: add a column zone (such as 33U, or EPSG:32633), or give the zone \
             as an option; local metres have columns x and y",
        ));
    }
    check_order(table, &columns)?;
    check_rivals(table, &columns)?;
    let mut remarks = Remarks::new(table.name());
    let mut units = BTreeSet::new();
    let mut listing = Listing { notes: vec![columns_note], ..Listing::default() };
    listing.notes.extend(unused_zone);
    listing.notes.extend(Columns::nameless(table));
    let skip = |listing: &mut Listing, path: PathBuf, line: u64, problem: Problem| {
        let reason = format!("{}:{line}: {}", table.name(), problem.reason);
        listing.skipped.push(Skipped { path: without_secrets(path), reason, kind: problem.kind });
    };
    for row in &table.bad {
        let path = row.cells.get(columns.path).filter(|cell| !cell.is_empty());
        let path = path.map_or_else(|| table.path().to_owned(), |cell| resolve(root, cell).0);
        skip(&mut listing, path, row.line, Problem::unreadable(&*row.problem));
    }
    let mut rows: Vec<(u64, Photo, Result<(), String>)> = Vec::with_capacity(table.rows.len());
    let (mut real, mut rows_of) = (RealFiles::default(), RowsOf::default());
    let mut contradicted: BTreeSet<usize> = BTreeSet::new();
    for (line, cells) in &table.rows {
        let mut row = Row { columns: &columns, table, line: *line, cells, remarks: &mut remarks };
        let mut photo = match row.file(root) {
            Ok(photo) => photo,
            Err(problem) => {
                skip(&mut listing, table.path().to_owned(), *line, problem);
                continue;
            }
        };
        match (row.position(options.zone), options.needs_position) {
            (Ok(place), _) => (photo.position, photo.utm) = place,
            (Err(problem), true) => {
                skip(&mut listing, photo.path, *line, problem);
                continue;
            }
            (Err(problem), false) if problem.kind == SkipKind::WithoutPosition => {}
            (Err(problem), false) => row.remarks.add("without a position", *line, problem.reason),
        }
        units.extend(row.fill(&mut photo));
        let found = look(&photo.path).map(|path| photo.path = path);
        let file = real.of(&photo.path);
        match rows_of.before(&photo.name, &file) {
            Some((before, how)) => {
                let (first, other, _) = &rows[before];
                if other.position == photo.position {
                    let problem = format!("{} {how} line {first}", photo.name);
                    remarks.add("that repeat another", *line, problem);
                } else {
                    contradicted.insert(before);
                    let reason = format!("{how} line {first}, with another position");
                    skip(&mut listing, photo.path, *line, Problem::unreadable(reason));
                }
            }
            None => {
                rows_of.insert(&photo.name, file, rows.len());
                rows.push((*line, photo, found));
            }
        }
    }
    let mut missing = 0;
    for (number, (line, photo, found)) in rows.into_iter().enumerate() {
        if contradicted.contains(&number) {
            let problem = Problem::unreadable("is on a later line with another position");
            skip(&mut listing, photo.path, line, problem);
            continue;
        }
        match found {
            Ok(()) => listing.photos.push(photo),
            Err(what) => {
                missing += 1;
                skip(&mut listing, photo.path, line, Problem::unreadable(what));
            }
        }
    }
    if ignored {
        let count = listing.photos.len();
        listing
            .notes
            .push(format!("the positions of {count} photographs are not kept: no positions are wanted"));
    }
    if !units.is_empty() {
        let units: Vec<_> = units.into_iter().map(timestamps::Unit::describe).collect();
        listing.notes.push(format!("times: {}", units.join(", ")));
    }
    listing.notes.extend(remarks.notes());
    if table.comments > 0 {
        listing.notes.push(format!("{} comment lines", table.comments));
    }
    let without = listing.skipped.iter().filter(|s| s.kind == SkipKind::WithoutPosition).count();
    listing.notes.push(format!(
        "{} photographs; left out: {without} rows without a position, {missing} without a file, {} that cannot be read",
        listing.photos.len(),
        listing.skipped.len() - without - missing
    ));
    if listing.photos.is_empty() {
        listing.notes.push(format!(
            "no row can be used: each needs the path of a photograph, relative to the table's folder, {}: {WANTED}",
            if options.needs_position { "and its position" } else { "and may have a position" }
        ));
    }
    Ok(listing)
}

/// The rows that are taken, by the name and by the file of each: one photograph is one row, however its path is written.
#[derive(Default)]
struct RowsOf {
    name: HashMap<String, usize>,
    file: HashMap<PathBuf, usize>,
}

impl RowsOf {
    /// The row that has a name or a file already, and how another one relates to it.
    fn before(&self, name: &str, file: &Path) -> Option<(usize, &'static str)> {
        let same_name = self.name.get(name).map(|row| (*row, "is on"));
        same_name.or_else(|| self.file.get(file).map(|row| (*row, "is the same file as")))
    }

    fn insert(&mut self, name: &str, file: PathBuf, row: usize) {
        self.name.insert(name.to_owned(), row);
        self.file.insert(file, row);
    }
}

/// Why a zone that somebody chose says nothing about a table.
fn unused_zone(table: &Table, columns: &Columns, zone: UtmZone) -> Option<String> {
    let why = match (&columns.place, columns.zone) {
        (Some(Place::Metres(..)), None) => return None,
        (Some(Place::Metres(..)), Some(at)) => format!("the column {} states each row's", table.header[at]),
        (Some(Place::Degrees(..) | Place::Point(..)), _) => "positions are read in degrees".into(),
        (Some(Place::Local(..)), _) => "positions are local metres".into(),
        (None, _) => "the table has no positions".into(),
    };
    Some(format!("the UTM zone {}{} is not used: {why}", zone.number, zone.band))
}

/// Refuses positions of another kind than the one that is needed, by the names of both.
fn check_kind(table: &Table, columns: &Columns, options: Options) -> Result<()> {
    let named = |at: &[usize]| at.iter().map(|at| table.header[*at].as_str()).collect::<Vec<_>>().join(", ");
    let of_earth = |what: &str| {
        Err(table.complain(
            1,
            format!("positions in {what}; this index has positions in local metres: give columns x,y,z"),
        ))
    };
    match (options.positions, &columns.place) {
        (Some(PositionKind::Local), Some(Place::Degrees(lat, lon))) => {
            of_earth(&format!("WGS84 (columns {})", named(&[lat.columns[0], lon.columns[0]])))
        }
        (Some(PositionKind::Local), Some(Place::Point(at, _))) => {
            of_earth(&format!("WGS84 (column {})", named(&[*at])))
        }
        (Some(PositionKind::Local), Some(Place::Metres(east, north))) => {
            of_earth(&format!("UTM metres (columns {})", named(&[*east, *north])))
        }
        (Some(PositionKind::Wgs84), Some(Place::Metres(east, north)))
            if columns.zone.is_none() && options.zone.is_none() =>
        {
            Err(table.complain(
                1,
                format!(
                    "positions in local metres (columns {}); this index has WGS84 positions: metres of UTM need a \
                     column zone (such as 33U, or EPSG:32633) or the zone as an option, and a map of your \
                     own in metres needs an index of local positions",
                    named(&[*east, *north])
                ),
            ))
        }
        _ => Ok(()),
    }
}

/// A cell as signed degrees, where it is plainly that.
fn degrees(columns: &Columns, axis: Axis, cell: &str, side: Option<&str>) -> Option<f64> {
    let side = side.and_then(Side::parse_cell);
    angle::parse("", cell, axis, columns.notation).ok()?.degrees(side).ok()
}

/// Looks at all latitudes and longitudes at once: a swap shows in one line, but is sure only from all.
fn check_order(table: &Table, columns: &Columns) -> Result<()> {
    let Some(Place::Degrees(lat, lon)) = &columns.place else { return Ok(()) };
    let (lat, lon) = (lat.columns[0], lon.columns[0]);
    let value = |cell: &str| number_of("", cell, Quantity::Other, columns.notation).ok();
    let values = |at: usize| table.rows.iter().filter_map(move |(_, cells)| value(&cells[at]));
    let beyond = |cells: &[String]| value(&cells[lat]).is_some_and(|v| v.abs() > 90.0);
    let Some((line, cells)) = table.rows.iter().find(|(_, cells)| beyond(cells)) else { return Ok(()) };
    let within = |at: usize, limit: f64| values(at).all(|v| v.abs() <= limit);
    let often = 2 * table.rows.iter().filter(|(_, cells)| beyond(cells)).count() >= table.rows.len();
    let minutes = |at: usize, most: f64| values(at).all(|v| v.abs() <= most && v.abs() % 100.0 < 60.0);
    let hint = if often && table.rows.len() > 1 && within(lat, 180.0) && within(lon, 90.0) {
        "are the columns of latitude and longitude swapped?"
    } else if often && minutes(lat, 9000.0) && minutes(lon, 18_000.0) && values(lat).any(|v| v.abs() >= 180.0)
    {
        "are these degrees and minutes in one number (DDMM.mmm, as NMEA has them)? Then write 5212.32 as 52 12.32 N"
    } else if values(lat).chain(values(lon)).filter(|v| v.abs() > 1000.0).count() > table.rows.len() {
        "are these metres? Then name the columns easting, northing and zone"
    } else {
        return Ok(());
    };
    let name = &table.header[lat];
    Err(table.complain(*line, format!("{name} {} is beyond -90..90 degrees: {hint}", cells[lat])))
}

/// Two columns that could both be the latitude must agree wherever both have a value.
fn check_rivals(table: &Table, columns: &Columns) -> Result<()> {
    let Some(Place::Degrees(lat, lon)) = &columns.place else { return Ok(()) };
    for (what, axis, coordinate) in [("latitude", Axis::Latitude, lat), ("longitude", Axis::Longitude, lon)] {
        let (first, rivals) = (coordinate.columns[0], &coordinate.columns[1..]);
        for (line, cells) in &table.rows {
            let side = coordinate.side.map(|at| cells[at].as_str());
            let value = |at: usize| degrees(columns, axis, &cells[at], side);
            let differs = |rival: usize| {
                value(first).zip(value(rival)).is_some_and(|(a, b)| (a - b).abs() > SAME_DEGREES)
            };
            if let Some(rival) = rivals.iter().find(|rival| differs(**rival)) {
                return Err(table.complain(
                    *line,
                    format!(
                        "\"{}\" ({}) and \"{}\" ({}) could both be the {what} and differ: remove one of the columns",
                        table.header[first], cells[first], table.header[*rival], cells[*rival]
                    ),
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "positions_csv_row_tests.rs"]
mod row_tests;

#[cfg(test)]
#[path = "positions_csv_kind_tests.rs"]
mod kind_tests;

#[cfg(test)]
#[path = "positions_csv_tests.rs"]
mod tests;
