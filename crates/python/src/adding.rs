//! Photographs of a folder or table into an index, as `r2former index add` adds them.

use crate::errors::{Failure, parsed};
use crate::watch::Watch;
use r2former_data::dataset::{
    Kind, SkipKind, Skipped, SourceOptions, escaped_name, list_photos, source_root,
};
use r2former_data::image::Limits;
use r2former_data::{PanoramaOptions, UtmZone, expand_panoramas};
use r2former_engine::{AddOptions, AddReport, OpenIndex, Progress, Source, add_photos, check_sources};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;
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
    panorama: Option<String>,
    panorama_views: Option<u32>,
    panorama_fov: Option<f64>,
    panorama_offset: f64,
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

/// Adds a source; returns the report.
pub(crate) fn add(open: &OpenIndex, path: &Path, options: &str, watch: &Watch) -> Result<Value, Failure> {
    let asked: AddDocument = serde_json::from_str(options)?;
    let kind: Option<Kind> = parsed(asked.kind.as_deref())?;
    let panoramas = asked.panoramas()?;
    let positions = open.place().positions().kind();
    let root = source_root(path, kind, asked.label.as_deref())?;
    let how = AddOptions::default()
        .update(asked.update)
        .skip_duplicates(asked.skip_duplicates)
        .moved(asked.moved)
        .sources(vec![Source { label: root.label.clone(), root: root.root_text() }]);
    check_sources(open.reader(), &how)?;
    let options =
        SourceOptions { utm_zone: asked.utm_zone, positions: Some(positions), ..Default::default() };
    let mut listing = list_photos(path, kind, &options)?;
    root.label(&mut listing.photos);
    let expanded = expand_panoramas(listing.photos, &panoramas, &Limits::default());
    listing.notes.iter().chain(&expanded.notes).for_each(|note| watch.note(note));
    let started = Instant::now();
    let mut report = AddReport::default();
    if !expanded.photos.is_empty() {
        let extractor = open.extractor()?;
        report = open.change(|writer| add_photos(writer, &extractor, &expanded.photos, &how, watch))?;
    }
    Ok(document(report, listing.skipped, started.elapsed()))
}

/// The document of `r2former index add --json`; `skipped` was left out before.
pub(crate) fn document(report: AddReport, mut skipped: Vec<Skipped>, took: Duration) -> Value {
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
        "images_per_second": extracted / took.as_secs_f64(),
    })
}
