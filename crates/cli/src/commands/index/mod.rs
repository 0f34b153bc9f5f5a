//! `r2former index`: build, change and inspect a place index.

mod add;
mod changes;
mod collection;
mod copying;
mod left_out;
mod sources;

use self::add::AddArgs;
use self::collection::CollectionArgs;
use self::copying::CopyArgs;
use crate::common::{InputArgs, Machine, ensure_writable, index_address, load_model, parse_origin};
use crate::exit::{ExitStatus, usage};
use crate::filters::{FilterArgs, NearArgs};
use crate::output::{self, bytes, escaped, print_json, quoted, unescaped};
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use r2former_data::dataset::{composed_name, escaped_name};
use r2former_data::shell_word;
use r2former_engine::{IndexAddress, Origin, PlaceIndex, Position, PositionKind, Positions, unknown_tags};
use r2former_index::{Extent, Filter, ReadPlaces, WritePlaces, place_id};
use serde_json::json;
use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum IndexCommand {
    /// Create an empty index for a model.
    Create(CreateArgs),
    /// Add photos with positions. Photos already in the index are skipped, so an interrupted run resumes; photos and
    /// positions that have changed since are listed, and taken with --update.
    Add(AddArgs),
    /// Remove images by name.
    Remove(RemoveArgs),
    /// List the images of an index: position and name.
    List(ListArgs),
    /// Show size on disk, model and geographic extent.
    Info(OneIndex),
    /// Write the index again without the room that removed images left, and give that back to the disk.
    Compact(OneIndex),
    /// Read everything and report damage.
    Verify(OneIndex),
    /// Copy the images of indexes into another one: folder to collection and back, or several into one. Images that are
    /// there already are skipped, so an interrupted copy resumes.
    Copy(CopyArgs),
    /// Write a snapshot of an index to one file.
    Export(ExportArgs),
    /// Create an index from a snapshot.
    Import(ImportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Folder to create, or collection: qdrant://HOST:PORT[,HOST:PORT...]/COLLECTION (qdrants:// with TLS; the ports are
    /// those of gRPC). A key is read from R2FORMER_QDRANT_KEY, or from the file that R2FORMER_QDRANT_KEY_FILE names.
    #[arg(value_parser = index_address())]
    index: IndexAddress,
    /// Model file made by `r2former model import` [default: the built-in model]. The index keeps a copy.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    #[command(flatten)]
    input: InputArgs,
    /// Positions of its images: wgs84 (latitude and longitude), local (metres x, y, z of a map of your own), or none (names
    /// and tags alone).
    #[arg(long, value_name = "KIND", default_value_t)]
    positions: PositionKind,
    /// Where the origin of local positions lies on the globe: x is east, y north and z up from there, for GeoJSON. The
    /// altitude is in metres above the ellipsoid.
    #[arg(long, value_name = "LAT,LON[,ALT]", value_parser = parse_origin, allow_hyphen_values = true)]
    origin: Option<Origin>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    // Last: its heading is that of everything after it.
    #[command(flatten)]
    collection: CollectionArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Index: a folder, or qdrant://HOST:PORT/COLLECTION.
    #[arg(value_parser = index_address())]
    index: IndexAddress,
    /// Names of images, as `r2former index list` prints them.
    #[arg(required = true)]
    names: Vec<OsString>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Index: a folder, or qdrant://HOST:PORT/COLLECTION.
    #[arg(value_parser = index_address())]
    index: IndexAddress,
    #[command(flatten)]
    near: NearArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OneIndex {
    /// Index: a folder, or qdrant://HOST:PORT/COLLECTION.
    #[arg(value_parser = index_address())]
    index: IndexAddress,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Index: a folder, or qdrant://HOST:PORT/COLLECTION.
    #[arg(value_parser = index_address())]
    index: IndexAddress,
    /// Snapshot file to write; it must not exist.
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Snapshot made by `r2former index export`.
    file: PathBuf,
    /// Folder to create.
    #[arg(value_parser = index_address())]
    index: IndexAddress,
}

pub(crate) fn run(command: IndexCommand, machine: &Machine) -> Result<ExitStatus> {
    match command {
        IndexCommand::Create(args) => create(&args, machine),
        IndexCommand::Add(args) => add::add(&args, machine),
        IndexCommand::Remove(args) => remove(&args),
        IndexCommand::List(args) => list(&args),
        IndexCommand::Info(args) => info(&args),
        IndexCommand::Compact(args) => compact(&args),
        IndexCommand::Verify(args) => verify(&args),
        IndexCommand::Copy(args) => copying::copy(&args),
        IndexCommand::Export(args) => {
            ensure_writable(&args.file)?;
            PlaceIndex::export(&args.index, &args.file)?;
            output::stdout().line(format_args!("wrote {}", args.file.display()))?;
            Ok(ExitStatus::Done)
        }
        IndexCommand::Import(args) => {
            let index = PlaceIndex::import(&args.file, &args.index)?;
            let count = index.reader()?.count(&Filter::default())?;
            output::stdout().line(format_args!("{}: {count} images", args.index))?;
            Ok(ExitStatus::Done)
        }
    }
}

fn create(args: &CreateArgs, machine: &Machine) -> Result<ExitStatus> {
    args.collection.check(&args.index)?;
    let loaded = load_model(args.model.as_deref())?;
    let settings = args.input.settings(&loaded, machine)?;
    let positions = match (args.positions, args.origin) {
        (PositionKind::Local, origin) => Positions::Local { origin },
        (kind, Some(_)) => usage!("--origin is that of local positions; --positions is {kind}"),
        (PositionKind::Wgs84, None) => Positions::Wgs84,
        (PositionKind::None, None) => Positions::None,
    };
    let index = PlaceIndex::create_in(&args.index, &loaded, settings, positions, &args.collection.options())?;
    if args.json {
        return print_json(&json!({ "index": args.index.to_string(), "manifest": index.manifest }));
    }
    let mut out = output::stdout();
    out.line(format_args!(
        "{}: an empty index for model {} at {}",
        args.index,
        loaded.config.name,
        settings.image_size()
    ))?;
    if output::untrained(&loaded.config) {
        out.line(format_args!(
            "note: model {} was not trained for places: its descriptor is the {}, L2-normalised",
            loaded.config.name,
            output::global_head(&loaded.config)
        ))?;
    }
    if positions != Positions::Wgs84 {
        out.line(format_args!("positions: {}", described(positions)))?;
    }
    let sources = match args.positions {
        PositionKind::Local => "positions.csv (path,x,y,z)",
        PositionKind::Wgs84 | PositionKind::None => "PHOTOS",
    };
    out.line(format_args!("next: r2former index add {} {sources}", shell_word(&args.index.to_string())))?;
    Ok(ExitStatus::Done)
}

/// Positions in a few words.
fn described(positions: Positions) -> String {
    let kind = positions.kind().words();
    positions.origin().map_or(kind.into(), |origin| format!("{kind}, origin at {origin}"))
}

/// The names in an index that one on the command line may mean, the likeliest first: what `index list` prints counts before a name
/// that happens to look like it; letters may be typed in another form.
fn forms_of(name: &str) -> Vec<String> {
    let listed = unescaped(name);
    let forms =
        [listed.clone(), listed.as_deref().map(composed_name), Some(name.into()), Some(composed_name(name))];
    forms.into_iter().flatten().collect()
}

fn remove(args: &RemoveArgs) -> Result<ExitStatus> {
    let index = PlaceIndex::open(&args.index)?;
    let mut writer = index.writer()?;
    // Bytes that are no text are written as the index writes them; everything else is a name already.
    let text = |name: &OsString| name.to_str().map_or_else(|| escaped_name(name), ToOwned::to_owned);
    let names: Vec<String> = args.names.iter().map(text).collect();
    let ids_of = |name: &String| forms_of(name).iter().map(|form| place_id(form)).collect();
    let forms: Vec<Vec<_>> = names.iter().map(ids_of).collect();
    let mut there = writer.contains(&forms.concat())?.into_iter();
    let (mut ids, mut unknown) = (Vec::with_capacity(names.len()), Vec::new());
    for (name, forms) in names.iter().zip(&forms) {
        let there: Vec<bool> = there.by_ref().take(forms.len()).collect();
        match there.iter().position(|there| *there) {
            Some(at) => ids.push(forms[at]),
            None => unknown.push(name),
        }
    }
    let removed = writer.remove(&ids)?;
    writer.close()?;
    for name in &unknown {
        eprintln!("not in the index: {}", quoted(name));
    }
    if args.json {
        print_json(&json!({ "removed": removed, "unknown": unknown }))?;
    } else {
        output::stdout().line(format_args!("removed {removed} images"))?;
    }
    match (removed, unknown.is_empty()) {
        (_, true) => Ok(ExitStatus::Done),
        (0, false) => bail!("nothing was removed: `r2former index list {}` lists the names", args.index),
        (_, false) => Ok(ExitStatus::Partial),
    }
}

fn list(args: &ListArgs) -> Result<ExitStatus> {
    let index = PlaceIndex::open(&args.index)?;
    let filter = Filter { near: args.near.near(index.positions().kind())?, ..args.filter.filter()? };
    let reader = index.reader()?;
    for note in unknown_tags(&reader, &filter)? {
        eprintln!("note: {}", escaped(&note));
    }
    let mut places = Vec::new();
    reader.any_place(&filter, &mut |id, place| {
        places.push((id, place));
        false
    })?;
    places.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    if args.json {
        return print_json(
            &places.iter().map(|(id, place)| json!({ "id": id, "place": place })).collect::<Vec<_>>(),
        );
    }
    let mut out = output::stdout();
    for (_, place) in &places {
        let position = match place.position {
            Some(Position::Wgs84(p)) => format!("{:.6},{:.6}", p.lat, p.lon),
            Some(Position::Local(p)) => p.to_string().replace(", ", ","),
            None => "unknown".into(),
        };
        match index.positions().kind() {
            PositionKind::None => out.line(format_args!("{}", quoted(&place.name)))?,
            _ => out.line(format_args!("{position}\t{}", quoted(&place.name)))?,
        }
    }
    Ok(ExitStatus::Done)
}

fn info(args: &OneIndex) -> Result<ExitStatus> {
    let index = PlaceIndex::open(&args.index)?;
    let info = index.reader()?.info()?;
    if args.json {
        return print_json(&index.info_document(&info)?);
    }
    let manifest = &index.manifest;
    let mut out = output::stdout();
    out.line(format_args!("images      {}", info.images))?;
    let (all, each) = (bytes(info.bytes), bytes(info.bytes_per_image().round() as u64));
    match args.index.folder() {
        Some(_) => {
            out.line(format_args!(
                "on disk     {all} ({each} per image), {} in use",
                bytes(info.bytes_in_use)
            ))?;
        }
        // A cluster does not say.
        None => out.line(format_args!("in cluster  about {all} ({each} per image), all copies together"))?,
    }
    out.line(format_args!(
        "            vectors per image up to {}: descriptor {}, local features {} x {} bytes",
        bytes(info.config.vector_bytes()),
        bytes(4 * info.config.global_dim as u64),
        info.config.max_rows,
        info.config.row_width
    ))?;
    out.line(format_args!("created     {}", info.created))?;
    out.line(format_args!(
        "model       {} ({})",
        manifest.config.model,
        manifest.config.fingerprint.chars().take(12).collect::<String>()
    ))?;
    let settings = index.settings;
    out.line(format_args!("input       {}, {}", settings.image_size(), settings.precision))?;
    out.line(format_args!("positions   {}", described(index.positions())))?;
    match info.extent {
        Some(Extent::Local { min, max }) => {
            out.line(format_args!("extent      {min} to {max} (x, y, z in metres)"))?;
        }
        Some(Extent::Wgs84 { south_west: sw, north_east: ne }) => out.line(format_args!(
            "extent      {:.6},{:.6} to {:.6},{:.6} (latitude, longitude)",
            sw.lat, sw.lon, ne.lat, ne.lon
        ))?,
        None if index.positions() == Positions::None => {}
        None => out.line(format_args!("extent      no positions"))?,
    }
    Ok(ExitStatus::Done)
}

fn compact(args: &OneIndex) -> Result<ExitStatus> {
    let index = PlaceIndex::open(&args.index)?;
    index.writer()?.compact()?;
    if args.json {
        return print_json(&index.reader()?.info()?);
    }
    output::stdout().line(format_args!("{}: compacted", args.index))?;
    Ok(ExitStatus::Done)
}

fn verify(args: &OneIndex) -> Result<ExitStatus> {
    let index = PlaceIndex::open(&args.index)?;
    let report = index.verify()?;
    if args.json {
        print_json(&report)?;
    } else {
        let mut out = output::stdout();
        for problem in &report.problems {
            let name = problem.name.as_deref().unwrap_or("index");
            out.line(format_args!("{}: {}", quoted(name), escaped(&problem.what)))?;
        }
        out.line(format_args!("{} images read, {} problems", report.images, report.problems.len()))?;
    }
    if report.problems.is_empty() {
        return Ok(ExitStatus::Done);
    }
    bail!("{}: the index is damaged; add the named images again, or import a snapshot", args.index)
}
