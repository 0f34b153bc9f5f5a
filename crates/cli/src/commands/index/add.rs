//! `r2former index add`: photographs with positions into an index.

use super::changes;
use super::left_out::LeftOut;
use super::sources::Sources;
use crate::common::{IndexPrecision, Machine, bounded, index_address};
use crate::exit::{ExitStatus, usage};
use crate::output::{self, escaped, print_json};
use crate::progress::{Bar, WithoutNotes};
use crate::shards::{ShardArgs, recorded};
use anyhow::{Result, bail};
use clap::Args;
use r2former_data::dataset::{
    Kind, MslsOptions, SkipKind, Skipped, SourceOptions, check_label, escaped_name, unused_options,
};
use r2former_data::image::{Limits, shape};
use r2former_data::{DataError, PanoramaMode, PanoramaOptions, PositionKind, UtmZone, expand_panoramas_by};
use r2former_engine::{
    AddOptions, AddReport, IndexAddress, PlaceIndex, ShardWork, add_photos, check_renamed, check_sources,
};
use r2former_index::{ReadPlaces, place_id};
use serde_json::{Map, json};
use std::collections::HashSet;
use std::path::PathBuf;

/// Where positions come from, for whoever has none.
const POSITIONS: &str = "positions come from GPS in the photos' EXIF, or from a table (CSV) with the columns \
                         path,lat,lon: r2former index add INDEX positions.csv";

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Index: a folder, or qdrant://HOST:PORT/COLLECTION.
    #[arg(value_parser = index_address())]
    index: IndexAddress,
    /// Photos with GPS, folders of them, tables of positions (CSV: path,lat,lon,...), panorama sets, datasets_vg or
    /// MSLS trees. An index of local positions takes tables (CSV: path,x,y,z,...), one without positions any photos.
    /// s3://BUCKET/PREFIX and gs://BUCKET/PREFIX are folders or tables, https://HOST/LIST a table or a text of addresses;
    /// credentials are those of the environment (AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, ...).
    #[arg(required = true)]
    sources: Vec<PathBuf>,
    /// Kind of all sources: exif (photos and folders), csv, panoramas, vg or msls [default: detected].
    #[arg(long, value_name = "KIND")]
    kind: Option<Kind>,
    /// Label of a source: names of its images in the index are LABEL/PATH, with the path relative to the source. Once
    /// for each source, in their order [default: the name of the folder, of a table without .csv, or of the folder of a
    /// single photo].
    #[arg(long = "label", value_name = "NAME", value_parser = parse_label)]
    labels: Vec<String>,
    /// Take what has changed since it was added: a corrected position, heading, altitude, time or tag without extracting
    /// again, a photo whose file is another with new descriptors. Without this, changes are listed and not taken.
    #[arg(long)]
    update: bool,
    /// Leave out photos whose file is in the index, or among the sources, under another name already.
    #[arg(long)]
    skip_duplicates: bool,
    /// The sources were moved or renamed: their labels stand for where they are now. Without this, a label that stands
    /// for another folder or table is refused.
    #[arg(long)]
    moved: bool,
    /// UTM zone of a table in metres that has no column for it, as in 33U.
    #[arg(long, value_name = "ZONE")]
    utm_zone: Option<UtmZone>,
    /// Cities of an MSLS tree, separated by commas; train, val or test for the official lists [default: val].
    #[arg(long, value_delimiter = ',', value_name = "CITY")]
    cities: Vec<String>,
    #[command(flatten)]
    panoramas: PanoramaArgs,
    #[command(flatten)]
    precision: IndexPrecision,
    #[command(flatten)]
    shard: ShardArgs,
    /// Add JPEGs that are cut short, their missing part grey; the summary counts them.
    #[arg(long)]
    accept_truncated: bool,
    /// Print the summary as JSON, with the path of and the reason for everything left out.
    #[arg(long)]
    json: bool,
}

