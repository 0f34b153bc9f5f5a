//! Photographs of a folder or table into an index, as `r2former index add` adds them.

use crate::errors::{Failure, parsed};
use crate::watch::Watch;
use r2former_data::dataset::{
    Kind, MslsOptions, Part, Shard, SkipKind, Skipped, SourceOptions, SourceRoot, escaped_name, list_photos,
    source_root, unused_options,
};
use r2former_data::image::{Limits, shape};
use r2former_data::{DataError, PanoramaOptions, UtmZone, expand_panoramas_by};
use r2former_engine::{
    AddOptions, AddReport, Extractor, OpenIndex, Progress, ShardManifest, ShardWork, Source, add_photos,
    check_renamed, check_sources,
};
use r2former_index::{ReadPlaces, place_id};
use r2former_remote::{FetchOptions, ListOptions, RemoteSource, Stores};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Options, with the names of those of `r2former index add`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AddDocument {
    kind: Option<String>,
    label: Option<String>,
    update: bool,
    skip_duplicates: bool,
    moved: bool,
    utm_zone: Option<UtmZone>,
    /// Of an MSLS tree.
    cities: Option<Vec<String>>,
    panorama: Option<String>,
    panorama_views: Option<u32>,
    panorama_fov: Option<f64>,
    panorama_offset: f64,
    /// Which part of the source, as `0/4`.
    shard: Option<String>,
    /// Where the record of what was done goes.
    manifest: Option<PathBuf>,
}

impl AddDocument {
    fn panoramas(&self) -> Result<PanoramaOptions, Failure> {
        let usual = PanoramaOptions::default();
        let (views, fov) =
            (self.panorama_views.unwrap_or(usual.views), self.panorama_fov.unwrap_or(usual.fov));
        let usual = match parsed(self.panorama.as_deref())? {
            Some(mode) => usual.mode(mode),
            None => usual,
        };
        Ok(usual.with_views(views, fov, self.panorama_offset)?)
    }
}

/// Adds a source, or a shard of it, and records that where it is asked for; returns the report.
pub(crate) fn add(open: &OpenIndex, path: &Path, options: &str, watch: &Watch) -> Result<Value, Failure> {
    let asked: AddDocument = serde_json::from_str(options)?;
    let shard: Option<Shard> = parsed(asked.shard.as_deref())?;
    if asked.skip_duplicates && shard.is_some_and(|shard| shard.count() > 1) {
        return Err(Failure::request(
            "skip_duplicates compares every file with all others, and a shard reads its own alone: leave one of shard and \
             skip_duplicates out",
        ));
    }
    let kind: Option<Kind> = parsed(asked.kind.as_deref())?;
    let from = From::of(path, kind)?;
    let root = match &from {
        From::Files => source_root(path, kind, asked.label.as_deref())?,
        From::Stores(stores, remote) => stores.root(remote, kind, asked.label.as_deref())?,
    };
    let part = PartOf { path, kind, root: &root, shard, from: &from };
    let Some(file) = asked.manifest.clone() else {
        return Ok(add_part(open, &part, &asked, watch)?.0);
    };
    let config = &open.place().manifest.config;
    let sources = vec![Source { label: root.label.clone(), root: root.root_text() }];
    let target = open.place().address().to_string();
    let shard_of_record = match shard {
        Some(shard) => shard,
        None => Shard::new(0, 1)?,
    };
    let mut record = ShardManifest::begin("index add", shard_of_record, target, sources).with_model(
        &config.model,
        &config.fingerprint,
        open.place().settings,
    );
    record.write(&file)?;
    match add_part(open, &part, &asked, watch) {
        Ok((document, work)) => {
            record.finish(work);
            record.write(&file)?;
            Ok(document)
        }
        Err(failure) => {
            record.fail(failure.text());
            // What the work failed of counts, not that its record cannot be written for the same reason.
            let _ = record.write(&file);
            Err(failure)
        }
    }
}

/// Where the photographs of a source are.
enum From {
    Files,
    /// Somewhere else, some of them at least.
    Stores(Arc<Stores>, RemoteSource),
}

impl From {
    fn of(path: &Path, kind: Option<Kind>) -> Result<Self, Failure> {
        match RemoteSource::of(path, kind)? {
            None => Ok(Self::Files),
            Some(remote) => Ok(Self::Stores(Stores::new(FetchOptions::default())?, remote)),
        }
    }
}

/// A source, or a shard of it.
struct PartOf<'a> {
    path: &'a Path,
    kind: Option<Kind>,
    root: &'a SourceRoot,
    shard: Option<Shard>,
    from: &'a From,
}

