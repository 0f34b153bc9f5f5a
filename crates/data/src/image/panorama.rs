//! Panoramas: recognised by their tags or their shape, and cut into perspective views.

use super::open::{head_format, open, stored_dimensions};
use super::perspective::{AngularGrid, DirectedView, render_view};
use super::xmp::Xmp;
use super::{Limits, Rgb8, degenerate, metadata, orient};
use crate::{DataError, PanoramaView, Result};
use std::convert::Infallible;
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::Path;

/// An image without tags is taken for a panorama when it is twice as wide as it is high, and at least this wide.
pub const PANORAMA_MIN_WIDTH: usize = 2000;

/// Views are at most this wide: the panorama is made smaller, with antialias, before it is cut.
const WIDEST_VIEW: f64 = 1280.0;

/// Height of a view relative to its width.
const ASPECT: f64 = 0.75;

/// Degrees of a view that may lie above or below a panorama's rows, which repeat there.
const BEYOND: f64 = 5.0;

/// What the header of a photograph says of its shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Columns, once upright.
    pub width: usize,
    /// Rows, once upright.
    pub height: usize,
    /// Whether it is a panorama.
    pub panorama: Option<Panorama>,
}

/// A panorama.
#[derive(Debug, Clone, PartialEq)]
pub struct Panorama {
    /// Compass heading of its middle in degrees (GPano:PoseHeadingDegrees).
    pub heading: Option<f64>,
    /// Row of the horizon as a part of its height: 0.5 unless rows are cropped.
    pub horizon: f64,
    /// Whether tags call it a panorama; else its shape alone does.
    pub tagged: bool,
    /// Why it cannot be cut into views all around, if it cannot.
    pub partial: Option<String>,
}

/// Reads the shape of a photograph from its header and tags; pixels are not decoded.
///
/// # Errors
/// As [`dimensions`](super::dimensions).
pub fn shape(path: &Path, limits: &Limits) -> Result<Shape> {
    let (file, _) = open(path, limits)?;
    shape_in(&mut BufReader::new(file), path, limits)
}

/// As [`shape`], of bytes in memory; `name` stands for them in messages.
///
/// # Errors
/// As [`dimensions`](super::dimensions).
pub fn shape_of_bytes(bytes: &[u8], name: &Path, limits: &Limits) -> Result<Shape> {
    shape_in(&mut Cursor::new(bytes), name, limits)
}

fn shape_in(reader: &mut (impl BufRead + Seek), path: &Path, limits: &Limits) -> Result<Shape> {
    let format = head_format(reader, path)?;
    let stored = stored_dimensions(format, reader, path, limits)?;
    reader.rewind().map_err(|e| DataError::io(path, e))?;
    let metadata = metadata::read(format, reader, path)?;
    let (width, height) = orient::turned(stored, metadata.orientation());
    let panorama = recognise(width, height, Xmp(metadata.xmp.as_deref().unwrap_or_default()));
    Ok(Shape { width, height, panorama })
}

impl Shape {
    /// The shape of decoded pixels, whose tags are not known.
    pub fn of_pixels(image: &Rgb8) -> Self {
        let (width, height) = (image.width, image.height);
        Self { width, height, panorama: recognise(width, height, Xmp(Default::default())) }
    }

    /// A note for an image that the network gets squeezed out of shape, or that is too small to show anything.
    pub fn note(&self) -> Option<String> {
        let Self { width, height, panorama } = self;
        match panorama {
            Some(_) => Some(format!(
                "is a panorama of {width} x {height} pixels: it is squeezed to the model's shape as a whole; for \
                 better answers cut a view out of it"
            )),
            None => degenerate(*width, *height),
        }
    }
}

/// A panorama by its GPano properties, or by its shape.
pub(super) fn recognise(width: usize, height: usize, xmp: Xmp) -> Option<Panorama> {
    let projection = xmp.get("GPano:ProjectionType");
    let full = xmp.number("GPano:FullPanoWidthPixels");
    if projection.is_none() && full.is_none() {
        let twice = width.abs_diff(2 * height) <= 2 && width >= PANORAMA_MIN_WIDTH;
        return twice.then_some(Panorama { heading: None, horizon: 0.5, tagged: false, partial: None });
    }
    let mut found = Panorama { heading: xmp.pose_heading(), horizon: 0.5, tagged: true, partial: None };
    match rows(width, height, projection, xmp) {
        Ok(horizon) => found.horizon = horizon,
        Err(why) => found.partial = Some(why),
    }
    Some(found)
}

