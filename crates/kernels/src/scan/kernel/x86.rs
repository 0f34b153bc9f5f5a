//! x86-64: VPDPBUSD of 64 codes (AVX-512 VNNI) or 32 (AVX-VNNI), and 16-bit products where the CPU has neither.

use super::LINE;
use crate::Level;
use crate::scan::query::Plane;

mod avx2;
mod avx512_vnni;
mod avx_vnni;

/// Defines `tile` and `square`, by which [`tiled`](super::tile::tiled) defines the kernel, with vectors of `$lanes` codes:
/// `$row` and `$plane` load codes, `$multiply` adds products to sums, `$square` the squares of a row's codes, and `$totals`
/// adds the lanes of sums.
macro_rules! vectors {
    (
        $(#[$attribute:meta])* lanes: $lanes:expr, planes: $planes:literal, zero: $zero:ident,
        row: $row:ident, plane: $plane:ident, multiply: $multiply:ident, square: $square:ident, totals: $totals:ident
    ) => {
        $crate::scan::kernel::tile::tiled!($(#[$attribute])* tile, square, planes: $planes, biased: true);

        #[inline]
        $(#[$attribute])*
        fn tile<const R: usize, const Q: usize>(
            rows: [&[[u8; LINE]]; R],
            planes: [&[Line<i8>]; Q],
        ) -> [[i32; R]; Q] {
            let lines = rows[0].len();
            let (rows, planes) = (cut(rows, lines), cut(planes, lines));
            let mut sums = [[$zero(); R]; Q];
            for line in 0..lines {
                for part in 0..LINE / $lanes {
                    let mut x = [$zero(); R];
                    for r in 0..R {
                        x[r] = $row(&rows[r][line].as_chunks::<{ $lanes }>().0[part]);
                    }
                    for q in 0..Q {
                        let y = $plane(&planes[q][line].0.as_chunks::<{ $lanes }>().0[part]);
                        for r in 0..R {
                            sums[q][r] = $multiply(sums[q][r], x[r], y);
                        }
                    }
                }
            }
            let mut out = [[0; R]; Q];
            for (out, sums) in out.iter_mut().zip(&sums) {
                $totals(sums, out);
            }
            out
        }

        #[inline]
        $(#[$attribute])*
        fn square<const R: usize>(rows: [&[[u8; LINE]]; R]) -> [i32; R] {
            let lines = rows[0].len();
            let rows = cut(rows, lines);
            let mut sums = [$zero(); R];
            for line in 0..lines {
                for r in 0..R {
                    for part in rows[r][line].as_chunks::<{ $lanes }>().0 {
                        sums[r] = $square(sums[r], part);
                    }
                }
            }
            let mut out = [0; R];
            $totals(&sums, &mut out);
            out
        }
    };
}
use vectors;

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
