//! One folder per place.

use super::{Item, LeftOut, Partner, Source};
use crate::random::Rng;
use crate::{Result, TrainError};
use r2former_data::Photo;
use r2former_data::image::{Limits, Rgb8, decode_file, dimensions};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// Photographs whose folder names their place.
pub(super) struct Folders {
    photos: Vec<(PathBuf, u32)>,
    left_out: Vec<LeftOut>,
    aligned: bool,
}

/// Extensions that make a file that is not a readable photograph worth naming; photographs are known by content.
const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

impl Folders {
    pub(super) fn open(root: &Path, exclude: &[String], aligned: bool) -> Result<Self> {
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
        if let Some(unknown) = exclude.iter().find(|e| !folders.iter().any(|f| name(f) == **e)) {
            return Err(TrainError::run(root, format!("has no folder {unknown} to exclude")));
        }
        let mut files = Vec::new();
        for (place, folder) in folders.iter().enumerate() {
            if !exclude.contains(&name(folder)) {
                files.extend(list(folder)?.into_iter().filter(|f| f.is_file()).map(|f| (f, place as u32)));
            }
        }
        let heads: Vec<_> =
            files.par_iter().map(|(path, _)| dimensions(path, &Limits::default()).map(|_| ())).collect();
        let (mut photos, mut left_out) = (Vec::new(), Vec::new());
        for ((path, place), head) in files.into_iter().zip(heads) {
            let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
            match head {
                Ok(()) => photos.push((path, place)),
                Err(_) if !extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str())) => {}
                Err(error) => left_out.push(LeftOut { path, reason: error.reason() }),
            }
        }
        if photos.is_empty() {
            return Err(TrainError::run(root, "has no folders with photographs"));
        }
        Ok(Self { photos, left_out, aligned })
    }
}

impl Source for Folders {
    fn items(&self) -> Vec<Item> {
        let item = |(path, place): &(PathBuf, u32)| Item {
            photo: Photo::new(path.clone(), path.to_string_lossy()),
            place: Some(*place),
        };
        self.photos.iter().map(item).collect()
    }

    fn image(&self, key: usize, _: [usize; 2], _: Option<&mut Rng>) -> Result<Rgb8> {
        Ok(decode_file(&self.photos[key].0, &Limits::default())?)
    }

    fn partner(&self) -> Partner {
        if self.aligned { Partner::Aligned } else { Partner::Itself }
    }

    fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }
}
