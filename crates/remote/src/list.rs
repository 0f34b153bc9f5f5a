//! Sources in stores as listings, as those of folders and tables.

use crate::address::{Address, Scheme};
use crate::client::not_listed;
use crate::heads::{Item, Seen, look};
use crate::source::RemoteSource;
use crate::stores::Stores;
use futures_util::StreamExt;
use r2former_data::dataset::{
    HeadOfPhoto, Kind, Listing, SkipKind, Skipped, SourceOptions, SourceRoot, is_left_out, list_heads,
    source_root,
};
use r2former_data::{DataError, Photo, PositionKind, Result};
use r2former_index::Place;
use std::fmt;
use std::path::Path;

/// Names whose objects are no photographs; they are not asked for.
const OTHERS: [&str; 18] = [
    "csv",
    "tsv",
    "txt",
    "json",
    "jsonl",
    "geojson",
    "xml",
    "md",
    "html",
    "parquet",
    "zip",
    "tar",
    "gz",
    "tgz",
    "npy",
    "npz",
    "h5",
    "safetensors",
];

/// What an index knows of names: a place each, or none.
pub type Indexed<'a> = dyn Fn(&[String]) -> Result<Vec<Option<Place>>> + 'a;

/// How a source is listed.
pub struct ListOptions<'a> {
    /// What it is; by default as it is called.
    pub kind: Option<Kind>,
    /// As for files.
    pub source: &'a SourceOptions,
    /// What names in the index begin with.
    pub label: &'a str,
    /// What is in the index under some names: of an object that has not changed since, nothing is read.
    pub indexed: &'a Indexed<'a>,
}

impl fmt::Debug for ListOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListOptions")
            .field("kind", &self.kind)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

impl ListOptions<'_> {
    /// Whether a name within the source belongs to this shard.
    pub(crate) fn holds(&self, name: &str) -> bool {
        self.source.part.as_ref().is_none_or(|part| part.holds(name))
    }

    pub(crate) fn needs_positions(&self) -> bool {
        self.source.positions != Some(PositionKind::None)
    }
}

/// What is known of a photograph without reading it.
pub(crate) enum Before {
    /// The index has this file under its name.
    Unchanged(Box<Place>),
    Unknown,
}

impl Stores {
    /// Where a source is, and its label: `label`, or else the last part of a prefix, or the name of a table without its
    /// extension.
    ///
    /// # Errors
    /// [`DataError::Request`] for a label that cannot be one; [`DataError::Io`] for a table that is gone.
    pub fn root(&self, source: &RemoteSource, kind: Option<Kind>, label: Option<&str>) -> Result<SourceRoot> {
        let address = match source {
            RemoteSource::Address(address) => address,
            RemoteSource::Table(path) => return source_root(path, Some(Kind::Csv), label),
        };
        let folder = |address: &Address| {
            let key = address.key.rsplit_once('/').map_or("", |(folder, _)| folder);
            address.with_key(key)
        };
        let (root, own) = if is_table(address, kind) {
            let stem = Path::new(address.last()).file_stem().map(|stem| stem.to_string_lossy().into_owned());
            (address.clone(), stem)
        } else if address.is_photo() {
            let folder = folder(address);
            let own = folder.last().to_owned();
            (folder, Some(own))
        } else {
            (address.clone(), Some(address.last().to_owned()))
        };
        // Of a host, the port and scheme are no label.
        let own = own.map(|own| own.rsplit("//").next().unwrap_or_default().replace(':', "-"));
        SourceRoot::at(root.path(), own, label)
    }

    /// Lists the photographs of a source; their paths are addresses.
    ///
    /// # Errors
    /// [`DataError::Request`] for a source that cannot be listed, holds nothing, or is of a kind that stores do not have;
    /// as the reader of tables.
    pub fn list(&self, source: &RemoteSource, options: &ListOptions<'_>) -> Result<Listing> {
        match options.kind {
            None | Some(Kind::Exif | Kind::Csv) => {}
            Some(kind) => {
                return Err(DataError::Request(format!(
                    "{source}: datasets of the kind {kind} are read from folders alone; of stores, photographs with GPS and \
                     tables of positions"
                )));
            }
        }
        let prefix = match source {
            RemoteSource::Address(address) if !is_table(address, options.kind) => Some(address),
            RemoteSource::Address(_) | RemoteSource::Table(_) => None,
        };
        if options.source.positions == Some(PositionKind::Local) && prefix.is_some() {
            return Err(DataError::Request(format!(
                "{source}: read as exif, with WGS84 positions; this index has positions in local metres: give a table with \
                 the columns path,x,y,z"
            )));
        }
        let mut listing = match prefix {
            Some(address) => self.list_prefix(address, options)?,
            None => self.list_table(source, options)?,
        };
        listing.photos.sort_by(|a, b| a.name.cmp(&b.name));
        if options.source.positions == Some(PositionKind::None) {
            for photo in &mut listing.photos {
                (photo.position, photo.utm, photo.position_error, photo.position_method) =
                    (None, None, None, None);
            }
        }
        let kind = if prefix.is_some() { Kind::Exif } else { Kind::Csv };
        let of_shard =
            options.source.part.as_ref().map(|part| format!(" in shard {}", part.shard)).unwrap_or_default();
        let count = listing.photos.len();
        listing.notes.insert(0, format!("{source}: read as {kind}, {count} photographs{of_shard}"));
        Ok(listing)
    }

