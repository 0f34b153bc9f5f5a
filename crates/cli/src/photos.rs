//! Photographs named on the command line: files, folders, standard input and pipes.

use crate::exit::usage;
use crate::output::{escaped, quoted_path};
use crate::remote::{ListOptions, Stores, remote_source};
use anyhow::{Result, bail};
use r2former_data::dataset::{
    Kind, Listing, Shard, Skipped, SourceOptions, SourceRoot, escaped_name, escaped_path, list_images,
    source_root,
};
use r2former_data::image::{Limits, PhotoTags, read_tags, tags_of_bytes};
use r2former_data::{DataError, Photo, PositionKind};
use r2former_engine::QueryImage;
use std::fs::{File, FileType};
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How photographs are read.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct ReadArgs {
    /// Read JPEGs that are cut short as far as they go, with a note, instead of refusing them.
    #[arg(long)]
    pub(crate) accept_truncated: bool,
}

impl ReadArgs {
    pub(crate) fn limits(self) -> Limits {
        Limits { accept_truncated: self.accept_truncated, ..Limits::default() }
    }
}

/// One photograph.
#[derive(Debug)]
pub(crate) struct PhotoArg {
    /// What messages and results call it.
    pub(crate) name: String,
    /// Its name within the folder that was named, or that of its file.
    inside: String,
    source: Source,
}

#[derive(Debug)]
enum Source {
    File(PathBuf),
    /// Read once, to its end: standard input for `None`.
    Stream(Option<PathBuf>),
    /// An object in a store, by its address: read by whoever has the store.
    Object(PathBuf),
    /// A file that a folder holds and that cannot be read, with the reason.
    Unreadable(PathBuf, String),
}

/// A photograph as it is handed to the library.
pub(crate) enum Loaded<'a> {
    File(&'a PhotoArg, &'a Path),
    Bytes(&'a PhotoArg, Vec<u8>),
}

