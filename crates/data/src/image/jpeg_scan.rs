//! Whether every block of a JPEG is there.
//!
//! Decoders are lenient: they fill missing blocks with grey. A place would then be matched by half a picture without
//! anyone noticing. So the entropy-coded data are walked first, symbol by symbol, without computing a coefficient:
//! Huffman coding, sequential and progressive (ITU T.81). That costs a fraction of decoding and little memory.

use super::jpeg_bits::{Bits, Stop, Table};

/// More scans than any encoder writes (10 is usual); each costs a pass over the whole image.
pub(super) const MAX_SCANS: usize = 64;

/// A file without an end marker that ends in this many zeros, the first of which belong to a scan, was never written to
/// its end: zeros pass for blocks.
const BLANK_TAIL: usize = 4;

/// The data of a JPEG whose blocks are all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Complete {
    /// Where they end: at the end marker, or at the end of the bytes.
    pub(super) end: usize,
    /// Whether there is an end marker.
    pub(super) marked: bool,
}

/// What is wrong with a JPEG's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Blocks or scans are missing; what is there can be decoded.
    Missing(String),
    /// The header promises more than the bytes can hold.
    Hollow(String),
    /// The data contradict the format.
    Damaged(String),
}

fn damaged(what: &str) -> Flaw {
    Flaw::Damaged(what.into())
}

/// Walks all of the first image in `bytes`, which begin with its start marker.
pub(super) fn check(bytes: &[u8]) -> Result<Complete, Flaw> {
    let mut walk = Walk::default();
    let (mut at, mut scans, mut scan_end) = (2, 0, 0);
    while let Some(found) = next_marker(bytes, at) {
        let code = bytes[found + 1];
        if code == 0xd9 {
            walk.finish(bytes)?;
            return Ok(Complete { end: found, marked: true });
        }
        let Some(body) = segment(bytes, found + 2) else {
            return Err(Flaw::Missing("its data end within a header".into()));
        };
        at = found + 4 + body.len();
        match code {
            0xc4 => walk.huffman(body)?,
            0xdd => walk.restart = body.get(..2).map_or(0, |b| usize::from(u16::from_be_bytes([b[0], b[1]]))),
            0xc0..=0xc2 => walk.frame(code == 0xc2, body, bytes.len())?,
            0xda => {
                scans += 1;
                if scans > MAX_SCANS {
                    return Err(Flaw::Damaged(format!("more than {MAX_SCANS} scans")));
                }
                at = walk.scan(body, bytes, at)?;
                scan_end = at;
            }
            _ => {}
        }
    }
    walk.finish(bytes)?;
    let blank = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    if blank + BLANK_TAIL <= bytes.len() && blank < scan_end {
        return Err(Flaw::Missing(format!("its {} bytes are zeros from byte {blank} on", bytes.len())));
    }
    Ok(Complete { end: bytes.len(), marked: false })
}

/// Where the data of a JPEG that is cut short end, without a header that is cut off.
pub(super) fn usable_end(bytes: &[u8]) -> usize {
    let mut at = 2;
    while let Some(found) = next_marker(bytes, at) {
        match segment(bytes, found + 2) {
            Some(body) if bytes[found + 1] != 0xd9 => at = found + 4 + body.len(),
            _ => return found,
        }
    }
    bytes.len()
}

/// Where the next marker that begins a segment or ends the image is, from `at` on: entropy-coded data, restart
/// markers and fill bytes are passed over. Its code is within `bytes`.
fn next_marker(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += bytes.get(at..)?.iter().position(|&b| b == 0xff)?;
        match bytes.get(at + 1)? {
            0xff => at += 1,
            0 | 1 | 0xd0..=0xd8 => at += 2,
            _ => return Some(at),
        }
    }
}

/// The body of the segment whose length is at `at`; `None` when it is cut short.
fn segment(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let length = bytes.get(at..at + 2)?;
    let length = usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
    bytes.get(at + 2..at + length)
}

