//! Which size a photograph has as the network's input.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Pixels of the longest side that can be asked for.
const LARGEST_SIDE: usize = 16_384;
/// Sides that a rule can ask for.
const RULED_SIDES: std::ops::RangeInclusive<usize> = 32..=4096;

/// The size of the network's input: one for all photographs, or by a rule.
///
/// ```
/// use r2former_model::{ImageSize, SizeRule};
///
/// assert_eq!("480x640".parse(), Ok(ImageSize::Fixed([480, 640])));
/// let size: ImageSize = "longest:1024:crop".parse()?;
/// assert_eq!(size.to_string(), "longest:1024:crop");
/// // A photograph of 3000 x 2000 pixels: 682 rows, of which 672 are a multiple of 14; 1024 columns, of which 1022 are.
/// let ImageSize::Rule(rule) = size else { panic!("a rule") };
/// let place = rule.place([2000, 3000], 14, SizeRule::TRANSFORMER_PIXELS);
/// assert_eq!((place.resized, place.corner, place.size), ([682, 1024], [5, 1], [672, 1022]));
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageSize {
    /// Height and width in pixels, whatever the photograph's shape.
    Fixed([usize; 2]),
    /// In the photograph's own shape.
    Rule(SizeRule),
}

/// How the size of the network's input follows from the photograph's, which keeps its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeRule {
    /// What is asked of the sides.
    pub sides: Sides,
    /// How they become multiples of what the network takes, such as a transformer's patch.
    pub fit: Fit,
}

/// What a rule asks of the sides of a photograph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sides {
    /// They stay as they are.
    Native,
    /// The longer one is shrunk to this many pixels, and not enlarged.
    Longest(usize),
    /// The shorter one is resized to this many pixels, up or down.
    Shorter(usize),
}

/// How sides become multiples of what the network takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Resized to the nearest multiples: all is seen, in a shape that differs by half a patch at most.
    Resize,
    /// Cut down to multiples, equally at both ends.
    Crop,
}

/// Which part of a photograph the network sees, and at which size: it is resized, and a part of that is cut out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Height and width of the resized photograph.
    pub resized: [usize; 2],
    /// Row and column at which the part begins.
    pub corner: [usize; 2],
    /// Height and width of the part: the network's input.
    pub size: [usize; 2],
}

impl Placement {
    /// All of a photograph at a size.
    pub fn whole(size: [usize; 2]) -> Self {
        Self { resized: size, corner: [0, 0], size }
    }

    /// Where in the photograph a local feature is, as shares of its width and height. Its position (x, y) is relative to
    /// the longer side of the network's input.
    pub fn share(&self, position: [f32; 2]) -> [f64; 2] {
        let longer = self.size[0].max(self.size[1]) as f64;
        let along = |value: f32, axis: usize| {
            (f64::from(value) * longer + self.corner[axis] as f64) / self.resized[axis] as f64
        };
        [along(position[0], 1), along(position[1], 0)]
    }
}

impl SizeRule {
    /// Pixels of a convolutional network's input, at most: larger ones are shrunk to this. 2048 x 2048.
    pub const CONVOLUTIONAL_PIXELS: usize = 1 << 22;
    /// The same for a transformer, whose memory can grow with the square of its tokens. 1024 x 1024.
    pub const TRANSFORMER_PIXELS: usize = 1 << 20;

    /// Where a photograph of `own` height and width is seen by a network that takes multiples of `step`, and
    /// about `most` pixels.
    pub fn place(self, own: [usize; 2], step: usize, most: usize) -> Placement {
        let resized = bounded(self.resized(own), most);
        match self.fit {
            Fit::Resize => Placement::whole(resized.map(|side| {
                // To even where two are equally near, as Python rounds.
                let steps = (side as f64 / step as f64).round_ties_even() as usize;
                steps.max(1) * step
            })),
            Fit::Crop => {
                let size = resized.map(|side| side / step * step);
                // A half pixel goes to the even side, as in torchvision.
                let corner = [0, 1].map(|i| ((resized[i] - size[i]) as f64 / 2.0).round_ties_even() as usize);
                Placement { resized, corner, size }
            }
        }
    }

