//! Which vector instructions run the kernels.

use crate::int8::DotProduct;
use crate::panel::NR_VECTORS;
use crate::stack::NARROW;
use pulp::{Simd, WithSimd};
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// Environment variable that forces a level: `scalar`, `neon`, `avx2` or `avx512`.
pub(crate) const VARIABLE: &str = "R2FORMER_SIMD";

/// Environment variable that forces the reranker's arithmetic: `f32` or `int16`.
const RERANKER_VARIABLE: &str = "R2FORMER_RERANKER";

/// Environment variable that forces bfloat16 products on CPUs without the instruction: `emulated`.
const BF16_VARIABLE: &str = "R2FORMER_BF16";

/// A set of vector instructions.
///
/// ```
/// use r2former_kernels::Level;
///
/// let level = Level::best();
/// assert!(level.is_available());
/// assert_eq!(level.name().parse(), Ok(level));
/// assert!("sse9".parse::<Level>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// One value at a time, on any machine.
    Scalar,
    /// 4 lanes: 64-bit ARM.
    Neon,
    /// 8 lanes with fused multiply-add (x86-64-v3): since Haswell (2013) and Zen.
    Avx2,
    /// 16 lanes, 32 registers (x86-64-v4): since Skylake-SP (2017) and Zen 4.
    Avx512,
}

/// A value of `R2FORMER_SIMD`, `R2FORMER_BF16` or `R2FORMER_RERANKER` that is unknown or that this machine does not support.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={name}: {problem}; {available}")]
pub struct LevelError {
    variable: &'static str,
    name: String,
    problem: &'static str,
    available: String,
}

impl Level {
    /// Every level, the narrowest vectors first.
    pub const ALL: [Self; 4] = [Self::Scalar, Self::Neon, Self::Avx2, Self::Avx512];

    /// The best level of this machine, or the one that `R2FORMER_SIMD` forces.
    ///
    /// # Errors
    /// [`LevelError`] for a level that is unknown or that this machine does not have.
    pub fn current() -> Result<Self, LevelError> {
        static CURRENT: OnceLock<Result<Level, LevelError>> = OnceLock::new();
        CURRENT
            .get_or_init(|| match std::env::var(VARIABLE) {
                Ok(name) if !name.is_empty() => name.parse(),
                _ => Ok(Self::best()),
            })
            .clone()
    }

    /// The best level of this machine.
    pub fn best() -> Self {
        Self::ALL.into_iter().rev().find(|level| level.is_available()).unwrap_or(Self::Scalar)
    }

    /// The levels of this machine, the narrowest vectors first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|level| level.is_available())
    }

    /// Whether this machine supports the level.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => pulp::aarch64::Neon::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => pulp::x86::V3::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => pulp::x86::V4::try_new().is_some(),
            #[allow(unreachable_patterns, reason = "the levels of other architectures")]
            _ => false,
        }
    }

    /// Whether 8-bit integers are multiplied faster than floats ([`MatmulPrecision::Int8`]).
    pub fn multiplies_int8(self) -> bool {
        DotProduct::of(self).is_some()
    }

    /// Whether it does so for a transformer of this width, with codes of 16 bits where 8 are too few for the width
    /// ([`MatmulPrecision::Int8`]).
    pub fn multiplies_int8_of(self, width: usize) -> bool {
        DotProduct::of(self).is_some_and(|products| width >= NARROW || products.wide().is_some())
    }

    /// Whether the reranker computes in 16-bit fixed point, and faster than in floats ([`RerankerArithmetic::Int16`]).
    pub fn multiplies_int16(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return crate::fixed::Instructions::of(self).is_some();
        #[cfg(not(target_arch = "x86_64"))]
        return false;
    }

    /// Vector registers.
    pub(crate) fn registers(self) -> usize {
        if matches!(self, Self::Avx512 | Self::Neon) { 32 } else { 16 }
    }

    /// Lanes: f32 values per vector.
    pub(crate) fn lanes(self) -> usize {
        match self {
            Self::Scalar => 1,
            Self::Neon => 4,
            Self::Avx2 => 8,
            Self::Avx512 => 16,
        }
    }

    /// NR, the tokens (columns) of a panel: see [`panel`](crate::panel).
    pub(crate) fn columns(self) -> usize {
        NR_VECTORS * self.lanes()
    }

    /// Runs `op` with this level's instructions, or with scalar ones where the machine lacks them.
    pub(crate) fn run<Op: WithSimd>(self, op: Op) -> Op::Output {
        match self {
            #[cfg(target_arch = "aarch64")]
            Self::Neon => {
                if let Some(simd) = pulp::aarch64::Neon::try_new() {
                    return Simd::vectorize(simd, op);
                }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                if let Some(simd) = pulp::x86::V3::try_new() {
                    return Simd::vectorize(simd, op);
                }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                if let Some(simd) = pulp::x86::V4::try_new() {
                    return Simd::vectorize(simd, op);
                }
            }
            _ => {}
        }
        Simd::vectorize(pulp::Scalar::new(), op)
    }

    /// The level's name, as in `R2FORMER_SIMD`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

