//! Addresses of photographs and of their sources.

use r2former_data::{DataError, Result};
use std::fmt;
use std::path::{Path, PathBuf};
use url::Url;

/// Where an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Scheme {
    S3,
    Google,
    Http,
}

/// An address in an object store or behind HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    pub(crate) scheme: Scheme,
    /// The bucket, or scheme, host and port.
    pub(crate) host: String,
    /// The object, without a slash at the start; empty for all of a bucket.
    pub(crate) key: String,
    /// Of HTTP: what follows the question mark, often a signature.
    pub(crate) query: Option<String>,
}

/// Whether a text is such an address.
pub fn is_address(text: &str) -> bool {
    ["s3://", "gs://", "http://", "https://"].iter().any(|scheme| text.starts_with(scheme))
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// [`DataError::Request`] for another text, one without a bucket or host, and one that holds a name or password.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |problem: &str| Err(DataError::Request(format!("{}: {problem}", shown(text))));
        for (start, scheme) in [("s3://", Scheme::S3), ("gs://", Scheme::Google)] {
            let Some(rest) = text.strip_prefix(start) else { continue };
            let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() || bucket.contains(['@', '?', '#']) {
                return refuse("names no bucket: s3://BUCKET/PREFIX or gs://BUCKET/PREFIX is expected");
            }
            let key = key.trim_matches('/').to_owned();
            return Ok(Self { scheme, host: bucket.to_owned(), key, query: None });
        }
        let url = match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => url,
            Ok(_) => return refuse("is no address of photographs: s3://, gs:// or https:// is expected"),
            Err(error) => return refuse(&format!("is no address: {error}")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return refuse(
                "holds a name or a password, which would be printed and stored with every photograph's path",
            );
        }
        Ok(Self {
            scheme: Scheme::Http,
            host: url.origin().ascii_serialization(),
            key: url.path().trim_start_matches('/').to_owned(),
            query: url.query().map(ToOwned::to_owned),
        })
    }

    /// The same as a path, which stands for the photograph or the source; without what follows a question mark.
    pub fn path(&self) -> PathBuf {
        self.to_string().into()
    }

    /// The last part of the key, or the bucket.
    pub(crate) fn last(&self) -> &str {
        self.key.trim_end_matches('/').rsplit('/').find(|part| !part.is_empty()).unwrap_or(&self.host)
    }

    fn extension(&self) -> Option<String> {
        Some(Path::new(self.last()).extension()?.to_str()?.to_ascii_lowercase())
    }

    /// Whether it is called like a table, or a list of addresses. Behind HTTP there are no folders.
    pub(crate) fn is_table(&self) -> bool {
        match self.extension().as_deref() {
            Some("csv" | "tsv" | "txt") => true,
            _ => self.scheme == Scheme::Http && !self.is_photo(),
        }
    }

    /// Whether it is called like a photograph.
    pub(crate) fn is_photo(&self) -> bool {
        matches!(
            self.extension().as_deref(),
            Some(
                "jpg"
                    | "jpeg"
                    | "jfif"
                    | "png"
                    | "webp"
                    | "tif"
                    | "tiff"
                    | "bmp"
                    | "ppm"
                    | "gif"
                    | "qoi"
                    | "heic"
            )
        )
    }

    /// Another object of the same bucket or host.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), query: None, ..self.clone() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = match self.scheme {
            Scheme::S3 => "s3://",
            Scheme::Google => "gs://",
            Scheme::Http => "",
        };
        write!(f, "{start}{}", self.host)?;
        if self.key.is_empty() { Ok(()) } else { write!(f, "/{}", self.key) }
    }
}

/// An address in messages: without what may be secret.
fn shown(text: &str) -> &str {
    let text = text.split(['?', '#']).next().unwrap_or(text);
    if text.contains('@') { "the address" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_bucket_and_a_key() {
        for (text, host, key, again) in [
            ("s3://b", "b", "", "s3://b"),
            ("s3://b/a/c/", "b", "a/c", "s3://b/a/c"),
            ("gs://b/x y.jpg", "b", "x y.jpg", "gs://b/x y.jpg"),
            ("https://h:81/a/l.txt?sig=1", "https://h:81", "a/l.txt", "https://h:81/a/l.txt"),
        ] {
            let address = Address::parse(text).expect(text);
            assert_eq!((address.host.as_str(), address.key.as_str()), (host, key));
            assert_eq!(address.to_string(), again);
        }
        assert!(Address::parse("https://h/list").expect("a list").is_table());
        assert!(!Address::parse("https://h/a.JPG").expect("a photograph").is_table());
        assert!(Address::parse("s3://b/t.csv").expect("a table").is_table());
    }

    #[test]
    fn keys_are_not_part_of_addresses() {
        for text in ["s3://", "s3://key@b/x", "https://u:secret@h/x", "ftp://h/x", "https://", "a/b"] {
            let message = Address::parse(text).expect_err(text).to_string();
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
