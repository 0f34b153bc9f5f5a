//! Which arithmetic a model's descriptors are computed in: asked for, or the fastest that was measured to rank as well as
//! 32 bits; and that measurement.

use crate::{EngineError, Extractor, LoadedModel, Progress, Result, Settings, extract_stream};
use r2former_kernels::Level;
use r2former_model::{BackboneConfig, Device, ModelConfig, Precision, PrecisionCheck};
use rayon::prelude::*;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// An arithmetic that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PrecisionChoice {
    /// 8-bit integers where this CPU multiplies them faster and the model's file says that rankings stay
    /// ([`ModelConfig::keeps_ranking`]), else the model's own.
    #[default]
    Auto,
    /// This one.
    Only(Precision),
}

impl FromStr for PrecisionChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let known = text.parse().ok().map(Self::Only);
        known.ok_or_else(|| format!("{text} is not a precision: auto, f32, bf16 or int8"))
    }
}

impl fmt::Display for PrecisionChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Only(precision) => precision.fmt(f),
        }
    }
}

impl Settings {
    /// The same in the arithmetic that is asked for, on a device.
    #[must_use]
    pub fn with_precision(self, choice: PrecisionChoice, config: &ModelConfig, device: &Device) -> Self {
        let precision = match choice {
            PrecisionChoice::Only(precision) => precision,
            PrecisionChoice::Auto
                if fast_in_8_bits(config, device) && self.mixes(Precision::Int8, config) =>
            {
                Precision::Int8
            }
            PrecisionChoice::Auto if *device != Device::flex() && self.precision == Precision::Int8 => {
                Precision::F32
            }
            PrecisionChoice::Auto => self.precision,
        };
        Self { precision, ..self }
    }

    /// Whether descriptors in another arithmetic may be compared with those of these settings: both were measured to rank as
    /// those in 32 bits do, at this size.
    pub fn mixes(&self, other: Precision, config: &ModelConfig) -> bool {
        let measured = self.image_size() == config.input.image_size();
        let keeps = |precision| precision == Precision::F32 || (measured && config.keeps_ranking(precision));
        self.precision == other || (keeps(self.precision) && keeps(other))
    }

    /// Whether descriptors under other settings may be compared with those of these: all but the arithmetic is the same, and the
    /// two [mix](Self::mixes).
    pub(crate) fn compare_with(&self, other: &Self, config: &ModelConfig) -> bool {
        Self { precision: other.precision, ..*self } == *other && self.mixes(other.precision, config)
    }

    /// Refuses an arithmetic that a device does not have.
    ///
    /// # Errors
    /// [`EngineError::Request`] for 8-bit integers on another device than the CPU.
    pub fn check_device(&self, device: &Device) -> Result<()> {
        if self.precision == Precision::Int8 && *device != Device::flex() {
            return Err(EngineError::Request(
                "precision int8 is the CPU's: use f32 or bf16 on another device".into(),
            ));
        }
        Ok(())
    }

    /// The settings in which photographs are added to images of these settings, or searched among them: the same, or the
    /// arithmetic that is asked for, if the two [mix](Self::mixes).
    ///
    /// # Errors
    /// [`EngineError::Request`] names both where they do not.
    pub fn mixed(
        self,
        choice: Option<PrecisionChoice>,
        config: &ModelConfig,
        device: &Device,
    ) -> Result<Self> {
        let kept = PrecisionChoice::Only(self.precision);
        let other = match choice {
            // 8 bits are the CPU's.
            None if self.precision == Precision::Int8 && *device != Device::flex() => PrecisionChoice::Auto,
            None => kept,
            Some(choice) => choice,
        };
        let other = self.with_precision(other, config, device);
        if self.mixes(other.precision, config) {
            return Ok(other);
        }
        let (own, asked, name) = (self.precision, other.precision, &config.name);
        Err(EngineError::Request(format!(
            "the descriptors of this index are in {own}, not {asked}, and no check in the file of model {name} found that the \
             two rank alike: use --precision {own}, or an index made by a model that `r2former model check` has measured"
        )))
    }
}

