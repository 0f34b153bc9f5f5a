//! MATLAB's files of version 5 (`.mat`): every numeric array in them, however deep in structures and cells, by a name such as
//! `net.layers{31}.weights{1}`.
//!
//! No byte is trusted: sizes are compared with what is left of the file, depth and inflated bytes are limited.

use crate::weights::{RawTensor, Tensors};
use flate2::read::ZlibDecoder;
use std::io::Read;

type Result<T> = std::result::Result<T, String>;

/// Bytes of the header: text, an offset, version and byte order.
const HEADER: usize = 128;
/// Structures and cells inside each other, at most.
const DEPTH: usize = 32;
/// Bytes of one compressed variable once inflated, at most.
const INFLATED: u64 = 4 << 30;

/// Types of data elements.
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;

/// Classes of arrays.
const CELL: u8 = 1;
const STRUCT: u8 = 2;
const OBJECT: u8 = 3;

/// Whether bytes are such a file, or one of MATLAB 7.3, which is another format with the same header.
pub(super) fn recognise(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER && matches!(&bytes[124..HEADER], [_, _, b'I', b'M'] | [_, _, b'M', b'I'])
}

/// The numeric arrays of a file. Their shapes are MATLAB's and their values in its order: the first axis is the fastest.
pub(super) fn read(bytes: &[u8]) -> Result<Tensors> {
    if bytes.get(..10) == Some(b"MATLAB 7.3") {
        return Err("is a MATLAB file of version 7.3 (HDF5); save it with -v7".into());
    }
    let big = bytes.get(126..HEADER) == Some(b"MI");
    let mut found = Tensors::new();
    let mut file = Cursor { bytes: bytes.get(HEADER..).unwrap_or_default(), big };
    while !file.bytes.is_empty() {
        let (kind, data) = file.element()?;
        match kind {
            MATRIX => array(data, None, 0, &mut found)?,
            COMPRESSED => {
                let mut whole = Vec::new();
                let read = ZlibDecoder::new(data.bytes).take(INFLATED).read_to_end(&mut whole);
                read.map_err(|e| format!("has a damaged compressed variable: {e}"))?;
                if whole.len() as u64 == INFLATED {
                    return Err("has a variable of more than 4 GB".into());
                }
                let (kind, data) = Cursor { bytes: &whole, big }.element()?;
                if kind == MATRIX {
                    array(data, None, 0, &mut found)?;
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The rest of an element's bytes.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    bytes: &'a [u8],
    big: bool,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) =
            self.bytes.split_at_checked(count).ok_or("ends within an array: is the file complete?")?;
        self.bytes = rest;
        Ok(taken)
    }

    fn word(&mut self) -> Result<u32> {
        let bytes = self.take(4)?.first_chunk().copied().unwrap_or_default();
        Ok(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// The next data element: its type and bytes. Small ones share their tag's eight bytes.
    fn element(&mut self) -> Result<(u32, Cursor<'a>)> {
        let first = self.word()?;
        let (kind, data) = if first >> 16 != 0 {
            let size = (first >> 16) as usize;
            let four = self.take(4)?;
            (first & 0xffff, four.get(..size).ok_or("has a small element of more than four bytes")?)
        } else {
            let size = self.word()? as usize;
            let data = self.take(size)?;
            // Compressed elements alone are not padded to eight bytes; the last padding may be missing.
            let padding = if first == COMPRESSED { 0 } else { size.wrapping_neg() % 8 };
            self.bytes = self.bytes.get(padding..).unwrap_or_default();
            (first, data)
        };
        Ok((kind, Cursor { bytes: data, big: self.big }))
    }

    /// Numbers of any type as `f64`; `None` for a type that holds none.
    fn numbers(self, kind: u32) -> Option<Vec<f64>> {
        macro_rules! all {
            ($type:ty) => {{
                let chunks = self.bytes.as_chunks::<{ size_of::<$type>() }>().0.iter();
                chunks
                    .map(|b| if self.big { <$type>::from_be_bytes(*b) } else { <$type>::from_le_bytes(*b) } as f64)
                    .collect()
            }};
        }
        Some(match kind {
            1 => all!(i8),
            2 => all!(u8),
            3 => all!(i16),
            4 => all!(u16),
            5 => all!(i32),
            6 => all!(u32),
            7 => all!(f32),
            9 => all!(f64),
            12 => all!(i64),
            13 => all!(u64),
            _ => return None,
        })
    }

    /// As [`numbers`](Self::numbers) in 32 bits, without the way through 64 for those that are so stored.
    fn values(self, kind: u32) -> Option<Vec<f32>> {
        if kind == 7 && !self.big {
            return Some(self.bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect());
        }
        Some(self.numbers(kind)?.into_iter().map(|value| value as f32).collect())
    }
}

/// Adds the numbers of an array, or those of what it holds. `name` is its own if `None`.
fn array(mut data: Cursor<'_>, name: Option<&str>, depth: usize, found: &mut Tensors) -> Result<()> {
    if data.bytes.is_empty() {
        // How empty cells are written.
        return Ok(());
    }
    if depth > DEPTH {
        return Err(format!("has more than {DEPTH} structures inside each other"));
    }
    let (_, mut flags) = data.element()?;
    let class = (flags.word()? & 0xff) as u8;
    let (kind, sizes) = data.element()?;
    let sizes = sizes.numbers(kind).ok_or("has an array without sizes")?;
    let sizes: Vec<usize> = sizes.into_iter().map(|size| size.max(0.0) as usize).collect();
    let count =
        sizes.iter().try_fold(1usize, |all, size| all.checked_mul(*size)).ok_or("has an absurd array")?;
    let (_, own) = data.element()?;
    let own = String::from_utf8_lossy(own.bytes);
    let name = name.unwrap_or(&own);
    match class {
        CELL => {
            for i in 1..=members(count, &data)? {
                let (_, member) = data.element()?;
                array(member, Some(&format!("{name}{{{i}}}")), depth + 1, found)?;
            }
        }
        STRUCT | OBJECT => {
            if class == OBJECT {
                data.element()?;
            }
            let fields = fields(&mut data)?;
            for i in 1..=members(count, &data)? {
                // A structure is an array of one.
                let one = if count == 1 { name.to_string() } else { format!("{name}({i})") };
                for field in &fields {
                    let (_, member) = data.element()?;
                    array(member, Some(&format!("{one}.{field}")), depth + 1, found)?;
                }
            }
        }
        // Double, single and integers of eight sizes; texts, sparse arrays and functions are passed over.
        6..=15 => {
            let (kind, real) = data.element()?;
            let values = real.values(kind).ok_or_else(|| format!("{name} has a type that is not known"))?;
            if values.len() != count {
                return Err(format!("{name} has {} values, not {count} (shape {sizes:?})", values.len()));
            }
            if found.insert(name.to_string(), RawTensor { shape: sizes, data: values }).is_some() {
                return Err(format!("{name} is in it twice"));
            }
        }
        _ => {}
    }
    Ok(())
}

/// As many members as an array says it has, if that many can follow: each has a tag of eight bytes.
fn members(count: usize, data: &Cursor<'_>) -> Result<usize> {
    if count > data.bytes.len() / 8 {
        return Err("ends within an array: is the file complete?".into());
    }
    Ok(count)
}

/// Names of a structure's fields.
fn fields(data: &mut Cursor<'_>) -> Result<Vec<String>> {
    let (_, mut length) = data.element()?;
    let length = length.word()? as usize;
    let (_, names) = data.element()?;
    if length == 0 {
        return Err("has a structure without names".into());
    }
    let text = |name: &[u8]| {
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        String::from_utf8_lossy(&name[..end]).into_owned()
    };
    Ok(names.bytes.chunks(length).map(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Written by scipy, compressed and not.
    const FILES: [&[u8]; 2] = [
        include_bytes!("../../tests/parity/nested.mat"),
        include_bytes!("../../tests/parity/nested_compressed.mat"),
    ];

    #[test]
    fn arrays_in_structures_and_cells() {
        for file in FILES {
            assert!(recognise(file));
            let found = read(file).unwrap();
            let names: Vec<&str> = found.keys().map(String::as_str).collect();
            assert_eq!(
                names,
                [
                    "alone",
                    "net.layers{1}.weights{1}",
                    "net.layers{1}.weights{2}",
                    "net.many(1).a",
                    "net.many(2).a",
                    "net.meta.mean"
                ]
            );
            // Column-major.
            assert_eq!(found["alone"].shape, [2, 3]);
            assert_eq!(found["alone"].data, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
            assert_eq!(found["net.layers{1}.weights{1}"].shape, [1, 2, 2]);
            assert_eq!(found["net.layers{1}.weights{1}"].data, [0.5, 2.5, 1.5, 3.5]);
            assert_eq!(found["net.layers{1}.weights{2}"].data, [-7.0]);
            assert_eq!(found["net.many(2).a"].data, [2.0]);
        }
    }

    #[test]
    fn damage_is_an_error_or_harmless() {
        for file in FILES {
            for length in HEADER + 1..file.len() {
                let _ = read(&file[..length]);
            }
            assert!(read(&file[..file.len() / 2]).is_err());
        }
        let mut newer = FILES[0].to_vec();
        newer[..10].copy_from_slice(b"MATLAB 7.3");
        assert!(read(&newer).unwrap_err().contains("7.3"));
    }

    proptest! {
        #[test]
        fn changed_bytes_do_not_panic(which in 0usize..2, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
            let mut file = FILES[which].to_vec();
            for (at, value) in changes {
                let at = HEADER + at.index(file.len() - HEADER);
                file[at] = value;
            }
            let _ = read(&file);
        }
    }
}
