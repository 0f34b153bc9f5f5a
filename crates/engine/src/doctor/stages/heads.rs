//! Which patches become local features, and both heads.

use super::{cases, counted};
use crate::Result;
use crate::doctor::inputs::{Random, tokens};
use crate::doctor::{Array, Comparison, Kind, Setup, Stage, deviation};
use r2former_model::{BackboneConfig, GlobalConfig, ModelConfig, Precision};

/// The most attended patches.
pub(super) struct Selection;

/// Local features of an image; 0 is the model's own number.
const SELECTED: &[(Kind, usize, usize)] = &[
    (Kind::Random, 2, 0),
    (Kind::Random, 1, 1),
    (Kind::Random, 2, 20),
    (Kind::Random, 7, 500),
    (Kind::Random, 100, 33),
];

/// Width of the tokens that are gathered: any will do.
const WIDTH: usize = 24;

impl Stage for Selection {
    fn name(&self) -> &'static str {
        "selection"
    }

    fn compare(&self, setup: &Setup<'_>) -> Result<Vec<Comparison>> {
        let Some(local) = &setup.loaded.config.local else { return Ok(Vec::new()) };
        let compare = |(seed, (kind, batch, count)): (usize, &(Kind, usize, usize))| {
            let count = if *count == 0 { local.count } else { *count };
            // Twice as many patches as are chosen, and no two with the same attention.
            let (patches, prefix) = ((2 * count).max(50), 1);
            let random = &mut Random::new(31 + seed as u64);
            let attention =
                Array::from_fn(&[*batch, patches], |_| 1e-3 + random.uniform() * random.uniform());
            let tokens = tokens(*kind, [*batch, prefix + patches, WIDTH], 37 + seed as u64);
            let input = format!("{count} of {patches} patches, {}", counted(*batch, "image"));
            let run = |compute: &dyn crate::doctor::Compute| compute.select(&attention, &tokens, count);
            setup.compare(input, 1e-6, run, |f, e| deviation(&f.values, &e.values))
        };
        cases(setup.extent, SELECTED, 1).iter().enumerate().map(compare).collect()
    }
}

/// Tokens to a global descriptor.
pub(super) struct GlobalHead;

/// Tokens to local features.
pub(super) struct LocalHead;

/// Tokens of an image.
const TOKENS: &[(Kind, usize, usize)] =
    &[(Kind::PhotoLike, 2, 196), (Kind::Random, 1, 400), (Kind::PhotoLike, 7, 64), (Kind::Random, 100, 36)];

fn head_tolerance(setup: &Setup<'_>) -> f32 {
    if setup.precision == Precision::F32 { 1e-3 } else { 0.03 }
}

impl Stage for GlobalHead {
    fn name(&self) -> &'static str {
        "global head"
    }

    fn has_precision(&self) -> bool {
        true
    }

    fn compare(&self, setup: &Setup<'_>) -> Result<Vec<Comparison>> {
        let config = &setup.loaded.config;
        let (width, prefix) = (config.backbone_dim(), prefix_of(config));
        let least = match &config.global {
            GlobalConfig::Salad(salad) => salad.clusters + 1,
            _ => 1,
        };
        let compare = |(seed, (kind, batch, count)): (usize, &(Kind, usize, usize))| {
            // Some heads have weights for each position of a map of one size.
            let cells = |[height, width]: [usize; 2]| (height / config.stride()) * (width / config.stride());
            let count = config.fixed_size().map_or((*count).max(least), cells);
            let last = tokens(*kind, [*batch, prefix + count, width], 41 + seed as u64);
            let input = format!("{kind}, {} of {count} tokens", counted(*batch, "image"));
            let run = |compute: &dyn crate::doctor::Compute| compute.global(&last, prefix);
            setup.compare(input, head_tolerance(setup), run, |f, e| deviation(&f.values, &e.values))
        };
        cases(setup.extent, TOKENS, 1).iter().enumerate().map(compare).collect()
    }
}

fn prefix_of(config: &ModelConfig) -> usize {
    match &config.backbone {
        BackboneConfig::Vit(vit) => vit.prefix_tokens(),
        BackboneConfig::ResNet(_) | BackboneConfig::Vgg16 => 0,
    }
}

impl Stage for LocalHead {
    fn name(&self) -> &'static str {
        "local head"
    }

    fn has_precision(&self) -> bool {
        true
    }

    fn compare(&self, setup: &Setup<'_>) -> Result<Vec<Comparison>> {
        let config = &setup.loaded.config;
        let Some(_) = &config.local else { return Ok(Vec::new()) };
        let width = config.local_dim();
        let compare = |(seed, (kind, batch, count)): (usize, &(Kind, usize, usize))| {
            let selected = tokens(*kind, [*batch, *count, 3 + width], 51 + seed as u64);
            let input = format!("{kind}, {} of {count} tokens", counted(*batch, "image"));
            let run = |compute: &dyn crate::doctor::Compute| compute.local(&selected);
            setup.compare(input, head_tolerance(setup), run, |found, expected| match (found, expected) {
                (Some(found), Some(expected)) => deviation(&found.values, &expected.values),
                _ => f32::INFINITY,
            })
        };
        cases(setup.extent, TOKENS, 1).iter().enumerate().map(compare).collect()
    }
}