    fn list_prefix(&self, address: &Address, options: &ListOptions<'_>) -> Result<Listing> {
        let refuse = |problem: String| not_listed(address, problem);
        let objects = if address.scheme == Scheme::Http || address.is_photo() {
            vec![(address.last().to_owned(), address.clone(), None)]
        } else {
            let objects = self.wait(self.shared.objects(address)).map_err(refuse)?;
            objects.into_iter().map(|(name, at, about)| (name, at, Some(about))).collect()
        };
        if objects.is_empty() {
            return Err(refuse("no object lies under this address".into()));
        }
        let mut items = Vec::new();
        for (name, at, about) in objects {
            let other =
                Path::new(&name).extension().and_then(|ext| ext.to_str()).map(str::to_ascii_lowercase);
            let other = other.is_some_and(|ext| OTHERS.contains(&ext.as_str()));
            if !other && !is_left_out(&name) && options.holds(&name) {
                let path = self.shared.remember(&at, about);
                items.push(Item { path, name, address: at, about });
            }
        }
        let mut heads = Vec::new();
        let mut unchanged = Vec::new();
        let (items, before) = self.compare(items, options)?;
        let mut unread = Vec::new();
        for (item, before) in items.into_iter().zip(before) {
            match before {
                Before::Unchanged(place) => unchanged.push(photo_of(*place, item)),
                Before::Unknown => unread.push(item),
            }
        }
        for (item, seen) in unread.iter().zip(self.wait(look(&self.shared, &unread))) {
            match seen {
                Seen::Photo(head) => heads.push(*head),
                Seen::Other => {}
                Seen::Failed(problem) => {
                    heads.push(HeadOfPhoto::unreadable(item.path.clone(), item.name.clone(), problem));
                }
            }
        }
        let mut listing = list_heads(heads, "objects", options.needs_positions());
        if !unchanged.is_empty() {
            listing.notes.push(format!("{} as they are in the index, by size and ETag", unchanged.len()));
            listing.photos.extend(unchanged);
        }
        Ok(listing)
    }

    /// Which of some photographs are in the index as they are; asks the store for the sizes and ETags of those that the index
    /// knows by name.
    pub(crate) fn compare(
        &self,
        mut items: Vec<Item>,
        options: &ListOptions<'_>,
    ) -> Result<(Vec<Item>, Vec<Before>)> {
        let mut before = Vec::with_capacity(items.len());
        for chunk in items.chunks_mut(4096) {
            let names: Vec<String> =
                chunk.iter().map(|item| format!("{}/{}", options.label, item.name)).collect();
            let places = (options.indexed)(&names)?;
            let asked = chunk.iter().zip(&places).map(|(item, place)| {
                let (shared, address) = (self.shared.clone(), item.address.clone());
                let needed = place.is_some() && item.about.is_none();
                let about = item.about;
                async move { if needed { shared.about(&address).await.ok() } else { about } }
            });
            let concurrency = self.shared.options.concurrency;
            let asked =
                self.wait(futures_util::stream::iter(asked).buffered(concurrency).collect::<Vec<_>>());
            for ((item, place), about) in chunk.iter_mut().zip(places).zip(asked) {
                item.about = about;
                if let Some(about) = about {
                    self.shared.note(&item.path, about, None);
                }
                let version = about.and_then(|about| about.version);
                before.push(match place {
                    Some(place) if version.is_some() && place.file == version => {
                        Before::Unchanged(Box::new(place))
                    }
                    _ => Before::Unknown,
                });
            }
        }
        Ok((items, before))
    }
}

fn is_table(address: &Address, kind: Option<Kind>) -> bool {
    kind.map_or_else(|| address.is_table(), |kind| kind == Kind::Csv)
}

/// A photograph as the index knows it.
fn photo_of(place: Place, item: Item) -> Photo {
    let mut photo = Photo::new(item.path, item.name);
    (photo.position, photo.heading, photo.altitude) = (place.position, place.heading, place.altitude);
    (photo.time, photo.tags) = (place.time, place.tags);
    photo
}

/// A photograph that is left out.
pub(crate) fn left_out(item: &Item, kind: SkipKind, reason: impl Into<String>) -> Skipped {
    Skipped { path: item.path.clone(), reason: reason.into(), kind }
}
