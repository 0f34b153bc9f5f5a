//! The surfaces of things in the street.

use crate::font::Word;
use crate::look::{Kind, Moment, Prop, Spot, Surface};
use crate::material;
use crate::noise::{Rng, cell, fbm, fraction, value3};
use crate::vector::{P2, V3, cover, dot, grey, left, smooth, sub, v3};

impl Prop {
    /// What a ray that ended at `at` on this thing sees; `foot` is its footprint in metres.
    pub(super) fn paint(&self, at: V3, normal: V3, foot: f32, moment: &Moment) -> Surface {
        let off = sub([at.x, at.y], self.at);
        let (x, y) = (dot(off, self.along), dot(off, left(self.along)));
        let facing: P2 = [normal.x, normal.y];
        let end_on = dot(facing, self.along).abs() > 0.7;
        let u = if end_on { y } else { x };
        let spot = Spot { u, v: at.z, foot: [foot; 2], slant: [0.0; 2] };
        match self.kind {
            Kind::Plain => Surface { mirror: 0.05, ..Surface::matt(self.colour) },
            Kind::Stone => Surface::matt(material::blocks(self.colour, self.key, &spot, 0.8, 0.4)),
            Kind::Brick => Surface::matt(material::brick(self.colour, self.key | 0x100, &spot)),
            Kind::Slab => Surface::matt(material::slab(self.colour, self.key, at.x, at.y, foot)),
            Kind::Railing => {
                let bars = (x * 6.5) - (x * 6.5).floor();
                let low = at.z - self.size[2];
                let rail = cover(low, 0.9, 1.1, foot).max(cover(low, -0.1, 0.1, foot));
                let near = smooth(0.5, 1.2, foot * 6.5);
                let bar = (cover(bars, 0.0, 0.4, foot * 6.5) * (1.0 - near) + 0.4 * near).max(rail);
                Surface::matt(grey(0.10).mix(self.colour, bar))
            }
            Kind::Awning => {
                let band = x / 0.55 - (x / 0.55).floor();
                let near = smooth(0.5, 1.2, foot / 0.55);
                let share = cover(band, 0.0, 0.5, foot / 0.55) * (1.0 - near) + 0.5 * near;
                Surface::matt(self.colour.mix(v3(0.75, 0.72, 0.66), share))
            }
            Kind::Board => self.paint_board(x, at.z, dot(facing, left(self.along)), foot, moment),
            Kind::Hedge => {
                let leaf = value3(self.key, at.x * 7.0, at.y * 7.0, at.z * 7.0);
                Surface::matt(v3(0.06, 0.13, 0.04) * (0.5 + leaf))
            }
            Kind::Leaves => {
                let clump = value3(self.key, at.x * 1.6, at.y * 1.6, at.z * 1.6);
                let near = 1.0 - smooth(0.08, 0.3, foot);
                let leaf = value3(self.key ^ 3, at.x * 7.0, at.y * 7.0, at.z * 7.0) - 0.5;
                Surface::matt(self.colour * (0.55 + 0.75 * clump + 0.7 * leaf * near))
            }
            Kind::Bark => {
                Surface::matt(self.colour * (0.6 + 0.8 * fbm(self.key, u * 14.0, at.z * 2.0, 2, foot * 14.0)))
            }
            Kind::Lamp => Surface {
                colour: self.colour,
                glow: v3(1.0, 0.8, 0.5) * (3.0 * smooth(0.3, 0.6, moment.lamp)),
                mirror: 0.1,
            },
            Kind::CarBody => self.paint_body(x, y, at.z, normal, foot),
            Kind::CarCabin => self.paint_cabin(x, at.z, normal, foot),
            Kind::Poster => self.paint_poster(u, at.z, foot, moment),
        }
    }

