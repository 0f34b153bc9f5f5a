//! The sources of `index add`: labels, sources named twice, files that lie in several.

use crate::common::real;
use crate::exit::usage;
use crate::output::quoted;
use crate::remote::{ListOptions, RemoteSource, Stores, remote_source};
use anyhow::{Result, bail};
use r2former_data::dataset::{
    Kind, Listing, Part, Shard, Skipped, SourceOptions, SourceRoot, escaped_name, list_photos, source_root,
};
use r2former_data::{DataError, Photo};
use r2former_engine::Source;
use r2former_index::Place;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Two sources mean the same place of one photograph if they differ by at most N metres: the usual radius of a positive.
const SAME_PLACE_M: f64 = 25.0;

/// The sources of one run, each once, and what people should know about them.
pub(super) struct Sources<'a> {
    /// In the order in which they are listed: a folder before those within it.
    each: Vec<One<'a>>,
    pub(super) notes: Vec<String>,
    /// Where photographs are fetched; none where all are files.
    pub(super) stores: Option<Arc<Stores>>,
}

/// A source.
struct One<'a> {
    path: &'a Path,
    root: SourceRoot,
    /// Where its photographs are fetched from.
    remote: Option<RemoteSource>,
}

/// What the index has under some names.
pub(super) type Indexed<'a> = dyn Fn(&[String]) -> Result<Vec<Option<Place>>, DataError> + 'a;

impl<'a> Sources<'a> {
    /// Labels are either none, or one for each source in the order of the sources.
    pub(super) fn new(paths: &'a [PathBuf], kind: Option<Kind>, labels: &[String]) -> Result<Self> {
        if !labels.is_empty() && labels.len() != paths.len() {
            usage!(
                "{} labels for {} sources: give --label once for each source, in the order of the sources, or not at all",
                labels.len(),
                paths.len()
            );
        }
        let mut sources = Self { each: Vec::with_capacity(paths.len()), notes: Vec::new(), stores: None };
        let mut seen: HashMap<PathBuf, (&Path, SourceRoot)> = HashMap::new();
        for (i, path) in paths.iter().enumerate() {
            let label = labels.get(i).map(String::as_str);
            let remote = remote_source(path, kind, &mut sources.stores)?;
            let root = match (&remote, &sources.stores) {
                (Some(remote), Some(stores)) => stores.root(remote, kind, label)?,
                _ => source_root(path, kind, label)?,
            };
            match seen.get(&real(path)) {
                Some((first, before)) if before.label == root.label => {
                    sources.notes.push(format!("{} is {}: it counts once", shown(path), shown(first)));
                }
                Some((first, before)) => bail!(
                    "{} is {}: it cannot have the labels {:?} and {:?}",
                    shown(path),
                    shown(first),
                    before.label,
                    root.label
                ),
                None => {
                    seen.insert(real(path), (path, root.clone()));
                    sources.each.push(One { path, root, remote });
                }
            }
        }
        // A file that several hold has the name that the outermost gives it, in whatever order they are named.
        sources.each.sort_by_key(|one| one.root.root.components().count());
        Ok(sources)
    }

    /// As the index remembers them.
    pub(super) fn remembered(&self) -> Vec<Source> {
        let source = |one: &One<'_>| Source { label: one.root.label.clone(), root: one.root.root_text() };
        self.each.iter().map(source).collect()
    }

    /// Notes sources some of whose files the index has under another label already, by its sources: they get a second name.
    /// Of objects in stores it is enough that one source lies in the other.
    pub(super) fn note_overlaps(
        &mut self,
        known: &[Source],
        listed: &[Photo],
        has: impl Fn(&[String]) -> Result<Vec<bool>>,
    ) -> Result<()> {
        for One { path, root, remote } in &self.each {
            let text = root.root_text();
            let own = format!("{}/", root.label);
            for other in known.iter().filter(|other| other.label != root.label) {
                let (outer, inner) = (Path::new(&other.root), Path::new(&text));
                if !inner.starts_with(outer) && !outer.starts_with(inner) {
                    continue;
                }
                let second = |photo: &Photo| -> Option<String> {
                    let file = real(&photo.path);
                    let parts = file.strip_prefix(outer).ok()?.iter().map(escaped_name).collect::<Vec<_>>();
                    Some(format!("{}/{}", other.label, parts.join("/")))
                };
                let of_it = listed.iter().filter(|photo| photo.name.starts_with(&own));
                let names: Vec<String> = of_it.filter_map(second).collect();
                if remote.is_some() || has(&names)?.contains(&true) {
                    self.notes.push(format!(
                        "{} overlaps {}, whose label in this index is {:?}: files that are in both get a second name \
                         (--skip-duplicates leaves them out)",
                        shown(path),
                        other.root,
                        other.label
                    ));
                }
            }
        }
        Ok(())
    }

