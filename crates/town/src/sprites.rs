//! What is laid over the finished picture, behind what stands nearer: bare trees and the glow of lamps.

use crate::Town;
use crate::camera::Lens;
use crate::light::Light;
use crate::noise::Rng;
use crate::props::{BARE_FORMS, Form};
use crate::shade::Sample;
use crate::vector::{V3, distance, grey, v3};

/// Side of the largest picture of a bare tree, in dots.
const SIDE: usize = 128;
/// How far bare trees are drawn, in metres.
const FAR: f32 = 300.0;

/// A bare tree seen from the side, in ever smaller sizes; each dot is the share covered by wood.
#[derive(Debug)]
pub(super) struct Bare {
    sizes: Vec<Vec<f32>>,
}

impl Bare {
    /// Grows the forms that all bare trees share.
    pub(super) fn grow_all(seed: u64) -> Vec<Self> {
        (0..BARE_FORMS).map(|k| Self::grow(&mut Rng::new(&[seed, 61, u64::from(k)]))).collect()
    }

    fn grow(rng: &mut Rng) -> Self {
        let mut dots = vec![0.0; SIDE * SIDE];
        let side = SIDE as f32;
        branch(rng, &mut dots, [side / 2.0, side - 1.0], 0.0, side * 0.30, side * 0.024, 0);
        let mut sizes = vec![dots];
        let mut side = SIDE;
        while side > 4 {
            let last = &sizes[sizes.len() - 1];
            let half = side / 2;
            let mean = |i: usize| {
                let (x, y) = (i % half * 2, i / half * 2);
                (last[y * side + x]
                    + last[y * side + x + 1]
                    + last[(y + 1) * side + x]
                    + last[(y + 1) * side + x + 1])
                    / 4.0
            };
            let next = (0..half * half).map(mean).collect();
            sizes.push(next);
            side = half;
        }
        Self { sizes }
    }

    /// The share of wood around (`x`, `y`), each 0 to 1 from the top left; `foot` is the footprint in
    /// the same unit.
    fn wood(&self, x: f32, y: f32, foot: f32) -> f32 {
        let size = ((foot * SIDE as f32).max(1.0).log2() as usize).min(self.sizes.len() - 1);
        let (dots, side) = (&self.sizes[size], SIDE >> size);
        let at = |x: f32| x * side as f32 - 0.5;
        let (px, py) = (at(x), at(y));
        let (fx, fy) = (px.floor(), py.floor());
        let dot = |dx: i32, dy: i32| {
            let (x, y) = (fx as i32 + dx, fy as i32 + dy);
            let inside = (0..side as i32).contains(&x) && (0..side as i32).contains(&y);
            if inside { dots[y as usize * side + x as usize] } else { 0.0 }
        };
        let (tx, ty) = (px - fx, py - fy);
        let top = dot(0, 0) + (dot(1, 0) - dot(0, 0)) * tx;
        let low = dot(0, 1) + (dot(1, 1) - dot(0, 1)) * tx;
        top + (low - top) * ty
    }
}

/// Draws a branch and those that grow from it.
fn branch(rng: &mut Rng, dots: &mut [f32], from: [f32; 2], turn: f32, long: f32, thick: f32, depth: u32) {
    let mut at = from;
    let mut angle = turn;
    let steps = long.ceil().max(2.0) as usize;
    for _ in 0..steps {
        angle += rng.between(-0.07, 0.07);
        at = [at[0] + angle.sin(), at[1] - angle.cos()];
        let reach = (thick / 2.0).ceil() as i32;
        for dy in -reach..=reach {
            for dx in -reach..=reach {
                let (x, y) = ((at[0] as i32 + dx), (at[1] as i32 + dy));
                if (0..SIDE as i32).contains(&x) && (0..SIDE as i32).contains(&y) {
                    let off = (x as f32 + 0.5 - at[0]).hypot(y as f32 + 0.5 - at[1]);
                    let share = (thick / 2.0 + 0.6 - off).clamp(0.0, 1.0).min(thick);
                    let dot = &mut dots[y as usize * SIDE + x as usize];
                    *dot = dot.max(share);
                }
            }
        }
    }
    if depth < 6 && long > 3.0 {
        for k in 0..2 + usize::from(rng.chance(0.5)) {
            let side = if k == 0 { -1.0 } else { 1.0 };
            let turn = angle + side * rng.between(0.2, 0.65);
            let (long, thick) = (long * rng.between(0.6, 0.82), (thick * 0.68).max(0.5));
            branch(rng, dots, at, turn, long, thick, depth + 1);
        }
    }
}

