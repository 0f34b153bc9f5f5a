//! Which arithmetic a model's descriptors are computed in: asked for, or the fastest that was measured to rank as well as
//! 32 bits ([`check_model`](crate::check_model)).

use crate::{EngineError, Result, Settings};
use r2former_kernels::Level;
use r2former_model::{Device, ModelConfig, Precision};
use std::fmt;
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

/// Whether this machine computes the model faster in 8 bits, and with codes at least as fine as those that a check elsewhere measured.
fn fast_in_8_bits(config: &ModelConfig, device: &Device) -> bool {
    let width = config.backbone_dim();
    *device == Device::flex() && Level::current().is_ok_and(|level| level.multiplies_int8_of(width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LoadedModel;
    use r2former_model::{PrecisionCheck, RerankedCheck};

    fn measured(precision: Precision) -> PrecisionCheck {
        PrecisionCheck {
            precision,
            images: 50,
            least_cosine: 0.999,
            mean_cosine: 0.9995,
            same_first: 1.0,
            same_first_mixed: 1.0,
            reranked: Some(RerankedCheck { queries: 50, ransac: 1.0, model: Some(1.0) }),
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
        // Checked before answers by local features were compared.
        config.checks[0].reranked = None;
        assert_eq!(auto(&config, own), Precision::F32);
        config.checks = vec![PrecisionCheck { least_cosine: 0.9, ..measured(Precision::Int8) }];
        assert_eq!(auto(&config, own), Precision::F32);
    }

    #[test]
    fn names_are_read_and_written() {
        for name in ["auto", "f32", "bf16", "int8"] {
            assert_eq!(name.parse::<PrecisionChoice>().unwrap().to_string(), name);
        }
        assert!("f16".parse::<PrecisionChoice>().unwrap_err().contains("auto, f32, bf16 or int8"));
    }
}
