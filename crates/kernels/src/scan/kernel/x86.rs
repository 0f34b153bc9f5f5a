//! x86-64: VPDPBUSD of 64 codes (AVX-512 VNNI) or 32 (AVX-VNNI), and 16-bit products where the CPU has neither.

use super::LINE;
use crate::Level;
use crate::scan::query::Plane;

mod avx2;
mod avx512_vnni;
mod avx_vnni;

/// Instructions that this CPU has been found to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scan) struct Instructions(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Avx2,
    AvxVnni,
    Avx512Vnni,
}

impl Instructions {
    /// The best of a level, if the machine has the level.
    pub(super) fn of(level: Level) -> Option<Self> {
        let kinds: &[Kind] = match level {
            Level::Avx2 => &[Kind::AvxVnni, Kind::Avx2],
            Level::Avx512 => &[Kind::Avx512Vnni, Kind::AvxVnni, Kind::Avx2],
            _ => &[],
        };
        kinds.iter().filter(|_| level.is_available()).find(|kind| kind.is_available()).copied().map(Self)
    }

    /// All of this machine.
    #[cfg(test)]
    pub(super) fn available() -> Vec<Self> {
        let all = [Kind::Avx2, Kind::AvxVnni, Kind::Avx512Vnni];
        all.into_iter().filter(|kind| kind.is_available()).map(Self).collect()
    }

    pub(super) fn products(
        self,
        rows: &[[u8; LINE]],
        lines: usize,
        planes: &[&Plane],
        sums: &mut [i32],
        squares: &mut [i32],
    ) {
        // SAFETY: `Instructions` are constructed only where `Kind::is_available` found the features that the function
        // enables.
        #[allow(unsafe_code, reason = "instructions that pulp's levels do not have")]
        unsafe {
            match self.0 {
                Kind::Avx2 => avx2::products(rows, lines, planes, sums, squares),
                Kind::AvxVnni => avx_vnni::products(rows, lines, planes, sums, squares),
                Kind::Avx512Vnni => avx512_vnni::products(rows, lines, planes, sums, squares),
            }
        }
    }
}

impl Kind {
    fn is_available(self) -> bool {
        let avx2 = is_x86_feature_detected!("avx2");
        match self {
            Self::Avx2 => avx2,
            Self::AvxVnni => avx2 && is_x86_feature_detected!("avxvnni"),
            Self::Avx512Vnni => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni"),
        }
    }
}