/// Whether this machine computes the model faster in 8 bits.
fn fast_in_8_bits(config: &ModelConfig, device: &Device) -> bool {
    matches!(config.backbone, BackboneConfig::Vit(_))
        && *device == Device::flex()
        && Level::current().is_ok_and(Level::multiplies_int8)
}

/// Compares a model's descriptors in an arithmetic with those in 32 bits, of photographs at the model's own image size, on
/// the CPU. Photographs that cannot be read are left out, and handed to `skipped`.
///
/// # Errors
/// [`EngineError::Request`] where this machine computes the model in f32 whatever is asked for, or for fewer than two
/// photographs; as [`Extractor::new`] and [`extract_stream`].
pub fn check_precision(
    loaded: &LoadedModel,
    precision: Precision,
    files: &[&Path],
    progress: &dyn Progress,
    mut skipped: impl FnMut(usize, EngineError),
) -> Result<PrecisionCheck> {
    let settings = Settings::of(&loaded.config);
    let extractor =
        |precision| Extractor::new(loaded.clone(), Settings { precision, ..settings }, &Device::flex());
    let (exact, other) = (extractor(Precision::F32)?, extractor(precision)?);
    let computed = other.fused_backbone().map_or(Precision::F32, |backbone| backbone.products());
    if precision == Precision::F32 || computed != precision {
        return Err(EngineError::Request(format!(
            "model {} is computed in {computed} here, not in {precision}: there is nothing to compare",
            loaded.config.name
        )));
    }
    progress.start("images", 2 * files.len() as u64);
    let mut found = [Vec::new(), Vec::new()];
    for (pass, (found, extractor)) in found.iter_mut().zip([&exact, &other]).enumerate() {
        extract_stream(extractor, files, progress, |i, features| {
            match features {
                Ok(features) => found.push((i, features.global)),
                Err(error @ EngineError::Data(_)) if pass == 0 => skipped(i, error),
                Err(EngineError::Data(_)) => {}
                Err(error) => return Err(error),
            }
            Ok(())
        })?;
    }
    progress.finish();
    let [exact, other] = found;
    // Of the files that both could read.
    let pairs: Vec<[&[f32]; 2]> = exact
        .iter()
        .filter_map(|(i, a)| other.iter().find(|(j, _)| j == i).map(|(_, b)| [a.as_slice(), b.as_slice()]))
        .collect();
    compare(precision, &pairs)
}

/// The check of pairs of descriptors, in 32 bits and in another arithmetic.
fn compare(precision: Precision, pairs: &[[&[f32]; 2]]) -> Result<PrecisionCheck> {
    if pairs.len() < 2 {
        return Err(too_few(pairs.len()));
    }
    let cosines: Vec<f64> = pairs.iter().map(|[a, b]| similarity(a, b)).collect();
    // Of the most similar other image: whether it is still the same, or as similar.
    let same: Vec<[bool; 2]> = (0..pairs.len())
        .into_par_iter()
        .map(|i| {
            let others = || (0..pairs.len()).filter(move |j| *j != i);
            let first = |score: &dyn Fn(usize) -> f64| {
                others().map(|j| (j, score(j))).max_by(|a, b| a.1.total_cmp(&b.1)).map_or(i, |(j, _)| j)
            };
            let exact = |j: usize| similarity(pairs[i][0], pairs[j][0]);
            let best = exact(first(&exact));
            [1, 0].map(|side| {
                let found = first(&|j| similarity(pairs[i][1], pairs[j][side]));
                exact(found) >= best - PrecisionCheck::TIE
            })
        })
        .collect();
    let share = |side: usize| same.iter().filter(|same| same[side]).count() as f64 / same.len() as f64;
    Ok(PrecisionCheck {
        precision,
        images: pairs.len(),
        least_cosine: cosines.iter().copied().fold(f64::INFINITY, f64::min),
        mean_cosine: cosines.iter().sum::<f64>() / cosines.len() as f64,
        same_first: share(0),
        same_first_mixed: share(1),
    })
}

/// Too few photographs were read to compare any.
pub(crate) fn too_few(count: usize) -> EngineError {
    EngineError::Request(format!("{count} photographs: a check needs at least {}", PrecisionCheck::FEWEST))
}

