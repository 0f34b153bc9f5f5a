//! Values that hold many slots: facts, tags, codes.

use r2former_geo::{LatLon, LocalPoint, Position};
use r2former_kernels::scan::{RowScale, encode};

use crate::place::Place;
use crate::schema::{FACT_ROWS, SUM, Shape};

/// Bytes before the codes of a stored block, its checksum included: with the header of LMDB's page a multiple of 64.
const CODES_HEAD: usize = 48;

/// Bytes of a row's scale and residual.
const SCALE: usize = 8;

/// What filters ask about the places of a block of [`FACT_ROWS`] slots.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Facts {
    /// A bit for each slot that is taken.
    pub(crate) taken: Vec<u64>,
    /// Whether positions are in local metres.
    local: bool,
    /// Latitudes or x; NaN where there is no position.
    lat: Vec<f64>,
    /// Longitudes or y.
    lon: Vec<f64>,
    /// z in local metres, NaN where there is none; empty on the globe.
    z: Vec<f64>,
    /// `NO_TIME` where there is none.
    pub(crate) time: Vec<i64>,
}

/// The time of a place without one.
const NO_TIME: i64 = i64::MIN;

/// The bit of a block's count of rows that says that positions are in local metres.
const LOCAL: u64 = 1 << 32;

/// A block of facts as it is stored: columns of 8 bytes a row; in local metres, one more for z.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoredFacts<'a> {
    taken: &'a [[u8; 8]],
    lat: &'a [[u8; 8]],
    lon: &'a [[u8; 8]],
    z: Option<&'a [[u8; 8]]>,
    time: &'a [[u8; 8]],
}

impl<'a> StoredFacts<'a> {
    /// Splits a value; none if it is no block of facts.
    pub(crate) fn split(value: &'a [u8]) -> Option<Self> {
        let (count, rest) = value.split_first_chunk::<8>()?;
        let count = u64::from_le_bytes(*count);
        let local = count & LOCAL != 0;
        let count = usize::try_from(count & !LOCAL).ok().filter(|&n| n <= FACT_ROWS as usize)?;
        let words = count.div_ceil(64);
        if rest.len() != 8 * (words + (3 + usize::from(local)) * count) {
            return None;
        }
        let (taken, all) = rest.as_chunks::<8>().0.split_at(words);
        let (lat, all) = all.split_at(count);
        let (lon, all) = all.split_at(count);
        let (z, time) = all.split_at(if local { count } else { 0 });
        Some(Self { taken, lat, lon, z: local.then_some(z), time })
    }

    pub(crate) fn rows(self) -> usize {
        self.lat.len()
    }

    /// The bits of the slots that are taken.
    pub(crate) fn taken(self) -> impl Iterator<Item = u64> + use<'a> {
        self.taken.iter().map(|&bytes| u64::from_le_bytes(bytes))
    }

    pub(crate) fn is_taken(self, row: usize) -> bool {
        self.taken.get(row / 64).is_some_and(|&word| u64::from_le_bytes(word) >> (row % 64) & 1 == 1)
    }

    /// The position in one of the rows.
    pub(crate) fn position(self, row: usize) -> Option<Position> {
        let (lat, lon) = (f64::from_le_bytes(self.lat[row]), f64::from_le_bytes(self.lon[row]));
        let position = match self.z {
            None => Position::Wgs84(LatLon { lat, lon }),
            Some(z) => {
                let z = Some(f64::from_le_bytes(z[row])).filter(|z| !z.is_nan());
                Position::Local(LocalPoint { x: lat, y: lon, z })
            }
        };
        (!lat.is_nan()).then_some(position)
    }

    /// The time in one of the rows.
    pub(crate) fn time(self, row: usize) -> Option<i64> {
        Some(i64::from_le_bytes(self.time[row])).filter(|&time| time != NO_TIME)
    }
}

impl Facts {
    pub(crate) fn of(stored: StoredFacts<'_>) -> Self {
        let floats = |column: &[[u8; 8]]| column.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect();
        Self {
            taken: stored.taken().collect(),
            local: stored.z.is_some(),
            lat: floats(stored.lat),
            lon: floats(stored.lon),
            z: stored.z.map(floats).unwrap_or_default(),
            time: stored.time.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + 8 * self.taken.len() + 32 * self.lat.len());
        let local = if self.local { LOCAL } else { 0 };
        bytes.extend((self.lat.len() as u64 | local).to_le_bytes());
        bytes.extend(self.taken.iter().flat_map(|word| word.to_le_bytes()));
        let coordinates = self.lat.iter().chain(&self.lon).chain(&self.z);
        bytes.extend(coordinates.flat_map(|number| number.to_le_bytes()));
        bytes.extend(self.time.iter().flat_map(|time| time.to_le_bytes()));
        bytes
    }

