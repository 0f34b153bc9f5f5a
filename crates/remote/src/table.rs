//! Tables of positions, and plain lists of addresses.

use crate::address::{Address, Scheme, is_address};
use crate::client::{About, not_listed};
use crate::heads::{Item, Seen, look};
use crate::list::{Before, ListOptions, left_out};
use crate::source::RemoteSource;
use crate::stores::Stores;
use r2former_data::dataset::{
    Head, HeadOfPhoto, Listing, LookUp, SkipKind, Skipped, list_heads, list_of_names, list_positions_bytes,
    look_at_head, look_on_disk,
};
use r2former_data::image::Limits;
use r2former_data::{DataError, Photo, Result};
use r2former_engine::{Disk, PhotoFiles};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Largest table in bytes.
const LARGEST: u64 = 1 << 30;

impl Stores {
    pub(crate) fn list_table(&self, source: &RemoteSource, options: &ListOptions<'_>) -> Result<Listing> {
        let refuse = |problem: String| not_listed(source, problem);
        let bytes = match source {
            RemoteSource::Address(address) => {
                self.wait(self.shared.fetch(address, None, LARGEST)).map_err(refuse)?.bytes
            }
            RemoteSource::Table(path) => std::fs::read(path).map_err(|error| DataError::io(path, error))?,
        };
        let table = source.path();
        let mut named = Named::new(source);
        let (mut listing, has_positions) = match list_of_names(&bytes, &table) {
            Some(names) => (named.list(names), false),
            None => {
                let (zone, positions) = (options.source.utm_zone, options.source.positions);
                list_positions_bytes(&bytes, &table, zone, positions, &mut |path| named.look(path))?
            }
        };
        if !has_positions && options.source.positions == Some(r2former_data::PositionKind::Local) {
            return Err(refuse("has no columns of positions: this index needs path,x,y,z".into()));
        }
        if let Some(part) = &options.source.part {
            part.keep(&table, &mut listing);
        }
        let photos = std::mem::take(&mut listing.photos);
        let sizes = self.sizes(&photos, &named)?;
        let (mut items, mut of_table, mut files) = (Vec::new(), HashMap::new(), Vec::new());
        for photo in photos {
            let Some(at) = named.addresses.get(&photo.path) else {
                files.push(photo);
                continue;
            };
            let about = sizes.get(at).copied();
            let path = self.shared.remember(at, about);
            let item = Item { path, name: photo.name.clone(), address: at.clone(), about };
            if about.is_none() && at.scheme != Scheme::Http {
                listing.skipped.push(left_out(&item, SkipKind::Unreadable, "does not exist"));
                continue;
            }
            of_table.insert(photo.name.clone(), photo);
            items.push(item);
        }
        let (items, before) = self.compare(items, options)?;
        let mut unread = Vec::new();
        for (item, before) in items.into_iter().zip(before) {
            let Some(mut photo) = of_table.remove(&item.name) else { continue };
            if let Before::Unchanged(place) = before {
                if !has_positions {
                    // Its EXIF has not changed with the file; what the table says counts.
                    photo.position = place.position;
                    photo.heading = photo.heading.or(place.heading);
                    photo.altitude = photo.altitude.or(place.altitude);
                    photo.time = photo.time.or(place.time);
                    for (key, value) in place.tags {
                        photo.tags.entry(key).or_insert(value);
                    }
                }
                listing.photos.push(photo);
            } else {
                unread.push((item, photo));
            }
        }
        let mut seen = {
            let items: Vec<Item> = unread.iter().map(|(item, _)| item.clone()).collect();
            self.wait(look(&self.shared, &items))
        };
        let mut unread: Vec<(PathBuf, Photo)> =
            unread.into_iter().map(|(item, photo)| (item.path, photo)).collect();
        if has_positions {
            // As of any table of this machine, they are looked at when they are extracted.
            listing.photos.extend(files);
        } else {
            seen.extend(files.iter().map(|photo| look_at_file(&photo.path, &photo.name)));
            unread.extend(files.into_iter().map(|photo| (photo.path.clone(), photo)));
        }
        put(&mut listing, unread, seen, has_positions, options);
        Ok(listing)
    }

    /// Sizes of the objects that are in stores with lists: of each bucket what is under the longest part that its keys share.
    fn sizes(&self, photos: &[Photo], named: &Named) -> Result<HashMap<Address, About>> {
        let mut buckets: BTreeMap<(Scheme, &str), Vec<&Address>> = BTreeMap::new();
        for address in photos.iter().filter_map(|photo| named.addresses.get(&photo.path)) {
            if address.scheme != Scheme::Http {
                buckets.entry((address.scheme, &address.host)).or_default().push(address);
            }
        }
        let mut sizes = HashMap::new();
        for addresses in buckets.into_values() {
            let keys: Vec<&str> = addresses.iter().map(|address| address.key.as_str()).collect();
            let shared = addresses[0].with_key(common_folder(&keys));
            let refuse = |problem: String| not_listed(&shared, problem);
            let objects = self.wait(self.shared.objects(&shared)).map_err(refuse)?;
            sizes.extend(objects.into_iter().map(|(_, address, about)| (address, about)));
        }
        Ok(sizes)
    }
}

