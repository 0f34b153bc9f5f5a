//! Positions that lie beside photographs in another form, and how to use them.

use super::columns::{Columns, Place};
use super::table::Table;
use std::path::{Path, PathBuf};

/// What may hold the positions of a folder's photographs: the first file of each form.
#[derive(Debug, Default)]
pub(super) struct Companions {
    tables: Vec<PathBuf>,
    gpx: Option<PathBuf>,
    takeout: Option<PathBuf>,
    xmp: Option<PathBuf>,
    colmap: Option<PathBuf>,
    opensfm: Option<PathBuf>,
    mapillary: Option<PathBuf>,
}

/// Tables that are looked into: a folder of measurements may have thousands.
const TABLES: usize = 8;

impl Companions {
    /// Takes a file that is no photograph; only its name and place count.
    pub(super) fn look_at(&mut self, root: &Path, path: &Path) {
        let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let within = |folder: &str| path.parent().is_some_and(|parent| parent.ends_with(folder));
        let slot = if name.ends_with(".csv") || name.ends_with(".tsv") {
            // A table further down names files relative to itself, and is found by name all the same.
            if self.tables.len() < TABLES && path.parent().is_some_and(|parent| parent.starts_with(root)) {
                self.tables.push(path.to_owned());
            }
            return;
        } else if name.ends_with(".gpx") {
            &mut self.gpx
        } else if name == "mapillary_image_description.json" {
            &mut self.mapillary
        } else if name.ends_with(".exif") && within("exif") || name == "reconstruction.json" {
            &mut self.opensfm
        } else if is_takeout(&name) {
            &mut self.takeout
        } else if name.ends_with(".xmp") {
            &mut self.xmp
        } else if name == "images.txt" || name == "images.bin" {
            &mut self.colmap
        } else {
            return;
        };
        slot.get_or_insert_with(|| path.to_owned());
    }

    /// One line for each form that was found; `without` says whether photographs lack a position. A table is worth
    /// a line even where they do not: somebody made it.
    pub(super) fn hints(&self, root: &Path, without: bool) -> Vec<String> {
        let mut hints: Vec<String> = self
            .tables
            .iter()
            .find(|path| is_positions(path))
            .map(|path| {
                let table = path.display();
                format!(
                    "{table} is a table of positions and was not used, only the photographs' own positions were: to \
                     use the table, add it in place of the folder (r2former index add INDEX {table})"
                )
            })
            .into_iter()
            .collect();
        if !without {
            return hints;
        }
        let folder = root.display();
        let by_exiftool = |what: &str, example: &Path, arguments: &str| {
            format!(
                "{what} lie beside the photographs ({}): write them into the photographs with exiftool -r {arguments} \
                 {folder}, then add the folder again",
                example.display()
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
                .map(|path| by_exiftool("GPX tracks", path, &format!("-geotag {}", path.display()))),
        );
        hints.extend(self.takeout.as_deref().map(|path| {
            let arguments = "-tagsfromfile %d%F.json \"-GPSLatitude*<GeoDataLatitude\" \
                             \"-GPSLongitude*<GeoDataLongitude\"";
            by_exiftool("sidecars of Google Takeout", path, arguments)
        }));
        hints.extend(self.xmp.as_deref().map(|path| {
            let own = path.file_stem().is_some_and(|stem| Path::new(stem).extension().is_some());
            let arguments =
                if own { "-tagsfromfile %d%F.xmp -gps:all" } else { "-tagsfromfile %d%f.xmp -gps:all" };
            by_exiftool("XMP sidecars", path, arguments)
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
}

/// `photo.jpg.json`, `photo.jpg.supplemental-metadata.json` and its shortened forms.
fn is_takeout(name: &str) -> bool {
    const PHOTOS: [&str; 6] = [".jpg.", ".jpeg.", ".png.", ".heic.", ".webp.", ".mp4."];
    name.ends_with(".json") && PHOTOS.iter().any(|extension| name.contains(extension))
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
            companions.hints(root, without)
        };
        for (name, text, words) in [
            ("positions.csv", "path,lat,lon\na.jpg,1,2\n", ["positions.csv", "index add INDEX"]),
            ("track.gpx", "<gpx>", ["track.gpx", "exiftool -r -geotag"]),
            ("a.jpg.json", "{}", ["Google Takeout", "GeoDataLatitude"]),
            ("a.jpg.supplemental-metadata.json", "{}", ["Google Takeout", "GeoDataLatitude"]),
            ("a.xmp", "<x>", ["XMP", "%d%f.xmp"]),
            ("a.jpg.xmp", "<x>", ["XMP", "%d%F.xmp"]),
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
        assert!(
            hints(&[("scores.csv", "model,score\na,1\n"), ("notes.txt", "x"), ("x.json", "{}")], true)
                .is_empty()
        );
    }
}
