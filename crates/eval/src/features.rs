//! Descriptors of one side of a dataset, as an index would hold them.

use r2former_data::Photo;
use r2former_engine::{Extractor, Progress, Result, extract_stream};
use r2former_model::quantize;
use std::path::{Path, PathBuf};

/// Descriptors of one side of a dataset, as an index would hold them.
pub(crate) struct Side {
    /// Rows of unit length; zero where an image could not be used: similar to nothing.
    pub(crate) global: Vec<f32>,
    /// Local features in 8 bits; empty where they were not kept or an image could not be used.
    pub(crate) local: Vec<Vec<u8>>,
}

/// Extracts a side; images that cannot be used go to `unusable` with the reason.
pub(crate) fn extract_side(
    extractor: &Extractor,
    photos: &[&Photo],
    keep_local: bool,
    progress: &dyn Progress,
    unusable: &mut Vec<(PathBuf, String)>,
) -> Result<Side> {
    let files: Vec<&Path> = photos.iter().map(|p| p.path.as_path()).collect();
    let dim = extractor.config().global_dim();
    let row = extractor.config().local_row();
    let mut side = Side { global: vec![0.0; photos.len() * dim], local: vec![Vec::new(); photos.len()] };
    progress.start("images", photos.len() as u64);
    extract_stream(extractor, &files, progress, |i, result| {
        match result {
            Ok(features) => {
                side.global[i * dim..(i + 1) * dim].copy_from_slice(&features.global);
                if keep_local {
                    side.local[i] = quantize::quantize(&features.local, row);
                }
            }
            Err(error) => {
                progress.note(&format!("left out: {error}"));
                unusable.push((files[i].to_path_buf(), error.to_string()));
            }
        }
        Ok(())
    })?;
    progress.finish();
    Ok(side)
}
