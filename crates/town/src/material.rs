//! Walls without openings: brick, plaster, stone, concrete, timber, boards, glass.
//!
//! Detail smaller than the footprint fades to its mean, so that far walls are calm.

use crate::look::{Spot, Surface};
use crate::noise::{self, cell, fbm, fraction};
use crate::style::{Material, Style};
use crate::vector::{V3, cover, grey, smooth, v3};

/// How visible a pattern with this period still is.
fn visible(period: f32, foot: f32) -> f32 {
    1.0 - smooth(0.35, 0.9, foot / period)
}

/// The bare wall of a house.
pub(super) fn bare(style: &Style, spot: &Spot) -> Surface {
    let (u, v) = (spot.u, spot.v);
    let foot = spot.foot[0].max(spot.foot[1]);
    let key = style.key;
    let surface = match style.material {
        Material::Brick => Surface::matt(brick(style.wall, key, spot)),
        Material::Stone => Surface::matt(blocks(style.wall, key, spot, 0.9, 0.42)),
        Material::Plaster => {
            Surface::matt(style.wall * (0.94 + 0.12 * fbm(key, u * 2.0, v * 2.0, 2, foot * 2.0)))
        }
        Material::Concrete => Surface::matt(concrete(style.wall, key, spot)),
        Material::Timber => Surface::matt(timber(style, spot)),
        Material::Boards => Surface::matt(boards(style.wall, key, spot)),
        Material::Glass => glass(style, spot),
    };
    // Weather: broad stains, streaks that run down, splashes near the ground.
    let stain = fbm(key ^ 0x57a1, u * 0.35, v * 0.22, 3, foot * 0.35);
    let streak = fbm(key ^ 0x57ea, u * 1.7, v * 0.12, 2, spot.foot[0] * 1.7);
    let low = 1.0 - 0.22 * (1.0 - smooth(0.0, 1.4, v));
    let weather = (0.80 + 0.30 * stain) * (0.92 + 0.14 * streak) * low;
    Surface { colour: surface.colour * weather, ..surface }
}

/// Bricks in running bond with light mortar; some houses have bands of another tone.
pub(super) fn brick(colour: V3, key: u32, spot: &Spot) -> V3 {
    const COURSE: f32 = 0.085;
    const LENGTH: f32 = 0.26;
    let row = (spot.v / COURSE).floor();
    let shift = if row as i32 & 1 == 0 { 0.0 } else { 0.5 };
    let place = spot.u / LENGTH + shift;
    let tone = fraction(cell(key, place.floor() as i32, row as i32));
    let (x, y) = (place - place.floor(), spot.v / COURSE - row);
    let seam =
        1.0 - cover(x, 0.04, 0.96, spot.foot[0] / LENGTH) * cover(y, 0.08, 0.92, spot.foot[1] / COURSE);
    let near = visible(COURSE, spot.foot[1]) * visible(LENGTH, spot.foot[0]);
    let seam = 0.16 * (1.0 - near) + seam * near;
    let mut colour = colour * (1.0 + (tone - 0.5) * 0.5 * near);
    if key & 0x300 == 0 {
        let band = spot.v / 1.3 - (spot.v / 1.3).floor();
        colour = colour.mix(v3(0.62, 0.52, 0.36), cover(band, 0.0, 0.2, spot.foot[1] / 1.3));
    }
    colour.mix(grey(0.48), seam * 0.6)
}

/// Squared stones with dark joints.
pub(super) fn blocks(colour: V3, key: u32, spot: &Spot, length: f32, course: f32) -> V3 {
    let row = (spot.v / course).floor();
    let place = spot.u / length + fraction(cell(key, 0, row as i32));
    let tone = fraction(cell(key, place.floor() as i32, row as i32));
    let (x, y) = (place - place.floor(), spot.v / course - row);
    let face = cover(x, 0.015, 0.985, spot.foot[0] / length) * cover(y, 0.035, 0.965, spot.foot[1] / course);
    let near = visible(course, spot.foot[1]) * visible(length, spot.foot[0]);
    let grain = fbm(key ^ 9, spot.u * 5.0, spot.v * 5.0, 2, spot.foot[0] * 5.0);
    colour * (1.0 - 0.45 * (1.0 - face) * near) * (1.0 + (tone - 0.5) * 0.34 * near) * (0.9 + 0.2 * grain)
}

