//! Products of 8-bit integers.
//!
//! Weights are quantised by row (an output channel): a code is round(127 v / max |v|), so -127 to 127. Activations are
//! quantised by column (a token), between the least and the largest value. A product is the integer sum of codes times
//! both scales, and the column's centre times the row's sum. Four neighbouring codes share an element of
//! 32 bits, which one instruction multiplies with four others and adds to a 32-bit sum; where the machine only
//! multiplies 16-bit integers without saturation, or 8 bits are too few, an element is two codes of 12 bits.
//!
//! Pixels of a convolution's maps, none of whose values is negative, are quantised between zero and the largest, so that zero is
//! code 0 and all codes are used ([`sums_of_lines`](DotProduct::sums_of_lines)).
//!
//! Integer sums are exact. Of elements of four codes a slice of depth ([`KC`](crate::matrix::KC) elements) has at most 768
//! products of at most 127 * 127, which even an f32 holds exactly, so every such instruction gives the same; sums of 16-bit codes are
//! rounded once, when they become floats.

#[cfg(target_arch = "aarch64")]
mod neon;
mod quantise;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use quantise::{MOST_DEPTH, QuantisePixels};
pub(crate) use quantise::{largest, pack_values, quantise_row, quantise_weights, scale_of_values};

use crate::Level;

/// The largest code.
const LARGEST: f32 = 127.0;

/// Rows that follow a panel's elements.
pub(crate) const SCALES: usize = 2;

/// What an unsigned code has more than a signed one.
const BIAS: i32 = 128;

/// NR with the widest vectors.
const MAX_COLUMNS: usize = 32;

/// Independent sums of [`DotProduct::peak`]: enough to hide an instruction's latency.
const CHAINS: usize = 12;

/// How 8-bit integers are multiplied. Those other than `Emulated` are constructed by [`DotProduct::available`] alone, after
/// checking the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DotProduct {
    /// One by one.
    Emulated,
    /// By instructions of x86-64.
    #[cfg(target_arch = "x86_64")]
    X86(x86::Instruction),
    /// SDOT of 64-bit ARM.
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Sdot),
}

impl DotProduct {
    /// The best one of a level with which products are faster than in f32, if there is one.
    pub(crate) fn of(level: Level) -> Option<Self> {
        Self::available(level).into_iter().next()
    }

