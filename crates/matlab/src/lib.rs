//! MATLAB files of version 5 (`save` with `-v6` or `-v7`) as variables, elements and arrays' heads. What an array
//! holds, its readers decide: datasets want texts and cells, models numbers by the gigabyte.
//!
//! Written from the vendor's "MAT-File Format" (level 5). The crates for it read numeric arrays alone. No byte is
//! trusted: sizes are compared with what is left of the file, and what a variable unpacks to is limited.
//!
//! ```
//! // A file of nothing but its header.
//! let mut bytes = vec![b' '; r2former_matlab::HEADER];
//! bytes[124..].copy_from_slice(&[0, 1, b'I', b'M']);
//! assert!(r2former_matlab::is_matlab(&bytes));
//! let mut names = Vec::new();
//! r2former_matlab::variables(&bytes, 1 << 20, &mut |head, _| {
//!     names.push(head.name.clone());
//!     Ok(true)
//! })?;
//! assert!(names.is_empty());
//! # Ok::<(), String>(())
//! ```
//!
//! Errors are sentences without a subject, which the file is.

use flate2::read::ZlibDecoder;
use std::io::Read;

/// Bytes of text and version before the first element.
pub const HEADER: usize = 128;

/// Kinds of elements that are no numbers.
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;

/// Whether a file that begins like this is one of MATLAB 5, or of 7.3, which is another format with the same header.
pub fn is_matlab(start: &[u8]) -> bool {
    matches!(start.get(HEADER - 2..HEADER), Some(b"IM" | b"MI"))
}

/// Shows the variables of a file, one after the other, until `see` returns false: what stands before each one's content,
/// and the content. A variable may unpack to `most` bytes.
///
/// # Errors
/// A file that is none of MATLAB's, of another version (`-v7.3`, which is HDF5), cut short or damaged; and those of
/// `see`.
pub fn variables(
    bytes: &[u8],
    most: u64,
    see: &mut dyn FnMut(&Head, Elements<'_>) -> Result<bool, String>,
) -> Result<(), String> {
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
    if header[HEADER - 4..HEADER - 2].contains(&2) || header.starts_with(b"MATLAB 7.3") {
        return Err("is a MATLAB file of version 7.3 (HDF5): save it with -v7".into());
    }
    let mut elements = Elements { bytes: body, big_endian };
    while !elements.bytes.is_empty() {
        let (kind, data) = elements.next_element()?;
        let unpacked;
        let matrix = match kind {
            MATRIX => data,
            COMPRESSED => {
                unpacked = inflate(data, most)?;
                match (Elements { bytes: &unpacked, big_endian }).next_element()? {
                    (MATRIX, matrix) => matrix,
                    (other, _) => return Err(format!("a compressed variable is of kind {other}, no array")),
                }
            }
            // A file may hold elements that are no variables.
            _ => continue,
        };
        let mut parts = Elements { bytes: matrix, big_endian };
        let head = Head::read(&mut parts)?;
        if !see(&head, parts)? {
            break;
        }
    }
    Ok(())
}

fn inflate(data: &[u8], most: u64) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let read = ZlibDecoder::new(data).take(most.saturating_add(1)).read_to_end(&mut out);
    read.map_err(|e| format!("a compressed variable is damaged ({e}): copy or download the file again"))?;
    if out.len() as u64 > most {
        return Err(format!("a compressed variable unpacks to more than {most} bytes"));
    }
    Ok(out)
}

