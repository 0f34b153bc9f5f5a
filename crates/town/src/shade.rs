//! What a ray brings back to the camera: the nearest surface, the light on it, the air before it.

use crate::Town;
use crate::ground::GroundSpot;
use crate::light::Light;
use crate::look::{Look, Spot, Surface};
use crate::noise;
use crate::scene::{Hit, Scene};
use crate::sky;
use crate::solid::Ray;
use crate::vector::{V3, grey, smooth, v3};

/// How far the camera sees, in metres.
const REACH: f32 = 1500.0;
/// Lamps farther than this give no light.
pub(super) const LAMP_REACH: f32 = 18.0;

/// What one ray saw.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) colour: V3,
    /// Metres to the surface; infinite for the sky.
    pub(super) depth: f32,
    /// Differs between neighbouring surfaces, and between sun and shadow.
    pub(super) id: u32,
}

/// A town at one visit, seen from one place.
pub(super) struct Stage<'a> {
    pub(super) town: &'a Town,
    pub(super) light: &'a Light,
    pub(super) passing: &'a Scene,
    /// The angle of a pixel in radians.
    pub(super) pixel: f32,
}

/// The nearest thing on a ray.
enum Met {
    Solid(Hit, bool),
    Ground(f32),
    Sky,
}

impl Stage<'_> {
    fn meet(&self, ray: &Ray) -> Met {
        let ground = if ray.along.z < -1e-6 { -ray.from.z / ray.along.z } else { f32::INFINITY };
        let mut reach = ground.min(REACH);
        let fixed = self.town.scene.trace(ray, reach, false);
        if let Some(hit) = &fixed {
            reach = hit.entry.t;
        }
        match (self.passing.trace(ray, reach, false), fixed) {
            (Some(hit), _) => Met::Solid(hit, true),
            (None, Some(hit)) => Met::Solid(hit, false),
            (None, None) if ground < REACH => Met::Ground(ground),
            _ => Met::Sky,
        }
    }

    /// What is seen along a ray; `bounces` mirrors may follow.
    pub(super) fn see(&self, ray: &Ray, bounces: u32) -> Sample {
        let (t, surface, normal, id, ground) = match self.meet(ray) {
            Met::Sky => {
                let colour = self.town.horizon.look(self.light, ray.from, ray.along, self.pixel);
                return Sample { colour, depth: f32::INFINITY, id: 0 };
            }
            Met::Ground(t) => {
                let at = ray.from + ray.along * t;
                let flat = 1.0 / ray.along.x.hypot(ray.along.y).max(1e-6);
                let foot = t * self.pixel;
                let spot = GroundSpot {
                    at: [at.x, at.y],
                    view: [ray.along.x * flat, ray.along.y * flat],
                    foot: [foot / -ray.along.z, foot],
                };
                let surface = self.town.ground.paint(&self.town.layout, &spot, &self.light.moment);
                (t, surface, v3(0.0, 0.0, 1.0), 1, true)
            }
            Met::Solid(hit, passing) => {
                let scene = if passing { self.passing } else { &self.town.scene };
                let surface = self.paint(scene.look(hit.solid), ray, &hit);
                let id = (hit.solid << 4 | u32::from(hit.entry.face)) << 1 | u32::from(passing);
                (hit.entry.t, surface, hit.entry.normal, id.wrapping_add(8), false)
            }
        };
        let at = ray.from + ray.along * t;
        let (arriving, sunny) = self.arriving(at, normal, ground && t < 45.0);
        let mut colour = surface.colour * arriving + surface.glow;
        if surface.mirror > 0.0 {
            colour = self.mirror(colour, &surface, ray, at, normal, ground, bounces);
        }
        let air = 1.0 - (-t / self.light.clear).exp();
        colour = colour.mix(self.light.horizon, air * air.sqrt());
        Sample { colour, depth: t, id: id << 1 | u32::from(sunny) }
    }

    fn paint(&self, look: &Look, ray: &Ray, hit: &Hit) -> Surface {
        let (t, normal) = (hit.entry.t, hit.entry.normal);
        let at = ray.from + ray.along * t;
        let foot = t * self.pixel;
        let moment = &self.light.moment;
        let facing = -normal.dot(ray.along);
        let mut surface = match look {
            Look::House(number) => {
                let house = &self.town.houses[*number as usize];
                let face = usize::from(hit.entry.face);
                if face < 4 {
                    let (start, along, _) = house.wall(face);
                    let run = ray.along.x * along[0] + ray.along.y * along[1];
                    let into = facing.max(0.06);
                    let spot = Spot {
                        u: (at.x - start[0]) * along[0] + (at.y - start[1]) * along[1],
                        v: at.z,
                        foot: [foot * (1.0 + run * run / (into * into)).sqrt(), foot],
                        slant: [run / into, ray.along.z / into],
                    };
                    house.paint_wall(face, &spot, moment)
                } else {
                    house.paint_roof(at, normal, foot / facing.max(0.1).sqrt())
                }
            }
            Look::Prop(prop) => prop.paint(at, normal, foot, moment),
        };
        if moment.snow > 0.0 && normal.z > 0.2 {
            let white = moment.snow * smooth(0.2, 0.5, normal.z);
            surface = surface.paint(v3(0.82, 0.85, 0.90), white * 0.95);
        }
        if moment.wet > 0.0 {
            surface.colour = surface.colour * 0.86;
        }
        surface
    }

    /// The light that falls on a point, and whether the sun reaches it.
    fn arriving(&self, at: V3, normal: V3, near_ground: bool) -> (V3, bool) {
        let light = self.light;
        let mut sum = light.ambient(normal);
        let start = at + normal * 0.03;
        if near_ground
            && self.passing.trace(&Ray { from: start, along: v3(0.0, 0.0, 1.0) }, 1.0, true).is_some()
        {
            sum = sum * 0.35;
        }
        let slant = normal.dot(light.sun);
        let mut sunny = false;
        if slant > 0.0 && light.beam.x > 0.0 {
            let ray = Ray { from: start, along: light.sun };
            sunny = self.town.scene.trace(&ray, 250.0, true).is_none()
                && self.passing.trace(&ray, 60.0, true).is_none();
            if sunny {
                sum += light.beam * slant;
            }
        }
        if light.lamps > 0.0 {
            for &number in self.town.lamp_cells.at([at.x, at.y]) {
                let off = self.town.fixtures.lamps[number as usize] - at;
                let square = off.dot(off);
                if square < LAMP_REACH * LAMP_REACH {
                    let fade = 1.0 - square / (LAMP_REACH * LAMP_REACH);
                    let slant = (normal.dot(off) / square.sqrt()).max(0.0) * 0.85 + 0.15;
                    let strength = light.lamps * 2.1 * slant * fade * fade / (1.0 + 0.10 * square);
                    sum += v3(1.0, 0.74, 0.43) * strength;
                }
            }
        }
        (sum, sunny)
    }

    #[allow(clippy::too_many_arguments, reason = "all of them belong to one point of one ray")]
    fn mirror(
        &self,
        colour: V3,
        surface: &Surface,
        ray: &Ray,
        at: V3,
        normal: V3,
        ground: bool,
        bounces: u32,
    ) -> V3 {
        let facing = (-normal.dot(ray.along)).clamp(0.0, 1.0);
        let share = surface.mirror + (1.0 - surface.mirror) * 0.6 * (1.0 - facing).powi(5);
        if !ground {
            let out = ray.along.reflect(normal);
            // Above the roofs opposite a wall there is sky; below, other houses.
            let open = smooth(0.02, 0.4, out.z);
            let seen =
                (self.light.ambient(v3(0.0, 0.0, 0.0)) * 0.35).mix(sky::gradient(self.light, out), open);
            return colour.mix(seen, share);
        }
        if bounces == 0 {
            return colour;
        }
        let ripple = |key| noise::value(key, at.x * 5.0, at.y * 5.0) - 0.5;
        let rough = 0.10 * (1.0 - surface.mirror);
        let normal = v3(ripple(3) * rough, ripple(4) * rough, 1.0).unit();
        let mut along = ray.along.reflect(normal);
        along.z = along.z.abs().max(1e-3);
        let seen = self.see(&Ray { from: at + v3(0.0, 0.0, 0.01), along: along.unit() }, bounces - 1);
        colour.mix(seen.colour.mix(grey(seen.colour.luma()), 0.1), share.min(0.85) * 0.9)
    }
}