    /// Those of a level, the best one first, without the emulation.
    pub(crate) fn available(level: Level) -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        all.extend(x86::Instruction::available(level).into_iter().map(Self::X86));
        #[cfg(target_arch = "aarch64")]
        all.extend(neon::Sdot::of(level).map(Self::Neon));
        let _ = level;
        all
    }

    /// That which multiplies 16-bit codes at the same level: of attention weights, for example, most are small, and 8 bits of
    /// the largest would lose what they add up to.
    pub(crate) fn wide(self) -> Option<Self> {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::X86(instruction) => Some(Self::X86(instruction.wide())),
            _ => None,
        }
    }

    /// Codes per element.
    pub(crate) fn values(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::X86(instruction) => instruction.values(),
            _ => 4,
        }
    }

    /// Whether the codes of columns are unsigned: [`BIAS`] more than signed ones.
    fn is_biased(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::X86(instruction) => instruction.is_biased(),
            _ => false,
        }
    }

    /// Packs a row's signed codes; those that are missing in the last element are zero.
    pub(crate) fn pack_row(self, codes: &[i16], elements: &mut [f32]) {
        let values = self.values();
        for (element, codes) in elements.iter_mut().zip(codes.chunks(values)) {
            let mut word = 0u32;
            for (i, code) in codes.iter().enumerate() {
                let code = i32::from(*code).cast_unsigned();
                word |= if values == 4 { (code & 0xff) << (8 * i) } else { (code & 0xffff) << (16 * i) };
            }
            *element = f32::from_bits(word);
        }
    }

    /// What the sum of a row's codes with a column's begins with, so that it is that of signed codes, by the sum of the former.
    pub(crate) fn start_of(self, sum: i32) -> i32 {
        if self.is_biased() { -BIAS * sum } else { 0 }
    }

    /// The sums of a micro-panel of rows with a panel of columns, as floats. `ahead` is prefetched.
    ///
    /// # Shapes
    /// - weight: `[depth, R]`
    /// - x: `[depth, NR]`, in elements
    /// - starts: `[R]`, from [`start_of`](Self::start_of)
    /// - sums: `[R, NR]`
    #[inline(always)]
    pub(crate) fn sums<const R: usize>(
        self,
        weight: &[[f32; R]],
        x: &[f32],
        starts: &[i32; R],
        sums: &mut [f32],
        ahead: &[f32],
    ) {
        match self {
            Self::Emulated => emulated(weight, x, starts, sums),
            #[cfg(target_arch = "x86_64")]
            Self::X86(instruction) => instruction.sums(weight, x, starts, sums, ahead),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(sdot) => sdot.sums(weight, x, starts, sums, ahead),
        }
        let _ = ahead;
    }

    /// What an unsigned code of a pixel has more than the one that is multiplied.
    fn pixel_bias(self) -> i32 {
        match self {
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => BIAS,
            _ => 0,
        }
    }

    /// What the sum of a pixel's codes with weights begins with, so that it is that of unsigned codes, by the weights' sum.
    pub(crate) fn start_of_pixel(self, sum: i32) -> i32 {
        self.pixel_bias() * sum
    }

    /// The sums of the elements of R lines, pixels' codes, from `offset` on, with a panel of weights, as floats.
    ///
    /// # Shapes
    /// - weights: `[1 + depth, NR]`, of which the first row has what sums begin with
    ///   ([`start_of_pixel`](Self::start_of_pixel)), as bits, and `offset + depth` is at most `LENGTH`
    /// - sums: `[R, NR]`
    #[inline(always)]
    pub(crate) fn sums_of_lines<const R: usize, const LENGTH: usize>(
        self,
        lines: &[[f32; LENGTH]; R],
        offset: usize,
        weights: &[f32],
        sums: &mut [f32],
    ) {
        match self {
            Self::Emulated => emulated_lines(lines, offset, weights, sums),
            #[cfg(target_arch = "x86_64")]
            Self::X86(instruction) => instruction.sums_of_lines(lines, offset, weights, sums),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(sdot) => sdot.sums_of_lines(lines, offset, weights, sums),
        }
    }

    /// Rounds of [`CHAINS`] products of a vector in registers, for measurements: the peak of one thread.
    pub(crate) fn peak(self, rounds: usize) -> f32 {
        match self {
            Self::Emulated => 0.0,
            #[cfg(target_arch = "x86_64")]
            Self::X86(instruction) => instruction.peak(rounds),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(sdot) => sdot.peak(rounds),
        }
    }

    /// Operations of [`peak`](Self::peak): two for each product of codes.
    pub(crate) fn peak_operations(self, level: Level, rounds: usize) -> u64 {
        (2 * CHAINS * rounds * level.lanes() * self.values()) as u64
    }
}

/// [`DotProduct::sums`] of signed codes, one by one.
fn emulated<const R: usize>(weight: &[[f32; R]], x: &[f32], starts: &[i32; R], sums: &mut [f32]) {
    let columns = sums.len() / R;
    let mut totals = [[0i32; MAX_COLUMNS]; R];
    for r in 0..R {
        totals[r].fill(starts[r]);
    }
    for (weight, x) in weight.iter().zip(x.chunks_exact(columns)) {
        for (totals, weight) in totals.iter_mut().zip(weight) {
            let weight = weight.to_bits().to_le_bytes();
            for (total, x) in totals.iter_mut().zip(x) {
                for (a, b) in weight.into_iter().zip(x.to_bits().to_le_bytes()) {
                    *total += i32::from(a.cast_signed()) * i32::from(b.cast_signed());
                }
            }
        }
    }
    for (sums, totals) in sums.chunks_exact_mut(columns).zip(&totals) {
        for (sum, total) in sums.iter_mut().zip(totals) {
            *sum = *total as f32;
        }
    }
}

/// [`DotProduct::sums_of_lines`], one by one.
fn emulated_lines<const R: usize, const LENGTH: usize>(
    lines: &[[f32; LENGTH]; R],
    offset: usize,
    weights: &[f32],
    sums: &mut [f32],
) {
    let columns = sums.len() / R;
    for (line, sums) in lines.iter().zip(sums.chunks_exact_mut(columns)) {
        let (starts, rows) = weights.split_at(columns);
        let mut totals = [0i32; MAX_COLUMNS];
        for (total, start) in totals.iter_mut().zip(starts) {
            *total = start.to_bits().cast_signed();
        }
        for (codes, weights) in line[offset..].iter().zip(rows.chunks_exact(columns)) {
            for (total, weight) in totals.iter_mut().zip(weights) {
                for (a, b) in codes.to_bits().to_le_bytes().into_iter().zip(weight.to_bits().to_le_bytes()) {
                    *total += i32::from(a) * i32::from(b.cast_signed());
                }
            }
        }
        for (sum, total) in sums.iter_mut().zip(totals) {
            *sum = total as f32;
        }
    }
}