    /// A word on both long sides of a board.
    fn paint_board(&self, x: f32, z: f32, facing: f32, foot: f32, moment: &Moment) -> Surface {
        let name = Word::invent(&mut Rng::new(&[u64::from(self.key)]));
        let size = self.size[0] * 0.84 / name.dots();
        let right = if facing < 0.0 { x } else { -x };
        let (u, v) = (right / size + name.dots() / 2.0, (self.size[2] + 0.45 - z) / size + 3.5);
        let ink = if facing.abs() > 0.7 { name.ink(u, v, [foot / size; 2]) } else { 0.0 };
        let light = if self.colour.luma() > 0.3 { grey(0.04) } else { grey(0.8) };
        let colour = self.colour.mix(light, ink);
        Surface { colour, glow: colour * (moment.lamp * moment.lit), mirror: 0.0 }
    }

    /// Doors, wheels, lamps.
    fn paint_body(&self, x: f32, y: f32, z: f32, normal: V3, foot: f32) -> Surface {
        let half = self.size[0] / 2.0;
        let mut out = Surface { colour: self.colour, glow: V3::default(), mirror: 0.22 };
        if normal.z > 0.7 {
            return out;
        }
        if dot([normal.x, normal.y], self.along).abs() > 0.7 {
            let front = dot([normal.x, normal.y], self.along) > 0.0;
            let lamp =
                cover(y.abs(), self.size[1] * 0.3, self.size[1] * 0.47, foot) * cover(z, 0.55, 0.75, foot);
            out = out.paint(if front { grey(0.75) } else { v3(0.45, 0.02, 0.02) }, lamp);
            out = out.paint(grey(0.65), cover(y, -0.26, 0.26, foot) * cover(z, 0.36, 0.48, foot));
            return out.paint(grey(0.04), cover(z, 0.2, 0.34, foot));
        }
        let wheel = (x.abs() - half * 0.62).hypot(z - 0.28);
        out = out.paint(grey(0.02), cover(wheel, -1.0, 0.38, foot));
        out = out.paint(grey(0.28), cover(wheel, -1.0, 0.19, foot));
        let seam = cover(x, -0.02, 0.02, foot) + cover(x, -half * 0.42, -half * 0.42 + 0.03, foot);
        out = out.paint(self.colour * 0.35, seam.min(1.0) * cover(z, 0.34, 2.0, foot));
        out.paint(grey(0.03), cover(z, 0.2, 0.3, foot))
    }

    /// Glass between pillars.
    fn paint_cabin(&self, x: f32, z: f32, normal: V3, foot: f32) -> Surface {
        let body = Surface { colour: self.colour, glow: V3::default(), mirror: 0.2 };
        if normal.z > 0.95 {
            return body;
        }
        let glass = Surface { colour: grey(0.02), glow: V3::default(), mirror: 0.4 };
        let up = z - self.size[2];
        let mut share = cover(up, 0.05, 0.5, foot);
        if dot([normal.x, normal.y], self.along).abs() < 0.7 {
            let pillar = (x + 0.25).abs();
            share *= 1.0 - cover(pillar, -0.05, 0.05, foot);
            share *= 1.0 - cover(pillar, self.size[0] * 0.27, 9.0, foot) * 0.6;
        }
        body.under(glass, share)
    }

    /// Bright fields and a word, behind glass.
    fn paint_poster(&self, u: f32, z: f32, foot: f32, moment: &Moment) -> Surface {
        let dice = cell(self.key, (u * 0.7).floor() as i32, 3);
        let tint = |k: u32| fraction(dice.wrapping_mul(k));
        let paper = v3(tint(3), tint(71), tint(1009)) * 0.5 + grey(0.12);
        let other = v3(tint(5), tint(91), tint(1201)) * 0.6;
        let split = cover(z + u * 0.6, 0.4, 1.2 + tint(17), foot);
        let name = Word::invent(&mut Rng::new(&[u64::from(self.key), 7]));
        let size = 0.7 / name.dots();
        let ink = name.ink((u + 0.35) / size, (2.0 - z) / size, [foot / size; 2]);
        let colour = paper.mix(other, split).mix(grey(0.85), ink);
        let field = cover(z, 0.5, 2.2, foot);
        let lit = Surface { colour, glow: colour * (moment.lamp * moment.lit * 1.5), mirror: 0.1 };
        Surface::matt(self.colour).under(lit, field)
    }
}