/// The row of the horizon as a part of the height, of a panorama that goes all around.
///
/// # Errors
/// Says why it is none.
fn rows(width: usize, height: usize, projection: Option<&str>, xmp: Xmp) -> Result<f64, String> {
    if let Some(other) = projection.filter(|p| !p.eq_ignore_ascii_case("equirectangular")) {
        return Err(format!("its projection is \"{}\", not equirectangular", other.escape_default()));
    }
    let positive = |name: &str| xmp.number(name).filter(|n| *n >= 1.0);
    let (Some(full), Some(columns)) =
        (positive("GPano:FullPanoWidthPixels"), positive("GPano:CroppedAreaImageWidthPixels"))
    else {
        return if width.abs_diff(2 * height) * 100 <= width {
            Ok(0.5)
        } else {
            Err("it is not twice as wide as it is high, and its tags do not say which part it shows".into())
        };
    };
    if columns < 0.99 * full {
        return Err(format!("it shows {:.0} of 360 degrees", 360.0 * columns / full));
    }
    let full_rows = positive("GPano:FullPanoHeightPixels").unwrap_or(full / 2.0);
    let rows = positive("GPano:CroppedAreaImageHeightPixels").unwrap_or(full_rows);
    let top = xmp.number("GPano:CroppedAreaTopPixels").unwrap_or((full_rows - rows) / 2.0);
    // Pixels per degree across and down, whatever size the image was scaled to since.
    let (across, down) = (width as f64 / 360.0, height as f64 * full_rows / rows / 180.0);
    if (across / down - 1.0).abs() > 0.02 {
        return Err("its GPano tags contradict its shape".into());
    }
    let horizon = (full_rows / 2.0 - top) / rows;
    if !(0.0..=1.0).contains(&horizon) {
        return Err("its horizon is outside the picture".into());
    }
    Ok(horizon)
}

impl Panorama {
    /// Whether views of this width, looking at the horizon, lie within the rows of a panorama of this size.
    pub(crate) fn holds_views(&self, width: usize, height: usize, fov: f64) -> bool {
        let rows = 360.0 * height as f64 / width.max(1) as f64;
        let half = ((fov / 2.0).to_radians().tan() * ASPECT).atan().to_degrees();
        self.horizon.min(1.0 - self.horizon) * rows + BEYOND >= half
    }
}

