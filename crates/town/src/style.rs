//! The style of a house: materials, colours, floors and openings.

use crate::font::Word;
use crate::noise::{self, Rng};
use crate::vector::{V3, grey, v3};

/// What a wall is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Material {
    Brick,
    Plaster,
    Stone,
    Concrete,
    /// Dark beams in light plaster.
    Timber,
    /// Horizontal boards.
    Boards,
    Glass,
}

/// The form of a roof; `rise` is its slope (height over distance).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Roof {
    Flat,
    /// The ridge runs along the street.
    Ridge {
        rise: f32,
    },
    /// The gable faces the street.
    Gable {
        rise: f32,
    },
    Hip {
        rise: f32,
    },
    Mansard,
}

/// A shop on the ground floor.
#[derive(Debug, Clone)]
pub(super) struct Shop {
    pub(super) name: Word,
    pub(super) board: V3,
    pub(super) ink: V3,
    pub(super) awning: bool,
    pub(super) hanging: bool,
}

/// The form of the windows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    /// Width as a share of the bay.
    pub(super) width: f32,
    /// Lower and upper edge as shares of the floor's height.
    pub(super) sill: f32,
    pub(super) head: f32,
    /// Panes across and up.
    pub(super) panes: [u32; 2],
    pub(super) arched: bool,
    /// Width of the frame of stone or plaster around it, in metres.
    pub(super) surround: f32,
    pub(super) shutters: bool,
}

/// Everything that decides how a house looks.
#[derive(Debug, Clone)]
pub(super) struct Style {
    pub(super) key: u32,
    pub(super) material: Material,
    pub(super) wall: V3,
    pub(super) trim: V3,
    pub(super) frame: V3,
    /// Doors, shutters, railings.
    pub(super) accent: V3,
    pub(super) roofing: V3,
    pub(super) chimney: V3,
    pub(super) floors: u32,
    /// Height of the ground floor and of each floor above, in metres.
    pub(super) ground: f32,
    pub(super) storey: f32,
    /// Wanted width of a bay.
    pub(super) bay: f32,
    pub(super) window: Opening,
    pub(super) upper: Opening,
    pub(super) bands: bool,
    pub(super) quoins: bool,
    pub(super) cornice: f32,
    pub(super) plinth: f32,
    pub(super) roof: Roof,
    pub(super) shop: Option<Shop>,
    /// The share of bays with a balcony, and whether they stand in columns.
    pub(super) balconies: f32,
    pub(super) chimneys: u32,
    pub(super) setback: f32,
}

const PLASTERS: [V3; 10] = [
    v3(0.72, 0.66, 0.52),
    v3(0.74, 0.58, 0.36),
    v3(0.64, 0.38, 0.28),
    v3(0.66, 0.69, 0.62),
    v3(0.48, 0.58, 0.66),
    v3(0.80, 0.77, 0.70),
    v3(0.70, 0.50, 0.46),
    v3(0.56, 0.62, 0.42),
    v3(0.78, 0.70, 0.42),
    v3(0.52, 0.50, 0.52),
];
const BRICKS: [V3; 5] = [
    v3(0.38, 0.14, 0.09),
    v3(0.46, 0.20, 0.12),
    v3(0.52, 0.40, 0.24),
    v3(0.27, 0.12, 0.10),
    v3(0.50, 0.30, 0.20),
];
const STONES: [V3; 4] =
    [v3(0.56, 0.52, 0.44), v3(0.47, 0.46, 0.45), v3(0.62, 0.55, 0.40), v3(0.50, 0.40, 0.36)];
const ACCENTS: [V3; 8] = [
    v3(0.04, 0.14, 0.09),
    v3(0.30, 0.03, 0.03),
    v3(0.03, 0.07, 0.22),
    v3(0.16, 0.08, 0.04),
    v3(0.05, 0.05, 0.06),
    v3(0.10, 0.25, 0.30),
    v3(0.55, 0.40, 0.08),
    v3(0.60, 0.60, 0.58),
];
const ROOFINGS: [V3; 4] =
    [v3(0.40, 0.15, 0.09), v3(0.17, 0.18, 0.21), v3(0.28, 0.17, 0.13), v3(0.20, 0.32, 0.27)];
const SIGNS: [(V3, V3); 8] = [
    (v3(0.50, 0.02, 0.03), v3(0.9, 0.9, 0.85)),
    (v3(0.02, 0.06, 0.25), v3(0.9, 0.85, 0.5)),
    (v3(0.85, 0.83, 0.75), v3(0.05, 0.05, 0.06)),
    (v3(0.02, 0.20, 0.10), v3(0.9, 0.9, 0.8)),
    (v3(0.75, 0.45, 0.02), v3(0.06, 0.04, 0.03)),
    (v3(0.04, 0.04, 0.05), v3(0.85, 0.7, 0.3)),
    (v3(0.08, 0.35, 0.45), v3(0.95, 0.95, 0.95)),
    (v3(0.40, 0.05, 0.30), v3(0.95, 0.9, 0.95)),
];