impl<'a> Loaded<'a> {
    pub(crate) fn query(&'a self) -> QueryImage<'a> {
        match self {
            Self::File(arg, path) => QueryImage::from(*path).named(arg.name.as_str()),
            Self::Bytes(arg, bytes) => QueryImage::from(bytes).named(arg.name.as_str()),
        }
    }

    /// What it says of where it was taken.
    pub(crate) fn tags(&self) -> Result<PhotoTags, DataError> {
        match self {
            Self::File(_, path) => read_tags(path),
            Self::Bytes(arg, bytes) => tags_of_bytes(bytes, Path::new(&arg.name)),
        }
    }
}

/// A shard of the photographs of a command line.
#[derive(Debug, Default)]
pub(crate) struct ShardPhotos {
    pub(crate) photos: Vec<PhotoArg>,
    /// For each its number among all.
    pub(crate) rows: Vec<usize>,
    /// How many there are in all shards.
    pub(crate) total: usize,
    /// The folders that they are from.
    pub(crate) roots: Vec<SourceRoot>,
}

impl ShardPhotos {
    fn take(&mut self, photos: Vec<PhotoArg>, root: SourceRoot, shard: Shard) {
        for photo in photos {
            if shard.holds(&format!("{}/{}", root.label, photo.inside)) {
                self.photos.push(photo);
                self.rows.push(self.total);
            }
            self.total += 1;
        }
        if !self.roots.contains(&root) {
            self.roots.push(root);
        }
    }
}

/// The photographs of a shard among those of a command line. What counts is the name that a photograph would have in an index.
///
/// # Errors
/// A photograph that is read from a pipe, which other shards cannot read; as [`photo_args`].
pub(crate) fn shard_of(
    arguments: &[PathBuf],
    shard: Shard,
    stores: &mut Option<Arc<Stores>>,
) -> Result<ShardPhotos> {
    let mut own = ShardPhotos::default();
    for argument in arguments {
        if let Some((root, photos)) = objects(argument, stores)? {
            own.take(photos, root, shard);
            continue;
        }
        if PhotoArg::of(argument).path().is_none() {
            usage!("{}: is read from a pipe, and --shard takes files and folders alone", argument.display());
        }
        let root = source_root(argument, (!argument.is_dir()).then_some(Kind::Exif), None)?;
        own.take(photo_args(std::slice::from_ref(argument))?, root, shard);
    }
    Ok(own)
}

/// Photographs of a command line as [`photo_args`], addresses of stores among them.
pub(crate) fn photo_args_anywhere(
    arguments: &[PathBuf],
    stores: &mut Option<Arc<Stores>>,
) -> Result<Vec<PhotoArg>> {
    let mut all = Vec::with_capacity(arguments.len());
    let mut files = Vec::new();
    for argument in arguments {
        match objects(argument, stores)? {
            None => files.push(argument.clone()),
            Some((_, photos)) => {
                // In the order of the command line.
                all.extend(photo_args(&std::mem::take(&mut files))?);
                all.extend(photos);
            }
        }
    }
    all.extend(photo_args(&files)?);
    Ok(all)
}

/// The photographs under an address, or of a table that names some, sorted by name; `None` for files. What cannot be read ends the run when it is its turn.
fn objects(argument: &Path, stores: &mut Option<Arc<Stores>>) -> Result<Option<(SourceRoot, Vec<PhotoArg>)>> {
    let Some(remote) = remote_source(argument, None, stores)? else { return Ok(None) };
    let Some(stores) = stores else { return Ok(None) };
    let root = stores.root(&remote, None, None)?;
    let source = SourceOptions { positions: Some(PositionKind::None), ..SourceOptions::default() };
    let none = |names: &[String]| Ok(vec![None; names.len()]);
    let listing = stores
        .list(&remote, &ListOptions { kind: None, source: &source, label: &root.label, indexed: &none })?;
    let name = |path: &Path| escaped_path(path);
    let mut photos: Vec<PhotoArg> = listing
        .photos
        .into_iter()
        .map(|photo| PhotoArg {
            name: name(&photo.path),
            inside: photo.name,
            source: Source::Object(photo.path),
        })
        .collect();
    photos.extend(listing.skipped.into_iter().map(|skipped| PhotoArg {
        name: name(&skipped.path),
        inside: name(&skipped.path),
        source: Source::Unreadable(skipped.path, skipped.reason),
    }));
    Ok(Some((root, photos)))
}

/// The photographs of a command line: a folder stands for every image in it, at any depth, sorted by name.
///
/// What is wrong with a single photograph shows when it is read.
pub(crate) fn photo_args(arguments: &[PathBuf]) -> Result<Vec<PhotoArg>> {
    let mut all = Vec::with_capacity(arguments.len());
    for argument in arguments {
        if argument.is_dir() {
            let listing = match list_images(argument) {
                // Others are there to be answered.
                Err(error) if arguments.len() > 1 => {
                    let (name, inside) = (escaped_path(argument), escaped_name(argument.as_os_str()));
                    let source = Source::Unreadable(argument.clone(), error.reason());
                    all.push(PhotoArg { name, inside, source });
                    continue;
                }
                listing => listing?,
            };
            note_all(argument, &listing);
            let (photos, skipped) = (listing.photos, listing.skipped);
            let of = |photo: Photo| PhotoArg { inside: photo.name, ..PhotoArg::file(photo.path) };
            all.extend(photos.into_iter().map(of));
            all.extend(skipped.into_iter().map(|skipped| PhotoArg {
                name: escaped_path(&skipped.path),
                inside: escaped_name(skipped.path.strip_prefix(argument).unwrap_or(&skipped.path)),
                source: Source::Unreadable(skipped.path, skipped.reason),
            }));
        } else {
            all.push(PhotoArg::of(argument));
        }
    }
    let stdin = all.iter().filter(|photo| photo.is_stdin()).count();
    if stdin > 1 {
        usage!("standard input was named {stdin} times: it can be read only once");
    }
    Ok(all)
}

/// Prints the notes of a folder's listing.
pub(crate) fn note_all(folder: &Path, listing: &Listing) {
    for note in &listing.notes {
        eprintln!("note: {}: {}", quoted_path(&escaped_path(folder)), escaped(note));
    }
}

/// Prints the notes of a folder's listing and what it leaves out, where that is no input of its own.
pub(crate) fn note_left_out(folder: &Path, listing: &Listing) {
    note_all(folder, listing);
    for Skipped { path, reason, .. } in &listing.skipped {
        eprintln!("note: left out: {}: {}", quoted_path(&escaped_path(path)), escaped(reason));
    }
}

impl PhotoArg {
    /// A photograph that is named by one argument, which is no folder of photographs.
    pub(crate) fn of(argument: &Path) -> Self {
        let source = match argument.to_str() {
            Some("-" | "/dev/stdin") => Source::Stream(None),
            Some(path) if is_descriptor(path) => Source::Stream(Some(argument.into())),
            _ => return Self::file(argument.into()),
        };
        let name = escaped_path(argument);
        Self { inside: name.clone(), name, source }
    }

    fn file(path: PathBuf) -> Self {
        let inside = path.file_name().map(escaped_name).unwrap_or_default();
        Self { name: escaped_path(&path), inside, source: Source::File(path) }
    }

    pub(crate) fn is_stdin(&self) -> bool {
        matches!(self.source, Source::Stream(None))
    }