/// Panoramas: images with GPano tags, or of 2:1 and at least 2000 pixels wide.
#[derive(Debug, Args)]
struct PanoramaArgs {
    /// What to do with panoramas (GPano tags, or 2:1 at 2000 pixels and more): views cuts them into perspective views,
    /// each an image of the index called NAME#HEADING; whole adds them squeezed to the model's shape; skip leaves them
    /// out.
    #[arg(long, value_name = "MODE", default_value_t)]
    panorama: PanoramaMode,
    /// Number of views cut from a panorama, evenly spaced, 1 to 36.
    #[arg(long, value_name = "N", default_value_t = PanoramaOptions::default().views, value_parser = clap::value_parser!(u32).range(1..=36))]
    panorama_views: u32,
    /// Horizontal field of view of each, in degrees, 20 to 120.
    #[arg(long, value_name = "DEGREES", default_value_t = PanoramaOptions::default().fov, allow_negative_numbers = true, value_parser = parse_fov)]
    panorama_fov: f64,
    /// Degrees clockwise from the panorama's middle to the first view, -360 to 360.
    #[arg(long, value_name = "DEGREES", default_value_t = 0.0, allow_negative_numbers = true, value_parser = parse_offset)]
    panorama_offset: f64,
}

fn parse_label(text: &str) -> Result<String, String> {
    check_label(text).map(ToOwned::to_owned).map_err(|error| error.to_string())
}

fn parse_fov(text: &str) -> Result<f64, String> {
    bounded(text, "a field of view in degrees", 20.0..=120.0)
}

fn parse_offset(text: &str) -> Result<f64, String> {
    bounded(text, "an angle in degrees", -360.0..=360.0)
}

impl PanoramaArgs {
    fn options(&self) -> Result<PanoramaOptions> {
        let options = PanoramaOptions::default().mode(self.panorama);
        Ok(options.with_views(self.panorama_views, self.panorama_fov, self.panorama_offset)?)
    }
}

pub(super) fn add(args: &AddArgs, machine: &Machine) -> Result<ExitStatus> {
    if args.skip_duplicates && args.shard.part().is_some() {
        usage!(
            "--skip-duplicates compares every file with all others, and a shard reads its own alone: leave one of \
             --shard and --skip-duplicates out"
        );
    }
    let index = PlaceIndex::open(&args.index)?;
    let sources = Sources::new(&args.sources, args.kind, &args.labels)?;
    let mut record = args.shard.record("index add", &args.index.to_string(), sources.remembered())?;
    if let Some(record) = &mut record {
        let config = &index.manifest.config;
        record.begin(&config.model, &config.fingerprint, index.settings)?;
    }
    recorded(record, || add_to(&index, sources, args, machine))
}