/// Adds it; returns the report, and what a record says of it.
fn add_part(
    open: &OpenIndex,
    part: &PartOf<'_>,
    asked: &AddDocument,
    watch: &Watch,
) -> Result<(Value, ShardWork), Failure> {
    let PartOf { path, kind, root, shard, from } = *part;
    let panoramas = asked.panoramas()?;
    let positions = open.place().positions().kind();
    let how = AddOptions::default()
        .update(asked.update)
        .skip_duplicates(asked.skip_duplicates)
        .moved(asked.moved)
        .sources(vec![Source { label: root.label.clone(), root: root.root_text() }]);
    check_sources(open.reader(), &how)?;
    let part = shard.map(|shard| Part { shard, label: root.label.clone() });
    let mut msls = MslsOptions::default();
    if let Some(cities) = &asked.cities {
        msls.cities.clone_from(cities);
    }
    let options = SourceOptions {
        utm_zone: asked.utm_zone,
        positions: Some(positions),
        part,
        msls,
        ..Default::default()
    };
    let mut listing = match from {
        From::Files => list_photos(path, kind, &options)?,
        From::Stores(stores, remote) => {
            // With update, what an object says of itself is read again.
            let indexed = |names: &[String]| {
                if asked.update {
                    return Ok(vec![None; names.len()]);
                }
                let ids: Vec<_> = names.iter().map(|name| place_id(name)).collect();
                open.reader().get(&ids).map_err(|error| DataError::Request(error.to_string()))
            };
            stores.list(
                remote,
                &ListOptions { kind, source: &options, label: &root.label, indexed: &indexed },
            )?
        }
    };
    watch.check();
    root.label(&mut listing.photos);
    let limits = Limits::default();
    let expanded = expand_panoramas_by(listing.photos, &panoramas, |path| match from {
        From::Stores(stores, _) if stores.holds(path) => stores.shape(path),
        From::Files | From::Stores(..) => shape(path, &limits).ok(),
    });
    // A chosen label says that this is meant, and files that are left out are not doubled.
    if asked.label.is_none() && !asked.skip_duplicates {
        check_renamed(open.reader(), &expanded.photos, &how.sources)?;
    }
    let mut notes = unused_options(&options, kind, [path]);
    notes.extend(listing.notes);
    notes.extend(expanded.notes);
    notes.iter().for_each(|note| watch.note(note));
    let started = Instant::now();
    let mut report = AddReport::default();
    if !expanded.photos.is_empty() {
        let mut extractor = open.extractor()?;
        if let From::Stores(stores, _) = from {
            extractor = Arc::new(Extractor::clone(&extractor).with_files(stores.clone()));
        }
        report = open.change(|writer| add_photos(writer, &extractor, &expanded.photos, &how, watch))?;
    }
    let mut skipped = listing.skipped;
    let unreadable = report.unreadable.iter();
    skipped.extend(unreadable.map(|(path, reason)| Skipped::unusable(path.clone(), reason)));
    let work = ShardWork::of(expanded.photos.len(), &report, &skipped);
    report.unreadable.clear();
    Ok((document(report, skipped, &notes, started.elapsed()), work))
}

/// The document of `r2former index add --json`; `skipped` was left out before.
pub(crate) fn document(
    report: AddReport,
    mut skipped: Vec<Skipped>,
    notes: &[String],
    took: Duration,
) -> Value {
    skipped.extend(report.unreadable.into_iter().map(|(path, reason)| Skipped::unusable(path, &reason)));
    let of = |kind: SkipKind| -> Vec<Value> {
        let own = skipped.iter().filter(|skipped| skipped.kind == kind);
        own.map(|s| json!({ "path": escaped_name(&s.path), "reason": s.reason })).collect()
    };
    let cut =
        report.truncated.iter().map(|(path, what)| json!({ "path": escaped_name(path), "reason": what }));
    let extracted = (report.added + report.updated.len()) as f64;
    json!({
        "added": report.added,
        "already_indexed": report.already_indexed,
        "updated": report.updated,
        "changed": report.changed,
        "duplicates": report.duplicates,
        "skipped_duplicates": report.skipped_duplicates,
        "without_position": of(SkipKind::WithoutPosition),
        "unreadable": of(SkipKind::Unreadable),
        "unsupported": of(SkipKind::Unsupported),
        "truncated": cut.collect::<Vec<_>>(),
        "notes": notes,
        "images_per_second": extracted / took.as_secs_f64(),
    })
}