    /// Lets a place take a row.
    pub(crate) fn set(&mut self, row: usize, place: &Place) {
        // The positions of an index are of one kind.
        self.local |= matches!(place.position, Some(Position::Local(_)));
        self.reach(row);
        self.taken[row / 64] |= 1 << (row % 64);
        let (lat, lon, z) = match place.position {
            None => (f64::NAN, f64::NAN, None),
            Some(Position::Wgs84(at)) => (at.lat, at.lon, None),
            Some(Position::Local(at)) => (at.x, at.y, at.z),
        };
        (self.lat[row], self.lon[row]) = (lat, lon);
        self.time[row] = place.time.unwrap_or(NO_TIME);
        if let Some(stored) = self.z.get_mut(row) {
            *stored = z.unwrap_or(f64::NAN);
        }
    }

    pub(crate) fn clear(&mut self, row: usize) {
        self.reach(row);
        self.taken[row / 64] &= !(1 << (row % 64));
        (self.lat[row], self.lon[row], self.time[row]) = (f64::NAN, f64::NAN, NO_TIME);
        if let Some(z) = self.z.get_mut(row) {
            *z = f64::NAN;
        }
    }

    fn reach(&mut self, row: usize) {
        let count = self.lat.len().max(row + 1);
        self.taken.resize(count.div_ceil(64), 0);
        self.lat.resize(count, f64::NAN);
        self.lon.resize(count, f64::NAN);
        self.z.resize(if self.local { count } else { 0 }, f64::NAN);
        self.time.resize(count, NO_TIME);
    }
}

/// The slots of a block that carry a tag: a list of 16-bit rows while it is the shorter, then a bit for each row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tagged(pub(crate) [u64; FACT_ROWS as usize / 64]);

impl Default for Tagged {
    fn default() -> Self {
        Self([0; FACT_ROWS as usize / 64])
    }
}

impl Tagged {
    const BITS: usize = FACT_ROWS as usize / 8;

    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let mut tagged = Self::default();
        if value.len() == Self::BITS {
            for (word, &bytes) in tagged.0.iter_mut().zip(value.as_chunks().0) {
                *word = u64::from_le_bytes(bytes);
            }
            return Some(tagged);
        }
        let (rows, []) = value.as_chunks() else { return None };
        for &row in rows {
            tagged.set(usize::from(u16::from_le_bytes(row)), true)?;
        }
        Some(tagged)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let count: u32 = self.0.iter().map(|word| word.count_ones()).sum();
        if 2 * count as usize >= Self::BITS {
            return self.0.iter().flat_map(|word| word.to_le_bytes()).collect();
        }
        let rows = (0..FACT_ROWS as u16).filter(|&row| self.contains(usize::from(row)));
        rows.flat_map(u16::to_le_bytes).collect()
    }

    pub(crate) fn contains(&self, row: usize) -> bool {
        self.0.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    pub(crate) fn set(&mut self, row: usize, to: bool) -> Option<()> {
        let word = self.0.get_mut(row / 64)?;
        *word = *word & !(1 << (row % 64)) | u64::from(to) << (row % 64);
        Some(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }
}

/// A stored block of codes: checksum, number of rows, codes, scales.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CodeBlock<'a> {
    pub(crate) codes: &'a [u8],
    scales: &'a [[u8; SCALE]],
}

impl<'a> CodeBlock<'a> {
    /// Splits a stored value, the checksum included, which is not checked here.
    pub(crate) fn split(stored: &'a [u8], shape: Shape) -> Option<Self> {
        let count = u32::from_le_bytes(*stored.get(SUM..)?.first_chunk()?);
        if count > shape.code_rows {
            return None;
        }
        let codes = count as usize * shape.stride;
        let (codes, scales) = stored.get(CODES_HEAD..)?.split_at_checked(codes)?;
        let (scales, rest) = scales.as_chunks();
        (rest.is_empty() && scales.len() == count as usize).then_some(Self { codes, scales })
    }

    pub(crate) fn rows(self) -> usize {
        self.scales.len()
    }

    pub(crate) fn scale(self, row: usize) -> Option<RowScale> {
        self.scales.get(row).map(scale_of)
    }

    /// The rows' scales, into a buffer that is used again.
    pub(crate) fn scales_into(self, scales: &mut Vec<RowScale>) {
        scales.clear();
        scales.extend(self.scales.iter().map(scale_of));
    }
}

#[inline]
fn scale_of(bytes: &[u8; SCALE]) -> RowScale {
    let [a, b, c, d, e, f, g, h] = *bytes;
    RowScale { scale: f32::from_le_bytes([a, b, c, d]), residual: f32::from_le_bytes([e, f, g, h]) }
}

/// A block of codes that is being changed.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewCodes {
    codes: Vec<u8>,
    scales: Vec<[u8; SCALE]>,
}

