//! Panoramas among photographs: cut into views, taken whole, or left out.

use crate::image::{Limits, Shape, shape};
use crate::{DataError, PanoramaView, Photo, Result};
use rayon::prelude::*;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// What is done with a panorama.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PanoramaMode {
    /// It is cut into perspective views, each a photograph of its own.
    #[default]
    Views,
    /// It is one photograph, squeezed to the model's shape.
    Whole,
    /// It is left out.
    Skip,
}

impl fmt::Display for PanoramaMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Views => "views",
            Self::Whole => "whole",
            Self::Skip => "skip",
        })
    }
}

impl FromStr for PanoramaMode {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "views" => Ok(Self::Views),
            "whole" => Ok(Self::Whole),
            "skip" => Ok(Self::Skip),
            _ => Err(DataError::Request(format!("\"{text}\" is not views, whole or skip"))),
        }
    }
}

/// How panoramas become photographs.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct PanoramaOptions {
    /// What is done with them; [`PanoramaMode::Views`] by default.
    pub mode: PanoramaMode,
    /// Views of each, 1 to 36, evenly spaced; 8 by default.
    pub views: u32,
    /// Horizontal field of view of each in degrees, 20 to 120; 90 by default.
    pub fov: f64,
    /// Degrees clockwise from the panorama's middle to the first view; 0 by default.
    pub offset: f64,
}

impl Default for PanoramaOptions {
    fn default() -> Self {
        Self { mode: PanoramaMode::Views, views: 8, fov: 90.0, offset: 0.0 }
    }
}

impl PanoramaOptions {
    /// Sets what is done with panoramas.
    pub fn mode(self, mode: PanoramaMode) -> Self {
        Self { mode, ..self }
    }

    /// Sets number, field of view and first direction of the views.
    ///
    /// # Errors
    /// [`DataError::Request`] outside the ranges of the fields.
    pub fn with_views(self, views: u32, fov: f64, offset: f64) -> Result<Self> {
        if !(1..=36).contains(&views) || !(20.0..=120.0).contains(&fov) || !(-360.0..=360.0).contains(&offset)
        {
            return Err(DataError::Request(format!(
                "panoramas cannot be cut into {views} views of {fov} degrees from {offset} on: expected 1 to 36 views \
                 of 20 to 120 degrees, from -360 to 360"
            )));
        }
        Ok(Self { views, fov, offset, ..self })
    }
}

/// Photographs after panoramas were dealt with.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExpandedPhotos {
    /// Photographs, and the views of panoramas in the panoramas' places.
    pub photos: Vec<Photo>,
    /// How many panoramas were cut, taken whole or left out, and why; images that hardly show a place.
    pub notes: Vec<String>,
}

/// Replaces each panorama by its views. A view is called `NAME#DEGREES`: the compass heading of its middle, or where
/// the panorama's heading is unknown the degrees clockwise from the panorama's middle. It has the panorama's position and
/// tags, a heading of its own, the tag `panorama` with the panorama's name, and `panorama_fov` with the field of view.
///
/// A panorama is an image with `GPano` tags, or one of 2:1 that is at least 2000 pixels wide. Those that do not show all
/// 360 degrees, or are not equirectangular, stay whole, with a note. Files that cannot be read are passed on as they
/// are: decoding them says why.
pub fn expand_panoramas(photos: Vec<Photo>, options: &PanoramaOptions, limits: &Limits) -> ExpandedPhotos {
    expand_panoramas_by(photos, options, |path| shape(path, limits).ok())
}

