//! A folder a place.

use super::{Item, Source};
use crate::random::Rng;
use crate::{Result, TrainError};
use r2former_data::Photo;
use r2former_data::image::{Limits, Rgb8, decode_file};
use std::path::{Path, PathBuf};

/// Photographs whose folder names their place.
pub(super) struct Folders(Vec<(PathBuf, u32)>);

/// Endings of photographs.
const ENDINGS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

impl Folders {
    pub(super) fn open(root: &Path, without: &[String]) -> Result<Self> {
        let list = |dir: &Path| -> Result<Vec<PathBuf>> {
            let mut found = std::fs::read_dir(dir)
                .and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect::<std::io::Result<Vec<_>>>())
                .map_err(TrainError::io(dir))?;
            found.sort();
            Ok(found)
        };
        let folders: Vec<PathBuf> = list(root)?.into_iter().filter(|path| path.is_dir()).collect();
        let name =
            |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some(unknown) = without.iter().find(|w| !folders.iter().any(|f| name(f) == **w)) {
            return Err(TrainError::run(root, format!("has no folder {unknown} to leave out")));
        }
        let mut photos = Vec::new();
        for (place, folder) in folders.iter().enumerate() {
            if without.contains(&name(folder)) {
                continue;
            }
            let image = |path: &PathBuf| {
                let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
                ending.is_some_and(|e| ENDINGS.contains(&e.as_str()))
            };
            photos.extend(list(folder)?.into_iter().filter(image).map(|path| (path, place as u32)));
        }
        if photos.is_empty() {
            return Err(TrainError::run(root, "has no folders with photographs"));
        }
        Ok(Self(photos))
    }
}

impl Source for Folders {
    fn items(&self) -> Vec<Item> {
        let item = |(path, place): &(PathBuf, u32)| Item {
            photo: Photo::new(path.clone(), path.to_string_lossy()),
            place: Some(*place),
        };
        self.0.iter().map(item).collect()
    }

    fn look(&self, key: usize, _: [usize; 2], _: Option<&mut Rng>) -> Result<Rgb8> {
        Ok(decode_file(&self.0[key].0, &Limits::default())?)
    }
}
