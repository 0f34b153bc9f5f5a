//! Integer dot products of rows of codes with planes of queries, by the instructions of each level.
//!
//! Sums are of (code - 128) times a query's code, exact in an i32 for up to [`MAX_DIM`](super::MAX_DIM) dimensions:
//! 65,536 * 127 * 127 < 2^31. Additions wrap, so it does not matter that the instructions which take a row's codes
//! without the offset may overflow on their way to the same sum. Every kernel gives the same integers.

#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::LINE;
use super::query::Plane;
use crate::Level;

/// The instructions that multiply. Those beyond the scalar ones are constructed by [`Kernel::of`] alone, which checks
/// the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernel {
    Scalar,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(target_arch = "x86_64")]
    X86(x86::Instructions),
}

impl Kernel {
    /// The kernel of a level; scalar where the machine lacks the level.
    pub(super) fn of(level: Level) -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(instructions) = x86::Instructions::of(level) {
            return Self::X86(instructions);
        }
        #[cfg(target_arch = "aarch64")]
        if level == Level::Neon && level.is_available() {
            return Self::Neon;
        }
        let _ = level;
        Self::Scalar
    }

    /// Every kernel that this machine has.
    #[cfg(test)]
    pub(super) fn available() -> Vec<Self> {
        let mut all = vec![Self::Scalar];
        #[cfg(target_arch = "aarch64")]
        all.push(Self::of(Level::Neon));
        #[cfg(target_arch = "x86_64")]
        all.extend(x86::Instructions::available().into_iter().map(Self::X86));
        all
    }

    /// The sums of rows with each plane, and of their squared codes unless `squares` is empty, while a tile of rows is in
    /// the cache. Of a row with code 0, which [`encode`](super::encode) does not write, the square is undefined.
    ///
    /// # Shapes
    /// - rows: `[count, lines]`
    /// - sums: `[planes, count]`
    /// - squares: `[count]`
    pub(super) fn products(
        self,
        rows: &[[u8; LINE]],
        lines: usize,
        planes: &[&Plane],
        sums: &mut [i32],
        squares: &mut [i32],
    ) {
        if lines == 0 {
            sums.fill(0);
            squares.fill(0);
            return;
        }
        match self {
            Self::Scalar => scalar::products(rows, lines, planes, sums, squares),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => {
                // SAFETY: constructed by `Kernel::of` alone, which found NEON.
                #[allow(unsafe_code, reason = "the features that a kernel enables")]
                unsafe {
                    neon::products(rows, lines, planes, sums, squares);
                }
            }
            #[cfg(target_arch = "x86_64")]
            Self::X86(instructions) => instructions.products(rows, lines, planes, sums, squares),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::query::Query;
    use super::*;
    use crate::scan::{MAX_DIM, stride};

    /// By definition, in i64.
    fn plain(row: &[u8], plane: &Plane) -> i64 {
        let codes = plane.codes.iter().flat_map(|line| line.0);
        row.iter().zip(codes).map(|(row, code)| (i64::from(*row) - 128) * i64::from(code)).sum()
    }

    fn check(dim: usize, count: usize, planes: &[&Plane], bytes: &[u8]) {
        let (lines, stride) = (stride(dim) / LINE, stride(dim));
        let rows = bytes[1..][..count * stride].as_chunks::<LINE>().0;
        for kernel in Kernel::available() {
            let mut sums = vec![7; planes.len() * count];
            let mut squares = vec![7; count];
            kernel.products(rows, lines, planes, &mut sums, &mut squares);
            let mut alone = vec![7; planes.len() * count];
            kernel.products(rows, lines, planes, &mut alone, &mut []);
            assert_eq!(alone, sums, "{kernel:?}, {dim}");
            for (r, row) in rows.as_flattened().chunks_exact(stride).enumerate() {
                for (p, plane) in planes.iter().enumerate() {
                    let found = i64::from(sums[p * count + r]);
                    assert_eq!(found, plain(row, plane), "{kernel:?}, {dim}: row {r}, plane {p}");
                }
                let square: i64 = row.iter().map(|code| (i64::from(*code) - 128).pow(2)).sum();
                assert_eq!(i64::from(squares[r]), square, "{kernel:?}, {dim}: row {r}");
            }
        }
    }

    #[test]
    fn every_kernel_gives_the_same_integers() {
        for dim in [1, 3, 63, 64, 65, 192, 256, 8448, MAX_DIM] {
            let (counts, most): (&[usize], _) =
                if dim > 1000 { (&[1, 5], 5) } else { (&[0, 1, 2, 3, 4, 5, 8, 11, 64], 9) };
            let mut random = fastrand::Rng::with_seed(dim as u64);
            let queries: Vec<Query> = (0..most)
                .map(|_| Query::new(&(0..dim).map(|_| random.f32() - 0.5).collect::<Vec<_>>()))
                .collect();
            let rows = counts.iter().max().unwrap() * stride(dim);
            // From the second byte on: unaligned.
            let bytes: Vec<u8> = (0..rows + 1).map(|_| random.u8(1..)).collect();
            for &count in counts {
                for planes in [1, 2, 3, most] {
                    let coarse: Vec<_> = queries[..planes].iter().map(|query| &query.coarse).collect();
                    check(dim, count, &coarse, &bytes);
                    let fine: Vec<_> = queries[..planes].iter().map(|query| &query.fine).collect();
                    check(dim, count, &fine, &bytes);
                }
            }
        }
    }

    #[test]
    fn extreme_codes_neither_saturate_nor_overflow() {
        for dim in [1, 64, 100, MAX_DIM] {
            for signs in [[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]] {
                let query = Query::new(&(0..dim).map(|i| signs[i % 2]).collect::<Vec<f32>>());
                for codes in [[255, 255], [1, 1], [1, 255], [128, 255]] {
                    let bytes: Vec<u8> = (1..=5 * stride(dim) + 1).map(|i| codes[i % 2]).collect();
                    check(dim, 5, &[&query.coarse, &query.fine, &query.coarse], &bytes);
                }
            }
        }
    }
}