/// As [`expand_panoramas`], of photographs whose shapes are found by `shape`, wherever they are.
pub fn expand_panoramas_by(
    photos: Vec<Photo>,
    options: &PanoramaOptions,
    shape: impl Fn(&Path) -> Option<Shape> + Sync,
) -> ExpandedPhotos {
    let shapes: Vec<Option<Shape>> =
        photos.par_iter().map(|photo| if photo.view.is_some() { None } else { shape(&photo.path) }).collect();
    let mut out = ExpandedPhotos::default();
    let mut cut = 0;
    let (mut untagged, mut whole, mut skipped, mut degenerate) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (photo, shape) in photos.into_iter().zip(shapes) {
        let Some(shape) = shape else {
            out.photos.push(photo);
            continue;
        };
        let Some(panorama) = &shape.panorama else {
            if let Some(note) = shape.note() {
                degenerate.push(format!("{} {note}", photo.name));
            }
            out.photos.push(photo);
            continue;
        };
        if !panorama.tagged {
            untagged.push(photo.name.clone());
        }
        let beyond = || {
            let fits = panorama.holds_views(shape.width, shape.height, options.fov);
            (!fits).then(|| format!("its rows do not hold views of {} degrees", options.fov))
        };
        match (options.mode, panorama.partial.clone().or_else(beyond)) {
            (PanoramaMode::Skip, _) => {
                skipped.push(photo.name);
            }
            (PanoramaMode::Whole, _) => {
                whole.push(format!("{} (on request)", photo.name));
                out.photos.push(photo);
            }
            (PanoramaMode::Views, Some(why)) => {
                whole.push(format!("{} ({why})", photo.name));
                out.photos.push(photo);
            }
            (PanoramaMode::Views, None) => {
                cut += 1;
                // A table's heading counts before the file's own, which it corrects.
                let centre = photo.heading.or(panorama.heading);
                let north = photo.heading_ref;
                for i in 0..options.views {
                    let yaw = options.offset + 360.0 * f64::from(i) / f64::from(options.views);
                    let turned = |from: f64| (from + yaw).rem_euclid(360.0) % 360.0;
                    let mut view = photo.clone();
                    view.name = format!("{}#{}", photo.name, turned(centre.unwrap_or(0.0)).round() % 360.0);
                    view.heading = centre.map(turned);
                    view.heading_ref = north;
                    view.view = Some(PanoramaView { yaw, fov: options.fov, horizon: panorama.horizon });
                    view.tags.insert("panorama".into(), photo.name.clone());
                    view.tags.insert("panorama_fov".into(), options.fov.to_string());
                    out.photos.push(view);
                }
            }
        }
    }
    if cut > 0 {
        out.notes.push(format!(
            "{cut} panorama{} cut into {} views of {} degrees each",
            if cut == 1 { "" } else { "s" },
            options.views,
            options.fov
        ));
    }
    let mut list = |names: &[String], text: &str| {
        if let Some(first) = names.first() {
            out.notes.push(match names.len() {
                1 => format!("{text}: {first}"),
                n => format!("{text}: {n} images, the first {first}"),
            });
        }
    };
    list(&untagged, "taken for a panorama by its shape, 2:1, without a tag that says so");
    list(&whole, "panorama added whole, squeezed to the model's shape");
    list(&skipped, "panorama left out on request");
    list(&degenerate, "hardly shows a place");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{HeadingReference, PhotoTags, jpeg_with_tags};
    use crate::{LatLon, Rgb8};

    fn write(dir: &std::path::Path, name: &str, width: usize, height: usize, xmp: &str) -> Photo {
        let image = Rgb8 { width, height, pixels: vec![90; width * height * 3] };
        let plain = jpeg_with_tags(&image, 80, &PhotoTags::default()).unwrap();
        let body = [b"http://ns.adobe.com/xap/1.0/\0", xmp.as_bytes()].concat();
        let length = (body.len() as u16 + 2).to_be_bytes();
        let bytes = [&plain[..2], b"\xff\xe1", &length, &body, &plain[2..]].concat();
        let path = dir.join(name);
        std::fs::write(&path, bytes).unwrap();
        Photo { position: Some(LatLon { lat: 1.0, lon: 2.0 }.into()), ..Photo::new(path, name) }
    }

    const EQUI: &str = "<r GPano:ProjectionType='equirectangular' GPano:PoseHeadingDegrees='100.4'/>";

    /// Never squeezed without a word.
    #[test]
    fn a_panorama_becomes_its_views() {
        let dir = tempfile::tempdir().unwrap();
        let tagged = write(dir.path(), "p.jpg", 96, 48, EQUI);
        let street = write(dir.path(), "s.jpg", 64, 48, "");
        let mut bare = write(dir.path(), "b.jpg", 2000, 1000, "");
        (bare.heading, bare.heading_ref) = (Some(10.0), Some(HeadingReference::Magnetic));
        let odd = write(dir.path(), "o.jpg", 96, 64, EQUI);
        let photos = vec![tagged, street.clone(), bare, odd.clone(), Photo::new("gone.jpg", "gone.jpg")];
        let options = PanoramaOptions::default().with_views(4, 90.0, 0.0).unwrap();
        let out = expand_panoramas(photos.clone(), &options, &Limits::default());
        let names: Vec<_> = out.photos.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "p.jpg#100",
                "p.jpg#190",
                "p.jpg#280",
                "p.jpg#10",
                "s.jpg",
                "b.jpg#10",
                "b.jpg#100",
                "b.jpg#190",
                "b.jpg#280",
                "o.jpg",
                "gone.jpg"
            ]
        );
        let fourth = &out.photos[3];
        assert!((fourth.heading.unwrap() - 10.4).abs() < 1e-9);
        assert_eq!(fourth.position, Some(LatLon { lat: 1.0, lon: 2.0 }.into()));
        assert_eq!(fourth.tags["panorama"], "p.jpg");
        assert_eq!(fourth.view, Some(PanoramaView { yaw: 270.0, fov: 90.0, horizon: 0.5 }));
        assert_eq!(out.photos[5].heading_ref, Some(HeadingReference::Magnetic));
        assert_eq!(out.photos[4], street);
        assert_eq!(out.photos[9], odd);
        assert_eq!(out.notes[0], "2 panoramas cut into 4 views of 90 degrees each");
        assert!(
            out.notes[1].contains("b.jpg") && out.notes[2].contains("o.jpg (it is not twice"),
            "{:?}",
            out.notes
        );

        let whole = expand_panoramas(photos.clone(), &options.mode(PanoramaMode::Whole), &Limits::default());
        assert_eq!(whole.photos, photos);
        assert!(whole.notes.iter().any(|n| n.contains("3 images, the first p.jpg (on request)")));
        let skip = expand_panoramas(photos, &options.mode(PanoramaMode::Skip), &Limits::default());
        assert_eq!(skip.photos.len(), 2);
        assert!(skip.notes.iter().any(|n| n.starts_with("panorama left out on request: 3 images")));
    }

    /// A table corrects what a file says of itself; of a file both say the same.
    #[test]
    fn a_stated_heading_counts_before_the_panorama_s_own() {
        let dir = tempfile::tempdir().unwrap();
        let mut photo = write(dir.path(), "p.jpg", 96, 48, EQUI);
        let tags = crate::image::read_tags(&photo.path).unwrap();
        assert_eq!((tags.heading, tags.heading_ref), (Some(100.4), None));
        let options = PanoramaOptions::default().with_views(2, 90.0, 0.0).unwrap();
        photo.heading = Some(30.0);
        let out = expand_panoramas(vec![photo], &options, &Limits::default());
        let headings: Vec<_> = out.photos.iter().map(|p| (p.name.as_str(), p.heading)).collect();
        assert_eq!(headings, [("p.jpg#30", Some(30.0)), ("p.jpg#210", Some(210.0))]);
    }

    #[test]
    fn an_unknown_heading_stays_unknown_and_options_have_ranges() {
        let dir = tempfile::tempdir().unwrap();
        let photo = write(dir.path(), "b.jpg", 2000, 1000, "");
        let options = PanoramaOptions::default().with_views(3, 60.0, -30.0).unwrap();
        let out = expand_panoramas(vec![photo], &options, &Limits::default());
        let names: Vec<_> = out.photos.iter().map(|p| (p.name.as_str(), p.heading)).collect();
        assert_eq!(names, [("b.jpg#330", None), ("b.jpg#90", None), ("b.jpg#210", None)]);
        for (views, fov, offset) in
            [(0, 90.0, 0.0), (37, 90.0, 0.0), (4, 19.0, 0.0), (4, f64::NAN, 0.0), (4, 90.0, f64::INFINITY)]
        {
            assert!(options.with_views(views, fov, offset).is_err(), "{views} {fov} {offset}");
        }
        assert_eq!("whole".parse::<PanoramaMode>().unwrap(), PanoramaMode::Whole);
        assert!("squeeze".parse::<PanoramaMode>().is_err());
    }

    #[test]
    fn images_that_hardly_show_a_place_are_noted() {
        let dir = tempfile::tempdir().unwrap();
        let photos = vec![write(dir.path(), "dot.jpg", 1, 1, ""), write(dir.path(), "line.jpg", 1, 500, "")];
        let out = expand_panoramas(photos.clone(), &PanoramaOptions::default(), &Limits::default());
        assert_eq!(out.photos, photos);
        assert_eq!(
            out.notes,
            [
                "hardly shows a place: 2 images, the first dot.jpg is 1 x 1 pixels: too few to recognise a place by"
            ]
        );
    }
}
