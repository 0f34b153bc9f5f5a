//! Tables of positions, and plain lists of addresses.

use crate::address::{Address, Scheme};
use crate::client::About;
use crate::heads::{Item, Seen, look};
use crate::list::{Before, ListOptions, left_out};
use crate::stores::Stores;
use r2former_data::dataset::{
    HeadOfPhoto, Listing, SkipKind, Skipped, list_heads, list_of_names, list_positions_bytes,
};
use r2former_data::{DataError, Photo, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Largest table in bytes.
const LARGEST: u64 = 1 << 30;

impl Stores {
    pub(crate) fn list_table(&self, address: &Address, options: &ListOptions<'_>) -> Result<Listing> {
        let refuse = |problem: String| DataError::Request(format!("{address}: {problem}"));
        let bytes = self.wait(self.shared.fetch(address, None, LARGEST)).map_err(refuse)?.bytes;
        let table = address.path();
        let mut named = Named::new(address);
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
        let (mut items, mut of_table) = (Vec::new(), HashMap::new());
        for photo in photos {
            let Some(at) = named.addresses.get(&photo.path) else { continue };
            let about = sizes.as_ref().and_then(|sizes| sizes.get(&at.key)).copied();
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
        let (unread, photos): (Vec<Item>, Vec<Photo>) = unread.into_iter().unzip();
        let seen = self.wait(look(&self.shared, &unread));
        self.put(&mut listing, unread, photos, seen, has_positions, options);
        Ok(listing)
    }

    /// Puts photographs that were looked at into the listing: with the table's position, or that of their EXIF.
    fn put(
        &self,
        listing: &mut Listing,
        items: Vec<Item>,
        photos: Vec<Photo>,
        seen: Vec<Seen>,
        has_positions: bool,
        options: &ListOptions<'_>,
    ) {
        let (mut heads, mut of_table) = (Vec::new(), HashMap::new());
        for ((item, photo), seen) in items.into_iter().zip(photos).zip(seen) {
            let head = match seen {
                // The table's position counts whatever the EXIF says.
                Seen::Photo(head) if has_positions && head.shape().is_some() => {
                    listing.photos.push(photo);
                    continue;
                }
                Seen::Photo(head) => *head,
                Seen::Other => HeadOfPhoto::unreadable(item.path, item.name, "is no photograph".into()),
                Seen::Failed(problem) => HeadOfPhoto::unreadable(item.path, item.name, problem),
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

    /// Sizes of objects by their keys, where a store lists them: under the longest part that the keys share. `None` behind
    /// HTTP.
    fn sizes(&self, photos: &[Photo], named: &Named) -> Result<Option<HashMap<String, About>>> {
        if named.table.scheme == Scheme::Http || photos.is_empty() {
            return Ok(None);
        }
        let own =
            |address: &&Address| address.scheme == named.table.scheme && address.host == named.table.host;
        let keys: Vec<&str> = photos
            .iter()
            .filter_map(|photo| named.addresses.get(&photo.path))
            .filter(own)
            .map(|address| address.key.as_str())
            .collect();
        let shared = named.table.with_key(common_folder(&keys));
        let refuse = |problem: String| DataError::Request(format!("{shared}: {problem}"));
        let objects = self.wait(self.shared.objects(&shared)).map_err(refuse)?;
        Ok(Some(objects.into_iter().map(|(_, address, about)| (address.key, about)).collect()))
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
    table: Address,
    addresses: HashMap<PathBuf, Address>,
}

impl Named {
    fn new(table: &Address) -> Self {
        Self { table: table.clone(), addresses: HashMap::new() }
    }

    /// The path that stands for what the table names.
    fn look(&mut self, path: &Path) -> Result<PathBuf, String> {
        let text = path.to_str().ok_or("is no text")?;
        let Ok(address) = Address::parse(text) else {
            return Err("is no address, and not relative to the table".into());
        };
        if address.scheme != Scheme::Http
            && (address.scheme, &address.host) != (self.table.scheme, &self.table.host)
        {
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
