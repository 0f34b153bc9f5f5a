//! The bits of a JPEG's entropy-coded data, and Huffman codes.

/// Bits that a code is looked up by; longer ones take the slow path.
const LOOKUP: u32 = 11;

/// Why data cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// They end, or a marker comes.
    Ended,
    /// No code of the table, or a coefficient beyond the block.
    Invalid,
}

/// Reads bits up to the next marker; a stuffed zero after 0xff is left out.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The next byte that is not in the buffer.
    at: usize,
    /// Bits to come, from the highest down.
    buffer: u64,
    /// How many of them are valid.
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, buffer: 0, count: 0 }
    }

    /// Fills the buffer as far as there are data: more than 32 bits, or all that there are.
    #[inline]
    fn fill(&mut self) {
        if let Some(chunk) = self.bytes.get(self.at..self.at + 8)
            && let Ok(chunk) = <[u8; 8]>::try_from(chunk)
        {
            let word = u64::from_be_bytes(chunk);
            // No byte is 0xff: none of the complement's is 0.
            let other = !word;
            if other.wrapping_sub(0x0101_0101_0101_0101) & !other & 0x8080_8080_8080_8080 == 0 {
                let whole = (63 - self.count) / 8;
                // Bits of the byte after them get in too, and again, the same, with the next filling.
                self.buffer |= word >> self.count;
                self.at += whole as usize;
                self.count += 8 * whole;
                return;
            }
        }
        // The bits below the valid ones may be leftovers of a filling above.
        self.buffer &= !(u64::MAX.checked_shr(self.count).unwrap_or(0));
        while self.count <= 56 {
            let Some(&byte) = self.bytes.get(self.at) else { break };
            if byte == 0xff {
                if self.bytes.get(self.at + 1) != Some(&0) {
                    break;
                }
                self.at += 1;
            }
            self.at += 1;
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// Passes over up to 32 bits.
    #[inline]
    pub(super) fn skip(&mut self, bits: u32) -> Result<(), Stop> {
        if self.count < bits {
            self.fill();
            if self.count < bits {
                return Err(Stop::Ended);
            }
        }
        self.buffer <<= bits;
        self.count -= bits;
        Ok(())
    }

    /// As [`Self::skip`], up to 64.
    pub(super) fn skip_many(&mut self, bits: u32) -> Result<(), Stop> {
        self.skip(bits.min(32))?;
        self.skip(bits.saturating_sub(32))
    }

    /// Reads up to 15 bits as a number.
    pub(super) fn take(&mut self, bits: u32) -> Result<u32, Stop> {
        if self.count < bits {
            self.fill();
        }
        let value = (self.buffer >> 1 >> (63 - bits)) as u32;
        self.skip(bits).map(|()| value)
    }

    /// Passes over the rest of the byte and the restart marker of this number, 0 to 7; whether it is there.
    pub(super) fn restart(&mut self, number: usize) -> bool {
        let mut at = self.position();
        // Whatever is left of the interval, and fill bytes.
        loop {
            match self.bytes.get(at..).and_then(|rest| rest.iter().position(|b| *b == 0xff)) {
                Some(more) => at += more,
                None => return false,
            }
            match self.bytes.get(at + 1) {
                Some(0) => at += 2,
                Some(0xff) => at += 1,
                Some(&code) if usize::from(code) == 0xd0 + number => break,
                _ => return false,
            }
        }
        *self = Self::new(self.bytes, at + 2);
        true
    }

    /// The first byte that no bit was taken from, or an earlier one.
    pub(super) fn position(&self) -> usize {
        // Stuffed zeros make the buffer longer than its bits: fewer bytes back than that is never too far.
        self.at.saturating_sub((self.count / 8) as usize)
    }
}

/// A Huffman table.
pub(super) struct Table {
    /// By the next [`LOOKUP`] bits: the symbol, and in the high byte its code's length; 0 for longer codes.
    short: Box<[u16; 1 << LOOKUP]>,
    /// For every length the first code beyond those of it, moved to 16 bits.
    beyond: [u32; 17],
    /// For every length what takes a code to its symbol's place.
    offset: [i32; 17],
    symbols: Vec<u8>,
}

impl Table {
    /// A table as its segment holds it, and how many bytes that takes.
    pub(super) fn parse(body: &[u8]) -> Option<(Self, usize)> {
        let (counts, rest) = body.split_at_checked(16)?;
        let total: usize = counts.iter().map(|n| usize::from(*n)).sum();
        let symbols = rest.get(..total).filter(|_| total <= 256)?.to_vec();
        let mut table = Self { short: Box::new([0; 1 << LOOKUP]), beyond: [0; 17], offset: [0; 17], symbols };
        let (mut code, mut place) = (0u32, 0usize);
        for (length, &count) in (1u32..).zip(counts) {
            table.offset[length as usize] = place as i32 - code as i32;
            for _ in 0..count {
                if code >> length != 0 {
                    return None;
                }
                if length <= LOOKUP {
                    let from = (code << (LOOKUP - length)) as usize;
                    let entry = (length as u16) << 8 | u16::from(table.symbols[place]);
                    table.short[from..from + (1 << (LOOKUP - length))].fill(entry);
                }
                code += 1;
                place += 1;
            }
            table.beyond[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Some((table, 16 + total))
    }

    /// The next symbol, and past as many bits behind its code as its lower half says: a coefficient's own.
    #[inline]
    pub(super) fn symbol(&self, bits: &mut Bits) -> Result<u8, Stop> {
        // A code and a coefficient have at most 31 bits.
        if bits.count < 32 {
            bits.fill();
        }
        let entry = self.short[(bits.buffer >> (64 - LOOKUP)) as usize];
        if entry == 0 {
            return self.long_symbol(bits);
        }
        let symbol = entry as u8;
        let length = u32::from(entry >> 8) + u32::from(symbol & 15);
        if length > bits.count {
            return Err(Stop::Ended);
        }
        bits.buffer <<= length;
        bits.count -= length;
        Ok(symbol)
    }

    #[cold]
    fn long_symbol(&self, bits: &mut Bits) -> Result<u8, Stop> {
        let next = (bits.buffer >> 48) as u32;
        let Some(length) = (LOOKUP + 1..=16).find(|&n| next < self.beyond[n as usize]) else {
            // Beyond the data the buffer is zeros, which may look like a code that is none.
            return Err(if bits.count < 16 { Stop::Ended } else { Stop::Invalid });
        };
        let place = (next >> (16 - length)) as i32 + self.offset[length as usize];
        let symbol = usize::try_from(place).ok().and_then(|place| self.symbols.get(place)).copied();
        let symbol = symbol.ok_or(Stop::Invalid)?;
        bits.skip(length + u32::from(symbol & 15))?;
        Ok(symbol)
    }
}
