//! Lettering: a small alphabet of five by seven dots, and invented words to write with it.

use crate::noise::Rng;

/// The longest word on a sign.
pub(super) const MAX_LETTERS: usize = 10;

/// Rows from the top, five dots a row, the leftmost in bit 4.
const LETTERS: [[u8; 7]; 26] = [
    [0x0e, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11],
    [0x1e, 0x11, 0x11, 0x1e, 0x11, 0x11, 0x1e],
    [0x0f, 0x10, 0x10, 0x10, 0x10, 0x10, 0x0f],
    [0x1e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x1e],
    [0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x1f],
    [0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x10],
    [0x0f, 0x10, 0x10, 0x13, 0x11, 0x11, 0x0f],
    [0x11, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11],
    [0x0e, 0x04, 0x04, 0x04, 0x04, 0x04, 0x0e],
    [0x03, 0x01, 0x01, 0x01, 0x01, 0x11, 0x0e],
    [0x11, 0x12, 0x14, 0x18, 0x14, 0x12, 0x11],
    [0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x1f],
    [0x11, 0x1b, 0x15, 0x15, 0x11, 0x11, 0x11],
    [0x11, 0x19, 0x19, 0x15, 0x13, 0x13, 0x11],
    [0x0e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e],
    [0x1e, 0x11, 0x11, 0x1e, 0x10, 0x10, 0x10],
    [0x0e, 0x11, 0x11, 0x11, 0x15, 0x12, 0x0d],
    [0x1e, 0x11, 0x11, 0x1e, 0x14, 0x12, 0x11],
    [0x0f, 0x10, 0x10, 0x0e, 0x01, 0x01, 0x1e],
    [0x1f, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04],
    [0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e],
    [0x11, 0x11, 0x11, 0x11, 0x0a, 0x0a, 0x04],
    [0x11, 0x11, 0x11, 0x15, 0x15, 0x1b, 0x11],
    [0x11, 0x11, 0x0a, 0x04, 0x0a, 0x11, 0x11],
    [0x11, 0x11, 0x0a, 0x04, 0x04, 0x04, 0x04],
    [0x1f, 0x01, 0x02, 0x04, 0x08, 0x10, 0x1f],
];

const STARTS: [&str; 24] = [
    "BR", "K", "M", "T", "V", "S", "PR", "L", "D", "N", "G", "ST", "H", "F", "CL", "W", "Z", "TR", "B", "R",
    "QU", "C", "P", "J",
];
const VOWELS: [&str; 8] = ["A", "E", "I", "O", "U", "EA", "OO", "IE"];
const ENDS: [&str; 14] = ["N", "L", "R", "S", "M", "ND", "X", "K", "TT", "", "", "RO", "LA", "NEX"];

/// An invented word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    letters: [u8; MAX_LETTERS],
    count: u8,
}

impl Word {
    /// Two or three syllables.
    pub(super) fn invent(rng: &mut Rng) -> Self {
        let mut text = String::new();
        for _ in 0..2 + rng.below(2) {
            text += rng.pick(&STARTS);
            text += rng.pick(&VOWELS);
        }
        text += rng.pick(&ENDS);
        let mut word = Self { letters: [0; MAX_LETTERS], count: text.len().min(MAX_LETTERS) as u8 };
        for (slot, letter) in word.letters.iter_mut().zip(text.bytes()) {
            *slot = letter - b'A';
        }
        word
    }

    /// Width in dots, gaps between letters included.
    pub(super) fn dots(self) -> f32 {
        f32::from(self.count) * 6.0 - 1.0
    }

    /// How much of a footprint is ink, 0 to 1. `x` runs right and `y` down in dots from the top left
    /// corner; `footprint` is in dots.
    pub(super) fn ink(self, x: f32, y: f32, footprint: [f32; 2]) -> f32 {
        let [fx, fy] = footprint;
        if !(-1.0..self.dots() + 1.0).contains(&x) || !(-1.0..8.0).contains(&y) {
            return 0.0;
        }
        // Far away only a grey bar remains, as dark as the letters are on average.
        let blur = ((fx.max(fy) - 1.5) / 2.5).clamp(0.0, 1.0);
        if blur >= 1.0 {
            return if (0.0..self.dots()).contains(&x) && (0.0..7.0).contains(&y) { 0.38 } else { 0.0 };
        }
        let mut sum = 0.0;
        for (dx, dy) in [(-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25)] {
            sum += f32::from(self.dot(x + dx * fx, y + dy * fy));
        }
        sum * 0.25 * (1.0 - blur) + 0.38 * blur
    }

    fn dot(self, x: f32, y: f32) -> u8 {
        if x < 0.0 || !(0.0..7.0).contains(&y) {
            return 0;
        }
        let column = x as usize;
        let (letter, column) = (column / 6, column % 6);
        if letter >= usize::from(self.count) || column == 5 {
            return 0;
        }
        LETTERS[usize::from(self.letters[letter])][y as usize] >> (4 - column) & 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_written_inside_their_box() {
        let mut rng = Rng::new(&[5]);
        for _ in 0..200 {
            let word = Word::invent(&mut rng);
            assert!(word.count >= 4);
            let inked = (0..word.dots() as usize * 7)
                .filter(|i| word.ink((i / 7) as f32 + 0.5, (i % 7) as f32 + 0.5, [0.1, 0.1]) > 0.5)
                .count();
            assert!(inked > usize::from(word.count) * 6);
            assert_eq!(word.ink(-2.0, 3.0, [0.5, 0.5]), 0.0);
            assert_eq!(word.ink(3.0, 9.0, [0.5, 0.5]), 0.0);
            assert_eq!(word.ink(word.dots() + 1.5, 3.0, [0.5, 0.5]), 0.0);
        }
    }
}
