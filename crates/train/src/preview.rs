//! A contact sheet of a batch, as the network gets it.

use crate::batch::{Loader, Pairs, Plan, Planner, preprocessing};
use crate::config::TrainConfig;
use crate::pool::{Excluded, Pool};
use crate::start::starting_model;
use crate::state::check_writable;
use crate::{Result, TrainError};
use image::{Rgb, RgbImage};
use rayon::prelude::*;
use std::path::Path;

/// Pixels between pictures, and width of the frames around positives and negatives.
const GAP: u32 = 6;
const FRAME: u32 = 3;

/// Writes a batch of a configuration as a picture, without training: a row per query (positive framed in green,
/// negatives in red), per place, or per pair (a few corresponding patches marked).
///
/// # Errors
/// [`TrainError::Run`] for a picture that cannot be written; [`TrainError::Config`], [`TrainError::Data`],
/// [`TrainError::Model`] and [`TrainError::Unreadable`] as for [`train`](crate::train).
pub fn preview(config: &TrainConfig, batch: u64, path: &Path) -> Result<()> {
    config.check()?;
    image::ImageFormat::from_path(path)
        .map_err(|e| TrainError::run(path, format!("cannot be written: {e}; name a .png")))?;
    check_writable(path)?;
    let pool = Pool::of(config, 0)?;
    let model = starting_model(config)?.0.config;
    let preprocess = preprocessing(&model.input);
    let loader = Loader {
        pool: &pool,
        augment: &config.augment,
        preprocess: &preprocess,
        size: [model.input.height, model.input.width],
        seed: config.seed,
        cache: None,
        pairs: Pairs::of(config, model.stride()),
    };
    let planner = Planner::new(&pool, None, config, Excluded::new());
    let plan = loader.load(&planner, batch, 0)?.plan;
    sheet(&loader, &plan, batch, 0, path)
}

/// Draws the photographs of a plan.
pub(crate) fn sheet(loader: &Loader<'_>, plan: &Plan, step: u64, part: u64, path: &Path) -> Result<()> {
    if let Some(pairs) = &loader.pairs {
        return pair_sheet(loader, pairs, plan, [step, part], path);
    }
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

/// Corresponding patches marked per pair, half the side of a mark in pixels, and its colours.
const MARKS: usize = 12;
const MARK: u32 = 4;
const COLOURS: [[u8; 3]; 6] =
    [[230, 30, 30], [30, 190, 30], [60, 90, 255], [240, 210, 20], [230, 40, 220], [20, 210, 220]];

/// Draws pairs side by side.
fn pair_sheet(
    loader: &Loader<'_>,
    pairs: &Pairs<'_>,
    plan: &Plan,
    place: [u64; 2],
    path: &Path,
) -> Result<()> {
    let [height, width] = loader.size.map(|side| side as u32);
    let grid = pairs.grid(loader.size);
    let count = plan.shots.len() / 2;
    let size = [2 * width + 3 * GAP, count as u32 * (height + GAP) + GAP];
    let mut sheet = RgbImage::from_pixel(size[0], size[1], Rgb([245, 245, 245]));
    for number in 0..count {
        let pair = loader.pair(pairs, plan, number, &Excluded::new(), place).map_err(|(_, error)| error)?;
        let corner = |side: u32| (GAP + side * (width + GAP), GAP + number as u32 * (height + GAP));
        for (side, picture) in (0..).zip(&pair.pictures) {
            let (left, top) = corner(side);
            for (i, pixel) in picture.to_rgb8().pixels.chunks_exact(3).enumerate() {
                let (x, y) = (i as u32 % width, i as u32 / width);
                sheet.put_pixel(left + x, top + y, Rgb([pixel[0], pixel[1], pixel[2]]));
            }
        }
        let found: Vec<(usize, usize)> =
            pair.matches.iter().enumerate().filter_map(|(a, b)| Some((a, (*b)? as usize))).collect();
        for (k, (a, b)) in found.iter().step_by(found.len().div_ceil(MARKS).max(1)).enumerate() {
            for (side, patch) in (0..).zip([*a, *b]) {
                let (left, top) = corner(side);
                let centre = |at: usize, cells: usize, pixels: u32| {
                    ((2 * at as u32 + 1) * pixels) / (2 * cells as u32)
                };
                let (x, y) =
                    (centre(patch % grid[1], grid[1], width), centre(patch / grid[1], grid[0], height));
                for (dx, dy) in (0..2 * MARK).flat_map(|x| (0..2 * MARK).map(move |y| (x, y))) {
                    let (x, y) = ((x + dx).saturating_sub(MARK), (y + dy).saturating_sub(MARK));
                    if x < width && y < height {
                        sheet.put_pixel(left + x, top + y, Rgb(COLOURS[k % COLOURS.len()]));
                    }
                }
            }
        }
    }
    sheet.save(path).map_err(|e| TrainError::run(path, format!("could not be written: {e}")))
}