/// Lists, compares, extracts and writes; also returns what was done, for the record.
fn add_to(
    index: &PlaceIndex,
    mut sources: Sources<'_>,
    args: &AddArgs,
    machine: &Machine,
) -> Result<(ExitStatus, ShardWork)> {
    let panoramas = args.panoramas.options()?;
    let limits = Limits { accept_truncated: args.accept_truncated, ..Limits::default() };
    let kind = index.positions().kind();
    let mut msls = MslsOptions::default();
    if !args.cities.is_empty() {
        msls.cities.clone_from(&args.cities);
    }
    let options =
        SourceOptions { utm_zone: args.utm_zone, positions: Some(kind), msls, ..Default::default() };
    let mut notes = unused_options(&options, args.kind, &args.sources);
    let how = AddOptions::default()
        .update(args.update)
        .skip_duplicates(args.skip_duplicates)
        .moved(args.moved)
        .sources(sources.remembered());
    let reader = index.reader()?;
    check_sources(&reader, &how)?;
    // With --update, what an object says of itself is read again.
    let indexed = |names: &[String]| {
        if args.update {
            return Ok(vec![None; names.len()]);
        }
        let ids: Vec<_> = names.iter().map(|name| place_id(name)).collect();
        reader.get(&ids).map_err(|error| DataError::Request(error.to_string()))
    };
    let listing = sources.list(args.kind, &options, args.shard.part(), &indexed)?;
    if !args.skip_duplicates {
        sources.note_overlaps(&reader.sources()?, &listing.photos, |names| {
            Ok(reader.contains(&names.iter().map(|name| place_id(name)).collect::<Vec<_>>())?)
        })?;
    }
    let stores = sources.stores.take();
    let expanded = expand_panoramas_by(listing.photos, &panoramas, |path| match &stores {
        Some(stores) if stores.holds(path) => stores.shape(path),
        _ => shape(path, &limits).ok(),
    });
    // Chosen labels say that this is meant, and files that are left out are not doubled.
    if args.labels.is_empty() && !args.skip_duplicates {
        check_renamed(&reader, &expanded.photos, &how.sources)?;
    }
    drop(reader);
    notes.extend(listing.notes);
    notes.extend(std::mem::take(&mut sources.notes));
    notes.extend(expanded.notes);
    for note in &notes {
        eprintln!("note: {}", escaped(note));
    }
    let photos = expanded.photos;
    let mut skipped = listing.skipped;
    let mut seen = HashSet::new();
    skipped.retain(|s| seen.insert((s.path.clone(), s.reason.clone())));
    if photos.is_empty() {
        report(args, &AddReport::default(), 0.0, &skipped, &notes)?;
        // Others have some, or this says what is wrong with all.
        if args.shard.part().is_some() {
            let work = ShardWork::of(0, &AddReport::default(), &skipped);
            return Ok((partial_if(!skipped.is_empty()), work));
        }
        if !skipped.is_empty() && skipped.iter().all(|skipped| skipped.kind != SkipKind::WithoutPosition) {
            bail!("no photograph could be used, for the reasons above; nothing was added");
        }
        match kind {
            PositionKind::Wgs84 => {
                bail!("no photograph with a position was found; nothing was added: {POSITIONS}")
            }
            PositionKind::Local => bail!(
                "no photograph with a position was found; nothing was added: this index has {}, which come from a table \
                 (CSV) with the columns path,x,y,z",
                kind.words()
            ),
            PositionKind::None => bail!("no photograph was found; nothing was added"),
        }
    }
    let mut writer = index.writer()?;
    let mut extractor =
        machine.extractor_of(index, index.model()?, args.precision.precision)?.with_limits(limits);
    if let Some(stores) = stores {
        extractor = extractor.with_files(stores);
    }
    let bar = Bar::default();
    let started = std::time::Instant::now();
    let done = add_photos(&mut writer, &extractor, &photos, &how, &WithoutNotes(&bar))?;
    let rate = (done.added + done.updated.len()) as f64 / started.elapsed().as_secs_f64();
    skipped.extend(done.unreadable.iter().map(|(path, reason)| Skipped::unusable(path.clone(), reason)));
    report(args, &done, rate, &skipped, &notes)?;
    let usable = done.added
        + done.already_indexed
        + done.updated.len()
        + done.changed.len()
        + done.skipped_duplicates.len();
    let work = ShardWork::of(photos.len(), &done, &skipped);
    match (skipped.is_empty() && done.changed.is_empty(), usable) {
        (false, 0) if args.shard.part().is_none() => bail!("no photograph could be used; nothing was added"),
        (all, _) => Ok((partial_if(!all), work)),
    }
}

fn partial_if(partial: bool) -> ExitStatus {
    if partial { ExitStatus::Partial } else { ExitStatus::Done }
}

/// Prints what was done and what was left out.
fn report(args: &AddArgs, done: &AddReport, rate: f64, skipped: &[Skipped], notes: &[String]) -> Result<()> {
    let left_out = LeftOut(skipped);
    for line in left_out.lines().into_iter().chain(changes::lines(done)) {
        eprintln!("{line}");
    }
    let (added, already, truncated) = (done.added, done.already_indexed, done.truncated.as_slice());
    if args.json {
        let mut json = Map::new();
        json.insert("added".into(), json!(added));
        json.insert("already_indexed".into(), json!(already));
        changes::json(done, &mut json);
        left_out.json(&mut json);
        let cut = truncated.iter().map(|(path, what)| json!({ "path": escaped_name(path), "reason": what }));
        json.insert("truncated".into(), cut.collect());
        json.insert("notes".into(), json!(notes));
        json.insert("images_per_second".into(), json!(rate));
        return print_json(&json).map(drop);
    }
    if let Some((path, what)) = truncated.first() {
        let path = escaped(&escaped_name(path)).into_owned();
        eprintln!("note: {} added although cut short, the first {path} ({what})", truncated.len());
    }
    output::stdout().line(format_args!(
        "added {added} images ({rate:.1} images/s); {already} already indexed{}; {}",
        changes::summary(done),
        left_out.summary()
    ))?;
    Ok(())
}