/// A component of the frame.
struct Component {
    id: u8,
    /// Blocks of it in an MCU of several components: across and down.
    factors: [usize; 2],
    /// Its size in blocks where it is alone in a scan: across and down.
    size: [usize; 2],
    /// For every coefficient the lowest bit that was sent; a sequential scan sends all bits of all at once.
    sent: [Option<u8>; 64],
    /// Progressive: which coefficients of each block are not zero, a bit for each.
    nonzero: Vec<u64>,
}

struct Frame {
    progressive: bool,
    components: Vec<Component>,
    /// Its size in MCUs of several components: across and down.
    size: [usize; 2],
}

/// The parameters of a scan.
#[derive(Clone, Copy)]
struct Band {
    first: usize,
    last: usize,
    /// Whether it sends one more bit of coefficients that were sent before.
    refines: bool,
}

#[derive(Default)]
struct Walk {
    frame: Option<Frame>,
    dc: [Option<Box<Table>>; 4],
    ac: [Option<Box<Table>>; 4],
    restart: usize,
    /// A table that the scans need is not in the file (motion JPEG): blocks cannot be counted.
    unknown: bool,
}

impl Walk {
    fn frame(&mut self, progressive: bool, body: &[u8], length: usize) -> Result<(), Flaw> {
        if self.frame.is_some() {
            return Err(damaged("it has two frame headers"));
        }
        let impossible = || damaged("its frame header is impossible");
        let [_, h1, h0, w1, w0, count, rest @ ..] = body else { return Err(impossible()) };
        let sides = [[*w1, *w0], [*h1, *h0]].map(|side| usize::from(u16::from_be_bytes(side)));
        let parts: Vec<&[u8]> = rest.chunks_exact(3).take(usize::from(*count)).collect();
        let factors = |part: &[u8]| [usize::from(part[1] >> 4), usize::from(part[1] & 15)];
        if !(1..=4).contains(count)
            || parts.len() != usize::from(*count)
            || sides.contains(&0)
            || parts.iter().any(|part| !factors(part).iter().all(|f| (1..=4).contains(f)))
        {
            return Err(impossible());
        }
        let most = [0, 1].map(|axis| parts.iter().map(|part| factors(part)[axis]).max().unwrap_or(1));
        let component = |part: &&[u8]| Component {
            id: part[0],
            factors: factors(part),
            size: [0, 1].map(|axis| (sides[axis] * factors(part)[axis]).div_ceil(8 * most[axis])),
            sent: [None; 64],
            nonzero: Vec::new(),
        };
        let components: Vec<Component> = parts.iter().map(component).collect();
        // Every block takes a bit at least: the difference of its mean, in progressive images too.
        let blocks: usize = components.iter().map(|c| c.size[0] * c.size[1]).sum();
        if blocks / 8 > length {
            return Err(Flaw::Hollow(format!(
                "its header promises {} x {} pixels, more than its {length} bytes can hold",
                sides[0], sides[1]
            )));
        }
        let size = [0, 1].map(|axis| sides[axis].div_ceil(8 * most[axis]));
        self.frame = Some(Frame { progressive, components, size });
        Ok(())
    }

    fn huffman(&mut self, mut body: &[u8]) -> Result<(), Flaw> {
        while let [head, rest @ ..] = body {
            let (table, used) =
                Table::parse(rest).ok_or_else(|| damaged("one of its Huffman tables is impossible"))?;
            let side = if head >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            let slot =
                side.get_mut(usize::from(head & 15)).ok_or_else(|| damaged("it has too many tables"))?;
            *slot = Some(Box::new(table));
            body = &rest[used..];
        }
        Ok(())
    }

