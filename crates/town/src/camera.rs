//! The camera: where it stands, where it looks, and which ray belongs to which pixel.

use crate::solid::Ray;
use crate::vector::{V3, v3};
use r2former_data::{DataError, Result};

/// A pinhole camera in the town.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Camera {
    /// Metres east of the town's middle, within 100 km.
    pub x: f64,
    /// Metres north of the town's middle, within 100 km.
    pub y: f64,
    /// Metres above the ground, 0.05 to 1000.
    pub height: f64,
    /// Viewing direction in degrees clockwise from north; any finite number.
    pub heading: f64,
    /// Degrees upwards, -90 to 90.
    pub pitch: f64,
    /// Degrees by which the camera is turned clockwise around its viewing direction; any finite number.
    pub roll: f64,
    /// Horizontal field of view in degrees, 5 to 150.
    pub fov: f64,
}

impl Default for Camera {
    /// In the middle, at 1.7 m, looking north with a field of view of 75 degrees.
    fn default() -> Self {
        Self { x: 0.0, y: 0.0, height: 1.7, heading: 0.0, pitch: 0.0, roll: 0.0, fov: 75.0 }
    }
}

impl Camera {
    /// Checks every field.
    ///
    /// # Errors
    /// [`DataError::Request`] that names the field, its value and its range.
    pub fn check(&self) -> Result<()> {
        let any = f64::MIN..=f64::MAX;
        let fields = [
            ("x", self.x, -1e5..=1e5),
            ("y", self.y, -1e5..=1e5),
            ("height", self.height, 0.05..=1000.0),
            ("heading", self.heading, any.clone()),
            ("pitch", self.pitch, -90.0..=90.0),
            ("roll", self.roll, any),
            ("field of view", self.fov, 5.0..=150.0),
        ];
        for (name, value, range) in fields {
            if !range.contains(&value) {
                let (low, high) = (range.start(), range.end());
                let range =
                    if *low == f64::MIN { "finite numbers".into() } else { format!("{low} to {high}") };
                return Err(DataError::Request(format!("the camera's {name} {value} is outside {range}")));
            }
        }
        Ok(())
    }
}

/// A checked camera with an image size: rays for pixels, and pixels for points.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lens {
    pub(super) eye: V3,
    forward: V3,
    right: V3,
    up: V3,
    middle: [f32; 2],
    /// Pixels from the eye to the image plane.
    pub(super) focal: f32,
}

impl Lens {
    pub(super) fn new(camera: &Camera, width: usize, height: usize) -> Self {
        let [heading, pitch, roll] =
            [camera.heading, camera.pitch, camera.roll].map(|d| (d % 360.0).to_radians() as f32);
        let forward = v3(heading.sin() * pitch.cos(), heading.cos() * pitch.cos(), pitch.sin());
        let level = v3(heading.cos(), -heading.sin(), 0.0);
        let above = v3(-heading.sin() * pitch.sin(), -heading.cos() * pitch.sin(), pitch.cos());
        let right = level * roll.cos() + above * -roll.sin();
        let up = above * roll.cos() + level * roll.sin();
        let focal = width as f32 / 2.0 / (camera.fov.to_radians() as f32 / 2.0).tan();
        let middle = [width as f32 / 2.0, height as f32 / 2.0];
        let eye = v3(camera.x as f32, camera.y as f32, camera.height as f32);
        Self { eye, forward, right, up, middle, focal }
    }

    /// The ray through a point of the image; pixel centres lie at halves.
    pub(super) fn ray(&self, x: f32, y: f32) -> Ray {
        let along =
            self.forward * self.focal + self.right * (x - self.middle[0]) - self.up * (y - self.middle[1]);
        Ray { from: self.eye, along: along.unit() }
    }

    /// Where a point appears, and how far it lies in front of the camera; none behind it.
    pub(super) fn project(&self, point: V3) -> Option<([f32; 2], f32)> {
        let off = point - self.eye;
        let deep = off.dot(self.forward);
        (deep > 0.1).then(|| {
            let k = self.focal / deep;
            ([self.middle[0] + off.dot(self.right) * k, self.middle[1] - off.dot(self.up) * k], deep)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rays_and_points_agree() {
        let camera = Camera { x: 3.0, y: -2.0, heading: 211.0, pitch: 12.0, roll: 25.0, ..Camera::default() };
        let lens = Lens::new(&camera, 320, 240);
        for (x, y) in [(160.0, 120.0), (3.5, 9.5), (300.0, 200.0)] {
            let ray = lens.ray(x, y);
            let (at, deep) = lens.project(ray.from + ray.along * 20.0).unwrap();
            assert!((at[0] - x).abs() < 0.01 && (at[1] - y).abs() < 0.01, "{at:?}");
            assert!(deep > 5.0);
            assert!(lens.project(ray.from - ray.along * 20.0).is_none());
        }
    }

    #[test]
    fn east_is_to_the_right_of_north() {
        let lens = Lens::new(&Camera::default(), 320, 240);
        let (at, _) = lens.project(v3(1.0, 10.0, 1.7)).unwrap();
        assert!(at[0] > 160.0 && (at[1] - 120.0).abs() < 1e-3);
        let tilted = Lens::new(&Camera { roll: 90.0, ..Camera::default() }, 320, 240);
        // Turned clockwise, the camera sees what was on its right at the bottom... of a sideways world.
        let (at, _) = tilted.project(v3(1.0, 10.0, 1.7)).unwrap();
        assert!(at[1] < 120.0);
    }

    #[test]
    fn fields_are_checked() {
        let fine = Camera::default();
        assert!(fine.check().is_ok());
        for broken in [
            Camera { x: f64::NAN, ..fine },
            Camera { heading: f64::INFINITY, ..fine },
            Camera { height: 0.0, ..fine },
            Camera { pitch: 91.0, ..fine },
            Camera { fov: 180.0, ..fine },
        ] {
            assert!(matches!(broken.check(), Err(DataError::Request(_))), "{broken:?}");
        }
    }
}