impl Style {
    /// A style for a plot `width` metres wide; towards the centre houses are higher and have shops.
    pub(super) fn invent(rng: &mut Rng, centrality: f32, width: f32) -> Self {
        use Material::*;
        let material = if centrality > 0.55 && rng.chance(0.12) {
            Glass
        } else {
            rng.pick(&[
                Brick, Brick, Brick, Plaster, Plaster, Plaster, Plaster, Stone, Stone, Concrete, Timber,
                Boards,
            ])
        };
        let wall = match material {
            Brick => rng.pick(&BRICKS),
            Stone => rng.pick(&STONES),
            Concrete => grey(rng.between(0.32, 0.5)),
            Glass => v3(0.10, 0.16, 0.19),
            Timber | Plaster | Boards => rng.pick(&PLASTERS),
        } * rng.between(0.85, 1.15);
        let modern = matches!(material, Concrete | Glass);
        let low = if centrality < 0.3 { 2 } else { 3 };
        let floors = match material {
            Timber | Boards => 2 + rng.below(2),
            _ => low + rng.below(2 + (centrality * 3.0) as usize) + usize::from(modern) * rng.below(4),
        } as u32;
        let roof = match rng.below(10) {
            _ if modern => Roof::Flat,
            0..3 => Roof::Flat,
            3..7 => Roof::Ridge { rise: rng.between(0.5, 1.1) },
            7 if width < 11.0 => Roof::Gable { rise: rng.between(0.8, 1.5) },
            7 | 8 => Roof::Hip { rise: rng.between(0.5, 0.9) },
            _ => Roof::Mansard,
        };
        let (board, ink) = rng.pick(&SIGNS);
        let shop = rng.chance(0.15 + 0.5 * centrality).then(|| Shop {
            name: Word::invent(rng),
            board,
            ink,
            awning: rng.chance(0.3),
            hanging: rng.chance(0.45),
        });
        let window = Opening::invent(rng, modern);
        let mut upper = window;
        if rng.chance(0.35) {
            upper.arched = !upper.arched && !modern;
            upper.head = 0.74;
        }
        let trim_choices = [v3(0.72, 0.69, 0.62), wall * 0.7, v3(0.55, 0.52, 0.46), wall * 1.25];
        Self {
            key: rng.key(),
            material,
            wall,
            trim: rng.pick(&trim_choices),
            frame: if rng.chance(0.65) { grey(0.72) } else { rng.pick(&ACCENTS) },
            accent: rng.pick(&ACCENTS),
            roofing: rng.pick(&ROOFINGS) * rng.between(0.8, 1.2),
            chimney: rng.pick(&BRICKS),
            floors,
            ground: rng.between(3.2, 4.3),
            storey: rng.between(2.7, 3.6),
            bay: rng.between(2.1, 3.9),
            window,
            upper,
            bands: rng.chance(0.4),
            quoins: !modern && rng.chance(0.3),
            cornice: if rng.chance(0.7) { rng.between(0.25, 0.8) } else { 0.0 },
            plinth: rng.between(0.2, 0.9),
            roof,
            shop,
            balconies: if rng.chance(0.3) { rng.between(0.25, 1.0) } else { 0.0 },
            chimneys: if modern { 0 } else { rng.below(3) as u32 },
            setback: if rng.chance(0.25) { rng.between(0.2, 1.8) } else { 0.0 },
        }
    }

    /// Stone, tall arched windows, no shops.
    pub(super) fn church(rng: &mut Rng) -> Self {
        let mut style = Self::invent(rng, 0.0, 20.0);
        style.material = if rng.chance(0.7) { Material::Stone } else { Material::Brick };
        style.wall = rng.pick(&STONES);
        style.trim = style.wall * 1.2;
        style.floors = 2;
        (style.ground, style.storey, style.bay) = (5.0, 5.0, 3.2);
        style.window = Opening {
            width: 0.36,
            sill: 0.2,
            head: 0.9,
            panes: [2, 5],
            arched: true,
            surround: 0.18,
            shutters: false,
        };
        style.upper = style.window;
        style.roof = Roof::Ridge { rise: 1.2 };
        (style.shop, style.balconies, style.chimneys, style.quoins) = (None, 0.0, 0, true);
        style
    }

    /// Height of the eaves, or of a flat roof.
    pub(super) fn eaves(&self) -> f32 {
        self.floor_base(self.floors) + 0.4 + self.cornice
    }

    /// Height at which a floor begins; the ground floor is 0.
    pub(super) fn floor_base(&self, floor: u32) -> f32 {
        if floor == 0 { 0.0 } else { self.ground + self.storey * (floor - 1) as f32 }
    }

    /// How many bays a wall has.
    pub(super) fn bays(&self, length: f32) -> u32 {
        (length / self.bay).round().max(1.0) as u32
    }

    /// Whether a bay has a balcony; symmetric houses are more common than others.
    pub(super) fn has_balcony(&self, wall: usize, floor: u32, bay: u32, bays: u32) -> bool {
        if self.balconies == 0.0 {
            return false;
        }
        let column = bay.min(bays - 1 - bay);
        let row = if self.key & 1 == 0 { 0 } else { floor };
        noise::fraction(noise::cell(self.key ^ 0xba1, (column + row * 64) as i32, wall as i32))
            < self.balconies
    }
}

impl Opening {
    fn invent(rng: &mut Rng, modern: bool) -> Self {
        if modern {
            let wide = rng.chance(0.5);
            return Self {
                width: if wide { rng.between(0.8, 0.97) } else { rng.between(0.4, 0.6) },
                sill: rng.between(0.1, 0.35),
                head: rng.between(0.8, 0.92),
                panes: [1 + rng.below(3) as u32, 1],
                arched: false,
                surround: 0.0,
                shutters: false,
            };
        }
        Self {
            width: rng.between(0.30, 0.52),
            sill: rng.between(0.18, 0.34),
            head: rng.between(0.74, 0.88),
            panes: [1 + rng.below(3) as u32, 1 + rng.below(4) as u32],
            arched: rng.chance(0.2),
            surround: if rng.chance(0.6) { rng.between(0.1, 0.25) } else { 0.0 },
            shutters: rng.chance(0.22),
        }
    }
}
