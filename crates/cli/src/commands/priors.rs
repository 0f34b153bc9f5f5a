//! Around where each query is searched: one position for all, its own EXIF's, or its row of a table.

use crate::common::parse_radius;
use crate::filters::{Numbers, parse_numbers};
use crate::output::escaped;
use crate::photos::{Loaded, PhotoArg};
use anyhow::{Result, bail};
use clap::Args;
use r2former_data::PositionKind;
use r2former_data::dataset::{self, read_priors};
use r2former_engine::Near;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Args)]
pub(crate) struct PriorArgs {
    /// Search only around this position: LAT,LON in degrees; X,Y[,Z] in metres in an index of local metres; or exif, for the
    /// GPS position of each query itself. A query without one is searched everywhere, with a note.
    #[arg(
        long,
        value_name = "POSITION",
        value_parser = parse_near,
        allow_hyphen_values = true,
        requires = "radius",
        group = "around"
    )]
    near: Option<NearArg>,
    /// Search each query around its own row of this table (CSV): path,lat,lon or path,x,y,z, with optionally a radius in
    /// metres. A query that it does not name is searched everywhere, with a note.
    #[arg(long, value_name = "FILE", group = "around")]
    priors: Option<PathBuf>,
    /// Search radius in metres around --near, and around the rows of --priors that state none.
    #[arg(
        long,
        value_name = "METRES",
        value_parser = parse_radius,
        allow_negative_numbers = true,
        requires = "around"
    )]
    radius: Option<f64>,
}

#[derive(Debug, Clone)]
enum NearArg {
    Exif,
    At(Numbers),
}

fn parse_near(text: &str) -> Result<NearArg, String> {
    if text.eq_ignore_ascii_case("exif") {
        return Ok(NearArg::Exif);
    }
    parse_numbers(text)
        .map(NearArg::At)
        .map_err(|message| format!("{message}; or exif, for each query's own"))
}

/// Around where queries are searched.
pub(crate) enum Priors {
    Everywhere,
    One(Near),
    Exif { radius_m: f64 },
    Table(Box<Table>),
}

/// A table with a row for each query.
pub(crate) struct Table {
    path: PathBuf,
    rows: dataset::Priors,
    radius_m: Option<f64>,
    used: HashSet<usize>,
}

impl PriorArgs {
    /// Reads what is asked for, and refuses what the index's kind of positions cannot answer.
    pub(crate) fn open(&self, kind: PositionKind) -> Result<Priors> {
        match (&self.near, &self.priors, self.radius) {
            (Some(NearArg::Exif), _, Some(radius_m)) => match kind {
                PositionKind::Wgs84 => Ok(Priors::Exif { radius_m }),
                _ => bail!("--near exif: positions in EXIF are WGS84; this index has {}", kind.words()),
            },
            (Some(NearArg::At(numbers)), _, Some(radius_m)) => {
                Ok(Priors::One(Near::new(numbers.position(kind)?, radius_m)))
            }
            (None, Some(path), radius_m) => table(path, kind, radius_m),
            _ => Ok(Priors::Everywhere),
        }
    }
}

fn table(path: &Path, kind: PositionKind, radius_m: Option<f64>) -> Result<Priors> {
    let rows = read_priors(path, kind)?;
    for note in &rows.notes {
        eprintln!("note: {}", escaped(note));
    }
    for skipped in &rows.skipped {
        eprintln!("left out: {}", escaped(&skipped.reason));
    }
    if radius_m.is_none() && rows.needs_radius() {
        bail!("{}: rows without a radius: give a column radius, or --radius for them", path.display());
    }
    Ok(Priors::Table(Box::new(Table { path: path.into(), rows, radius_m, used: HashSet::new() })))
}

impl Priors {
    /// Around where a query is searched, or why everywhere.
    pub(crate) fn of(&mut self, photo: &PhotoArg, loaded: &Loaded<'_>) -> (Option<Near>, Option<String>) {
        match self {
            Self::Everywhere => (None, None),
            Self::One(near) => (Some(*near), None),
            Self::Exif { radius_m } => match loaded.tags() {
                Ok(tags) => match tags.position {
                    Some(position) => (Some(Near::new(position, *radius_m)), None),
                    None => {
                        let why =
                            tags.no_position.unwrap_or_else(|| "has no GPS position in its EXIF".into());
                        (None, Some(format!("{why}: searched everywhere")))
                    }
                },
                Err(error) => {
                    (None, Some(format!("its EXIF position cannot be read ({error}): searched everywhere")))
                }
            },
            Self::Table(table) => table.of(photo),
        }
    }

    /// Whether rows of a table could not be used.
    pub(crate) fn left_out(&self) -> bool {
        matches!(self, Self::Table(table) if !table.rows.skipped.is_empty())
    }

    /// Whether there is a table, and none of its rows names a query: its paths are probably relative to somewhere else.
    pub(crate) fn names_nothing(&self) -> bool {
        matches!(self, Self::Table(table) if table.used.is_empty() && !table.rows.is_empty())
    }

    /// The rows that no query needed, in words.
    pub(crate) fn unused(&self) -> Option<String> {
        let Self::Table(table) = self else { return None };
        let Table { path, rows, used, .. } = table.as_ref();
        let mut unused = (0..rows.len()).filter(|number| !used.contains(number));
        let first = rows.path(unused.next()?)?;
        let count = rows.len() - used.len();
        Some(format!("{}: {count} rows name no query, the first {}", path.display(), first.display()))
    }
}

impl Table {
    fn of(&mut self, photo: &PhotoArg) -> (Option<Near>, Option<String>) {
        let Some((number, prior)) = self.rows.find(&photo.name, photo.path()) else {
            let table = self.path.display();
            let why = match photo.path().and_then(|file| self.rows.left_out(file)) {
                Some(reason) => format!("its row in {table} cannot be used ({reason})"),
                None => format!("{table} does not name it"),
            };
            return (None, Some(format!("{why}: searched everywhere")));
        };
        self.used.insert(number);
        let radius = prior.radius_m.or(self.radius_m);
        (radius.map(|radius| Near::new(prior.center, radius)), None)
    }
}