    /// Lists the photographs of one source.
    fn list_one(
        &self,
        one: &One<'_>,
        kind: Option<Kind>,
        options: &SourceOptions,
        indexed: &Indexed<'_>,
    ) -> Result<Listing, DataError> {
        let mut listing = match (&one.remote, &self.stores) {
            (Some(remote), Some(stores)) => stores
                .list(remote, &ListOptions { kind, source: options, label: &one.root.label, indexed })?,
            _ => list_photos(one.path, kind, options)?,
        };
        one.root.label(&mut listing.photos);
        Ok(listing)
    }

    /// Lists the photographs of all sources under their names in the index, each file once; of a shard only its own.
    pub(super) fn list(
        &mut self,
        kind: Option<Kind>,
        options: &SourceOptions,
        shard: Option<Shard>,
        indexed: &Indexed<'_>,
    ) -> Result<Listing, DataError> {
        let part = |root: &SourceRoot| shard.map(|shard| Part { shard, label: root.label.clone() });
        if let [one] = self.each.as_slice() {
            let options = SourceOptions { part: part(&one.root), ..options.clone() };
            return self.list_one(one, kind, &options, indexed);
        }
        let mut all = Listing::default();
        let mut holders: HashMap<PathBuf, (usize, usize)> = HashMap::new();
        let mut skipped = HashSet::new();
        let (mut shared, mut differing, mut example) = (0, 0, None);
        let mut contradicted = BTreeMap::new();
        for (i, one) in self.each.iter().enumerate() {
            let mut found = self.list_one(one, kind, options, indexed)?;
            let mut kept = Vec::with_capacity(found.photos.len());
            for photo in found.photos {
                let at = all.photos.len() + kept.len();
                let (holder, first) = *holders.entry(real(&photo.path)).or_insert((i, at));
                if holder == i {
                    kept.push(photo);
                    continue;
                }
                shared += 1;
                if let Some(known) = all.photos.get(first) {
                    differing += usize::from(differs(known, &photo));
                    if let (Some(one), Some(other)) = (known.position, photo.position)
                        && one.distance_m(other).is_none_or(|metres| metres > SAME_PLACE_M)
                    {
                        let holders = [self.each[holder].path, self.each[i].path].map(shown);
                        let [a, b] = &holders;
                        contradicted
                            .entry(first)
                            .or_insert_with(|| format!("{a} says {one}, and {b} {other}"));
                    }
                }
                example.get_or_insert_with(|| (photo.path, self.each[holder].path));
            }
            found.skipped.retain(|s| skipped.insert((real(&s.path), s.reason.clone())));
            if let Some(part) = part(&one.root) {
                found.skipped.retain(|skipped| part.reports(one.path, skipped));
            }
            all.photos.extend(kept);
            all.skipped.extend(found.skipped);
            all.notes.extend(found.notes);
        }
        let mut number = 0..;
        all.photos.retain(|photo| {
            let reason = number.next().and_then(|number: usize| contradicted.remove(&number));
            let kept = reason.is_none();
            all.skipped.extend(reason.map(|reason| Skipped::unusable(photo.path.clone(), &reason)));
            kept
        });
        // Which source holds a file is seen from all of them, so that every shard lists everything.
        if let Some(shard) = shard {
            all.photos.retain(|photo| shard.holds(&photo.name));
            if !shard.is_first() {
                all.notes.clear();
                return Ok(all);
            }
        }
        if let Some((path, holder)) = example {
            let but = match differing {
                0 => String::new(),
                count => format!("; of {count} the sources say different things, and the first is taken"),
            };
            self.notes.push(format!(
                "{shared} photographs are in several sources and count once: the first is {}, which is in {}{but}",
                shown(&path),
                shown(holder)
            ));
        }
        Ok(all)
    }
}

/// Whether two sources say different things of one file.
fn differs(a: &Photo, b: &Photo) -> bool {
    (a.position, a.heading, a.altitude, a.time, &a.tags)
        != (b.position, b.heading, b.altitude, b.time, &b.tags)
}

fn shown(path: &Path) -> String {
    quoted(&escaped_name(path)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_counts_once_however_it_is_written() {
        let home = tempfile::tempdir().expect("temporary folder");
        let at = |path: &str| home.path().join(path);
        std::fs::create_dir_all(at("a/b")).expect("can be written");
        let paths = [at("a/b"), at("a"), at("a/b/.."), at("a/./b/")];
        let sources = Sources::new(&paths, None, &[]).expect("folders");
        let labels: Vec<_> = sources.remembered().into_iter().map(|source| source.label).collect();
        assert_eq!(labels, ["a", "b"]);
        assert_eq!(sources.notes.len(), 2);
        let labels = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>();
        assert!(Sources::new(&paths, None, &labels(&["x"])).is_err());
        assert!(Sources::new(&paths, None, &labels(&["x", "y", "z", "x"])).is_err());
        let named = Sources::new(&paths[..2], None, &labels(&["x", "y"])).expect("labels");
        assert_eq!(named.remembered()[0].label, "y");
    }
}