/// Draws the bare trees, the far ones first.
pub(super) fn bare_trees(town: &Town, light: &Light, lens: &Lens, samples: &mut [Sample], width: usize) {
    if light.moment.leaves {
        return;
    }
    let eye = [lens.eye.x, lens.eye.y];
    let mut trees: Vec<_> = town
        .fixtures
        .trees
        .iter()
        .filter(|tree| tree.form != Form::Fir)
        .map(|tree| (distance(tree.at, eye), tree))
        .filter(|(far, _)| (1.0..FAR).contains(far))
        .collect();
    trees.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (far, tree) in trees {
        let half = tree.high * if tree.form == Form::Column { 0.32 } else { 0.5 };
        let middle = v3(tree.at[0], tree.at[1], tree.high / 2.0);
        let Some((at, deep)) = lens.project(middle) else { continue };
        let reach = tree.high * 0.72 * lens.focal / deep + 1.0;
        // The picture stands upright and faces the camera.
        let face = v3((eye[0] - tree.at[0]) / far, (eye[1] - tree.at[1]) / far, 0.0);
        let right = v3(-face.y, face.x, 0.0);
        let picture = &town.bare[(tree.key % BARE_FORMS) as usize];
        let mirrored = tree.key & 0x100 != 0;
        let foot = deep / lens.focal / tree.high;
        let lit = light.ambient(v3(0.0, 0.0, 0.3)) + light.beam * 0.4;
        let bark = v3(0.12, 0.10, 0.085).mix(grey(0.8), light.moment.snow * 0.3) * lit;
        let air = 1.0 - (-far / light.clear).exp();
        let colour = bark.mix(light.horizon, air * air.sqrt());
        for_rect(samples, width, at, reach, |x, y, sample| {
            let ray = lens.ray(x, y);
            let slope = face.dot(ray.along);
            let t = face.dot(middle - ray.from) / slope;
            if slope >= -1e-4 || t > sample.depth || t <= 0.0 {
                return;
            }
            let on = ray.from + ray.along * t - middle;
            let (u, v) = (on.dot(right) / half * 0.5 + 0.5, 0.5 - on.z / tree.high);
            let wood = picture.wood(if mirrored { 1.0 - u } else { u }, v, foot);
            sample.colour = sample.colour.mix(colour, wood.min(1.0));
        });
    }
}

/// Adds the halos of street lamps that nothing hides.
pub(super) fn halos(town: &Town, light: &Light, lens: &Lens, samples: &mut [Sample], width: usize) {
    if light.lamps <= 0.0 {
        return;
    }
    let height = samples.len() / width;
    for lamp in &town.fixtures.lamps {
        let Some((at, deep)) = lens.project(*lamp) else { continue };
        if deep > 160.0 {
            continue;
        }
        let inside = at[0] >= 0.0 && at[1] >= 0.0 && at[0] < width as f32 && at[1] < height as f32;
        let far = (*lamp - lens.eye).length();
        // The lamp's own glass hides its middle, hence the metre.
        if inside && samples[at[1] as usize * width + at[0] as usize].depth < far - 1.0 {
            continue;
        }
        let size = (0.8 * lens.focal / deep).clamp(1.5, (width as f32 * 0.12).max(1.5));
        let strength = 0.55 * light.lamps.min(0.7) * (1.0 - deep / 160.0) * (size / 4.0).min(1.0);
        let glow = v3(1.0, 0.78, 0.48) * strength;
        for_rect(samples, width, at, size * 3.0, |x, y, sample| {
            let off = (x - at[0]).hypot(y - at[1]) / size;
            sample.colour +=
                glow * ((-off * off * 2.0).exp() * 1.4 + 0.25 * (1.0 - off / 3.0).max(0.0).powi(2));
        });
    }
}

/// Visits the pixels within `reach` of a point of the image.
fn for_rect(
    samples: &mut [Sample],
    width: usize,
    at: [f32; 2],
    reach: f32,
    mut visit: impl FnMut(f32, f32, &mut Sample),
) {
    let height = samples.len() / width;
    let span = |middle: f32, count: usize| {
        let low = (middle - reach).clamp(0.0, count as f32) as usize;
        low..(middle + reach).clamp(0.0, count as f32).ceil() as usize
    };
    for y in span(at[1], height) {
        for x in span(at[0], width) {
            visit(x as f32 + 0.5, y as f32 + 0.5, &mut samples[y * width + x]);
        }
    }
}

/// Rain or flakes before everything, at one pixel.
pub(super) fn falling(light: &Light, x: f32, y: f32, width: f32) -> V3 {
    use crate::noise::{cell, fraction};
    let unit = 320.0 / width;
    let (px, py) = (x * unit, y * unit);
    let mut sum = 0.0;
    let wet = light.moment.wet > 0.0;
    for layer in 0..3u32 {
        let size = 1.0 + layer as f32 * 0.6;
        let key = light.moment.key ^ (layer * 977);
        if wet {
            let across = (px + py * 0.07) / size;
            let column = across.floor();
            let along = py / (16.0 * size) + fraction(cell(key, column as i32, 1)) * 9.0;
            let dice = fraction(cell(key, column as i32, along.floor() as i32 + 7));
            let inside = along - along.floor();
            if dice < 0.05 * light.falling {
                sum += (1.0 - (inside - 0.5).abs() * 2.0) * 0.10;
            }
        } else {
            let grid = 11.0 / size;
            let (u, v) = (px / grid, py / grid);
            let dice = cell(key, u.floor() as i32, v.floor() as i32);
            if fraction(dice) < 0.35 * light.falling {
                let (cx, cy) =
                    (fraction(dice.wrapping_mul(7)) * 0.6 + 0.2, fraction(dice.wrapping_mul(31)) * 0.6 + 0.2);
                let off = (u - u.floor() - cx).hypot(v - v.floor() - cy) * grid;
                sum += (1.0 - off / (0.5 + 0.4 * size)).clamp(0.0, 1.0) * 0.5;
            }
        }
    }
    light.cloud * sum
}
