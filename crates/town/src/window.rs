//! Windows and doors: what fills one bay of one floor.

use crate::look::{Moment, Spot, Surface};
use crate::noise::{cell, fraction};
use crate::style::{Opening, Style};
use crate::vector::{V3, cover, grey, lerp, smooth, v3};

/// How deep glass lies behind the face of the wall, in metres.
const DEPTH: f32 = 0.17;

/// One bay: where in it the ray ended and which one it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bay {
    /// Metres from its left and lower edge.
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) width: f32,
    pub(super) height: f32,
    /// The bay's own key, the same at every visit.
    pub(super) key: u32,
}

/// Light behind a window at this visit: colour times strength; none when dark.
pub(super) fn lamp_behind(key: u32, moment: &Moment) -> V3 {
    let dice = cell(key, moment.key as i32, 17);
    if fraction(dice) >= moment.lit {
        return V3::default();
    }
    let warm = [v3(1.0, 0.66, 0.32), v3(1.0, 0.78, 0.5), v3(0.9, 0.92, 0.95), v3(1.0, 0.58, 0.28)];
    warm[(dice & 3) as usize] * (moment.lamp * (0.5 + 0.8 * fraction(cell(dice, 1, 2))))
}

/// Lays a window over the wall.
pub(super) fn window(
    wall: Surface,
    style: &Style,
    form: &Opening,
    bay: Bay,
    spot: &Spot,
    moment: &Moment,
) -> Surface {
    let [fu, fv] = spot.foot;
    let (x0, x1) = (bay.width * (0.5 - form.width / 2.0), bay.width * (0.5 + form.width / 2.0));
    let (y0, mut y1) = (bay.height * form.sill, bay.height * form.head);
    if form.arched {
        // A round head: the top edge falls away from the middle.
        let half = (x1 - x0) / 2.0;
        let off = ((bay.x - (x0 + x1) / 2.0) / half).clamp(-1.0, 1.0);
        y1 += half * ((1.0 - off * off).sqrt() - 1.0) * 0.9;
    }
    let rect =
        |x: f32, y: f32, grow: f32| cover(x, x0 - grow, x1 + grow, fu) * cover(y, y0 - grow, y1 + grow, fv);
    let mut out = wall;
    if form.surround > 0.0 {
        out = out.paint(style.trim, rect(bay.x, bay.y, form.surround));
    } else {
        let lintel = cover(bay.x, x0 - 0.12, x1 + 0.12, fu) * cover(bay.y, y1, y1 + 0.22, fv);
        out = out.paint(style.trim, lintel * 0.8);
    }
    let ledge = cover(bay.x, x0 - 0.14, x1 + 0.14, fu) * cover(bay.y, y0 - 0.12, y0, fv);
    out = out.paint(style.trim * 1.1, ledge);
    let under = cover(bay.x, x0 - 0.1, x1 + 0.1, fu) * cover(bay.y, y0 - 0.28, y0 - 0.12, fv);
    out = out.paint(out.colour * 0.72, under);
    if form.shutters && bay.key % 16 != 3 {
        let wide = (x1 - x0) * 0.48;
        let board =
            cover(bay.x, x0 - wide - 0.05, x0 - 0.05, fu) + cover(bay.x, x1 + 0.05, x1 + wide + 0.05, fu);
        let slats = 0.85 + 0.15 * (bay.y * 45.0).sin() * (1.0 - smooth(0.03, 0.08, fv));
        out = out.paint(style.accent * slats, board * cover(bay.y, y0, y1, fv));
    }
    let hole = rect(bay.x, bay.y, 0.0);
    if hole <= 0.0 {
        return out;
    }
    // Every so often a window is walled up.
    if bay.key % 29 == 5 {
        return out.paint(style.wall * 0.8, hole);
    }
    // The glass lies deeper than the wall: the ray reaches it farther along its way.
    let (gx, gy) = (bay.x + spot.slant[0] * DEPTH, bay.y + spot.slant[1] * DEPTH);
    let jamb = style.wall.mix(style.trim, 0.4) * 0.5;
    let mut inner = Surface::matt(jamb);
    let glass = rect(gx, gy, -0.02);
    let pane = pane(style, form, [gx - x0, gy - y0], [x1 - x0, y1 - y0], bay.key, spot, moment);
    inner = inner.under(pane, glass);
    out = out.under(inner, hole);
    if bay.key % 11 == 2 && form.sill > 0.15 {
        // A box of flowers on the sill.
        let green = cover(bay.x, x0, x1, fu) * cover(bay.y, y0 - 0.05, y0 + 0.28, fv);
        let bloom = if fraction(cell(bay.key, (bay.x * 11.0) as i32, (bay.y * 11.0) as i32)) < 0.3 {
            [v3(0.7, 0.05, 0.08), v3(0.75, 0.55, 0.05), v3(0.7, 0.2, 0.5)][(bay.key >> 8) as usize % 3]
        } else {
            v3(0.06, 0.16, 0.04)
        };
        out = out.paint(bloom.mix(v3(0.2, 0.16, 0.08), smooth(0.05, 0.2, fu)), green);
    }
    out
}

