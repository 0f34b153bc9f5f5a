//! Where an index is kept: a folder, or a collection of a cluster.

use crate::{EngineError, Result};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;

/// What the address of a collection begins with, without and with TLS.
const SCHEMES: [&str; 2] = ["qdrant:", "qdrants:"];

/// Where an index is kept: a folder, or a collection of a Qdrant cluster (`qdrant://HOST:PORT[,HOST:PORT...]/COLLECTION`,
/// `qdrants://` with TLS). It is printed as it was given.
///
/// ```
/// use r2former_engine::IndexAddress;
///
/// let address = IndexAddress::parse("streets")?;
/// assert_eq!(address.folder(), Some("streets".as_ref()));
/// assert_eq!(address.to_string(), "streets");
/// # Ok::<(), r2former_engine::EngineError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexAddress {
    text: OsString,
    kept: Kept,
}

/// What an address stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The text is its path.
    Folder,
    #[cfg(feature = "cluster")]
    Collection(r2former_cluster::Address),
}

impl IndexAddress {
    /// Reads an address. Whatever has no scheme of a collection is a folder, which need not exist.
    ///
    /// # Errors
    /// [`EngineError::Request`] for an address of a collection that is not complete, and for any in a build without the
    /// feature `cluster`.
    pub fn parse(text: impl AsRef<OsStr>) -> Result<Self> {
        let text = text.as_ref();
        let address = text.to_string_lossy();
        let kept = match SCHEMES.iter().find_map(|scheme| address.strip_prefix(scheme)) {
            Some(rest) if rest.starts_with("//") => collection(&address)?,
            // A path object of another language has removed a slash; a relative folder of such a name is `./qdrant:`.
            Some(rest) if rest.starts_with('/') => {
                return Err(EngineError::Request(
                    "the address of a collection has two slashes after its scheme, qdrant://HOST:PORT/COLLECTION: give it \
                     as text, as an object for paths removes one of them"
                        .into(),
                ));
            }
            _ => Kept::Folder,
        };
        Ok(Self { text: text.to_owned(), kept })
    }

    /// The folder; `None` of a collection.
    pub fn folder(&self) -> Option<&Path> {
        match &self.kept {
            Kept::Folder => Some(self.as_path()),
            #[cfg(feature = "cluster")]
            Kept::Collection(_) => None,
        }
    }

    /// The folder, for what only a folder can do.
    ///
    /// # Errors
    /// [`EngineError::Request`] for a collection: `cannot` says what it cannot do, and what to do instead.
    pub fn need_folder(&self, cannot: &str) -> Result<&Path> {
        self.folder().ok_or_else(|| EngineError::Request(format!("{self}: {cannot}")))
    }

    /// The name by which people call the index: the folder's, or the collection's.
    pub fn name(&self) -> String {
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        match &self.kept {
            Kept::Folder => {
                let folder = self.as_path();
                let full = folder.canonicalize().ok();
                full.as_deref().and_then(name).or_else(|| name(folder)).unwrap_or_else(|| "index".into())
            }
            #[cfg(feature = "cluster")]
            Kept::Collection(collection) => collection.collection().to_owned(),
        }
    }

    /// Whether both stand for the same index, as far as their texts and the file system show.
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.kept, &other.kept) {
            (Kept::Folder, Kept::Folder) => {
                let (one, other) = (self.as_path(), other.as_path());
                match (one.canonicalize(), other.canonicalize()) {
                    (Ok(one), Ok(other)) => one == other,
                    _ => one == other,
                }
            }
            #[cfg(feature = "cluster")]
            (Kept::Collection(one), Kept::Collection(other)) => {
                one.collection() == other.collection()
                    && one.hosts().iter().any(|host| other.hosts().contains(host))
            }
            #[cfg(feature = "cluster")]
            _ => false,
        }
    }

    pub(crate) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The text, where errors of the index name its folder.
    pub(crate) fn as_path(&self) -> &Path {
        Path::new(&self.text)
    }
}

#[cfg(feature = "cluster")]
fn collection(address: &str) -> Result<Kept> {
    address.parse().map(Kept::Collection).map_err(EngineError::Request)
}

#[cfg(not(feature = "cluster"))]
fn collection(address: &str) -> Result<Kept> {
    Err(EngineError::Request(format!(
        "{address}: this program was built without support of clusters; build it with `--features cluster`, or use a folder"
    )))
}

impl AsRef<OsStr> for IndexAddress {
    fn as_ref(&self) -> &OsStr {
        &self.text
    }
}

impl fmt::Display for IndexAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.display().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_scheme_is_a_folder() {
        for text in [
            "places",
            "/data/places",
            "qdrant",
            "./qdrant://h:1/c",
            "http://h/c",
            "qdrant:c",
            "c:/places",
            "a//b",
        ] {
            let address = IndexAddress::parse(text).expect(text);
            assert_eq!((address.folder(), address.to_string()), (Some(Path::new(text)), text.to_owned()));
        }
        let home = tempfile::tempdir().expect("temporary folder");
        let dir = home.path().join("streets");
        let same = IndexAddress::parse(home.path().join("streets/../streets")).expect("a folder");
        let address = IndexAddress::parse(&dir).expect("a folder");
        assert_eq!(address.name(), "streets");
        assert!(!address.is_same(&same));
        std::fs::create_dir(&dir).expect("temporary folders can be written");
        assert!(address.is_same(&same) && same.name() == "streets");
        assert!(!address.is_same(&IndexAddress::parse(home.path()).expect("a folder")));
    }

    #[test]
    fn a_path_object_that_swallowed_a_slash_is_named() {
        let error = IndexAddress::parse("qdrant:/host:6334/streets").expect_err("no folder").to_string();
        assert!(error.contains("two slashes"), "{error}");
    }

    #[cfg(feature = "cluster")]
    #[test]
    fn an_address_with_a_scheme_is_a_collection() {
        let text = "qdrant://a:6334,b:6334/streets";
        let address = IndexAddress::parse(text).expect("an address");
        assert_eq!(
            (address.folder(), address.to_string(), address.name()),
            (None, text.into(), "streets".into())
        );
        let error = address.need_folder("cannot be compacted").expect_err("no folder").to_string();
        assert_eq!(error, format!("{text}: cannot be compacted"));
        let other = |text: &str| IndexAddress::parse(text).expect("an address");
        assert!(address.is_same(&other(text)) && !address.is_same(&other("qdrant://a:6334,b:6334/roads")));
        for wrong in
            ["qdrant://", "qdrant://a:6334", "qdrant://a:6334/", "qdrant:///streets", "qdrant://a:x/streets"]
        {
            assert!(IndexAddress::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[cfg(not(feature = "cluster"))]
    #[test]
    fn a_build_without_clusters_says_so() {
        let error = IndexAddress::parse("qdrant://a:6334/streets").expect_err("no folder").to_string();
        assert!(error.contains("--features cluster"), "{error}");
    }
}
