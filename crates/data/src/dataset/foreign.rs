//! Files that are no tables, named for what they are, with what to do about them.

use super::content::{self, Content};
use super::exiftool;
use std::path::Path;

/// How much of a text is looked at.
const HEAD: usize = 64 << 10;

/// What a file is that was given as a table and is none, and what to do; none for what may be a table.
pub(super) fn problem(bytes: &[u8], path: &Path) -> Option<String> {
    let head = &bytes[..bytes.len().min(HEAD)];
    binary(bytes, head, path).or_else(|| text(&String::from_utf8_lossy(head)))
}

fn binary(bytes: &[u8], head: &[u8], path: &Path) -> Option<String> {
    let has = |needle: &[u8]| head.windows(needle.len()).any(|window| window == needle);
    match content::of_bytes(head, path) {
        Content::Photo => {
            return Some("is a photograph, not a table of positions: add it as a photograph".into());
        }
        Content::Unsupported(reason) => return Some(reason),
        Content::Other => {}
    }
    let spreadsheet = |what: &str| format!("is {what}: save its sheet as CSV (UTF-8) and use that");
    if head.starts_with(b"PK\x03\x04") {
        return Some(if has(b"opendocument.spreadsheet") {
            spreadsheet("an OpenDocument spreadsheet (.ods)")
        } else if has(b"xl/") || has(b"[Content_Types].xml") {
            spreadsheet("an Excel spreadsheet (.xlsx)")
        } else if has(b"doc.kml") {
            kml()
        } else {
            "is a ZIP archive, not a table: unpack it first".into()
        });
    } else if head.starts_with(b"\xd0\xcf\x11\xe0") {
        return Some(spreadsheet("an old Excel spreadsheet (.xls)"));
    } else if head.starts_with(b"PAR1") {
        return Some("is a Parquet file: write it as CSV and use that".into());
    } else if head.starts_with(b"SQLite format 3\0") {
        return Some(
            "is a SQLite database (or GeoPackage): write its table as CSV with the columns path,lat,lon"
                .into(),
        );
    } else if head.starts_with(b"\x1f\x8b") {
        return Some("is compressed (gzip): unpack it first".into());
    } else if head.starts_with(b"%PDF") {
        return Some("is a PDF, not a table".into());
    }
    bytes.contains(&0).then(|| "is a binary file, not a table".into())
}

fn text(head: &str) -> Option<String> {
    let start = head.trim_start();
    let lower = start.to_lowercase();
    let first = start.lines().next().unwrap_or_default();
    if start.starts_with('<') {
        return Some(if lower.contains("<gpx") {
            "is a GPX track, which names no photographs: write its positions into them (exiftool -geotag TRACK.gpx \
             FOLDER) and add the folder"
                .into()
        } else if lower.contains("<kml") {
            kml()
        } else if lower.contains("xmpmeta") {
            format!(
                "is an XMP sidecar: write it into its photograph (exiftool {} PHOTO.jpg) and add that",
                exiftool::of_xmp("PHOTO.xmp")
            )
        } else {
            "is XML or HTML, not a table: path,lat,lon is needed".into()
        });
    }
    // A header in brackets has no quote, brace or digit after them.
    let json = start.starts_with('{')
        || start.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with(['{', '[', '"', ']']));
    if json {
        let has = |name: &str| start.contains(&format!("\"{name}\""));
        return Some(if has("FeatureCollection") || has("Feature") || has("coordinates") {
            "is GeoJSON, which is not read as a table: convert it (ogr2ogr -f CSV -lco GEOMETRY=AS_WKT OUT.csv \
             IN.geojson) and use that"
                .into()
        } else if has("geoData") || has("photoTakenTime") {
            format!(
                "is a sidecar of Google Takeout: write its position into the photograph (exiftool {} PHOTO.jpg) and \
                 add that",
                exiftool::of_takeout("PHOTO.jpg.json")
            )
        } else if has("MAPLatitude") || has("MAPFilename") {
            "is a description of images by mapillary_tools: write its positions as CSV (path,lat,lon) and use that"
                .into()
        } else if has("cameras") && has("shots") || has("reference_lla") {
            "is a reconstruction of OpenSfM, whose positions are local: write path,lat,lon as CSV and use that".into()
        } else {
            "is JSON, not a table: write path,lat,lon as CSV and use that".into()
        });
    }
    if first.starts_with("# kapture format") {
        return Some(
            "is a table of kapture, which has names (records_camera.txt), poses (trajectories.txt) and GNSS \
             (records_gnss.txt) in files of their own: join them by timestamp and device as a table path,lat,lon, or \
             path,x,y,z for an index of local metres"
                .into(),
        );
    }
    if is_colmap(start) {
        return Some(
            "is COLMAP's list of images, whose positions are local to the model: for an index of local metres write \
             the cameras' centres (-R^T t), scaled to metres, as CSV with path,x,y,z; else path,lat,lon"
                .into(),
        );
    }
    if first.starts_with("$GP") || first.starts_with("$GN") {
        return Some(
            "is an NMEA log, which names no photographs: convert it to GPX (gpsbabel -i nmea -f LOG -o gpx \
                     -F TRACK.gpx) and write that into the photographs (exiftool -geotag TRACK.gpx FOLDER)"
                .into(),
        );
    }
    None
}