/// Element type of matrix products. Sums are always f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatmulPrecision {
    /// 32-bit floats.
    F32,
    /// bfloat16 where the level has VDPBF16PS, else 32-bit floats.
    Bf16,
    /// bfloat16 everywhere, by slower emulation where the instruction is missing: to measure the effect of rounding.
    Bf16Emulated,
    /// 8-bit integers in linear layers and attention's scores, 16 bits in its weighted sums, where the level multiplies them faster than floats (VNNI, AVX2, NEON's dot product),
    /// else 32-bit floats. Weights have a scale for each row, activations one for each token; sums are exact. In convolutions likewise: a scale for
    /// each output channel and each pixel.
    Int8,
    /// 8-bit integers everywhere, one by one where the instruction is missing: to measure the effect of rounding.
    Int8Emulated,
}

impl MatmulPrecision {
    /// [`Bf16`](Self::Bf16), or [`Bf16Emulated`](Self::Bf16Emulated) if `R2FORMER_BF16` is `emulated`.
    ///
    /// # Errors
    /// [`LevelError`] for any other value of the variable.
    pub fn bf16() -> Result<Self, LevelError> {
        match std::env::var(BF16_VARIABLE) {
            Ok(name) if name == "emulated" => Ok(Self::Bf16Emulated),
            Ok(name) if !name.is_empty() => {
                let available = "set it to emulated, or unset it".into();
                Err(LevelError { variable: BF16_VARIABLE, name, problem: "unknown value", available })
            }
            _ => Ok(Self::Bf16),
        }
    }
}

/// Arithmetic of a reranker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RerankerArithmetic {
    /// 32-bit floats.
    #[default]
    F32,
    /// Attention and the linear layers after norms in 16-bit fixed point where the level has AVX-512 VNNI or AVX2, with the same
    /// results, else 32-bit floats. Logits differ by some 1e-4.
    Int16,
}

impl RerankerArithmetic {
    /// What `R2FORMER_RERANKER` forces, `f32` or `int16`; `None` where it is not set.
    ///
    /// # Errors
    /// [`LevelError`] for any other value of the variable.
    pub fn forced() -> Result<Option<Self>, LevelError> {
        let Ok(name) = std::env::var(RERANKER_VARIABLE) else { return Ok(None) };
        match name.as_str() {
            "" => Ok(None),
            "f32" => Ok(Some(Self::F32)),
            "int16" => Ok(Some(Self::Int16)),
            _ => Err(LevelError {
                variable: RERANKER_VARIABLE,
                name,
                problem: "unknown value",
                available: "set it to f32 or int16, or unset it".into(),
            }),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(name: &str) -> Result<Self, LevelError> {
        let known = Self::ALL.into_iter().find(|level| level.name() == name);
        let problem = match known {
            Some(level) if level.is_available() => return Ok(level),
            Some(_) => "not supported by this machine",
            None => "unknown level",
        };
        let available = Self::available().map(Self::name).collect::<Vec<_>>().join(", ");
        let available = format!("this machine supports {available}");
        Err(LevelError { variable: VARIABLE, name: name.into(), problem, available })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_unknown_ones_are_errors() {
        for level in Level::available() {
            assert_eq!(level.name().parse(), Ok(level));
        }
        let error = "sse9".parse::<Level>().unwrap_err().to_string();
        assert!(error.contains("sse9") && error.contains("scalar"), "{error}");
    }
}