/// Looks at a file, whose position counts where the table has none.
fn look_at_file(path: &Path, name: &str) -> Seen {
    match Disk.read(path, &Limits::default()) {
        Ok((bytes, _)) => match look_at_head(path, name, &bytes, true) {
            Head::Photo(photo) => Seen::Photo(photo),
            Head::Other => Seen::Other,
            Head::Short => Seen::Failed("is cut short".into()),
        },
        Err(error) => Seen::Failed(error.to_string()),
    }
}

/// Puts photographs that were looked at into the listing: with the table's position, or that of their EXIF.
fn put(
    listing: &mut Listing,
    photos: Vec<(PathBuf, Photo)>,
    seen: Vec<Seen>,
    has_positions: bool,
    options: &ListOptions<'_>,
) {
    let (mut heads, mut of_table) = (Vec::new(), HashMap::new());
    for ((path, photo), seen) in photos.into_iter().zip(seen) {
        let name = photo.name.clone();
        let head = match seen {
            // The table's position counts whatever the EXIF says.
            Seen::Photo(head) if has_positions && head.shape().is_some() => {
                listing.photos.push(photo);
                continue;
            }
            Seen::Photo(head) => *head,
            Seen::Other => HeadOfPhoto::unreadable(path, name, "is no photograph".into()),
            Seen::Failed(problem) => HeadOfPhoto::unreadable(path, name, problem),
        };
        of_table.insert(photo.name.clone(), photo);
        heads.push(head);
    }
    let found = list_heads(heads, "addresses", !has_positions && options.needs_positions());
    listing.skipped.extend(found.skipped);
    if !has_positions {
        listing.notes.extend(found.notes);
    }
    for exif in found.photos {
        let Some(mut photo) = of_table.remove(&exif.name) else { continue };
        photo.position = exif.position;
        photo.position_error = exif.position_error;
        photo.position_method = exif.position_method;
        photo.heading_ref = if photo.heading.is_some() { photo.heading_ref } else { exif.heading_ref };
        photo.heading = photo.heading.or(exif.heading);
        photo.altitude = photo.altitude.or(exif.altitude);
        photo.time = photo.time.or(exif.time);
        listing.photos.push(photo);
    }
}

/// The longest folder in which all keys lie.
fn common_folder<'a>(keys: &[&'a str]) -> &'a str {
    let Some(first) = keys.first() else { return "" };
    let mut shared = first.rsplit_once('/').map_or("", |(folder, _)| folder);
    while !shared.is_empty()
        && !keys.iter().all(|key| key.starts_with(shared) && key[shared.len()..].starts_with('/'))
    {
        shared = shared.rsplit_once('/').map_or("", |(folder, _)| folder);
    }
    shared
}

/// What a table names, by the paths that stand for it.
struct Named {
    /// Where the table is; `None` of one on this machine.
    table: Option<Address>,
    addresses: HashMap<PathBuf, Address>,
    on_disk: Box<LookUp<'static>>,
}

impl Named {
    fn new(source: &RemoteSource) -> Self {
        let table = match source {
            RemoteSource::Address(address) => Some(address.clone()),
            RemoteSource::Table(_) => None,
        };
        Self { table, addresses: HashMap::new(), on_disk: Box::new(look_on_disk()) }
    }

    /// The path that stands for what the table names.
    fn look(&mut self, path: &Path) -> Result<PathBuf, String> {
        let address = match (path.to_str().filter(|text| is_address(text)), &self.table) {
            (Some(text), _) => Address::parse(text).map_err(|error| error.to_string())?,
            (None, None) => return (self.on_disk)(path),
            (None, Some(_)) => return Err("is no address, and not relative to the table".into()),
        };
        // Whoever wrote a table elsewhere has no say about what this machine's keys open.
        let own = |table: &Address| (address.scheme, &address.host) == (table.scheme, &table.host);
        if address.scheme != Scheme::Http && self.table.as_ref().is_some_and(|table| !own(table)) {
            return Err(
                "lies in another bucket than the table, or in another store: give those a table of their own"
                    .into(),
            );
        }
        let path = address.path();
        self.addresses.insert(path.clone(), address);
        Ok(path)
    }

    /// The photographs of a plain list, each once.
    fn list(&mut self, names: Vec<(PathBuf, String)>) -> Listing {
        let mut listing = Listing::default();
        let (total, mut seen) = (names.len(), HashMap::new());
        for (path, name) in names {
            if seen.insert(name.clone(), ()).is_some() {
                continue;
            }
            match self.look(&path) {
                Ok(path) => listing.photos.push(Photo::new(path, name)),
                Err(reason) => listing.skipped.push(Skipped { path, reason, kind: SkipKind::Unreadable }),
            }
        }
        let twice = total - seen.len();
        listing.notes.push(format!("{} addresses, one a line; {twice} of them twice", seen.len()));
        listing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_share_a_folder() {
        assert_eq!(common_folder(&["a/b/1.jpg", "a/b/c/2.jpg", "a/b2/3.jpg"]), "a");
        assert_eq!(common_folder(&["a/b/1.jpg", "a/b/2.jpg"]), "a/b");
        assert_eq!(common_folder(&["1.jpg", "a/2.jpg"]), "");
        assert_eq!(common_folder(&[]), "");
    }
}