impl NewCodes {
    pub(crate) fn of(block: CodeBlock<'_>) -> Self {
        Self { codes: block.codes.to_vec(), scales: block.scales.to_vec() }
    }

    /// Encodes a descriptor into a row.
    pub(crate) fn set(&mut self, shape: Shape, row: usize, global: &[f32]) {
        let count = self.scales.len().max(row + 1);
        self.codes.resize(count * shape.stride, 0);
        self.scales.resize(count, [0; SCALE]);
        let scale = encode(global, &mut self.codes[row * shape.stride..][..shape.stride]);
        self.scales[row][..4].copy_from_slice(&scale.scale.to_le_bytes());
        self.scales[row][4..].copy_from_slice(&scale.residual.to_le_bytes());
    }

    /// The value, without its checksum.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(CODES_HEAD + self.codes.len() + SCALE * self.scales.len());
        bytes.extend((self.scales.len() as u32).to_le_bytes());
        bytes.resize(CODES_HEAD - SUM, 0);
        bytes.extend_from_slice(&self.codes);
        bytes.extend_from_slice(self.scales.as_flattened());
        bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

    use super::*;
    use crate::schema::{Db, sum};

    #[test]
    fn facts_and_tags_come_back() {
        let mut facts = Facts::default();
        let here = Place {
            position: Some(LatLon { lat: 1.5, lon: -2.5 }.into()),
            time: Some(7),
            ..Place::default()
        };
        facts.set(70, &here);
        facts.set(3, &Place::default());
        facts.clear(3);
        let value = facts.encode();
        let back = StoredFacts::split(&value).unwrap();
        assert!(back.is_taken(70) && !back.is_taken(3) && !back.is_taken(5000));
        assert_eq!((back.position(70), back.time(70)), (here.position, here.time));
        assert_eq!((back.rows(), back.position(3), back.time(3)), (71, None, None));
        assert_eq!(back.taken().collect::<Vec<_>>(), [0, 64]);
        assert_eq!(Facts::of(back).encode(), value);
        for cut in 0..value.len() {
            assert!(StoredFacts::split(&value[..cut]).is_none());
        }
        for count in [0, 1, 255, 256, 257, 4096] {
            let mut tagged = Tagged::default();
            for row in 0..count {
                tagged.set(4095 - row, true).unwrap();
            }
            let bytes = tagged.encode();
            assert_eq!(bytes.len(), (2 * count).min(512));
            assert_eq!(Tagged::decode(&bytes).unwrap(), tagged);
        }
        assert!(Tagged::decode(&[0, 16]).is_none() && Tagged::decode(&[0]).is_none());
    }

    #[test]
    fn local_positions_have_a_column_more() {
        let at = |z| Place { position: Some(LocalPoint { x: 1.0, y: -2.0, z }.into()), ..Place::default() };
        let mut facts = Facts::default();
        facts.set(0, &Place::default());
        facts.set(1, &at(None));
        facts.set(2, &at(Some(3.5)));
        facts.set(3, &at(Some(4.5)));
        facts.clear(3);
        let value = facts.encode();
        assert_eq!(value.len(), 8 * (1 + 1 + 4 * 4));
        let back = StoredFacts::split(&value).unwrap();
        let positions: Vec<_> = (0..4).map(|row| back.position(row)).collect();
        assert_eq!(positions, [None, at(None).position, at(Some(3.5)).position, None]);
        assert_eq!(Facts::of(back).encode(), value);
        for cut in 0..value.len() {
            assert!(StoredFacts::split(&value[..cut]).is_none());
        }
    }

    #[test]
    fn codes_come_back() {
        let shape = Shape::new(70);
        let mut new = NewCodes::default();
        let global: Vec<f32> = (0..70).map(|i| (i as f32).sin()).collect();
        new.set(shape, 5, &global);
        let value = new.encode();
        let stored = [&sum(Db::Codes, &[0; 4], &value)[..], &value].concat();
        let block = CodeBlock::split(&stored, shape).unwrap();
        assert_eq!(block.rows(), 6);
        let mut codes = vec![0; shape.stride];
        let scale = encode(&global, &mut codes);
        assert_eq!((block.scale(5), &block.codes[5 * shape.stride..]), (Some(scale), &codes[..]));
        assert!(CodeBlock::split(&stored[..stored.len() - 1], shape).is_none());
    }

    #[test]
    fn blocks_are_a_quarter_of_a_megabyte_where_rows_are_short() {
        let rows = |dim| (Shape::new(dim).code_rows, Shape::new(dim).descriptor_rows);
        assert_eq!(
            [1, 16, 256, 8448, 65_536].map(rows),
            [(2048, 1364), (2048, 227), (512, 15), (64, 1), (64, 1)]
        );
    }
}