    /// Walks a scan whose header is `body` and whose data begin at `at`; returns where they end.
    fn scan(&mut self, body: &[u8], bytes: &[u8], at: usize) -> Result<usize, Flaw> {
        let impossible = || damaged("one of its scan headers is impossible");
        let frame = self.frame.as_mut().ok_or_else(|| damaged("a scan comes before the frame header"))?;
        let (count, rest) = body.split_first().ok_or_else(impossible)?;
        let count = usize::from(*count);
        let (list, band) = rest.split_at_checked(2 * count).ok_or_else(impossible)?;
        let [first, last, bits, ..] = *band else { return Err(impossible()) };
        let mut parts: Vec<(usize, usize, usize)> = Vec::with_capacity(count);
        for pair in list.chunks_exact(2) {
            let number = frame.components.iter().position(|c| c.id == pair[0]).ok_or_else(impossible)?;
            if parts.iter().any(|(n, ..)| *n == number) {
                return Err(impossible());
            }
            parts.push((number, usize::from(pair[1] >> 4), usize::from(pair[1] & 15)));
        }
        let (high, low) = (bits >> 4, bits & 15);
        let band = if frame.progressive {
            Band { first: usize::from(first), last: usize::from(last), refines: high > 0 }
        } else {
            Band { first: 0, last: 63, refines: false }
        };
        let dc_only = band.first == 0 && frame.progressive;
        if parts.is_empty()
            || band.last > 63
            || band.first > band.last
            || (dc_only && band.last > 0)
            || (band.first > 0 && parts.len() > 1)
        {
            return Err(impossible());
        }
        // Tables that the scan needs.
        let mut tables = Vec::with_capacity(parts.len());
        for &(_, dc, ac) in &parts {
            let dc = self.dc.get(dc).and_then(|t| t.as_deref());
            let ac = self.ac.get(ac).and_then(|t| t.as_deref());
            let needs_dc = band.first == 0 && !band.refines;
            if (needs_dc && dc.is_none()) || (band.last > 0 && ac.is_none()) {
                self.unknown = true;
                return Ok(at);
            }
            tables.push((dc, ac));
        }
        for &(number, ..) in &parts {
            let component = &mut frame.components[number];
            if frame.progressive && band.first > 0 && component.nonzero.is_empty() {
                component.nonzero = vec![0; component.size[0] * component.size[1]];
            }
            let low = if frame.progressive { low } else { 0 };
            component.sent[band.first..=band.last].fill(Some(low));
        }
        let mut bits = Bits::new(bytes, at);
        let mut run = 0;
        let progressive = frame.progressive;
        let alone = parts.len() == 1;
        let [columns, rows] = if alone { frame.components[parts[0].0].size } else { frame.size };
        let total = columns * rows;
        let mut restarts = 0;
        for unit in 0..total {
            if self.restart > 0 && unit > 0 && unit % self.restart == 0 {
                run = 0;
                restarts += 1;
                if !bits.restart((restarts - 1) % 8) {
                    return Err(ended(unit, total, progressive));
                }
            }
            for (&(number, ..), (dc, ac)) in parts.iter().zip(&tables) {
                let component = &mut frame.components[number];
                let blocks = if alone { 1 } else { component.factors[0] * component.factors[1] };
                for _ in 0..blocks {
                    let walked = match (progressive, band.first, dc, ac) {
                        (false, _, Some(dc), Some(ac)) => sequential(&mut bits, dc, ac),
                        (true, 0, Some(dc), _) if !band.refines => difference(&mut bits, dc),
                        (true, 0, ..) => bits.skip(1),
                        (true, _, _, Some(ac)) => {
                            let nonzero = &mut component.nonzero[unit];
                            if band.refines {
                                refine(&mut bits, ac, band, &mut run, nonzero)
                            } else {
                                first_bits(&mut bits, ac, band, &mut run, nonzero)
                            }
                        }
                        _ => Err(Stop::Invalid),
                    };
                    walked.map_err(|stop| match stop {
                        Stop::Ended => ended(unit, total, progressive),
                        Stop::Invalid => {
                            Flaw::Damaged(format!("its data are no blocks at {unit} of {total}"))
                        }
                    })?;
                }
            }
        }
        Ok(bits.position())
    }

