//! Preprocessing of images, and numeric precision.

use super::size::{ImageSize, SizeRule};
use serde::{Deserialize, Serialize};

/// Preprocessing of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputConfig {
    /// Default image height in pixels; with `rule` that of an ordinary photograph.
    pub height: usize,
    /// Default image width in pixels, likewise.
    pub width: usize,
    /// How an image's size follows from the photograph's; absent: all have `height` and `width`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<SizeRule>,
    /// Mean of each channel (R, G, B in 0..1), subtracted.
    pub mean: [f32; 3],
    /// Standard deviation of each channel, by which values are divided afterwards.
    pub std: [f32; 3],
    /// Default resize mode.
    pub resize: ResizeMode,
}

impl InputConfig {
    /// The default size.
    pub fn image_size(&self) -> ImageSize {
        self.rule.map_or(ImageSize::Fixed([self.height, self.width]), ImageSize::Rule)
    }
}

/// How images are resized. The modes differ by several grey levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResizeMode {
    /// Normalise, then resize bilinearly without antialiasing, as in the published evaluation.
    Direct,
    /// Resize 8-bit pixels bilinearly with antialiasing, then normalise, as in the published training.
    Antialias,
    /// The same with a bicubic filter, as classifiers of DeiT and timm are evaluated.
    AntialiasBicubic,
    /// Resize values bilinearly with antialiasing, without rounding to 8 bits (torchvision's `Resize` of a tensor).
    TensorBilinear,
    /// Values, with a bicubic filter.
    TensorBicubic,
}

impl std::str::FromStr for ResizeMode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "direct" => Ok(Self::Direct),
            "antialias" => Ok(Self::Antialias),
            "antialias_bicubic" => Ok(Self::AntialiasBicubic),
            "tensor_bilinear" => Ok(Self::TensorBilinear),
            "tensor_bicubic" => Ok(Self::TensorBicubic),
            other => Err(format!(
                "{other} is not a resize mode: direct, antialias, antialias_bicubic, tensor_bilinear or tensor_bicubic"
            )),
        }
    }
}

impl std::fmt::Display for ResizeMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Antialias => "antialias",
            Self::AntialiasBicubic => "antialias_bicubic",
            Self::TensorBilinear => "tensor_bilinear",
            Self::TensorBicubic => "tensor_bicubic",
        })
    }
}

/// Precision of the matrix products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit throughout.
    #[default]
    F32,
    /// bfloat16 inputs and f32 sums in backbone and heads. The reranker, whose inputs are coordinates, has an
    /// [arithmetic of its own](super::RerankerCheck).
    Bf16,
    /// 8-bit integers in the linear layers and attention's scores of a vision transformer's blocks (16 bits in attention's
    /// weighted sums, and in networks less than 256 wide) and in convolutions but the first, on a CPU that multiplies them faster, the rest in f32. Everything is f32 where kernels do not cover the network, or the CPU has no such instructions.
    Int8,
}

impl std::str::FromStr for Precision {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "int8" => Ok(Self::Int8),
            other => Err(format!("{other} is not a precision: f32, bf16 or int8")),
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}