    /// The size before it is fitted to the network.
    fn resized(self, own: [usize; 2]) -> [usize; 2] {
        let [longer, shorter] = [own[0].max(own[1]), own[0].min(own[1]).max(1)];
        let cut = |side: usize, to: usize, from: usize| (side * to / from).max(1);
        match (self.sides, self.fit) {
            (Sides::Longest(most), Fit::Resize) if longer > most => {
                let scale = most as f64 / longer as f64;
                own.map(|side| ((side as f64 * scale).round_ties_even() as usize).max(1))
            }
            (Sides::Longest(most), Fit::Crop) if longer > most => own.map(|side| cut(side, most, longer)),
            (Sides::Shorter(length), _) if shorter != length => own.map(|side| cut(side, length, shorter)),
            _ => own,
        }
    }

    /// Height and width of an ordinary photograph, of 4:3, under this rule.
    pub fn typical(self) -> [usize; 2] {
        match self.sides {
            Sides::Native => [480, 640],
            Sides::Longest(longest) => [longest * 3 / 4, longest],
            Sides::Shorter(shorter) => [shorter, shorter * 4 / 3],
        }
    }
}

/// The same shape, with about as many pixels as allowed.
fn bounded(size: [usize; 2], most: usize) -> [usize; 2] {
    let pixels = size[0] as f64 * size[1] as f64;
    if pixels <= most as f64 {
        return size;
    }
    let scale = (most as f64 / pixels).sqrt();
    size.map(|side| ((side as f64 * scale) as usize).max(1))
}

impl ImageSize {
    /// In words, for people.
    pub fn described(self) -> String {
        let Self::Rule(SizeRule { sides, fit }) = self else {
            return format!("{self} pixels (height x width)");
        };
        let sides = match sides {
            Sides::Native => "each photograph's own size".to_string(),
            Sides::Longest(most) => format!("own shape, longer side at most {most} pixels"),
            Sides::Shorter(length) => format!("own shape, shorter side {length} pixels"),
        };
        match fit {
            Fit::Resize => sides,
            Fit::Crop => format!("{sides}, cut to multiples of the patch"),
        }
    }
}

impl fmt::Display for ImageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed([height, width]) => write!(f, "{height}x{width}"),
            Self::Rule(rule) => rule.fmt(f),
        }
    }
}

impl fmt::Display for SizeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sides {
            Sides::Native => f.write_str("native")?,
            Sides::Longest(pixels) => write!(f, "longest:{pixels}")?,
            Sides::Shorter(pixels) => write!(f, "shorter:{pixels}")?,
        }
        f.write_str(if self.fit == Fit::Crop { ":crop" } else { "" })
    }
}

impl FromStr for ImageSize {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let side = |part: &str| part.trim().parse::<usize>().ok().filter(|v| (1..=LARGEST_SIDE).contains(v));
        let fixed =
            text.split_once(['x', 'X']).and_then(|(height, width)| Some([side(height)?, side(width)?]));
        if let Some(size) = fixed {
            return Ok(Self::Fixed(size));
        }
        match text.parse() {
            Ok(rule) => Ok(Self::Rule(rule)),
            Err(_) => Err(format!(
                "'{text}' is not HEIGHTxWIDTH in pixels, each 1 to {LARGEST_SIDE}, as in 480x640, nor native, longest:N \
                 or shorter:N, N from {} to {}, with or without :crop",
                RULED_SIDES.start(),
                RULED_SIDES.end()
            )),
        }
    }
}

impl FromStr for SizeRule {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, fit) = match text.strip_suffix(":crop") {
            Some(rest) => (rest, Fit::Crop),
            None => (text, Fit::Resize),
        };
        let pixels = |part: &str| part.parse().ok().filter(|side| RULED_SIDES.contains(side));
        let sides = match rest.split_once(':') {
            None if rest == "native" => Some(Sides::Native),
            Some(("longest", most)) => pixels(most).map(Sides::Longest),
            Some(("shorter", length)) => pixels(length).map(Sides::Shorter),
            _ => None,
        };
        let sides = sides.ok_or_else(|| format!("'{text}' is not native, longest:N or shorter:N"))?;
        Ok(Self { sides, fit })
    }
}

