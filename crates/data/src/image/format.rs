//! Image formats, recognised by their first bytes: file extensions lie.

use crate::shell::shell_path;
use crate::{DataError, Remedy, Result};
use std::path::Path;

/// What a file holds, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// JPEG, also as `.jfif`, `.mpo` (the first picture) or a phone's motion photo.
    Jpeg,
    /// PNG.
    Png,
    /// WebP.
    WebP,
    /// Windows bitmap.
    Bmp,
    /// PBM, PGM, PPM, PAM.
    Pnm,
    /// TIFF (the first page).
    Tiff,
    /// GIF (the first frame).
    Gif,
    /// QOI.
    Qoi,
    /// HEIC or HEIF.
    Heic,
    /// AVIF.
    Avif,
    /// JPEG XL.
    JpegXl,
    /// JPEG 2000.
    Jpeg2000,
    /// A camera's RAW format: DNG, CR2, CR3, NEF, ARW, RAF, ORF, RW2 and similar.
    Raw,
    /// A video: MP4, MOV, AVI, Matroska, MPEG and similar.
    Video,
    /// Anything else: not a photograph.
    Unknown,
}

/// How many first bytes [`sniff`] needs at most; a shorter start is good enough for every format but RAW.
pub const SNIFF_BYTES: usize = 4096;

impl Format {
    /// The format's name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Bmp => "BMP",
            Self::Pnm => "PNM",
            Self::Tiff => "TIFF",
            Self::Gif => "GIF",
            Self::Qoi => "QOI",
            Self::Heic => "HEIC",
            Self::Avif => "AVIF",
            Self::JpegXl => "JPEG XL",
            Self::Jpeg2000 => "JPEG 2000",
            Self::Raw => "camera RAW",
            Self::Video => "video",
            Self::Unknown => "unknown",
        }
    }

    /// Whether [`decode_file`](super::decode_file) reads it.
    pub fn is_readable(self) -> bool {
        matches!(
            self,
            Self::Jpeg | Self::Png | Self::WebP | Self::Bmp | Self::Pnm | Self::Tiff | Self::Gif | Self::Qoi
        )
    }

    /// For a photograph or video that is recognised but not read: what it is, and the command that converts it.
    /// `None` for readable formats and for what is no photograph.
    pub fn unsupported(self, path: &Path) -> Option<String> {
        self.conversion(path).map(|(problem, remedy)| format!("{problem}: {remedy}"))
    }

    /// The same in two parts.
    pub(super) fn conversion(self, path: &Path) -> Option<(String, Remedy)> {
        match self {
            Self::Heic | Self::Avif | Self::JpegXl | Self::Jpeg2000 | Self::Raw => {
                let problem = format!("is {}, which is not supported", self.name());
                Some((problem, Remedy::Convert(to_jpeg(path))))
            }
            Self::Video => {
                let command =
                    format!("ffmpeg -i {} -vf fps=1 {}", shell_path(path), beside(path, "-%05d.jpg"));
                Some(("is a video, which is not supported".into(), Remedy::Frames(command)))
            }
            _ => None,
        }
    }

    /// An upper bound for the pixels that `bytes` bytes of this format can hold, where there is one: a header that
    /// promises more lies, and memory for it is not worth allocating.
    pub(super) fn most_pixels(self, bytes: usize) -> Option<u64> {
        let per_byte = match self {
            // Deflate expands 1032-fold at most; a byte holds 8 pixels of one bit.
            Self::Png => 1032 * 8,
            // Runs of 255 pixels in two bytes, or one bit a pixel.
            Self::Bmp => 128,
            Self::Pnm => 8,
            Self::Qoi => 62,
            // A code of 9 bits at least stands for up to 4096 pixels.
            Self::Gif => 4096,
            _ => return None,
        };
        Some((bytes as u64).saturating_mul(per_byte))
    }
}

