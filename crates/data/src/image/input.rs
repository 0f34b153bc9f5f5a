//! From a photograph to the network's input.

use super::filter::Filter;
use super::{Rgb8, interpolate, resample, smooth};
use crate::{DataError, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How a photograph is resized to the network's input size. The modes differ by several grey levels, so a
/// model is to be used with the one it was evaluated with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResizeMode {
    /// Normalise, then bilinear without antialias and with `align_corners` false: what R2Former's
    /// published code does at evaluation (torch `F.interpolate`).
    Direct,
    /// Antialiased bilinear on the 8-bit image, then normalise: what it does while training
    /// (torchvision `Resize` on a PIL image).
    Antialias,
    /// Antialiased bicubic on the 8-bit image, then normalise (torchvision `Resize(interpolation=BICUBIC)` on a PIL
    /// image): how the classifiers of DeiT and `timm` are evaluated.
    #[serde(rename = "antialias_bicubic")]
    AntialiasBicubic,
    /// Antialiased bilinear on values, which are not rounded to 8 bits (torchvision `Resize` on a tensor).
    #[serde(rename = "tensor_bilinear")]
    TensorBilinear,
    /// The same with a bicubic filter.
    #[serde(rename = "tensor_bicubic")]
    TensorBicubic,
}

impl fmt::Display for ResizeMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Antialias => "antialias",
            Self::AntialiasBicubic => "antialias_bicubic",
            Self::TensorBilinear => "tensor_bilinear",
            Self::TensorBicubic => "tensor_bicubic",
        })
    }
}

impl FromStr for ResizeMode {
    type Err = DataError;

    fn from_str(s: &str) -> Result<Self> {
        match s {
            "direct" => Ok(Self::Direct),
            "antialias" => Ok(Self::Antialias),
            "antialias_bicubic" => Ok(Self::AntialiasBicubic),
            "tensor_bilinear" => Ok(Self::TensorBilinear),
            "tensor_bicubic" => Ok(Self::TensorBicubic),
            _ => Err(DataError::Request(format!(
                "\"{s}\" is not a resize mode: direct, antialias, antialias_bicubic, tensor_bilinear or tensor_bicubic"
            ))),
        }
    }
}

/// What is done to a photograph before a network sees it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// Subtracted from red, green and blue, which range from 0 to 1.
    pub mean: [f32; 3],
    /// What they are then divided by.
    pub std: [f32; 3],
    /// How the size is changed.
    pub resize: ResizeMode,
}

impl Preprocess {
    /// ImageNet's mean and deviation: the published models, DeiT, DINOv2, ResNet.
    pub const fn imagenet(resize: ResizeMode) -> Self {
        Self { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], resize }
    }

    /// One half for both, so that values range from -1 to 1: the ViTs of `timm`.
    pub const fn half(resize: ResizeMode) -> Self {
        Self { mean: [0.5; 3], std: [0.5; 3], resize }
    }

    /// The normalised value of every byte in every channel.
    fn table(&self) -> Result<[[f32; 256]; 3]> {
        if !self.mean.iter().all(|m| m.is_finite()) || !self.std.iter().all(|s| s.is_finite() && *s > 0.0) {
            return Err(DataError::Request(format!(
                "mean {:?} and std {:?} must be finite, and std above 0",
                self.mean, self.std
            )));
        }
        Ok(std::array::from_fn(|c| std::array::from_fn(|v| (v as f32 / 255.0 - self.mean[c]) / self.std[c])))
    }
}

/// The network's input for a photograph: 3 x `height` x `width` values, red's plane first, each
/// `(v / 255 - mean) / std` in 32 bits. A photograph that has this size already is not resampled.
///
/// # Errors
/// As [`to_input_into`], and for a size of 0 or beyond memory's range.
pub fn to_input(image: &Rgb8, height: usize, width: usize, how: &Preprocess) -> Result<Vec<f32>> {
    let mut out = vec![0.0; values(height, width)?];
    to_input_into(image, height, width, how, &mut out)?;
    Ok(out)
}

/// As [`to_input`], into a slice of `3 * height * width` values.
///
/// # Errors
/// [`DataError::Request`] when the slice has another length, a side is 0, the image contradicts
/// itself, or `how` has a deviation that is not positive.
pub fn to_input_into(
    image: &Rgb8,
    height: usize,
    width: usize,
    how: &Preprocess,
    out: &mut [f32],
) -> Result<()> {
    image.check()?;
    let wanted = values(height, width)?;
    if out.len() != wanted {
        return Err(DataError::Request(format!(
            "an input of 3 x {height} x {width} needs {wanted} values, and the slice has {}",
            out.len()
        )));
    }
    let table = how.table()?;
    if (image.height, image.width) == (height, width) {
        planes(image, &table, out);
        return Ok(());
    }
    match how.resize {
        ResizeMode::Direct => interpolate::resize(image, height, width, &table, out),
        ResizeMode::Antialias => {
            planes(&resample::resize(image, height, width, Filter::Bilinear), &table, out);
        }
        ResizeMode::AntialiasBicubic => {
            planes(&resample::resize(image, height, width, Filter::Bicubic), &table, out);
        }
        ResizeMode::TensorBilinear => {
            smooth::resize(image, height, width, &table, Filter::Bilinear, out);
        }
        ResizeMode::TensorBicubic => smooth::resize(image, height, width, &table, Filter::Bicubic, out),
    }
    Ok(())
}

/// The input's length; an error when there is no such input.
fn values(height: usize, width: usize) -> Result<usize> {
    height
        .checked_mul(width)
        .and_then(|n| n.checked_mul(3))
        .filter(|&n| n > 0 && n <= isize::MAX as usize / size_of::<f32>())
        .ok_or_else(|| DataError::Request(format!("an input of {height} x {width} pixels cannot be")))
}

/// Interleaved bytes to normalised planes of the same size.
fn planes(image: &Rgb8, table: &[[f32; 256]; 3], out: &mut [f32]) {
    for (channel, (plane, table)) in out.chunks_exact_mut(image.width * image.height).zip(table).enumerate() {
        for (value, pixel) in plane.iter_mut().zip(image.pixels.chunks_exact(3)) {
            *value = table[usize::from(pixel[channel])];
        }
    }
}