fn kml() -> String {
    "is KML, which is not read as a table: convert it (ogr2ogr -f CSV -lco GEOMETRY=AS_WKT OUT.csv IN.kml) and use \
     that"
        .into()
}

/// `images.txt`: its header, or lines of an identifier, seven numbers, a camera and a name.
fn is_colmap(text: &str) -> bool {
    let mut lines = text.lines();
    let comments: Vec<&str> = lines.by_ref().take_while(|line| line.starts_with('#')).collect();
    if comments.iter().any(|line| line.contains("Image list") || line.contains("QW, QX, QY, QZ")) {
        return true;
    }
    let first = text.lines().find(|line| !line.starts_with('#') && !line.trim().is_empty());
    first.is_some_and(|line| {
        let parts: Vec<&str> = line.split(' ').collect();
        parts.len() == 10
            && parts[..9].iter().all(|part| part.parse::<f64>().is_ok())
            && parts[9].parse::<f64>().is_err()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_named_for_what_it_is() {
        let zip = |name: &str| [b"PK\x03\x04\x14\0\0\0\0\0".as_slice(), name.as_bytes()].concat();
        let jpeg = b"\xff\xd8\xff\xe0\0\x10JFIF\0".to_vec();
        for (bytes, words) in [
            (
                b"{\"type\":\"FeatureCollection\",\"features\":[{\"type\":\"Feature\"}]}".to_vec(),
                ["is GeoJSON", "ogr2ogr -f CSV"],
            ),
            (
                b"<?xml version=\"1.0\"?><gpx version=\"1.1\"><trk>".to_vec(),
                ["is a GPX track", "exiftool -geotag"],
            ),
            (b"\n<?xml?>\n<kml xmlns=\"\">".to_vec(), ["is KML", "ogr2ogr"]),
            (b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>".to_vec(), ["is an XMP sidecar", "exiftool"]),
            (b"<!DOCTYPE html>".to_vec(), ["is XML or HTML", "path,lat,lon"]),
            (b"{\"title\": \"a.jpg\", \"geoData\": {}}".to_vec(), ["Google Takeout", "exiftool"]),
            (b"[{\"MAPLatitude\": 1.0}]".to_vec(), ["mapillary_tools", "CSV"]),
            (b"[{\"cameras\": {}, \"shots\": {}}]".to_vec(), ["OpenSfM", "CSV"]),
            (b"{\"a\": 1}".to_vec(), ["is JSON", "CSV"]),
            (zip("[Content_Types].xml"), ["Excel spreadsheet (.xlsx)", "save its sheet as CSV"]),
            (zip("mimetypeapplication/vnd.oasis.opendocument.spreadsheet"), ["(.ods)", "CSV"]),
            (zip("other.txt"), ["ZIP archive", "unpack"]),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec(), ["(.xls)", "CSV"]),
            (b"# Image list with two lines of data per image:\n".to_vec(), ["COLMAP", "local to the model"]),
            (b"1 0.9 0.1 0 0 1 2 3 1 a.jpg\n\n".to_vec(), ["COLMAP", "CSV"]),
            (
                b"# kapture format: 1.1\n# timestamp, device_id, image_path\n0, cam, a.jpg\n".to_vec(),
                ["a table of kapture", "path,x,y,z"],
            ),
            (b"$GPGGA,123519,4807.038,N".to_vec(), ["NMEA", "exiftool -geotag"]),
            (b"PAR1\x15\x04".to_vec(), ["Parquet", "CSV"]),
            (b"SQLite format 3\0".to_vec(), ["SQLite", "CSV"]),
            (b"a,b\0c".to_vec(), ["binary file", "not a table"]),
            (jpeg, ["is a photograph", "not a table"]),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".to_vec(), ["HEIC", "magick"]),
        ] {
            let said = problem(&bytes, Path::new("t.csv")).expect(words[0]);
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
        for table in
            ["path,lat,lon\n", "[path],[lat],[lon]\n", "#path lat lon\n", "", "Breite;Länge\n", "Pfad\n"]
        {
            assert_eq!(problem(table.as_bytes(), Path::new("t.csv")), None, "{table}");
        }
    }
}
