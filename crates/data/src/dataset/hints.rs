//! Positions that lie beside photographs in another form, and how to use them.

use super::columns::{Columns, Place};
use super::exiftool;
use super::others::is_photo_name;
use super::table::Table;
use crate::shell::shell_path;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What may hold the positions of a folder's photographs: the first file of most forms.
#[derive(Debug, Default)]
pub(super) struct Companions {
    tables: Vec<PathBuf>,
    gpx: Option<PathBuf>,
    /// By what follows the photograph's name: Google cuts long names.
    takeout: BTreeMap<String, PathBuf>,
    /// Of `photo.jpg.xmp` and of `photo.xmp`.
    xmp: [Option<PathBuf>; 2],
    colmap: Option<PathBuf>,
    opensfm: Option<PathBuf>,
    mapillary: Option<PathBuf>,
}

/// Tables that are looked into: a folder of measurements may have thousands.
const TABLES: usize = 8;
/// Endings of Takeout's sidecars that a command has: each is one more file that exiftool tries for a photograph.
const ENDINGS: usize = 6;

impl Companions {
    /// Takes a file that is no photograph, by its name and place alone; says whether it may hold positions.
    pub(super) fn look_at(&mut self, root: &Path, path: &Path) -> bool {
        let given = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let name = given.to_ascii_lowercase();
        let within = |folder: &str| path.parent().is_some_and(|parent| parent.ends_with(folder));
        if let Some(at) = takeout_ending(&name) {
            let ending = &given[at..];
            // "(1)" counts photographs of one name: it belongs to another than the one that stands before it.
            if !ending.contains('(') && self.takeout.len() < ENDINGS {
                self.takeout.entry(ending.to_owned()).or_insert_with(|| path.to_owned());
            }
            return true;
        }
        let slot = if name.ends_with(".csv") || name.ends_with(".tsv") {
            // A table further down names files relative to itself, and is found by name all the same.
            if self.tables.len() < TABLES && path.parent().is_some_and(|parent| parent.starts_with(root)) {
                self.tables.push(path.to_owned());
            }
            return true;
        } else if name.ends_with(".gpx") {
            &mut self.gpx
        } else if name == "mapillary_image_description.json" {
            &mut self.mapillary
        } else if name.ends_with(".exif") && within("exif") || name == "reconstruction.json" {
            &mut self.opensfm
        } else if name.ends_with(".xmp") {
            // In my.photo.xmp the name has a dot, and no extension.
            let own = is_photo_name(&path.file_stem().unwrap_or_default().to_string_lossy());
            &mut self.xmp[usize::from(!own)]
        } else if name == "images.txt" || name == "images.bin" {
            &mut self.colmap
        } else {
            return false;
        };
        slot.get_or_insert_with(|| path.to_owned());
        true
    }

    /// One line for each form that was found; `without` says whether photographs lack a position, and `extensions` are
    /// theirs. A table is worth a line even where they do not: somebody made it.
    pub(super) fn hints(&self, root: &Path, without: bool, extensions: &BTreeSet<String>) -> Vec<String> {
        let mut hints = self.unused_tables();
        if !without {
            return hints;
        }
        let by_exiftool = |what: &str, example: &Path, arguments: &str| {
            format!(
                "{what} lie beside the photographs ({}): write them into the photographs with {}, then add the folder \
                 again",
                example.display(),
                exiftool::command(extensions, arguments, root)
            )
        };
        let by_table = |what: &str, example: &Path, more: &str| {
            format!(
                "{what} ({}): write its positions as a table path,lat,lon and add that{more}",
                example.display()
            )
        };
        hints.extend(
            self.gpx
                .as_deref()
                .map(|path| by_exiftool("GPX tracks", path, &format!("-geotag {}", shell_path(path)))),
        );
        hints.extend(self.takeout.values().next().map(|path| {
            let arguments: Vec<_> =
                self.takeout.keys().map(|ending| exiftool::of_takeout(&format!("%d%F{ending}"))).collect();
            by_exiftool("sidecars of Google Takeout", path, &arguments.join(" "))
        }));
        let xmp: Vec<(&Path, String)> = self
            .xmp
            .iter()
            .zip(["%d%F", "%d%f"])
            .filter_map(|(path, photo)| {
                let path = path.as_deref()?;
                let extension = path.extension().unwrap_or_default().to_string_lossy();
                Some((path, exiftool::of_xmp(&format!("{photo}.{extension}"))))
            })
            .collect();
        hints.extend(xmp.first().map(|(path, _)| {
            let arguments: Vec<_> = xmp.iter().map(|(_, arguments)| arguments.as_str()).collect();
            by_exiftool("XMP sidecars", path, &arguments.join(" "))
        }));
        hints.extend(self.mapillary.as_deref().map(|path| {
            by_table(
                "there is a description of the images by mapillary_tools",
                path,
                " (MAPLatitude, MAPLongitude)",
            )
        }));
        hints.extend(self.opensfm.as_deref().map(|path| {
            by_table("there is a project of OpenSfM", path, " (gps of each image in its folder exif)")
        }));
        hints.extend(
            self.colmap
                .as_deref()
                .map(|path| by_table("there is a model of COLMAP, whose own positions are local", path, "")),
        );
        hints
    }

