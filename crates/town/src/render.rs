//! From rays to a finished picture.

use crate::camera::{Camera, Lens};
use crate::light::{Condition, Light};
use crate::noise::{cell, fraction};
use crate::shade::{Sample, Stage};
use crate::vector::V3;
use crate::{Town, sprites, transient};
use r2former_data::image::Rgb8;
use r2former_data::{DataError, Result};
use rayon::prelude::*;
use std::sync::LazyLock;

/// The longest side of a picture.
pub(super) const MAX_SIDE: usize = 8192;

/// One picture to take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// Where the camera stands and looks.
    pub camera: Camera,
    /// Light and weather.
    pub condition: Condition,
    /// Which visit to the town it is: parked cars, people, clouds, lit windows, the sun's place and the
    /// camera's exposure differ from visit to visit; streets and houses do not.
    pub visit: u64,
}

/// sRGB bytes of linear light, in steps fine enough for the darkest.
static GAMMA: LazyLock<Vec<u8>> = LazyLock::new(|| {
    (0..=4096)
        .map(|i| {
            let x = (i as f32 / 4096.0).powi(2);
            let y = if x <= 0.003_130_8 { 12.92 * x } else { 1.055 * x.powf(1.0 / 2.4) - 0.055 };
            (y * 255.0 + 0.5) as u8
        })
        .collect()
});

/// A curve as film has it: dark stays dark, bright runs out gently (after Narkowicz, "ACES Filmic Tone
/// Mapping Curve", 2015).
fn film(x: f32) -> f32 {
    ((x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14)).clamp(0.0, 1.0)
}

impl Town {
    /// Takes a picture of `width` by `height` pixels.
    ///
    /// The same town, view and size give the same bytes. A camera inside a house looks out through its
    /// walls.
    ///
    /// # Errors
    /// [`DataError::Request`] for a camera that [`Camera::check`] refuses, or sides outside 1 to 8192.
    pub fn render(&self, view: &View, width: usize, height: usize) -> Result<Rgb8> {
        view.camera.check()?;
        if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
            return Err(DataError::Request(format!(
                "a picture of {width} x {height} pixels: each side must be 1 to {MAX_SIDE}"
            )));
        }
        let light = Light::new(view.condition, view.visit, self.config.seed);
        let lens = Lens::new(&view.camera, width, height);
        let eye = [lens.eye.x, lens.eye.y];
        let passing = transient::assemble(&self.layout, &self.fixtures, &light, eye);
        let stage = Stage { town: self, light: &light, passing: &passing, pixel: 1.0 / lens.focal };
        let bounces = u32::from(light.moment.wet > 0.0);
        let dark = Sample { colour: V3::default(), depth: 0.0, id: 0 };
        let mut samples = vec![dark; width * height];
        samples.par_chunks_mut(width).enumerate().for_each(|(y, row)| {
            for (x, sample) in row.iter_mut().enumerate() {
                *sample = stage.see(&lens.ray(x as f32 + 0.5, y as f32 + 0.5), bounces);
            }
        });
        let mut samples = soften(&stage, &lens, &samples, width, bounces);
        sprites::bare_trees(self, &light, &lens, &mut samples, width);
        sprites::halos(self, &light, &lens, &mut samples, width);
        let mut pixels = vec![0; width * height * 3];
        pixels.par_chunks_mut(width * 3).enumerate().for_each(|(y, row)| {
            for (x, rgb) in row.chunks_exact_mut(3).enumerate() {
                rgb.copy_from_slice(&develop(&light, samples[y * width + x].colour, [x, y], [width, height]));
            }
        });
        Ok(Rgb8 { width, height, pixels })
    }
}

/// Takes more samples where two surfaces meet, so that edges are smooth.
fn soften(stage: &Stage<'_>, lens: &Lens, samples: &[Sample], width: usize, bounces: u32) -> Vec<Sample> {
    const MORE: [[f32; 2]; 3] = [[0.16, 0.30], [0.80, 0.22], [0.48, 0.86]];
    let height = samples.len() / width;
    let mut out = samples.to_vec();
    out.par_chunks_mut(width).enumerate().for_each(|(y, row)| {
        for (x, sample) in row.iter_mut().enumerate() {
            let id = sample.id;
            let differs = |dx: isize, dy: isize| {
                let (x, y) = (x.wrapping_add_signed(dx), y.wrapping_add_signed(dy));
                x < width && y < height && samples[y * width + x].id != id
            };
            if differs(1, 0) || differs(0, 1) || differs(-1, 0) || differs(0, -1) {
                for [dx, dy] in MORE {
                    sample.colour += stage.see(&lens.ray(x as f32 + dx, y as f32 + dy), bounces).colour;
                }
                sample.colour = sample.colour * (1.0 / (MORE.len() + 1) as f32);
            }
        }
    });
    out
}

/// What the camera makes of light: rain before the lens, vignette, noise, exposure, film.
fn develop(light: &Light, colour: V3, [x, y]: [usize; 2], [width, height]: [usize; 2]) -> [u8; 3] {
    let mut colour = colour;
    if light.falling > 0.0 {
        colour += sprites::falling(light, x as f32, y as f32, width as f32);
    }
    let (cx, cy) = (x as f32 / width as f32 - 0.5, y as f32 / height as f32 - 0.5);
    let colour = colour * light.exposure * (0.62 * (1.0 - 0.35 * (cx * cx + cy * cy)));
    let noise = |k: u32| (fraction(cell(light.moment.key ^ k, x as i32, y as i32)) - 0.5) * light.grain * 2.0;
    let mut k = 0;
    [colour.x, colour.y, colour.z].map(|value| {
        k += 1;
        // The table is indexed by the root of the light: a good part of the way to sRGB.
        let level = film(value.max(0.0)).sqrt() + noise(k);
        GAMMA[(level.clamp(0.0, 1.0) * 4096.0) as usize]
    })
}
