//! A contact sheet of a batch, as the network gets it.

use crate::batch::{Loader, Plan, Planner};
use crate::config::TrainConfig;
use crate::pool::{Excluded, Pool};
use crate::start::starting_model;
use crate::state::check_writable;
use crate::{Result, TrainError};
use image::{Rgb, RgbImage};
use r2former_data::image::{Preprocess, ResizeMode};
use rayon::prelude::*;
use std::path::Path;

/// Pixels between pictures, and width of the frames around positives and negatives.
const GAP: u32 = 6;
const FRAME: u32 = 3;

/// Writes a batch of a configuration as a picture, without training: a row per query (positive framed in green,
/// negatives in red) or a row per place.
///
/// # Errors
/// [`TrainError::Run`] for a picture that cannot be written; [`TrainError::Config`], [`TrainError::Data`],
/// [`TrainError::Model`] and [`TrainError::Unreadable`] as for [`train`](crate::train).
pub fn preview(config: &TrainConfig, batch: u64, path: &Path) -> Result<()> {
    config.check()?;
    image::ImageFormat::from_path(path)
        .map_err(|e| TrainError::run(path, format!("cannot be written: {e}; name a .png")))?;
    check_writable(path)?;
    let pool = Pool::open(&config.data, config.places, 0)?;
    let model = starting_model(config)?.config;
    let preprocess =
        Preprocess { mean: model.input.mean, std: model.input.std, resize: ResizeMode::Antialias };
    let loader = Loader {
        pool: &pool,
        augment: &config.augment,
        preprocess: &preprocess,
        size: [model.input.height, model.input.width],
        seed: config.seed,
        cache: None,
    };
    let planner = Planner::new(&pool, None, config, Excluded::new());
    let plan = loader.load(&planner, batch, 0)?.plan;
    sheet(&loader, &plan, batch, 0, path)
}

/// Draws the photographs of a plan.
pub(crate) fn sheet(loader: &Loader<'_>, plan: &Plan, step: u64, part: u64, path: &Path) -> Result<()> {
    let pictures = (0..plan.shots.len())
        .into_par_iter()
        .map(|i| Ok(loader.picture(plan, i, step, part)?.to_rgb8()))
        .collect::<Result<Vec<_>>>()?;
    // A row begins at each query; places have equally many photographs, one after the other.
    let starts: Vec<usize> = match plan.triplets.is_empty() {
        false => plan
            .triplets
            .iter()
            .map(|t| t[0])
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect(),
        true => (0..plan.shots.len())
            .filter(|i| {
                let same = |a: usize, b: usize| {
                    let (a, b) = (plan.shots[a], plan.shots[b]);
                    a.flipped == b.flipped
                        && loader.pool.relation(a.item, b.item) != crate::pool::Relation::Negative
                };
                *i == 0 || !same(*i - 1, *i)
            })
            .collect(),
    };
    let ends = starts.iter().skip(1).copied().chain([plan.shots.len()]);
    let rows: Vec<std::ops::Range<usize>> = starts.iter().copied().zip(ends).map(|(a, b)| a..b).collect();
    let columns = rows.iter().map(std::ops::Range::len).max().unwrap_or(1) as u32;
    let [height, width] = loader.size.map(|side| side as u32);
    let size = [columns * (width + GAP) + GAP, rows.len() as u32 * (height + GAP) + GAP];
    let mut sheet = RgbImage::from_pixel(size[0], size[1], Rgb([245, 245, 245]));
    for (r, row) in rows.into_iter().enumerate() {
        for (c, number) in row.enumerate() {
            let (left, top) = (GAP + c as u32 * (width + GAP), GAP + r as u32 * (height + GAP));
            let picture = &pictures[number];
            for (i, pixel) in picture.pixels.chunks_exact(3).enumerate() {
                let (x, y) = (i as u32 % width, i as u32 / width);
                sheet.put_pixel(left + x, top + y, Rgb([pixel[0], pixel[1], pixel[2]]));
            }
            let colour = match plan.triplets.iter().find_map(|t| (1..3).find(|w| t[*w] == number)) {
                Some(1) => Rgb([30, 150, 60]),
                Some(_) => Rgb([200, 40, 40]),
                None => continue,
            };
            for (x, y) in (0..width + 2 * FRAME).flat_map(|x| (0..height + 2 * FRAME).map(move |y| (x, y))) {
                if x < FRAME || y < FRAME || x >= width + FRAME || y >= height + FRAME {
                    sheet.put_pixel(left + x - FRAME, top + y - FRAME, colour);
                }
            }
        }
    }
    sheet.save(path).map_err(|e| TrainError::run(path, format!("could not be written: {e}")))
}