/// Slabs a storey high, cast in forms.
fn concrete(colour: V3, key: u32, spot: &Spot) -> V3 {
    let (w, h) = (2.4 + (key % 5) as f32 * 0.3, 1.6 + (key % 3) as f32 * 0.5);
    let (x, y) = (spot.u / w - (spot.u / w).floor(), spot.v / h - (spot.v / h).floor());
    let face = cover(x, 0.01, 0.99, spot.foot[0] / w) * cover(y, 0.014, 0.986, spot.foot[1] / h);
    let tone = fraction(cell(key, (spot.u / w).floor() as i32, (spot.v / h).floor() as i32));
    let rain = fbm(key ^ 31, spot.u * 2.5, spot.v * 0.25, 3, spot.foot[0] * 2.5);
    colour * (0.65 + 0.35 * face) * (0.92 + 0.16 * tone) * (0.8 + 0.36 * rain)
}

/// A frame of dark beams with slanting braces, each house its own.
fn timber(style: &Style, spot: &Spot) -> V3 {
    let key = style.key;
    let bay = 1.15 + (key % 7) as f32 * 0.1;
    let (column, row) = ((spot.u / bay).floor(), (spot.v / style.storey * 2.0).floor());
    let (x, y) = (spot.u - column * bay, spot.v - row * style.storey * 0.5);
    let upright = cover(x, 0.0, 0.16, spot.foot[0]);
    let level = cover(y, 0.0, 0.16, spot.foot[1]);
    let slant = x / bay - y / (style.storey * 0.5);
    let brace = match cell(key, column as i32, row as i32) % 5 {
        0 => cover(slant, -0.08, 0.08, spot.foot[0] / bay),
        1 => cover(x / bay + y / (style.storey * 0.5) - 1.0, -0.08, 0.08, spot.foot[0] / bay),
        _ => 0.0,
    };
    let beam = if key & 0x400 == 0 { v3(0.07, 0.045, 0.03) } else { v3(0.16, 0.07, 0.04) };
    style.wall.mix(beam, upright.max(level).max(brace))
}

/// Overlapping boards: each darker towards its lower edge.
fn boards(colour: V3, key: u32, spot: &Spot) -> V3 {
    const BOARD: f32 = 0.2;
    let row = (spot.v / BOARD).floor();
    let near = visible(BOARD, spot.foot[1]);
    let y = spot.v / BOARD - row;
    let tone = fraction(cell(key, (spot.u / 3.1).floor() as i32, row as i32));
    let edge = smooth(0.0, 0.25, y);
    colour * (1.0 + near * ((tone - 0.5) * 0.14 + (edge - 0.9) * 0.4))
}

/// Panes from floor to floor between thin bars.
fn glass(style: &Style, spot: &Spot) -> Surface {
    let (w, h) = (style.bay * 0.5, style.storey);
    let v = spot.v - style.ground;
    let (x, y) = (spot.u / w - (spot.u / w).floor(), v / h - (v / h).floor());
    let pane = cover(x, 0.03, 0.97, spot.foot[0] / w) * cover(y, 0.02, 0.86, spot.foot[1] / h);
    let tone = fraction(cell(style.key, (spot.u / w).floor() as i32, (v / h).floor() as i32));
    let bars = Surface::matt(style.frame * 0.6);
    bars.under(Surface { colour: style.wall * (0.6 + 0.6 * tone), glow: V3::default(), mirror: 0.55 }, pane)
}

/// Tiles or slates of a sloping roof; `along` and `up` are metres on the slope.
pub(super) fn roof(colour: V3, key: u32, along: f32, up: f32, foot: [f32; 2]) -> V3 {
    const COURSE: f32 = 0.32;
    let row = (up / COURSE).floor();
    let place = along / 0.28 + if row as i32 & 1 == 0 { 0.0 } else { 0.5 };
    let tone = fraction(cell(key, place.floor() as i32, row as i32));
    let near = visible(COURSE, foot[1]) * visible(0.28, foot[0]);
    let edge = 1.0 - 0.35 * (1.0 - smooth(0.0, 0.3, up / COURSE - row));
    let moss = fbm(key ^ 3, along * 0.4, up * 0.4, 3, foot[0] * 0.4);
    let colour = colour * (1.0 + near * ((tone - 0.5) * 0.4 + (edge - 0.95))) * (0.85 + 0.3 * moss);
    colour.mix(v3(0.13, 0.15, 0.08), 0.35 * smooth(0.6, 0.8, moss))
}

/// Gravel, felt and patches of flat roofs and slabs.
pub(super) fn slab(colour: V3, key: u32, x: f32, y: f32, foot: f32) -> V3 {
    colour * (0.8 + 0.4 * noise::fbm(key, x * 1.5, y * 1.5, 3, foot * 1.5))
}
