//! A house's walls and roofs: openings, shop, ornaments laid over the bare wall.

use crate::house::House;
use crate::look::{Moment, Spot, Surface};
use crate::material;
use crate::noise::{self, cell, fraction};
use crate::style::Material;
use crate::vector::{V3, cover, grey, smooth, v3};
use crate::window::{self, Bay};

impl House {
    /// What a ray that ended on wall `k` sees.
    pub(super) fn paint_wall(&self, k: usize, spot: &Spot, moment: &Moment) -> Surface {
        let style = &self.style;
        let length = self.wall(k).2;
        let [fu, fv] = spot.foot;
        let mut out = material::bare(style, spot);
        let top = style.floor_base(style.floors);
        if !self.open[k] {
            return self.paint_mural(out, length, top, spot);
        }
        if style.bands {
            for floor in 1..=style.floors {
                let at = style.floor_base(floor);
                out = out.paint(style.trim, cover(spot.v, at - 0.1, at + 0.14, fv));
            }
        }
        if style.quoins {
            let stone = 0.55;
            let wide = if (spot.v / stone) as i32 & 1 == 0 { 0.75 } else { 0.45 };
            let edge = cover(spot.u, 0.0, wide, fu) + cover(spot.u, length - wide, length, fu);
            out = out.paint(style.trim * 0.95, edge * (1.0 - smooth(0.3, 0.8, fv / stone)));
        }
        if style.material != Material::Glass {
            out = out.paint(style.trim * 0.7, cover(spot.v, 0.0, style.plinth, fv) * 0.85);
        }
        out = if spot.v < style.ground && style.shop.is_some() && k == 0 {
            self.paint_shop(out, length, spot, moment)
        } else if spot.v < top {
            self.paint_bay(out, k, length, spot, moment)
        } else {
            self.paint_gable(out, length, top, spot, moment)
        };
        if style.cornice > 0.0 {
            let low = top + 0.4;
            out = out.paint(style.trim * 1.05, cover(spot.v, low, low + style.cornice, fv));
            out = out.paint(out.colour * 0.55, cover(spot.v, low - 0.22, low, fv));
            let tooth = spot.u * 2.5 - (spot.u * 2.5).floor();
            let teeth = cover(tooth, 0.0, 0.5, fu * 2.5) * cover(spot.v, low + 0.02, low + 0.2, fv);
            out = out.paint(style.trim * 0.5, teeth * (1.0 - smooth(0.1, 0.3, fu)));
        }
        // Gutters and the seams between neighbours.
        let pipe = if style.key & 0x800 == 0 { 0.22 } else { length - 0.22 };
        out.paint(grey(0.16), cover(spot.u, pipe - 0.05, pipe + 0.05, fu) * 0.8)
    }

    /// A window, or a door on the ground floor.
    fn paint_bay(&self, wall: Surface, k: usize, length: f32, spot: &Spot, moment: &Moment) -> Surface {
        let style = &self.style;
        let bays = style.bays(length);
        let width = length / bays as f32;
        let floor =
            if spot.v < style.ground { 0 } else { 1 + ((spot.v - style.ground) / style.storey) as u32 };
        let base = style.floor_base(floor);
        let height = if floor == 0 { style.ground } else { style.storey };
        let column = ((spot.u / width) as u32).min(bays - 1);
        let key = cell(style.key.wrapping_add(k as u32 * 0x9e3), column as i32, floor as i32);
        let bay = Bay { x: spot.u - column as f32 * width, y: spot.v - base, width, height, key };
        let form = if floor + 1 == style.floors { &style.upper } else { &style.window };
        let far = smooth(0.35, 0.8, (spot.foot[0] / width).max(spot.foot[1] / height));
        let blur = window::blurred(wall, form, moment);
        if far >= 1.0 || (style.material == Material::Glass && floor > 0) {
            return if style.material == Material::Glass { self.lit_pane(wall, key, moment) } else { blur };
        }
        let entrance = style.key % bays;
        let sharp = if floor == 0 && column == entrance && k != 2 {
            window::door(wall, style, bay, spot, moment)
        } else if cell(key, 3, 5).is_multiple_of(23) && k != 0 {
            wall
        } else {
            window::window(wall, style, form, bay, spot, moment)
        };
        sharp.under(blur, far)
    }

    fn lit_pane(&self, wall: Surface, key: u32, moment: &Moment) -> Surface {
        Surface { glow: window::lamp_behind(key, moment) * 0.4, ..wall }
    }