/// The cosine of two descriptors of unit length.
pub(crate) fn similarity(a: &[f32], b: &[f32]) -> f64 {
    // In parts, whose sums are exact enough and fast.
    a.chunks(256)
        .zip(b.chunks(256))
        .map(|(a, b)| f64::from(a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>()))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(precision: Precision) -> PrecisionCheck {
        PrecisionCheck {
            precision,
            images: 50,
            least_cosine: 0.999,
            mean_cosine: 0.9995,
            same_first: 1.0,
            same_first_mixed: 1.0,
        }
    }

    #[test]
    fn only_what_was_measured_is_chosen_or_mixed() {
        let cpu = Device::flex();
        let mut config = LoadedModel::built_in().unwrap().config;
        config.checks.clear();
        let own = Settings::of(&config);
        let auto = |config: &ModelConfig, settings: Settings| {
            settings.with_precision(PrecisionChoice::Auto, config, &cpu).precision
        };
        assert_eq!(auto(&config, own), Precision::F32);
        assert!(own.mixes(Precision::F32, &config) && !own.mixes(Precision::Int8, &config));
        let only = Some(PrecisionChoice::Only(Precision::Int8));
        let error = own.mixed(only, &config, &cpu).unwrap_err().to_string();
        assert!(error.contains("in f32, not int8") && error.contains(&config.name), "{error}");
        let int8 = Settings { precision: Precision::Int8, ..own };
        assert!(int8.mixed(Some(PrecisionChoice::Only(Precision::F32)), &config, &cpu).is_err());
        assert_eq!(int8.mixed(only, &config, &cpu).unwrap(), int8);

        config.checks = vec![measured(Precision::Int8)];
        let fastest =
            if Level::current().unwrap().multiplies_int8() { Precision::Int8 } else { Precision::F32 };
        assert_eq!(auto(&config, own), fastest);
        assert_eq!(own.mixed(only, &config, &cpu).unwrap(), int8);
        assert_eq!(int8.mixed(Some(PrecisionChoice::Only(Precision::F32)), &config, &cpu).unwrap(), own);
        assert!(own.mixed(Some(PrecisionChoice::Only(Precision::Bf16)), &config, &cpu).is_err());
        // Measured at another size.
        let larger = Settings { height: 2 * own.height, ..own };
        assert_eq!(auto(&config, larger), Precision::F32);
        assert!(!larger.mixes(Precision::Int8, &config));
        config.checks[0].least_cosine = 0.9;
        assert_eq!(auto(&config, own), Precision::F32);
    }

    #[test]
    fn names_are_read_and_written() {
        for name in ["auto", "f32", "bf16", "int8"] {
            assert_eq!(name.parse::<PrecisionChoice>().unwrap().to_string(), name);
        }
        assert!("f16".parse::<PrecisionChoice>().unwrap_err().contains("auto, f32, bf16 or int8"));
    }

    #[test]
    fn comparisons_count_first_answers_with_ties() {
        let unit = |angle: f32| [angle.cos(), angle.sin()];
        let exact = [0.0, 0.1, 0.3, 1.5].map(unit);
        let same: Vec<[&[f32]; 2]> = exact.iter().map(|d| [&d[..], &d[..]]).collect();
        let check = compare(Precision::Int8, &same).unwrap();
        assert_eq!((check.images, check.same_first, check.same_first_mixed), (4, 1.0, 1.0));
        assert!(check.least_cosine > 0.999_999);
        // The second moves past the third's middle: the first and itself have another neighbour.
        let moved = [0.0, 0.27, 0.3, 1.5].map(unit);
        let pairs: Vec<[&[f32]; 2]> = exact.iter().zip(&moved).map(|(a, b)| [&a[..], &b[..]]).collect();
        let check = compare(Precision::Int8, &pairs).unwrap();
        assert!((check.least_cosine - f64::from(0.17f32.cos())).abs() < 1e-6, "{check:?}");
        // 0 still finds 1; 1 finds 2 instead of 0.
        assert_eq!((check.same_first, check.same_first_mixed), (0.75, 0.75));
        assert!(compare(Precision::Int8, &same[..1]).is_err());
    }
}