    /// The path that names a file; `None` for a stream.
    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.source {
            Source::File(path) | Source::Unreadable(path, _) | Source::Object(path) => Some(path),
            Source::Stream(_) => None,
        }
    }

    /// Makes the photograph ready to be decoded; a stream is read to its end.
    pub(crate) fn load(&self) -> Result<Loaded<'_>, DataError> {
        match &self.source {
            Source::File(path) => {
                check_file(path)?;
                Ok(Loaded::File(self, path))
            }
            Source::Stream(None) => self.read(std::io::stdin().lock()),
            Source::Stream(Some(path)) => {
                self.read(File::open(path).map_err(|error| DataError::io(path, error))?)
            }
            Source::Unreadable(path, reason) => Err(DataError::image(path, reason)),
            Source::Object(path) => {
                Err(DataError::image(path, "is in a store, and this command reads files"))
            }
        }
    }

    /// Refuses what is no photograph before anything is computed, as far as that shows without reading it.
    pub(crate) fn check(&self) -> Result<(), DataError> {
        match &self.source {
            Source::Object(_) => Ok(()),
            _ => self.load().map(drop),
        }
    }

    pub(crate) fn is_object(&self) -> bool {
        matches!(self.source, Source::Object(_))
    }

    fn read(&self, stream: impl Read + IsTerminal) -> Result<Loaded<'_>, DataError> {
        if stream.is_terminal() {
            return Err(DataError::image(&self.name, "is a terminal: pipe a photograph in, or name a file"));
        }
        let most = Limits::default().max_bytes;
        let mut bytes = Vec::new();
        // One byte more than may be: the decoder refuses what is too long.
        let read = stream.take(most + 1).read_to_end(&mut bytes);
        read.map_err(|error| DataError::io(&self.name, error))?;
        Ok(Loaded::Bytes(self, bytes))
    }
}

/// Whether a path names an open file of this process, as the shell's `<(command)` does.
fn is_descriptor(path: &str) -> bool {
    ["/dev/fd/", "/proc/self/fd/"].iter().any(|folder| path.starts_with(folder))
}

/// Refuses what only looks like a file: reading it might never end.
fn check_file(path: &Path) -> Result<(), DataError> {
    match std::fs::metadata(path) {
        Ok(about) if about.is_file() || about.is_dir() => Ok(()),
        Ok(about) => Err(DataError::image(path, special(about.file_type()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && is_pattern(path) => {
            Err(DataError::image(path, "matches no file: the shell passed this pattern on as it is"))
        }
        Err(error) => Err(DataError::io(path, error)),
    }
}

fn is_pattern(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '['])
}

/// What a file that is none is.
fn special(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "is a named pipe, not a photograph: pipe it into `-` instead";
        }
        if kind.is_socket() {
            return "is a socket, not a photograph";
        }
    }
    let _ = kind;
    "is a device, not a photograph"
}

/// A photograph's name relative to `root`, with `/` between its parts.
///
/// # Errors
/// A photograph outside the folder.
pub(crate) fn relative_to(root: &Path, path: &Path) -> Result<String> {
    let whole = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
    // The folder of a photograph, not the photograph itself: a link keeps the name that the caller knows.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (Ok(root_path), Ok(parent), Some(name)) = (whole(root), whole(parent), path.file_name()) else {
        bail!("{}: has no name relative to --query-root {}", path.display(), root.display());
    };
    let full = parent.join(name);
    let Ok(inside) = full.strip_prefix(&root_path) else {
        bail!("{}: is not in --query-root {}", path.display(), root.display());
    };
    let parts: Vec<_> = inside.iter().map(escaped_path).collect();
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_relative_to_a_folder() {
        let home = tempfile::tempdir().expect("temporary folder");
        let inner = home.path().join("day 1/cam");
        std::fs::create_dir_all(&inner).expect("temporary folders can be written");
        let photo = inner.join("../cam/a.jpg");
        assert_eq!(relative_to(home.path(), &photo).expect("inside"), "day 1/cam/a.jpg");
        assert_eq!(relative_to(&inner, &photo).expect("inside"), "a.jpg");
        let other = home.path().join("b.jpg");
        assert!(relative_to(&inner, &other).expect_err("outside").to_string().contains("--query-root"));
    }

    #[test]
    fn streams_are_distinguished_from_files() {
        for stream in ["-", "/dev/stdin", "/dev/fd/63", "/proc/self/fd/5"] {
            assert!(PhotoArg::of(Path::new(stream)).path().is_none(), "{stream}");
        }
        assert!(PhotoArg::of(Path::new("./-")).path().is_some());
        let twice = [PathBuf::from("-"), PathBuf::from("/dev/stdin")];
        assert!(photo_args(&twice).expect_err("once only").to_string().contains("only once"));
    }
}