/// Cuts perspective views out of an equirectangular panorama that goes all around: pictures of 4:3 with its own
/// resolution in the middle, at most 1280 pixels wide, looking at the horizon.
///
/// # Errors
/// [`DataError::Request`] for an image that contradicts itself, or a view that is not between 1 and 170 degrees wide.
pub fn cut_views(panorama: Rgb8, views: &[PanoramaView]) -> Result<Vec<Rgb8>> {
    panorama.check()?;
    if let Some(bad) = views.iter().find(|view| !view.is_valid()) {
        return Err(DataError::Request(format!(
            "{bad:?} is no view: a field of view is from 1 to 170 degrees"
        )));
    }
    let wide = |fov: f64, width: usize| (fov / 2.0).to_radians().tan() * width as f64 / std::f64::consts::PI;
    let widest = views.iter().map(|view| wide(view.fov, panorama.width)).fold(0.0, f64::max);
    let longest = panorama.width.max(panorama.height);
    let panorama = if widest > WIDEST_VIEW {
        panorama.thumbnail((longest as f64 * WIDEST_VIEW / widest) as usize)?
    } else {
        panorama
    };
    let (columns, rows) = (panorama.width as isize, panorama.height as isize);
    let pixel = |column: isize, row: isize| -> Result<[f32; 3], Infallible> {
        let at = ((row.clamp(0, rows - 1) * columns + column.rem_euclid(columns)) * 3) as usize;
        Ok([0, 1, 2].map(|c| f32::from(panorama.pixels[at + c])))
    };
    let cut = |view: &PanoramaView| {
        let width = (wide(view.fov, panorama.width).round() as usize).max(1);
        let size = [((width as f64 * ASPECT).round() as usize).max(1), width];
        let grid = AngularGrid {
            degree: panorama.width as f64 / 360.0,
            forward: panorama.width as f64 / 2.0,
            horizon: panorama.height as f64 * view.horizon,
        };
        let view = DirectedView { heading: view.yaw, pitch: 0.0, fov: view.fov, rectilinear: true };
        match render_view(view, size, grid, pixel) {
            Ok(image) => image,
            Err(never) => match never {},
        }
    };
    Ok(views.iter().map(cut).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpano(inside: &str) -> String {
        format!("<rdf:Description {inside}/>")
    }

    fn of(width: usize, height: usize, inside: &str) -> Option<Panorama> {
        recognise(width, height, Xmp(&gpano(inside)))
    }

    const EQUI: &str = "GPano:ProjectionType=\"equirectangular\"";

    #[test]
    fn panoramas_are_recognised() {
        assert_eq!(of(4000, 3000, ""), None);
        assert_eq!(of(1998, 999, ""), None);
        let plain = of(2000, 1000, "").expect("2:1 at 2000 pixels");
        assert_eq!((plain.tagged, plain.partial, plain.heading), (false, None, None));
        let tagged = of(96, 48, &format!("{EQUI} GPano:PoseHeadingDegrees='-90'")).expect("tagged");
        assert_eq!((tagged.heading, tagged.horizon, tagged.partial), (Some(270.0), 0.5, None));
        let odd = of(96, 64, EQUI).expect("tagged");
        assert!(odd.partial.is_some_and(|why| why.contains("not twice as wide")));
        let cylinder = of(2000, 1000, "GPano:ProjectionType='cylindrical'").expect("tagged");
        assert!(cylinder.partial.is_some_and(|why| why.contains("cylindrical")));
        let part = of(
            2000,
            1000,
            &format!(
                "{EQUI} GPano:FullPanoWidthPixels='8000' GPano:CroppedAreaImageWidthPixels='2000' \
                 GPano:FullPanoHeightPixels='4000' GPano:CroppedAreaImageHeightPixels='1000'"
            ),
        );
        assert!(part.expect("tagged").partial.is_some_and(|why| why.contains("90 of 360")));
        // The lower 1000 of 4000 rows are cut away, and the file was halved since.
        let rows = of(
            4000,
            1500,
            &format!(
                "{EQUI} GPano:FullPanoWidthPixels='8000' GPano:CroppedAreaImageWidthPixels='8000' \
                 GPano:FullPanoHeightPixels='4000' GPano:CroppedAreaImageHeightPixels='3000' \
                 GPano:CroppedAreaTopPixels='0'"
            ),
        )
        .expect("tagged");
        assert_eq!(rows.partial, None);
        assert!((rows.horizon - 2.0 / 3.0).abs() < 1e-12);
        assert!(rows.holds_views(4000, 1500, 90.0));
        assert!(!rows.holds_views(4000, 600, 90.0));
    }

    /// A panorama whose red grows with the heading, blue likewise but turned, and whose lower half is green.
    fn sphere(width: usize) -> Rgb8 {
        let height = width / 2;
        let pixels = (0..width * height).flat_map(|i| {
            let angle = (i % width) as f64 / width as f64 * std::f64::consts::TAU;
            let wave = |v: f64| (127.5 + 120.0 * v) as u8;
            [wave(angle.sin()), if i / width < height / 2 { 40 } else { 200 }, wave(angle.cos())]
        });
        Rgb8 { width, height, pixels: pixels.collect() }
    }

    #[test]
    fn a_view_shows_its_direction() {
        let view = |yaw: f64| PanoramaView { yaw, fov: 90.0, horizon: 0.5 };
        let yaws = [0.0, 90.0, 180.0, 270.0, 45.0];
        let views = cut_views(sphere(720), &yaws.map(view)).expect("views");
        for (yaw, image) in yaws.iter().zip(&views) {
            // 720 / pi: as many pixels per degree in the middle as the panorama has.
            assert_eq!((image.width, image.height), (229, 172));
            let at = |x: usize, y: usize| &image.pixels[(y * image.width + x) * 3..][..3];
            // The middle of the panorama is column width / 2: half a turn from column 0.
            for (x, turn) in [(0, -45.0f64), (114, 0.0), (228, 45.0)] {
                let angle = (yaw + 180.0 + turn).to_radians();
                let wanted = [angle.sin(), angle.cos()].map(|v| 127.5 + 120.0 * v);
                let found = at(x, 40);
                for (f, w) in [(found[0], wanted[0]), (found[2], wanted[1])] {
                    assert!((f64::from(f) - w).abs() < 4.0, "{yaw} {x}: {found:?} {wanted:?}");
                }
            }
            assert!(at(114, 80)[1] < 45 && at(114, 92)[1] > 195, "the horizon is in the middle");
        }
        // No seam behind: across the panorama's edge colours continue.
        let behind = &views[2];
        let row: Vec<i32> = (0..behind.width).map(|x| i32::from(behind.pixels[(40 * 229 + x) * 3])).collect();
        assert!(row.windows(2).all(|pair| (pair[0] - pair[1]).abs() <= 3), "{row:?}");
    }

    #[test]
    fn large_panoramas_make_views_of_1280_pixels() {
        let view = PanoramaView { yaw: 10.0, fov: 90.0, horizon: 0.5 };
        let views = cut_views(sphere(6000), &[view]).expect("a view");
        assert!((1270..=1290).contains(&views[0].width), "{}", views[0].width);
        assert!(cut_views(sphere(10), &[PanoramaView { fov: 180.0, ..view }]).is_err());
        assert!(cut_views(sphere(2), &[view]).is_ok());
    }
}
