//! `r2former index add`: photographs with positions into an index.

use super::left_out::LeftOut;
use crate::common::Machine;
use crate::exit::ExitStatus;
use crate::output::{self, escaped, print_json};
use crate::progress::{Bar, WithoutNotes};
use anyhow::{Result, bail};
use clap::Args;
use r2former_data::dataset::{
    Kind, Listing, SkipKind, Skipped, SourceOptions, list_photos, unsupported_format,
};
use r2former_data::{Photo, UtmZone};
use r2former_engine::{PlaceIndex, add_photos};
use serde_json::{Map, json};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Where positions come from, for whoever has none.
const POSITIONS: &str = "positions come from GPS in the photos' EXIF, or from a table (CSV) with the columns \
                         path,lat,lon: r2former index add INDEX positions.csv";

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Folder of the index.
    index: PathBuf,
    /// Photos with GPS, folders of them, tables of positions (CSV: path,lat,lon,...), panorama sets, datasets_vg or
    /// MSLS trees.
    #[arg(required = true)]
    sources: Vec<PathBuf>,
    /// Kind of all sources: exif (photos and folders), csv, panoramas, vg or msls [default: detected].
    #[arg(long, value_name = "KIND")]
    kind: Option<Kind>,
    /// UTM zone of a table in metres that has no column for it, as in 33U.
    #[arg(long, value_name = "ZONE")]
    utm_zone: Option<UtmZone>,
    /// Print the summary as JSON, with the path of and the reason for everything left out.
    #[arg(long)]
    json: bool,
}

pub(super) fn add(args: &AddArgs, machine: &Machine) -> Result<ExitStatus> {
    let index = PlaceIndex::open(&args.index)?;
    let options = SourceOptions { utm_zone: args.utm_zone, ..Default::default() };
    let mut listing = Listing::default();
    for source in distinct(&args.sources) {
        let found = list_photos(source, args.kind, &options)?;
        listing.photos.extend(found.photos);
        listing.skipped.extend(found.skipped);
        listing.notes.extend(found.notes);
    }
    for note in &listing.notes {
        eprintln!("note: {}", escaped(note));
    }
    let photos = one_name_each(listing.photos)?;
    let mut skipped = listing.skipped;
    let mut seen = HashSet::new();
    skipped.retain(|s| seen.insert((s.path.clone(), s.reason.clone())));
    if photos.is_empty() {
        report(args, 0, 0, 0.0, &skipped)?;
        bail!("no photograph with a position was found; nothing was added: {POSITIONS}");
    }
    let mut writer = index.writer()?;
    let extractor = machine.extractor(index.model()?, index.settings)?;
    let bar = Bar::default();
    let started = std::time::Instant::now();
    let done = add_photos(&mut writer, &extractor, &photos, &WithoutNotes(&bar))?;
    let rate = done.added as f64 / started.elapsed().as_secs_f64();
    skipped.extend(done.unreadable.into_iter().map(|(path, reason)| unusable(path, &reason)));
    report(args, done.added, done.already_indexed, rate, &skipped)?;
    match (skipped.is_empty(), done.added + done.already_indexed) {
        (true, _) => Ok(ExitStatus::Done),
        (false, 0) => bail!("no photograph could be used; nothing was added"),
        (false, _) => Ok(ExitStatus::Partial),
    }
}

/// Prints what was done and what was left out.
fn report(args: &AddArgs, added: usize, already: usize, rate: f64, skipped: &[Skipped]) -> Result<()> {
    let left_out = LeftOut(skipped);
    for line in left_out.lines() {
        eprintln!("{line}");
    }
    if args.json {
        let mut json = Map::new();
        json.insert("added".into(), json!(added));
        json.insert("already_indexed".into(), json!(already));
        left_out.json(&mut json);
        json.insert("images_per_second".into(), json!(rate));
        print_json(&json)?;
    } else {
        output::stdout().line(format_args!(
            "added {added} images ({rate:.1} images/s); {already} already indexed; {}",
            left_out.summary()
        ))?;
    }
    Ok(())
}

/// A file that the extractor refused, without its path at the start of the reason.
fn unusable(path: PathBuf, reason: &str) -> Skipped {
    let own = format!("{}: ", path.display());
    let reason = reason.strip_prefix(&own).unwrap_or(reason).to_owned();
    let kind = match unsupported_format(&path) {
        Some(_) => SkipKind::Unsupported,
        None => SkipKind::Unreadable,
    };
    Skipped { path, reason, kind }
}

/// The sources, each once however its path is written.
fn distinct(sources: &[PathBuf]) -> Vec<&Path> {
    let mut seen = HashSet::new();
    sources.iter().map(PathBuf::as_path).filter(|path| seen.insert(real(path))).collect()
}

/// The path without links and detours, where it exists.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The photographs, a file named twice once.
///
/// # Errors
/// Two files of one name: the index could hold only one of them.
fn one_name_each(photos: Vec<Photo>) -> Result<Vec<Photo>> {
    let mut first: HashMap<String, PathBuf> = HashMap::with_capacity(photos.len());
    let mut kept = Vec::with_capacity(photos.len());
    let mut clashes = Vec::new();
    for photo in photos {
        match first.get(&photo.name) {
            None => {
                first.insert(photo.name.clone(), photo.path.clone());
                kept.push(photo);
            }
            Some(before) if real(before) == real(&photo.path) => {}
            Some(before) => {
                let [a, b] = [before, &photo.path].map(|p| escaped(&p.to_string_lossy()).into_owned());
                clashes.push(format!("{}: {a} and {b}", escaped(&photo.name)));
            }
        }
    }
    if clashes.is_empty() {
        return Ok(kept);
    }
    let count = clashes.len();
    clashes.truncate(5);
    let more = if count > 5 { format!("\n  and {} more", count - 5) } else { String::new() };
    bail!(
        "{count} names stand for two files each, and the index holds one image per name; nothing was added:\n  {}{more}\n\
         add the folder above them instead, so that their names differ",
        clashes.join("\n  ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_once_and_two_files_of_one_name_are_refused() {
        let dir = tempfile::tempdir().expect("temporary folder");
        for folder in ["a", "b"] {
            std::fs::create_dir(dir.path().join(folder)).expect("can be written");
            std::fs::write(dir.path().join(folder).join("0.jpg"), folder).expect("can be written");
        }
        let photo = |path: &str| Photo::new(dir.path().join(path), "0.jpg");
        let kept = one_name_each(vec![photo("a/0.jpg"), photo("b/../a/0.jpg")]).expect("one file");
        assert_eq!(kept.len(), 1);
        let said =
            one_name_each(vec![photo("a/0.jpg"), photo("b/0.jpg")]).expect_err("two files").to_string();
        assert!(
            said.contains("a/0.jpg and") && said.contains("b/0.jpg") && said.contains("nothing"),
            "{said}"
        );
        let sources = [dir.path().join("a"), dir.path().join("b/../a"), dir.path().join("b")];
        assert_eq!(distinct(&sources), [&sources[0], &sources[2]]);
    }
}
