//! MATLAB files of version 5 (`save` with `-v6` or `-v7`): numbers, texts, cells and structures.
//!
//! Written from the vendor's "MAT-File Format" (level 5). The crates for it read numeric arrays alone, and the
//! files of place recognition are structures of cells of texts.

use crate::{DataError, Result};
use flate2::read::ZlibDecoder;
use std::io::Read;
use std::path::Path;

/// Bytes of a file, and of what one of its variables unpacks to, at most: the largest dataset's are below 100 MB.
const MOST_BYTES: u64 = 1 << 30;
/// Cells in cells, at most.
const DEEPEST: usize = 16;
/// Text and version before the first element.
const HEADER: usize = 128;

/// Kinds of elements that are no numbers.
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;

/// An array of MATLAB.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Real numbers, column after column.
    Numbers {
        /// Rows, columns, ...
        shape: Vec<usize>,
        /// As many as the shape says.
        values: Vec<f64>,
    },
    /// A line of text.
    Text(String),
    /// Arrays of any kind, column after column.
    Cells(Vec<Value>),
    /// Fields by name, of the first element.
    Structure(Vec<(String, Value)>),
    /// Anything else.
    Other(&'static str),
}

impl Value {
    /// What it is, for messages.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Numbers { shape, .. } => {
                let sides: Vec<String> = shape.iter().map(ToString::to_string).collect();
                format!("numbers ({})", sides.join(" x "))
            }
            Self::Text(_) => "a text".into(),
            Self::Cells(all) => format!("{} cells", all.len()),
            Self::Structure(_) => "a structure".into(),
            Self::Other(class) => (*class).into(),
        }
    }
}

/// Reads one variable of a file.
///
/// # Errors
/// [`DataError::Io`]; [`DataError::Format`] for a file that is none of MATLAB's, of another version (`-v7.3`, which
/// is HDF5), cut short or damaged, or without the variable; the message lists its variables.
pub(super) fn read_variable(path: &Path, name: &str) -> Result<Value> {
    let size = std::fs::metadata(path).map_err(|e| DataError::io(path, e))?.len();
    if size > MOST_BYTES {
        return Err(DataError::format(path, None, format!("has {size} bytes; the limit is {MOST_BYTES}")));
    }
    let bytes = std::fs::read(path).map_err(|e| DataError::io(path, e))?;
    variable(&bytes, name).map_err(|problem| DataError::format(path, None, problem))
}

/// As [`read_variable`], of bytes in memory; the error says what is wrong.
fn variable(bytes: &[u8], name: &str) -> Result<Value, String> {
    let Some((header, body)) = bytes.split_at_checked(HEADER) else {
        return Err(format!(
            "is no MATLAB file: it has {} bytes, its header alone has {HEADER}",
            bytes.len()
        ));
    };
    let big_endian = match &header[HEADER - 2..] {
        b"IM" => false,
        b"MI" => true,
        _ => return Err("is no MATLAB file of version 5: save it with -v7".into()),
    };
    if header[HEADER - 4..HEADER - 2].contains(&2) {
        return Err("is a MATLAB file of version 7.3 (HDF5): save it with -v7".into());
    }
    let mut elements = Elements { bytes: body, big_endian };
    let mut others = Vec::new();
    while !elements.bytes.is_empty() {
        let (kind, data) = elements.next()?;
        let unpacked;
        let matrix = match kind {
            MATRIX => data,
            COMPRESSED => {
                unpacked = inflate(data)?;
                match (Elements { bytes: &unpacked, big_endian }).next()? {
                    (MATRIX, matrix) => matrix,
                    (other, _) => return Err(format!("a compressed variable is of kind {other}, no array")),
                }
            }
            // A file may hold elements that are no variables.
            _ => continue,
        };
        let mut parts = Elements { bytes: matrix, big_endian };
        let head = Head::read(&mut parts)?;
        if head.name == name {
            return contents(&head, parts, 0).map_err(|problem| format!("variable {name}: {problem}"));
        }
        others.push(head.name);
    }
    let others = if others.is_empty() { "none".into() } else { others.join(", ") };
    Err(format!("has no variable {name}; its variables: {others}"))
}

fn inflate(data: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let read = ZlibDecoder::new(data).take(MOST_BYTES + 1).read_to_end(&mut out);
    read.map_err(|e| format!("a compressed variable is damaged ({e}): copy or download the file again"))?;
    if out.len() as u64 > MOST_BYTES {
        return Err(format!("a compressed variable unpacks to more than {MOST_BYTES} bytes"));
    }
    Ok(out)
}

/// The elements that bytes hold, one after the other.
#[derive(Clone, Copy)]
struct Elements<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl<'a> Elements<'a> {
    /// Kind and content of the next element.
    fn next(&mut self) -> Result<(u32, &'a [u8]), String> {
        let cut = || "ends in the middle of an element: copy or download the file again".to_owned();
        let (tag, rest) = self.bytes.split_at_checked(8).ok_or_else(cut)?;
        let word = self.u32(tag);
        // Up to four bytes stand within the tag itself.
        if word >> 16 != 0 {
            let data = tag[4..].get(..(word >> 16) as usize).ok_or_else(cut)?;
            self.bytes = rest;
            return Ok((word & 0xffff, data));
        }
        let length = self.u32(&tag[4..]) as usize;
        let (data, _) = rest.split_at_checked(length).ok_or_else(cut)?;
        // Elements begin at multiples of eight bytes, but for what follows a compressed one.
        let padded = if word == COMPRESSED { length } else { length.next_multiple_of(8) };
        self.bytes = rest.get(padded..).unwrap_or_default();
        Ok((word, data))
    }