/// The format of a file that starts with `head`: its first [`SNIFF_BYTES`] bytes, or all of a shorter one.
///
/// ```
/// use r2former_data::image::format::{Format, sniff};
/// assert_eq!(sniff(b"\xff\xd8\xff\xe0\0\x10JFIF"), Format::Jpeg);
/// assert_eq!(sniff(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), Format::Heic);
/// assert_eq!(sniff(b"path,lat,lon\n"), Format::Unknown);
/// ```
pub fn sniff(head: &[u8]) -> Format {
    let starts = |magic: &[u8]| head.starts_with(magic);
    let at = |place: usize, magic: &[u8]| head.get(place..).is_some_and(|rest| rest.starts_with(magic));
    if starts(b"\xff\xd8\xff") {
        Format::Jpeg
    } else if starts(b"\x89PNG\r\n\x1a\n") {
        Format::Png
    } else if starts(b"RIFF") && at(8, b"WEBP") {
        Format::WebP
    } else if is_bmp(head) {
        Format::Bmp
    } else if is_pnm(head) {
        Format::Pnm
    } else if starts(b"GIF87a") || starts(b"GIF89a") {
        Format::Gif
    } else if starts(b"qoif") && head.get(12).is_none_or(|channels| matches!(channels, 3 | 4)) {
        Format::Qoi
    } else if [&b"II*\0"[..], b"MM\0*", b"II+\0", b"MM\0+"].iter().any(|magic| starts(magic)) {
        if is_raw_tiff(head) { Format::Raw } else { Format::Tiff }
    } else if starts(b"\xff\x0a") || starts(b"\0\0\0\x0cJXL \r\n\x87\n") {
        Format::JpegXl
    } else if starts(b"\0\0\0\x0cjP  \r\n\x87\n") || starts(b"\xff\x4f\xff\x51") {
        Format::Jpeg2000
    } else if [&b"FUJIFILMCCD-RAW"[..], b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"\0MRM"]
        .iter()
        .any(|magic| starts(magic))
    {
        Format::Raw
    } else if at(4, b"ftyp") {
        iso_media(head)
    } else if is_video(head) {
        Format::Video
    } else {
        Format::Unknown
    }
}

/// The format of a file that is to be decoded.
///
/// # Errors
/// [`DataError::Image`]: names the format and the command that converts it when it is a known one that cannot be
/// decoded, else shows how the file starts.
pub(super) fn readable(head: &[u8], name: &Path) -> Result<Format> {
    let format = sniff(head);
    if format.is_readable() {
        return Ok(format);
    }
    if let Some((problem, remedy)) = format.conversion(name) {
        return Err(DataError::image_to(name, problem, remedy));
    }
    let problem = format!(
        "is not an image: starts with \"{}\", expected JPEG, PNG, WebP, TIFF, GIF, BMP, PPM or QOI",
        head[..head.len().min(12)].escape_ascii()
    );
    Err(DataError::image(name, problem))
}

/// A bitmap whose header has one of the sizes that exist: `BM` alone begins many a text.
fn is_bmp(head: &[u8]) -> bool {
    head.starts_with(b"BM")
        && head.get(14..18).is_none_or(|size| {
            matches!(
                u32::from_le_bytes([size[0], size[1], size[2], size[3]]),
                12 | 16 | 40 | 52 | 56 | 64 | 108 | 124
            )
        })
}

/// `P1` to `P6`, white space, and a number or a comment; `P7` and a line of a PAM header.
fn is_pnm(head: &[u8]) -> bool {
    let [b'P', kind @ b'1'..=b'7', rest @ ..] = head else { return false };
    let mut after = rest.iter().skip_while(|b| b.is_ascii_whitespace());
    let Some(first) = rest.first() else { return false };
    match after.next() {
        _ if *first == b'#' => true,
        Some(next) if first.is_ascii_whitespace() => {
            *next == b'#' || if *kind == b'7' { next.is_ascii_uppercase() } else { next.is_ascii_digit() }
        }
        _ => false,
    }
}