impl Serialize for SizeRule {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SizeRule {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// As `[height, width]`, or as the rule's text.
impl Serialize for ImageSize {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(size) => size.serialize(to),
            Self::Rule(rule) => rule.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for ImageSize {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Size([usize; 2]),
            Text(String),
        }
        match Either::deserialize(from)? {
            Either::Size(size) => Ok(Self::Fixed(size)),
            Either::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> SizeRule {
        text.parse().expect(text)
    }

    #[test]
    fn texts_are_read_and_written() {
        for text in ["480x640", "native", "native:crop", "longest:1024", "shorter:512", "longest:1024:crop"] {
            let size: ImageSize = text.parse().expect(text);
            assert_eq!(size.to_string(), text);
            let json = serde_json::to_string(&size).expect("JSON");
            assert_eq!(serde_json::from_str::<ImageSize>(&json).expect("a size"), size);
        }
        assert_eq!(serde_json::to_string(&ImageSize::Fixed([480, 640])).expect("JSON"), "[480,640]");
        for text in [
            "",
            "0x5",
            "5x",
            "longest",
            "longest:",
            "longest:0",
            "longest:99999",
            "native:4",
            "crop",
            "native:crop:crop",
        ] {
            let message = text.parse::<ImageSize>().expect_err(text);
            assert!(message.contains("HEIGHTxWIDTH") && message.contains("longest:N"), "{message}");
        }
    }

    #[test]
    fn sides_fit_the_network() {
        let size = |text: &str, own: [usize; 2], step: usize| {
            let place = rule(text).place(own, step, SizeRule::TRANSFORMER_PIXELS);
            assert!((0..2).all(|i| place.corner[i] + place.size[i] <= place.resized[i]), "{text} {own:?}");
            place.size
        };
        assert_eq!(size("native", [481, 641], 1), [481, 641]);
        // 301 / 14 = 21.5: to the even 22, as Python's round; 287 / 14 = 20.5: to 20.
        assert_eq!(size("native", [301, 287], 14), [308, 280]);
        assert_eq!(size("native:crop", [301, 287], 14), [294, 280]);
        assert_eq!(size("native", [3, 3], 14), [14, 14]);
        assert_eq!(size("native:crop", [3, 30], 14), [0, 28]);
        assert_eq!(size("longest:640", [480, 320], 1), [480, 320]);
        assert_eq!(size("longest:640", [1000, 3001], 1), [213, 640]);
        assert_eq!(size("longest:640", [3001, 1000], 16), [640, 208]);
        assert_eq!(size("shorter:512", [100, 151], 1), [512, 773]);
        assert_eq!(size("shorter:512", [512, 700], 1), [512, 700]);
    }

    #[test]
    fn huge_photographs_are_shrunk() {
        for (own, step) in [([5000, 20_000], 14), ([10_000, 10_000], 1), ([1024, 1025], 1)] {
            let [height, width] = rule("native").place(own, step, SizeRule::TRANSFORMER_PIXELS).size;
            let ratio = (height * width) as f64 / SizeRule::TRANSFORMER_PIXELS as f64;
            assert!((0.97..1.02).contains(&ratio), "{own:?}: {height} x {width}");
        }
        assert_eq!(rule("native").place([1024, 1024], 1, SizeRule::TRANSFORMER_PIXELS).size, [1024, 1024]);
    }

    #[test]
    fn positions_lead_back_to_the_photograph() {
        let place = Placement { resized: [100, 210], corner: [10, 5], size: [80, 200] };
        let [x, y] = place.share([0.5, 0.2]);
        assert!((x - 105.0 / 210.0).abs() < 1e-6 && (y - 50.0 / 100.0).abs() < 1e-6);
        assert_eq!(Placement::whole([480, 640]).share([0.5, 0.75]), [0.5, 1.0]);
    }
}