    /// The content of the next element, which is of a kind.
    fn expect(&mut self, kinds: &[u32], what: &str) -> Result<&'a [u8], String> {
        match self.next()? {
            (kind, data) if kinds.contains(&kind) => Ok(data),
            (kind, _) => Err(format!("{what} is of kind {kind}: is the file damaged?")),
        }
    }

    fn u32(&self, bytes: &[u8]) -> u32 {
        let four = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if self.big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    }

    /// Every number of an element.
    fn numbers(&self, kind: u32, data: &[u8]) -> Result<Vec<f64>, String> {
        macro_rules! all {
            ($type:ty) => {{
                let (chunks, rest) = data.as_chunks::<{ size_of::<$type>() }>();
                if !rest.is_empty() {
                    return Err(format!("{} bytes are not whole numbers", data.len()));
                }
                let each = chunks.iter().map(|bytes| match self.big_endian {
                    true => <$type>::from_be_bytes(*bytes) as f64,
                    false => <$type>::from_le_bytes(*bytes) as f64,
                });
                Ok(each.collect())
            }};
        }
        match kind {
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
            other => Err(format!("numbers are of kind {other}: is the file damaged?")),
        }
    }

    /// Characters of an element.
    fn text(&self, kind: u32, data: &[u8]) -> Result<String, String> {
        match kind {
            // Texts of ASCII, and those whose encoding is stated.
            1 | 2 | 16 => Ok(String::from_utf8_lossy(data).into_owned()),
            4 | 17 => {
                let units = self.numbers(4, data)?.into_iter().map(|unit| unit as u16);
                Ok(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
            }
            other => Err(format!("a text is of kind {other}: is the file damaged?")),
        }
    }
}

/// What stands before an array's content.
struct Head {
    class: u32,
    complex: bool,
    shape: Vec<usize>,
    name: String,
}

impl Head {
    fn read(parts: &mut Elements<'_>) -> Result<Self, String> {
        let flags = parts.expect(&[6], "an array's flags")?;
        if flags.len() < 4 {
            return Err("an array's flags are too short: is the file damaged?".into());
        }
        let word = parts.u32(flags);
        let sides = parts.expect(&[5], "an array's shape")?;
        let sides = parts.numbers(5, sides)?;
        let shape: Vec<usize> = sides.into_iter().map(|side| side.max(0.0) as usize).collect();
        let name = parts.expect(&[1], "an array's name")?;
        let name = String::from_utf8_lossy(name).into_owned();
        Ok(Self { class: word & 0xff, complex: word & 0x800 != 0, shape, name })
    }

    /// Number of its elements; `most` is what its bytes have room for, so that no shape asks for more memory.
    fn count(&self, most: usize) -> Result<usize, String> {
        let count = self.shape.iter().try_fold(1usize, |all, side| all.checked_mul(*side));
        count.filter(|count| *count <= most).ok_or_else(|| {
            format!("an array of shape {:?} is larger than its bytes: is the file damaged?", self.shape)
        })
    }
}

/// An array within another.
fn array(data: &[u8], big_endian: bool, depth: usize) -> Result<Value, String> {
    if depth > DEEPEST {
        return Err(format!("has cells in cells more than {DEEPEST} deep"));
    }
    // An empty cell is an array without even a head.
    if data.is_empty() {
        return Ok(Value::Numbers { shape: vec![0, 0], values: Vec::new() });
    }
    let mut parts = Elements { bytes: data, big_endian };
    let head = Head::read(&mut parts)?;
    contents(&head, parts, depth)
}

/// What follows an array's head.
fn contents(head: &Head, mut parts: Elements<'_>, depth: usize) -> Result<Value, String> {
    let big_endian = parts.big_endian;
    // Every array within has a tag of eight bytes.
    let within = parts.bytes.len() / 8;
    let next = |parts: &mut Elements<'_>| {
        let data = parts.expect(&[MATRIX], "an array within an array")?;
        array(data, big_endian, depth + 1)
    };
    Ok(match head.class {
        1 => Value::Cells((0..head.count(within)?).map(|_| next(&mut parts)).collect::<Result<_, _>>()?),
        2 => {
            let length = parts.expect(&[5], "the length of field names")?;
            let length = parts.numbers(5, length)?.first().map_or(0, |length| length.max(0.0) as usize);
            let names = parts.expect(&[1], "the field names")?;
            if length == 0 || head.count(within)? == 0 {
                return Ok(Value::Structure(Vec::new()));
            }
            let name = |padded: &[u8]| {
                let end = padded.iter().position(|byte| *byte == 0).unwrap_or(padded.len());
                String::from_utf8_lossy(&padded[..end]).into_owned()
            };
            let fields = names.chunks_exact(length).map(|padded| Ok((name(padded), next(&mut parts)?)));
            Value::Structure(fields.collect::<Result<_, String>>()?)
        }
        4 if head.shape.first().is_none_or(|rows| *rows <= 1) => {
            let (kind, data) = parts.next()?;
            Value::Text(parts.text(kind, data)?)
        }
        6..=15 if !head.complex => {
            let (kind, data) = parts.next()?;
            let values = parts.numbers(kind, data)?;
            if head.count(values.len())? != values.len() {
                return Err(format!("{} numbers are not of shape {:?}", values.len(), head.shape));
            }
            Value::Numbers { shape: head.shape.clone(), values }
        }
        3 => Value::Other("an object"),
        4 => Value::Other("several lines of text"),
        5 => Value::Other("a sparse matrix"),
        6..=15 => Value::Other("complex numbers"),
        _ => Value::Other("of a class unknown here"),
    })
}

#[cfg(test)]
#[path = "matlab_tests.rs"]
mod tests;