/// HEIC, AVIF and Canon's CR3 by the brands of their `ftyp` box; audio is no photograph, the rest is video.
fn iso_media(head: &[u8]) -> Format {
    let length = head.get(..4).map_or(0, |l| u32::from_be_bytes([l[0], l[1], l[2], l[3]]) as usize);
    let brands = head.get(8..length.clamp(12, 256).min(head.len())).unwrap_or_default();
    let main = brands.get(..4).unwrap_or_default();
    let any = |names: &[&[u8]]| brands.chunks_exact(4).any(|brand| names.contains(&brand));
    if any(&[b"avif", b"avis"]) {
        Format::Avif
    } else if any(&[b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"])
    {
        Format::Heic
    } else if main == b"crx " {
        Format::Raw
    } else if main.starts_with(b"M4A") || main.starts_with(b"M4B") || main.starts_with(b"M4P") {
        Format::Unknown
    } else {
        Format::Video
    }
}

fn is_video(head: &[u8]) -> bool {
    let at = |place: usize, magic: &[u8]| head.get(place..).is_some_and(|rest| rest.starts_with(magic));
    at(0, b"\x1a\x45\xdf\xa3")
        || (at(0, b"RIFF") && at(8, b"AVI "))
        || at(0, b"\0\0\x01\xba")
        || at(0, b"\0\0\x01\xb3")
        || at(0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11")
        || at(0, b"FLV\x01")
        // QuickTime without its `ftyp`, and MPEG transport streams.
        || [&b"moov"[..], b"mdat", b"wide"].iter().any(|kind| at(4, kind))
        || (at(0, b"\x47") && at(188, b"\x47") && at(376, b"\x47"))
}

/// Whether the first directory of a TIFF, as far as it is within `bytes`, is a camera's RAW file: its own picture
/// would be a thumbnail, or sensor values.
pub(super) fn is_raw_tiff(bytes: &[u8]) -> bool {
    if bytes.get(8..10) == Some(b"CR") {
        return true;
    }
    let little = bytes.starts_with(b"II");
    let u16_at = |at: usize| {
        let b = bytes.get(at..at.checked_add(2)?)?;
        Some(if little { u16::from_le_bytes([b[0], b[1]]) } else { u16::from_be_bytes([b[0], b[1]]) })
    };
    let u32_at = |at: usize| {
        let (a, b) = (u16_at(at)?, u16_at(at.checked_add(2)?)?);
        let (low, high) = if little { (a, b) } else { (b, a) };
        Some(u32::from(low) | u32::from(high) << 16)
    };
    let Some(directory) = u32_at(4).map(|at| at as usize) else { return false };
    if u16_at(2) != Some(42) {
        return false;
    }
    let entries = usize::from(u16_at(directory).unwrap_or(0));
    let (mut reduced, mut others) = (false, false);
    for entry in (0..entries).map_while(|i| directory.checked_add(2 + 12 * i)) {
        let (Some(tag), Some(kind)) = (u16_at(entry), u16_at(entry + 2)) else { break };
        let short = || u16_at(entry + 8).unwrap_or(0);
        match tag {
            // DNGVersion.
            50706 => return true,
            // PhotometricInterpretation: a colour filter array, or linear RAW.
            262 if matches!(short(), 32803 | 34892) => return true,
            // Compression: Nikon's, Sony's, Pentax's.
            259 if matches!(short(), 34713 | 32767 | 65535) => return true,
            // NewSubfileType: a reduced picture of another directory.
            254 => {
                let value = if kind == 3 { Some(u32::from(short())) } else { u32_at(entry + 8) };
                reduced = value.is_some_and(|bits| bits & 1 == 1);
            }
            330 => others = true,
            _ => {}
        }
    }
    reduced && others
}

/// The command that makes a JPEG of a picture.
pub(crate) fn to_jpeg(path: &Path) -> String {
    format!("magick {} {}", shell_path(path), beside(path, ".converted.jpg"))
}

/// A file's name without its extension, and with another ending; as a word for a shell.
pub(super) fn beside(path: &Path, ending: &str) -> String {
    shell_path(Path::new(&format!("{}{ending}", path.with_extension("").to_string_lossy())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(head: &[u8]) -> Result<Format, String> {
        readable(head, Path::new("x.jpg")).map_err(|e| e.to_string())
    }

    /// Formats: read, or named with the command that converts them.
    #[test]
    fn names_what_it_is() {
        assert_eq!(of(b"\xff\xd8\xff\xe0"), Ok(Format::Jpeg));
        assert_eq!(of(b"P6\n1 1\n255\n"), Ok(Format::Pnm));
        assert_eq!(of(b"GIF89a"), Ok(Format::Gif));
        assert_eq!(of(b"II*\0\x08\0\0\0"), Ok(Format::Tiff));
        assert_eq!(of(b"MM\0*"), Ok(Format::Tiff));
        assert_eq!(of(b"qoif\0\0\0\x01\0\0\0\x01\x03\0"), Ok(Format::Qoi));
        for (head, word, command) in [
            (&b"\0\0\0\x18ftypheic\0\0"[..], "HEIC", "magick x.jpg x.converted.jpg"),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic", "HEIC", "magick"),
            (b"\0\0\0\x18ftypavif", "AVIF", "magick"),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", "AVIF", "magick"),
            (b"\0\0\0\x18ftypcrx ", "RAW", "magick"),
            (b"II*\0\x10\0\0\0CR\x02\0", "RAW", "magick"),
            (b"FUJIFILMCCD-RAW ", "RAW", "magick"),
            (b"\xff\x0a", "JPEG XL", "magick"),
            (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000", "magick"),
            (b"\0\0\0\x18ftypisom", "video", "ffmpeg -i x.jpg -vf fps=1 x-%05d.jpg"),
            (b"\0\0\0\x14ftypqt  ", "video", "ffmpeg"),
            (b"\0\0\0\x08wide\0\0\0\0mdat", "video", "ffmpeg"),
            (b"RIFF\0\0\0\0AVI LIST", "video", "ffmpeg"),
            (b"\x1a\x45\xdf\xa3\x01", "video", "ffmpeg"),
        ] {
            let message = of(head).expect_err("unsupported");
            assert!(message.contains(word) && message.contains(command), "{message}");
        }
        assert!(
            sniff(b"II*\0\x10\0\0\0CR\x02\0")
                .unsupported(Path::new("my photo.cr2"))
                .is_some_and(|m| { m.contains("magick 'my photo.cr2' 'my photo.converted.jpg'") })
        );
    }

    #[test]
    fn shows_how_a_stranger_starts() {
        assert_eq!(
            of(b"hello\nworld, this is text").expect_err("text"),
            "x.jpg: is not an image: starts with \"hello\\nworld,\", expected JPEG, PNG, WebP, TIFF, GIF, BMP, PPM \
             or QOI"
        );
        assert!(of(b"P").is_err() && of(b"\xff").is_err() && of(b"RIFF").is_err() && of(b"P6").is_err());
        for text in [
            &b"BMW M3 E30, a car\n"[..],
            b"P3 is a bus line",
            b"P1\nabc",
            b"qoif is a format",
            b"\0\0\0\x1cftypM4A \0\0\0\0",
            b"MThd",
            b"PK\x03\x04",
            b"%PDF-1.4",
            b"path,lat,lon\n",
            b"",
        ] {
            assert_eq!(sniff(text), Format::Unknown, "{}", text.escape_ascii());
        }
    }

    /// A directory with these (tag, value) shorts.
    fn tiff(big: bool, entries: &[(u16, u16)]) -> Vec<u8> {
        let two = |v: u16| if big { v.to_be_bytes() } else { v.to_le_bytes() };
        let four = |v: u32| if big { v.to_be_bytes() } else { v.to_le_bytes() };
        let mut out = if big { b"MM".to_vec() } else { b"II".to_vec() };
        out.extend(two(42));
        out.extend(four(8));
        out.extend(two(entries.len() as u16));
        for (tag, value) in entries {
            out.extend([two(*tag), two(3)].concat());
            out.extend(four(1));
            out.extend([two(*value), [0, 0]].concat());
        }
        out
    }

    #[test]
    fn raw_files_are_not_their_thumbnail() {
        for big in [false, true] {
            for raw in
                [&[(254, 1), (330, 0)][..], &[(50706, 0)], &[(262, 32803)], &[(259, 34713)], &[(259, 65535)]]
            {
                assert_eq!(sniff(&tiff(big, raw)), Format::Raw, "{raw:?}");
            }
            for plain in [&[(254, 0), (330, 0)][..], &[(254, 1)], &[(262, 2), (259, 1)], &[]] {
                assert_eq!(sniff(&tiff(big, plain)), Format::Tiff, "{plain:?}");
            }
        }
        let whole = tiff(true, &[(254, 1), (330, 0)]);
        for cut in 0..whole.len() {
            sniff(&whole[..cut]);
        }
    }
}