    /// A shop front: board with the name, display windows, a door.
    fn paint_shop(&self, wall: Surface, length: f32, spot: &Spot, moment: &Moment) -> Surface {
        let style = &self.style;
        let Some(shop) = &style.shop else { return wall };
        let [fu, fv] = spot.foot;
        let (board_low, board_high) = (style.ground - 0.95, style.ground - 0.2);
        let lit = fraction(cell(style.key, moment.key as i32, 99)) < moment.lit * 2.0;
        let night = if lit { moment.lamp } else { 0.0 };
        let inner = cover(spot.u, 0.25, length - 0.25, fu);
        let mut out = wall.paint(style.accent * 1.2, inner * cover(spot.v, 0.0, board_high, fv));
        // Display windows between posts; the goods are blocks of colour.
        let count = ((length - 0.6) / 2.6).round().max(1.0);
        let width = (length - 0.6) / count;
        let place = (spot.u - 0.3) / width;
        let column = place.floor().clamp(0.0, count - 1.0);
        let x = (place - column) * width;
        let door = column as u32 == style.key % count as u32;
        let sill = if door { 0.08 } else { 0.55 };
        let hole = cover(x, 0.09, width - 0.09, fu) * cover(spot.v, sill, board_low - 0.12, fv) * inner;
        let depth = 0.9;
        let (gu, gv) = (spot.u + spot.slant[0] * depth, spot.v + spot.slant[1] * depth);
        let goods = cell(style.key ^ 0x60d, (gu * 1.4).floor() as i32, (gv * 1.7).floor() as i32);
        let paint = v3(fraction(goods), fraction(goods.wrapping_mul(7)), fraction(goods.wrapping_mul(61)));
        let full = smooth(2.2, 0.9, gv) * (1.0 - smooth(0.4, 1.0, fu));
        let room = grey(0.05).mix(paint * 0.32, full * 0.8);
        let shine = v3(1.0, 0.86, 0.66) * (night * (0.25 + 0.25 * smooth(0.0, 2.4, spot.v)));
        let glass = Surface { colour: room, glow: shine * (grey(0.6) + paint * (full * 0.6)), mirror: 0.2 };
        out = out.under(glass, hole);
        if door {
            let bar = cover(x, 0.09, 0.2, fu)
                + cover(x, width - 0.2, width - 0.09, fu)
                + cover(x, width * 0.48, width * 0.52, fu);
            out = out.paint(style.accent, bar.min(1.0) * cover(spot.v, 0.0, 2.3, fv));
            out = out.paint(style.accent, cover(spot.v, 2.2, 2.32, fv) * inner);
        }
        let board = cover(spot.u, 0.15, length - 0.15, fu) * cover(spot.v, board_low, board_high, fv);
        if board > 0.0 {
            let dot = ((length - 0.9) / shop.name.dots()).min(0.075);
            let left = (length - shop.name.dots() * dot) / 2.0;
            let ink = shop.name.ink(
                (spot.u - left) / dot,
                (board_low + 0.375 + dot * 3.5 - spot.v) / dot,
                [fu / dot, fv / dot],
            );
            let colour = shop.board.mix(shop.ink, ink);
            out = out.under(Surface { colour, glow: colour * (night * 0.35), mirror: 0.0 }, board);
        }
        out
    }

    /// The part of a wall above the top floor.
    fn paint_gable(&self, wall: Surface, length: f32, top: f32, spot: &Spot, moment: &Moment) -> Surface {
        let style = &self.style;
        let form = crate::style::Opening { width: 0.7, sill: 0.1, head: 0.9, panes: [2, 2], ..style.upper };
        let (x, y) = (spot.u - length / 2.0 + 0.7, spot.v - top - 1.3);
        if style.eaves() + 1.6 > spot.v + 1.4 || !(0.0..1.4).contains(&x) || !(-0.3..1.7).contains(&y) {
            return wall;
        }
        let bay = Bay { x, y, width: 1.4, height: 1.4, key: style.key ^ 0xa771c };
        window::window(wall, style, &form, bay, spot, moment)
    }

    /// A blind wall, on some houses painted over with a name.
    fn paint_mural(&self, wall: Surface, length: f32, top: f32, spot: &Spot) -> Surface {
        let Some((name, back, ink)) = self.mural else { return wall };
        let (low, high) = (top * 0.5, top * 0.5 + (length * 0.5).min(top * 0.42));
        let [fu, fv] = spot.foot;
        let field = cover(spot.u, length * 0.08, length * 0.92, fu) * cover(spot.v, low, high, fv);
        let dot = length * 0.76 / name.dots();
        let at = [(spot.u - length * 0.12) / dot, ((low + high) / 2.0 + dot * 3.5 - spot.v) / dot];
        let worn = smooth(0.25, 0.6, noise::fbm(self.style.key ^ 5, spot.u, spot.v, 3, fu));
        wall.paint(back.mix(ink, name.ink(at[0], at[1], [fu / dot, fv / dot])), field * (0.4 + 0.5 * worn))
    }

    /// A roof at a point, `foot` metres across; `normal` decides between slope and flat roof.
    pub(super) fn paint_roof(&self, at: V3, normal: V3, foot: f32) -> Surface {
        let style = &self.style;
        if normal.z > 0.98 {
            return Surface::matt(material::slab(
                style.roofing.mix(grey(0.3), 0.6),
                style.key,
                at.x,
                at.y,
                foot,
            ));
        }
        let level = 1.0 / normal.x.hypot(normal.y).max(1e-4);
        let along = (at.x * -normal.y + at.y * normal.x) * level;
        let foot = [foot, foot * 1.3];
        let mut out = Surface::matt(material::roof(
            style.roofing,
            style.key,
            along,
            (at.z - style.eaves()) * level,
            foot,
        ));
        // Gutter, then skylights in some bays.
        let up = at.z - style.eaves();
        out = out.paint(grey(0.14), cover(up, 0.0, 0.12, foot[1]));
        let column = (along / 3.4).floor();
        if cell(style.key, column as i32, 44).is_multiple_of(3) && style.chimneys < 2 {
            let pane =
                cover(along / 3.4 - column, 0.35, 0.65, foot[0] / 3.4) * cover(up * level, 1.4, 2.6, foot[1]);
            out = out.paint(grey(0.3), pane);
            let glass = Surface { colour: v3(0.05, 0.06, 0.08), glow: V3::default(), mirror: 0.5 };
            let inside =
                cover(along / 3.4 - column, 0.38, 0.62, foot[0] / 3.4) * cover(up * level, 1.5, 2.5, foot[1]);
            out = out.under(glass, inside);
        }
        out
    }
}