    /// A line on the tables of positions.
    fn unused_tables(&self) -> Vec<String> {
        let mut tables: Vec<&PathBuf> = self.tables.iter().filter(|path| is_positions(path)).collect();
        tables.sort();
        let Some(first) = tables.first() else { return Vec::new() };
        let names: Vec<_> = tables.iter().map(|path| path.display().to_string()).collect();
        let (are, were, them) = match tables.len() {
            1 => ("is a table of positions", "was", "the table, add it"),
            _ => ("are tables of positions", "were", "one, add it"),
        };
        vec![format!(
            "{} {are} and {were} not used, only the photographs' own positions were: to use {them} in place of the \
             folder (r2former index add INDEX {})",
            names.join(", "),
            shell_path(first)
        )]
    }
}

/// Where the name of a photograph ends in that of its sidecar: `photo.jpg.json`,
/// `photo.jpg.supplemental-metadata.json` and its shortened forms. In lower case.
fn takeout_ending(name: &str) -> Option<usize> {
    const PHOTOS: [&str; 6] = [".jpg.", ".jpeg.", ".png.", ".heic.", ".webp.", ".mp4."];
    if !name.ends_with(".json") {
        return None;
    }
    PHOTOS.iter().find_map(|extension| Some(name.rfind(extension)? + extension.len() - 1))
}

/// Whether a file is a table of positions of photographs.
fn is_positions(path: &Path) -> bool {
    /// A table of a city has about a hundred bytes per photograph.
    const MOST_BYTES: u64 = 64 << 20;
    if !std::fs::metadata(path).is_ok_and(|about| about.is_file() && about.len() <= MOST_BYTES) {
        return false;
    }
    let columns = Table::read_lenient(path).and_then(|table| Columns::detect(&table, None));
    columns.is_ok_and(|columns| {
        matches!(
            columns.place,
            Some(Place::Degrees(..) | Place::Metres(..) | Place::Point(..) | Place::Local(..))
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_has_its_line() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let root = dir.path();
        let hints = |files: &[(&str, &str)], without: bool| {
            let mut companions = Companions::default();
            for (name, text) in files {
                let path = root.join(name);
                std::fs::create_dir_all(path.parent().expect("has a folder")).expect("can be written");
                std::fs::write(&path, text).expect("can be written");
                companions.look_at(root, &path);
            }
            companions.hints(root, without, &BTreeSet::from(["jpg".to_owned()]))
        };
        for (name, text, words) in [
            ("positions.csv", "path,lat,lon\na.jpg,1,2\n", ["positions.csv", "index add INDEX"]),
            ("track.gpx", "<gpx>", ["exiftool -r -ext jpg", "-geotag "]),
            ("a.jpg.json", "{}", ["Google Takeout", "-tagsfromfile %d%F.json "]),
            (
                "a.jpg.supplemental-metadata.json",
                "{}",
                ["GeoDataLatitude", "%d%F.supplemental-metadata.json "],
            ),
            ("a.jpg.supplemen.json", "{}", ["GeoDataLatitude", "%d%F.supplemen.json "]),
            ("a.xmp", "<x>", ["XMP", "%d%f.xmp"]),
            ("a.jpg.xmp", "<x>", ["XMP", "%d%F.xmp"]),
            ("my.photo.xmp", "<x>", ["XMP", "%d%f.xmp"]),
            ("sparse/0/images.txt", "# Image list", ["COLMAP", "path,lat,lon"]),
            ("exif/a.jpg.exif", "{}", ["OpenSfM", "path,lat,lon"]),
            ("mapillary_image_description.json", "[]", ["mapillary_tools", "MAPLatitude"]),
        ] {
            let said = hints(&[(name, text)], true);
            assert_eq!(said.len(), 1, "{name}: {said:?}");
            assert!(words.iter().all(|word| said[0].contains(word)), "{}", said[0]);
            assert!(!said[0].contains('\n'));
            // Photographs with positions need no sidecars; a table was made on purpose.
            assert_eq!(hints(&[(name, text)], false).len(), usize::from(name == "positions.csv"), "{name}");
        }
        let said =
            hints(&[("c.csv", "path,lat,lon\na.jpg,1,2\n"), ("b.csv", "path,lat,lon\na.jpg,1,2\n")], false);
        assert!(said[0].contains("b.csv, ") && said[0].contains("c.csv are tables of positions"), "{said:?}");
        let said = hints(&[("a.jpg.XMP", "<x>"), ("b.xmp", "<x>")], true);
        assert!(said.len() == 1 && said[0].contains("%d%F.XMP") && said[0].contains("%d%f.xmp"), "{said:?}");
        assert!(hints(&[("a.jpg.supplemental-metadata(1).json", "{}")], true).is_empty());
        let said = hints(&[("two words/track 1.gpx", "<gpx>")], true);
        assert!(said[0].contains("/two words/track 1.gpx' "), "{said:?}");
        assert!(
            hints(&[("scores.csv", "model,score\na,1\n"), ("notes.txt", "x"), ("x.json", "{}")], true)
                .is_empty()
        );
    }
}