/// The frame with its panes, and the room behind.
fn pane(
    style: &Style,
    form: &Opening,
    at: [f32; 2],
    size: [f32; 2],
    key: u32,
    spot: &Spot,
    moment: &Moment,
) -> Surface {
    let mut bars: f32 = 0.0;
    for axis in 0..2 {
        let panes = form.panes[axis];
        let step = size[axis] / panes as f32;
        let nearest = (at[axis] / step).round() * step;
        let half = if nearest < 0.01 || nearest > size[axis] - 0.01 { 0.09 } else { 0.028 };
        bars = bars.max(cover(at[axis], nearest - half, nearest + half, spot.foot[axis]));
    }
    let light = lamp_behind(key, moment);
    let (x, y) = (at[0] / size[0], at[1] / size[1]);
    let (fx, fy) = (spot.foot[0] / size[0], spot.foot[1] / size[1]);
    let cloth =
        [grey(0.55), v3(0.55, 0.48, 0.36), v3(0.4, 0.2, 0.16), v3(0.3, 0.36, 0.42)][(key >> 4) as usize % 4];
    let veil = match (key >> 12) % 6 {
        // Curtains at both sides, a blind from above, a net over all, or nothing.
        0 | 1 => {
            let open = 0.16 + 0.22 * fraction(key.wrapping_mul(77));
            1.0 - cover(x, open, 1.0 - open, fx)
        }
        2 => cover(y, 0.35 + 0.5 * fraction(key.wrapping_mul(31)), 1.1, fy),
        3 => 0.6,
        _ => 0.0,
    };
    let room = v3(0.035, 0.04, 0.045);
    let bright = light * (0.45 + 0.4 * y);
    let glass = Surface {
        colour: room.mix(cloth * 0.6, veil),
        glow: bright.mix(bright * cloth * 0.9, veil),
        mirror: 0.22,
    };
    glass.under(Surface::matt(style.frame), bars)
}

/// A front door with a light above it.
pub(super) fn door(wall: Surface, style: &Style, bay: Bay, spot: &Spot, moment: &Moment) -> Surface {
    let [fu, fv] = spot.foot;
    let (middle, half, top) = (bay.width / 2.0, (bay.width * 0.28).min(0.62), 2.35);
    let frame =
        cover(bay.x, middle - half - 0.16, middle + half + 0.16, fu) * cover(bay.y, 0.0, top + 0.7, fv);
    let leaf = cover(bay.x, middle - half, middle + half, fu);
    let colour = if bay.key & 1 == 0 { style.accent } else { style.frame * 0.5 };
    let panel = |low: f32, high: f32| {
        (cover(bay.x, middle - half * 0.8, middle - half * 0.12, fu)
            + cover(bay.x, middle + half * 0.12, middle + half * 0.8, fu))
            * cover(bay.y, low, high, fv)
    };
    let mut out = wall.paint(style.trim, frame);
    out = out.paint(colour, leaf * cover(bay.y, 0.1, top, fv));
    out = out.paint(colour * 0.6, panel(0.3, 1.0) + panel(1.2, 2.1));
    let light = Surface { colour: grey(0.05), glow: lamp_behind(bay.key, moment) * 0.6, mirror: 0.2 };
    out = out.under(light, leaf * cover(bay.y, top + 0.06, top + 0.5, fv));
    out.paint(
        grey(0.4),
        cover(bay.x, middle - half - 0.3, middle + half + 0.3, fu) * cover(bay.y, 0.0, 0.13, fv),
    )
}

/// The mean of a wall and its windows, for walls too far away to see either.
pub(super) fn blurred(wall: Surface, form: &Opening, moment: &Moment) -> Surface {
    let share = form.width * (form.head - form.sill);
    let glow = v3(1.0, 0.72, 0.42) * (moment.lamp * moment.lit * 0.4);
    let glass = Surface { colour: grey(0.12), glow, mirror: 0.15 };
    wall.under(glass, lerp(0.6, 0.9, form.width) * share)
}
