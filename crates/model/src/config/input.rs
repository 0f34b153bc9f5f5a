//! What the network expects of an image, and its arithmetic.

use serde::{Deserialize, Serialize};

/// What the network expects of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputConfig {
    /// Height in pixels that the model was evaluated with.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Subtracted from each channel (of values in 0..1).
    pub mean: [f32; 3],
    /// Divides each channel afterwards.
    pub std: [f32; 3],
    /// The resize that the model was evaluated with.
    pub resize: ResizeMode,
}

/// The two ways of resizing; they differ by several grey levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResizeMode {
    /// Normalise, then bilinear without antialias (the published evaluation).
    Direct,
    /// Antialiased bilinear on 8-bit pixels, then normalise (the published training).
    Antialias,
}

/// Arithmetic of the matrix products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit throughout.
    #[default]
    F32,
    /// Inputs of the products of backbone and heads rounded to bfloat16, sums in 32 bits; the reranker, whose inputs
    /// are coordinates, stays in 32 bits.
    Bf16,
}

impl std::str::FromStr for Precision {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            other => Err(format!("{other} is not a precision: f32 or bf16")),
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}
