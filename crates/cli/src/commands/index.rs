//! `r2former index`: build, change and inspect a place index.

use crate::common::{InputArgs, Machine, load_model};
use crate::exit::ExitStatus;
use crate::output::{self, bytes, print_json};
use crate::progress::Bar;
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use r2former_data::UtmZone;
use r2former_data::dataset::{Kind, Listing, SourceOptions, list_photos};
use r2former_engine::{AddReport, Extractor, PlaceIndex, add_photos};
use r2former_index::{Extent, Filter, ReadPlaces, WritePlaces, place_id};
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum IndexCommand {
    /// Create an empty index for a model.
    Create(CreateArgs),
    /// Add photographs with positions. A run that was cut off goes on where it stopped.
    Add(AddArgs),
    /// Remove photographs by name.
    Remove(RemoveArgs),
    /// List what is in an index.
    List(ListArgs),
    /// Tell size, model and extent.
    Info(OneIndex),
    /// Merge segments and build the search graph after many additions.
    Optimize(OneIndex),
    /// Read everything and report what is damaged.
    Verify(OneIndex),
    /// Write a snapshot to one file.
    Export(ExportArgs),
    /// Make an index from a snapshot.
    Import(ImportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Folder to create.
    index: PathBuf,
    /// Model file [default: the one built in]. The index keeps a copy.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    #[command(flatten)]
    input: InputArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Folder of the index.
    index: PathBuf,
    /// A folder of photos with GPS, a CSV of positions (path,lat,lon,...), a panorama set, a datasets_vg or
    /// MSLS tree.
    #[arg(required = true)]
    sources: Vec<PathBuf>,
    /// What the sources are: exif, csv, panoramas, vg or msls [default: found out].
    #[arg(long, value_name = "KIND")]
    kind: Option<Kind>,
    /// UTM zone of a CSV whose positions are in metres, as in 33U.
    #[arg(long, value_name = "ZONE")]
    utm_zone: Option<UtmZone>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Folder of the index.
    index: PathBuf,
    /// Names as `r2former index list` prints them.
    #[arg(required = true)]
    names: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Folder of the index.
    index: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OneIndex {
    /// Folder of the index.
    index: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Folder of the index.
    index: PathBuf,
    /// File to write.
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Snapshot made by `r2former index export`.
    file: PathBuf,
    /// Folder to create.
    index: PathBuf,
}

pub(crate) fn run(command: IndexCommand, machine: &Machine) -> Result<ExitStatus> {
    match command {
        IndexCommand::Create(args) => create(&args),
        IndexCommand::Add(args) => add(&args, machine),
        IndexCommand::Remove(args) => remove(&args),
        IndexCommand::List(args) => list(&args),
        IndexCommand::Info(args) => info(&args),
        IndexCommand::Optimize(args) => optimize(&args),
        IndexCommand::Verify(args) => verify(&args),
        IndexCommand::Export(args) => {
            r2former_index::export(&args.index, &args.file)?;
            output::stdout().line(format_args!("wrote {}", args.file.display()))?;
            Ok(ExitStatus::Done)
        }
        IndexCommand::Import(args) => {
            r2former_index::import(&args.file, &args.index)?;
            let index = PlaceIndex::open(&args.index)?;
            index.model()?;
            let count = index.reader()?.count(&Filter::default())?;
            output::stdout().line(format_args!("{}: {count} images", args.index.display()))?;
            Ok(ExitStatus::Done)
        }
    }
}

fn create(args: &CreateArgs) -> Result<ExitStatus> {
    let loaded = load_model(args.model.as_deref())?;
    let settings = args.input.settings(&loaded);
    let index = PlaceIndex::create(&args.index, &loaded, settings)?;
    if args.json {
        return print_json(&json!({ "index": args.index, "manifest": index.manifest }));
    }
    let mut out = output::stdout();
    out.line(format_args!(
        "{}: an empty index for model {} at {}x{}",
        args.index.display(),
        loaded.config.name,
        settings.height,
        settings.width
    ))?;
    if !loaded.config.trained.global {
        out.line(format_args!(
            "note: model {} was not trained for places: its descriptor is the {}, L2-normalised",
            loaded.config.name,
            output::global_head(&loaded.config)
        ))?;
    }
    out.line(format_args!("next: r2former index add {} PHOTOS", args.index.display()))?;
    Ok(ExitStatus::Done)
}

fn add(args: &AddArgs, machine: &Machine) -> Result<ExitStatus> {
    let index = PlaceIndex::open(&args.index)?;
    let options = SourceOptions { utm_zone: args.utm_zone, ..Default::default() };
    let mut listing = Listing { photos: Vec::new(), skipped: Vec::new(), notes: Vec::new() };
    for source in &args.sources {
        let found = list_photos(source, args.kind, &options)?;
        listing.photos.extend(found.photos);
        listing.skipped.extend(found.skipped);
        listing.notes.extend(found.notes);
    }
    for note in &listing.notes {
        eprintln!("note: {note}");
    }
    for skipped in &listing.skipped {
        eprintln!("left out: {}: {}", skipped.path.display(), skipped.reason);
    }
    if listing.photos.is_empty() {
        bail!("no photograph with a position was found; nothing was added");
    }
    let mut writer = index.writer()?;
    let extractor = Extractor::new(index.model()?, index.settings, &machine.device()?)?;
    let bar = Bar::default();
    let started = std::time::Instant::now();
    let mut report = add_photos(&mut writer, &extractor, &listing.photos, &bar)?;
    report.unreadable.extend(listing.skipped.into_iter().map(|s| (s.path, s.reason)));
    let AddReport { added, already_indexed: present, unreadable: failed, .. } = &report;
    let rate = *added as f64 / started.elapsed().as_secs_f64();
    if args.json {
        print_json(&json!({
            "added": added, "present": present, "images_per_second": rate,
            "failed": failed.iter().map(|(p, e)| json!({ "path": p, "error": e })).collect::<Vec<_>>(),
        }))?;
    } else {
        output::stdout().line(format_args!(
            "added {added} images ({rate:.1} images/s), {present} were in the index already, {} left out",
            failed.len()
        ))?;
    }
    match (failed.is_empty(), added + present) {
        (true, _) => Ok(ExitStatus::Done),
        (false, 0) => bail!("none of the photographs could be used"),
        (false, _) => Ok(ExitStatus::Partial),
    }
}

fn remove(args: &RemoveArgs) -> Result<ExitStatus> {
    let index = PlaceIndex::open(&args.index)?;
    let mut writer = index.writer()?;
    let ids: Vec<_> = args.names.iter().map(|name| place_id(name)).collect();
    let known = writer.contains(&ids)?;
    let unknown: Vec<&String> = args.names.iter().zip(&known).filter(|(_, k)| !**k).map(|(n, _)| n).collect();
    let removed = writer.remove(&ids)?;
    for name in &unknown {
        eprintln!("not in the index: {name}");
    }
    if args.json {
        print_json(&json!({ "removed": removed, "unknown": unknown }))?;
    } else {
        output::stdout().line(format_args!("removed {removed} images"))?;
    }
    Ok(if unknown.is_empty() { ExitStatus::Done } else { ExitStatus::Partial })
}

fn list(args: &ListArgs) -> Result<ExitStatus> {
    let reader = PlaceIndex::open(&args.index)?.reader()?;
    let mut places = Vec::new();
    let mut from = None;
    loop {
        let page = reader.list(from, 1000, &Filter::default())?;
        places.extend(page.places);
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    places.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    if args.json {
        return print_json(
            &places.iter().map(|(id, place)| json!({ "id": id, "place": place })).collect::<Vec<_>>(),
        );
    }
    let mut out = output::stdout();
    for (_, place) in &places {
        let position = place.position.map_or("unknown".into(), |p| format!("{:.6},{:.6}", p.lat, p.lon));
        out.line(format_args!("{position}\t{}", place.name))?;
    }
    Ok(ExitStatus::Done)
}

fn info(args: &OneIndex) -> Result<ExitStatus> {
    let index = PlaceIndex::open(&args.index)?;
    let info = index.reader()?.info()?;
    if args.json {
        let mut json = serde_json::to_value(&info)?;
        json["bytes_per_image"] = info.bytes_per_image().into();
        json["vector_bytes_per_image"] = info.config.vector_bytes().into();
        return print_json(&json);
    }
    let manifest = &index.manifest;
    let mut out = output::stdout();
    out.line(format_args!("images      {}", info.images))?;
    out.line(format_args!(
        "on disk     {} ({} an image)",
        bytes(info.bytes),
        bytes(info.bytes_per_image().round() as u64)
    ))?;
    out.line(format_args!(
        "            of that {} of vectors at most: descriptor {}, local features {} x {}",
        bytes(info.config.vector_bytes()),
        bytes(4 * info.config.global_dim as u64),
        info.config.max_rows,
        info.config.row_width
    ))?;
    out.line(format_args!("graph       {} of {} images", info.in_graph, info.images))?;
    out.line(format_args!("created     {}", info.created))?;
    out.line(format_args!(
        "model       {} ({})",
        manifest.config.model,
        manifest.config.fingerprint.chars().take(12).collect::<String>()
    ))?;
    let settings = index.settings;
    out.line(format_args!("input       {}x{}, {}", settings.height, settings.width, settings.precision))?;
    match info.extent {
        Some(Extent { south_west: sw, north_east: ne }) => out.line(format_args!(
            "extent      {:.6},{:.6} to {:.6},{:.6} (latitude, longitude)",
            sw.lat, sw.lon, ne.lat, ne.lon
        ))?,
        None => out.line(format_args!("extent      no positions"))?,
    }
    Ok(ExitStatus::Done)
}

fn optimize(args: &OneIndex) -> Result<ExitStatus> {
    let index = PlaceIndex::open(&args.index)?;
    index.writer()?.optimize()?;
    if args.json {
        return print_json(&index.reader()?.info()?);
    }
    output::stdout().line(format_args!("{}: optimized", args.index.display()))?;
    Ok(ExitStatus::Done)
}

fn verify(args: &OneIndex) -> Result<ExitStatus> {
    let index = PlaceIndex::open(&args.index)?;
    index.model()?;
    let report = r2former_index::verify(&args.index)?;
    if args.json {
        print_json(&report)?;
    } else {
        let mut out = output::stdout();
        for problem in &report.problems {
            let name = problem.name.as_deref().unwrap_or("index");
            out.line(format_args!("{name}: {}", problem.what))?;
        }
        out.line(format_args!("{} images read, {} problems", report.images, report.problems.len()))?;
    }
    if report.problems.is_empty() {
        return Ok(ExitStatus::Done);
    }
    bail!("{}: the index is damaged; add the named images again, or import a snapshot", args.index.display())
}
