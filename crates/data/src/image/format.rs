//! Which image format some bytes are, by their first bytes; file extensions lie.

use crate::{DataError, Result};
use std::path::Path;

/// The formats that can be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    Png,
    WebP,
    Bmp,
    Pnm,
}

impl Format {
    /// The format's name in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Bmp => "BMP",
            Self::Pnm => "PNM",
        }
    }
}

/// How many first bytes [`recognise`] looks at.
pub(crate) const HEAD: usize = 32;

/// The format of a file that starts with `head` (its first [`HEAD`] bytes, or all of a shorter one).
///
/// # Errors
/// Names the format when it is a known one that cannot be decoded, else shows how the file starts.
pub(crate) fn recognise(head: &[u8], name: &Path) -> Result<Format> {
    let head = &head[..head.len().min(HEAD)];
    let is_brand = |brands: &[&[u8; 4]]| {
        head.get(4..8) == Some(b"ftyp") && brands.iter().any(|b| head.get(8..12) == Some(&b[..]))
    };
    if head.starts_with(b"\xff\xd8\xff") {
        return Ok(Format::Jpeg);
    } else if head.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Ok(Format::Png);
    } else if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
        return Ok(Format::WebP);
    } else if head.starts_with(b"BM") {
        return Ok(Format::Bmp);
    } else if matches!(head, [b'P', b'1'..=b'7', b' ' | b'\t' | b'\r' | b'\n' | b'#', ..]) {
        return Ok(Format::Pnm);
    }
    let known = if is_brand(&[b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"]) {
        "HEIC"
    } else if is_brand(&[b"avif", b"avis"]) {
        "AVIF"
    } else if is_brand(&[b"crx "])
        || head.starts_with(b"FUJIFILMCCD-RAW")
        || [b"IIRO", b"IIRS", b"MMOR", b"IIU\0"].iter().any(|m| head.starts_with(&m[..]))
    {
        "a camera's RAW format"
    } else if head.get(4..8) == Some(b"ftyp") {
        "a video or another ISO media file"
    } else if head.starts_with(b"GIF8") {
        "GIF"
    } else if head.starts_with(b"II*\0") || head.starts_with(b"MM\0*") {
        "TIFF, or a camera's RAW format built on it"
    } else if head.starts_with(b"\xff\x0a") || head.starts_with(b"\0\0\0\x0cJXL ") {
        "JPEG XL"
    } else if head.starts_with(b"\0\0\0\x0cjP  ") || head.starts_with(b"\xff\x4f\xff\x51") {
        "JPEG 2000"
    } else {
        let start = &head[..head.len().min(12)];
        return Err(DataError::image(
            name,
            format!(
                "is not an image: starts with \"{}\", expected JPEG, PNG, WebP, BMP or PPM",
                start.escape_ascii()
            ),
        ));
    };
    Err(DataError::image(
        name,
        format!("is {known}, which is not supported: convert it to JPEG or PNG first"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(head: &[u8]) -> Result<Format, String> {
        recognise(head, Path::new("x.jpg")).map_err(|e| e.to_string())
    }

    #[test]
    fn names_what_it_is() {
        assert_eq!(of(b"\xff\xd8\xff\xe0"), Ok(Format::Jpeg));
        assert_eq!(of(b"P6\n1 1\n255\n"), Ok(Format::Pnm));
        for (head, word) in [
            (&b"\0\0\0\x18ftypheic\0\0"[..], "HEIC"),
            (b"\0\0\0\x18ftypavif", "AVIF"),
            (b"\0\0\0\x18ftypcrx ", "RAW"),
            (b"\0\0\0\x18ftypisom", "video"),
            (b"GIF89a", "GIF"),
            (b"II*\0\x08\0\0\0", "TIFF"),
            (b"MM\0*", "RAW"),
            (b"\xff\x0a", "JPEG XL"),
        ] {
            let message = of(head).expect_err("unsupported");
            assert!(message.contains(word) && message.contains("convert it to JPEG"), "{message}");
        }
    }

    #[test]
    fn shows_how_a_stranger_starts() {
        assert_eq!(
            of(b"hello\nworld, this is text").expect_err("text"),
            "x.jpg: is not an image: starts with \"hello\\nworld,\", expected JPEG, PNG, WebP, BMP or PPM"
        );
        assert!(of(b"P").is_err() && of(b"\xff").is_err() && of(b"RIFF").is_err() && of(b"P6").is_err());
    }
}