    /// Whether all coefficients of all components were sent to the last bit.
    fn finish(&self, bytes: &[u8]) -> Result<(), Flaw> {
        if self.unknown {
            return Ok(());
        }
        let Some(frame) = &self.frame else { return Err(damaged("it has no frame header")) };
        let all = frame.components.iter().flat_map(|c| &c.sent);
        let missing = all.filter(|sent| **sent != Some(0)).count();
        if missing == 0 {
            return Ok(());
        }
        Err(Flaw::Missing(if missing == 64 * frame.components.len() {
            format!("its {} bytes end before its picture", bytes.len())
        } else {
            "scans are missing".into()
        }))
    }
}

fn ended(unit: usize, total: usize, progressive: bool) -> Flaw {
    let scan = if progressive { " of a scan" } else { "" };
    Flaw::Missing(format!("its data end after {unit} of {total} blocks{scan}"))
}

/// The difference of a block's mean.
fn difference(bits: &mut Bits, dc: &Table) -> Result<(), Stop> {
    if dc.symbol(bits)? > 15 { Err(Stop::Invalid) } else { Ok(()) }
}

fn sequential(bits: &mut Bits, dc: &Table, ac: &Table) -> Result<(), Stop> {
    difference(bits, dc)?;
    let mut at = 1;
    while at < 64 {
        let symbol = ac.symbol(bits)?;
        let (zeros, size) = (usize::from(symbol >> 4), symbol & 15);
        if size == 0 && zeros < 15 {
            break;
        }
        at += zeros + 1;
        if at > 64 {
            return Err(Stop::Invalid);
        }
    }
    Ok(())
}

/// A block in the first scan of a band; `run` counts blocks that are known to have nothing more.
fn first_bits(bits: &mut Bits, ac: &Table, band: Band, run: &mut u32, nonzero: &mut u64) -> Result<(), Stop> {
    if *run > 0 {
        *run -= 1;
        return Ok(());
    }
    let mut at = band.first;
    while at <= band.last {
        let symbol = ac.symbol(bits)?;
        let (zeros, size) = (usize::from(symbol >> 4), symbol & 15);
        if size == 0 && zeros < 15 {
            *run = (1 << zeros) - 1 + bits.take(zeros as u32)?;
            break;
        }
        at += zeros;
        if at > 63 {
            return Err(Stop::Invalid);
        }
        if size > 0 {
            *nonzero |= 1 << at;
        }
        at += 1;
    }
    Ok(())
}

/// A block in a scan that sends one more bit of each coefficient of a band.
fn refine(bits: &mut Bits, ac: &Table, band: Band, run: &mut u32, nonzero: &mut u64) -> Result<(), Stop> {
    let mut at = band.first;
    if *run == 0 {
        while at <= band.last {
            let symbol = ac.symbol(bits)?;
            let (mut zeros, size) = (u32::from(symbol >> 4), symbol & 15);
            if size > 1 {
                return Err(Stop::Invalid);
            }
            if size == 0 && zeros < 15 {
                *run = (1 << zeros) + bits.take(zeros)?;
                break;
            }
            // Past `zeros` coefficients that stay zero; those that are not zero take a bit each.
            while at <= band.last {
                if *nonzero >> at & 1 == 1 {
                    bits.skip(1)?;
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                at += 1;
            }
            if size > 0 {
                if at > band.last {
                    return Err(Stop::Invalid);
                }
                *nonzero |= 1 << at;
            }
            at += 1;
        }
    }
    if *run > 0 {
        let rest = if at > band.last { 0 } else { u64::MAX << at & u64::MAX >> (63 - band.last) };
        bits.skip_many((*nonzero & rest).count_ones())?;
        *run -= 1;
    }
    Ok(())
}