/// The elements that bytes hold, one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Elements<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl<'a> Elements<'a> {
    /// Kind and content of the next element.
    ///
    /// # Errors
    /// An end in the middle of an element.
    pub fn next_element(&mut self) -> Result<(u32, &'a [u8]), String> {
        let cut =
            || "ends in the middle of an element: is the file complete? Copy or download it again".to_owned();
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

    /// The content of the next element, which is of a kind; `what` it is, for the message.
    ///
    /// # Errors
    /// As [`next_element`](Self::next_element), and for an element of another kind.
    pub fn expect(&mut self, kinds: &[u32], what: &str) -> Result<&'a [u8], String> {
        match self.next_element()? {
            (kind, data) if kinds.contains(&kind) => Ok(data),
            (kind, _) => Err(format!("{what} is of kind {kind}: is the file damaged?")),
        }
    }

    fn u32(&self, bytes: &[u8]) -> u32 {
        let four = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if self.big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    }

    /// The array that comes next within an array, whose head [`Head::read`] takes off it; `None` for an empty one, which has
    /// not even a head.
    ///
    /// # Errors
    /// As [`expect`](Self::expect).
    pub fn array(&mut self) -> Result<Option<Elements<'a>>, String> {
        let bytes = self.expect(&[MATRIX], "an array within an array")?;
        Ok((!bytes.is_empty()).then_some(Elements { bytes, ..*self }))
    }

    /// Names of a structure's fields.
    ///
    /// # Errors
    /// As [`expect`](Self::expect).
    pub fn field_names(&mut self) -> Result<Vec<String>, String> {
        let length = self.expect(&[5], "the length of field names")?;
        let length = self.numbers(5, length)?.first().map_or(0, |length| length.max(0.0) as usize);
        let names = self.expect(&[1], "the field names")?;
        if length == 0 {
            return Ok(Vec::new());
        }
        let name = |padded: &[u8]| {
            let end = padded.iter().position(|byte| *byte == 0).unwrap_or(padded.len());
            String::from_utf8_lossy(&padded[..end]).into_owned()
        };
        Ok(names.chunks_exact(length).map(name).collect())
    }

    /// How many arrays can follow within: each has a tag of eight bytes.
    pub fn arrays_at_most(&self) -> usize {
        self.bytes.len() / 8
    }

    /// Every number of an element.
    ///
    /// # Errors
    /// A kind that is not numeric, and bytes that are not whole numbers of it.
    pub fn numbers(&self, kind: u32, data: &[u8]) -> Result<Vec<f64>, String> {
        self.read(kind, data, |value| value)
    }

    /// The same in 32 bits.
    ///
    /// # Errors
    /// As [`numbers`](Self::numbers).
    pub fn floats(&self, kind: u32, data: &[u8]) -> Result<Vec<f32>, String> {
        self.read(kind, data, |value| value as f32)
    }

    fn read<T>(&self, kind: u32, data: &[u8], value: impl Fn(f64) -> T) -> Result<Vec<T>, String> {
        macro_rules! all {
            ($type:ty) => {{
                let (chunks, rest) = data.as_chunks::<{ size_of::<$type>() }>();
                if !rest.is_empty() {
                    return Err(format!("{} bytes are not whole numbers", data.len()));
                }
                let each = chunks.iter().map(|bytes| match self.big_endian {
                    true => value(<$type>::from_be_bytes(*bytes) as f64),
                    false => value(<$type>::from_le_bytes(*bytes) as f64),
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
    ///
    /// # Errors
    /// A kind that is no text.
    pub fn text(&self, kind: u32, data: &[u8]) -> Result<String, String> {
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// 1 cells, 2 a structure, 3 an object, 4 text, 5 sparse, 6 to 15 numbers.
    pub class: u32,
    /// Whether an imaginary part follows the numbers.
    pub complex: bool,
    /// Rows, columns, ...: the first axis is the fastest.
    pub shape: Vec<usize>,
    /// Empty within another array.
    pub name: String,
}

impl Head {
    /// Takes an array's head off it.
    ///
    /// # Errors
    /// As [`Elements::expect`].
    pub fn read(parts: &mut Elements<'_>) -> Result<Self, String> {
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
    ///
    /// # Errors
    /// A shape of more.
    pub fn count(&self, most: usize) -> Result<usize, String> {
        let count = self.shape.iter().try_fold(1usize, |all, side| all.checked_mul(*side));
        count.filter(|count| *count <= most).ok_or_else(|| {
            format!("an array of shape {:?} is larger than its bytes: is the file damaged?", self.shape)
        })
    }
}
