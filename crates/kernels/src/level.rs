//! Which vector unit runs the kernels.

use crate::panel::WIDTH;
use pulp::{Simd, WithSimd};
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// Environment variable that forces a level: `scalar`, `neon`, `avx2` or `avx512`.
pub(crate) const VARIABLE: &str = "R2FORMER_SIMD";

/// Environment variable that asks for bfloat16 products on machines without the instruction: `emulated`.
const BF16_VARIABLE: &str = "R2FORMER_BF16";

/// A set of vector instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// One number at a time, on any machine.
    Scalar,
    /// 4 numbers: 64-bit ARM.
    Neon,
    /// 8 numbers, with fused multiply-add: x86-64 since 2013.
    Avx2,
    /// 16 numbers, 32 registers: x86-64 servers since 2017, Zen 4.
    Avx512,
}

/// A level that is not known or that this machine does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={name}: {problem}; {available}")]
pub struct LevelError {
    variable: &'static str,
    name: String,
    problem: &'static str,
    available: String,
}

impl Level {
    /// Every level, the plainest first.
    pub const ALL: [Self; 4] = [Self::Scalar, Self::Neon, Self::Avx2, Self::Avx512];

    /// The best level of this machine, or the one that `R2FORMER_SIMD` forces.
    ///
    /// # Errors
    /// When the variable names a level that is unknown or not available here.
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

    /// The levels of this machine, the plainest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|level| level.is_available())
    }

    /// Whether this machine has it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => pulp::aarch64::Neon::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => pulp::x86::V3::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => pulp::x86::V4::try_new().is_some(),
            #[allow(unreachable_patterns, reason = "the levels of other machines")]
            _ => false,
        }
    }

    /// Vectors that the machine holds at a time.
    pub(crate) fn registers(self) -> usize {
        if matches!(self, Self::Avx512 | Self::Neon) { 32 } else { 16 }
    }

    /// Numbers in a vector.
    pub(crate) fn lanes(self) -> usize {
        match self {
            Self::Scalar => 1,
            Self::Neon => 4,
            Self::Avx2 => 8,
            Self::Avx512 => 16,
        }
    }

    /// Numbers in a row of a panel.
    pub(crate) fn columns(self) -> usize {
        WIDTH * self.lanes()
    }

    /// Runs `op` with this level's instructions; scalar where the machine lacks them.
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

    /// The level's name, as `R2FORMER_SIMD` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

/// What products multiply; they add up in f32 in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatmulPrecision {
    /// 32-bit numbers.
    F32,
    /// bfloat16 where the level has VDPBF16PS, else 32-bit numbers.
    Bf16,
    /// bfloat16 everywhere, slower than 32-bit numbers where the instruction is missing: to see what the
    /// rounding does.
    Bf16Emulated,
}

impl MatmulPrecision {
    /// bfloat16: where the machine has the instruction, or everywhere if `R2FORMER_BF16` is `emulated`.
    ///
    /// # Errors
    /// When the variable is anything else.
    pub fn bf16() -> Result<Self, LevelError> {
        match std::env::var(BF16_VARIABLE) {
            Ok(name) if name == "emulated" => Ok(Self::Bf16Emulated),
            Ok(name) if !name.is_empty() => {
                let available = "it can be emulated, or unset".into();
                Err(LevelError { variable: BF16_VARIABLE, name, problem: "no such way", available })
            }
            _ => Ok(Self::Bf16),
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
            Some(_) => "this machine does not have it",
            None => "no such level",
        };
        let available = Self::available().map(Self::name).collect::<Vec<_>>().join(", ");
        let available = format!("this machine has {available}");
        Err(LevelError { variable: VARIABLE, name: name.into(), problem, available })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_unknown_ones_are_told() {
        for level in Level::available() {
            assert_eq!(level.name().parse(), Ok(level));
        }
        let error = "sse9".parse::<Level>().unwrap_err().to_string();
        assert!(error.contains("sse9") && error.contains("scalar"), "{error}");
    }
}
