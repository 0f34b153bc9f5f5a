//! Latitudes and longitudes in the spellings that tables have: decimal degrees, degrees with minutes and
//! seconds, with a sign or a side of the world before or after.

use super::number::{Notation, Quantity, ascii_minus, number_of};

/// Which of the two an angle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    Latitude,
    Longitude,
}

impl Axis {
    /// The letters of its sides in messages.
    pub(super) fn sides(self) -> &'static str {
        match self {
            Self::Latitude => "N or S",
            Self::Longitude => "E or W",
        }
    }
}

/// A side of the equator or of Greenwich.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    North,
    South,
    East,
    West,
}

impl Side {
    /// Whether coordinates there are negative.
    pub(super) fn is_negative(self) -> bool {
        matches!(self, Self::South | Self::West)
    }

    pub(super) fn axis(self) -> Axis {
        match self {
            Self::North | Self::South => Axis::Latitude,
            Self::East | Self::West => Axis::Longitude,
        }
    }

    pub(super) fn letter(self) -> char {
        match self {
            Self::North => 'N',
            Self::South => 'S',
            Self::East => 'E',
            Self::West => 'W',
        }
    }

    /// A side by its letter or name in English, French, German, Spanish, Italian or Portuguese. `O` alone is
    /// none: it is east in German and west in French.
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word.trim().trim_end_matches('.').to_lowercase().as_str() {
            "n" | "north" | "nord" | "norte" | "norden" => Some(Self::North),
            "s" | "south" | "süd" | "sued" | "sud" | "sur" | "sul" | "süden" => Some(Self::South),
            "e" | "east" | "est" | "este" | "leste" | "ost" | "osten" => Some(Self::East),
            "w" | "west" | "ouest" | "oeste" | "ovest" | "westen" => Some(Self::West),
            _ => None,
        }
    }

    /// As [`Side::parse`], of a column of sides: what is no such word counts by its first letter.
    pub(super) fn parse_cell(cell: &str) -> Option<Self> {
        Self::parse(cell).or_else(|| Self::parse(cell.trim().get(..1)?))
    }
}

/// An angle as it is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Angle {
    /// Degrees without a side; the sign that was written.
    signed: f64,
    negative: bool,
    /// The side that was written.
    pub(super) side: Option<Side>,
}

impl Angle {
    /// Whether it says its half of the world itself, by a sign or a side.
    pub(super) fn is_sided(self) -> bool {
        self.negative || self.side.is_some()
    }

    /// Signed degrees, under a side from another column where there is one.
    ///
    /// # Errors
    /// Sides or signs that contradict each other.
    pub(super) fn degrees(self, other: Option<Side>) -> Result<f64, String> {
        let side = match (self.side, other) {
            (Some(a), Some(b)) if a != b => {
                return Err(format!("is {} here and {} in its own column", a.letter(), b.letter()));
            }
            (a, b) => a.or(b),
        };
        match side {
            None => Ok(self.signed),
            // Programs that write a signed angle beside its side mean it once.
            Some(side) if self.negative && !side.is_negative() && self.signed != 0.0 => {
                Err(format!("is negative and {}: one of the two is wrong", side.letter()))
            }
            Some(side) if side.is_negative() => Ok(-self.signed.abs()),
            Some(_) => Ok(self.signed),
        }
    }
}

/// Reads an angle: `52.2054`, `-0.119`, `52.1N`, `S 33.8`, `52°12'19.4"N`, `52 deg 12' 19.44" N`, `52 12 19.4`,
/// `52°12.323'`, `52d12m19.4s`, `52:12:19.4`, `52,12.323N`.
///
/// # Errors
/// Says what is wrong, for use in a message.
pub(super) fn parse(what: &str, cell: &str, axis: Axis, notation: Notation) -> Result<Angle, String> {
    let plain = number_of(what, cell, Quantity::Degrees, notation);
    if let Ok(signed) = plain {
        return Ok(Angle { signed, negative: signed < 0.0, side: None });
    }
    // NaN and infinity are numbers of a kind, and no words.
    if cell.parse::<f64>().is_ok() {
        return plain.map(|signed| Angle { signed, negative: false, side: None });
    }
    // Only what has a sign of an angle is one; else the number's own complaint is the better one.
    let Some(tokens) = tokens(cell, notation) else {
        return plain.map(|signed| Angle { signed, negative: false, side: None });
    };
    let unreadable = || {
        format!(
            "{what} \"{cell}\" is not an angle: write decimal degrees, as in 52.2054 or -0.119, or 52°12'19.4\"N"
        )
    };
    let (parts, side) = match interpret(&tokens) {
        Some(found) => found,
        None if tokens.iter().any(|t| matches!(t, Token::Word(w) if w == "o")) => {
            return Err(format!(
                "{what} \"{cell}\": O is east in German and west in French: write E or W, or a signed number"
            ));
        }
        None if tokens.iter().any(|t| matches!(t, Token::Word(_) | Token::Mark(_))) => {
            return Err(unreadable());
        }
        None => return plain.map(|signed| Angle { signed, negative: false, side: None }),
    };
    if let Some(side) = side.filter(|side| side.axis() != axis) {
        return Err(format!(
            "{what} \"{cell}\" is {}, {} is needed: are latitude and longitude swapped?",
            side.letter(),
            axis.sides()
        ));
    }
    let negative = matches!(tokens.iter().find(|t| !matches!(t, Token::Word(_))), Some(Token::Sign('-')));
    let whole = |value: f64| value.fract() == 0.0;
    let sound = match parts.as_slice() {
        [_] => true,
        [degrees, minutes] => whole(*degrees) && *minutes <= 60.0,
        [degrees, minutes, seconds] => {
            whole(*degrees) && whole(*minutes) && *minutes <= 60.0 && *seconds <= 60.0
        }
        _ => false,
    };
    if !sound {
        return Err(unreadable());
    }
    let size: f64 = parts.iter().zip([1.0, 60.0, 3600.0]).map(|(value, of)| value / of).sum();
    Ok(Angle { signed: if negative { -size } else { size }, negative, side })
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(f64),
    /// In lower case.
    Word(String),
    /// A mark of degrees, minutes or seconds, or a colon.
    Mark(char),
    Comma,
    Sign(char),
}

/// Splits a cell; none for anything that no angle holds.
fn tokens(cell: &str, notation: Notation) -> Option<Vec<Token>> {
    let text = ascii_minus(cell);
    let mut tokens = Vec::new();
    let mut rest = text.trim();
    while let Some(first) = rest.chars().next() {
        let run = |belongs: &dyn Fn(char) -> bool| rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        let length = if first.is_ascii_digit() {
            let point = run(&|c| c.is_ascii_digit() || c == '.');
            // A comma beside a point, or without a digit after it, is no decimal mark.
            let comma = run(&|c| c.is_ascii_digit() || c == ',');
            let decimal = notation.comma && !rest[comma..].starts_with('.');
            let end = if decimal { rest[..comma].trim_end_matches(',').len().max(point) } else { point };
            tokens.push(Token::Number(rest[..end].replacen(',', ".", 1).parse().ok()?));
            end
        } else if first.is_alphabetic() && !matches!(first, '\u{ba}' | '\u{aa}') {
            let end = run(&|c| c.is_alphabetic() && !matches!(c, '\u{ba}' | '\u{aa}'));
            tokens.push(Token::Word(rest[..end].to_lowercase()));
            end
        } else {
            match first {
                '°' | '\u{ba}' | '\u{2da}' | '\u{2218}' => tokens.push(Token::Mark('°')),
                '"' | '\u{2033}' | '\u{201d}' | '\u{201c}' => tokens.push(Token::Mark('"')),
                // Two single marks are seconds.
                '\'' | '\u{2032}' | '\u{2019}' | '\u{2018}' | '\u{b4}' | '`' => match tokens.last_mut() {
                    Some(mark @ Token::Mark('\'')) => *mark = Token::Mark('"'),
                    _ => tokens.push(Token::Mark('\'')),
                },
                ':' => tokens.push(Token::Mark(':')),
                ',' => tokens.push(Token::Comma),
                '-' | '+' => tokens.push(Token::Sign(first)),
                '.' => {}
                space if space.is_whitespace() => {}
                _ => return None,
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    Some(tokens)
}

/// The numbers and the side of an angle; none where the parts do not make one.
fn interpret(tokens: &[Token]) -> Option<(Vec<f64>, Option<Side>)> {
    let mut rest = tokens;
    let mut side = None;
    if let [Token::Word(word), others @ ..] = rest {
        side = Some(Side::parse(word)?);
        rest = others;
    }
    if let [Token::Sign(_), others @ ..] = rest {
        rest = others;
    }
    let (mut parts, mut marks, mut commas, mut letters) = (Vec::new(), 0, 0, false);
    while let [Token::Number(value), others @ ..] = rest {
        let position = parts.len();
        parts.push(*value);
        rest = others;
        let Some((next, others)) = rest.split_first() else { break };
        let (unit, left) = match next {
            Token::Mark('°') => (position == 0, None),
            Token::Mark('\'') => (position == 1, None),
            Token::Mark('"') => (position == 2, None),
            Token::Mark(_) => (position < 2, None),
            Token::Comma => {
                commas += 1;
                (position < 2, None)
            }
            Token::Word(word) => match (position, word.as_str()) {
                (0, "d" | "deg" | "degree" | "degrees" | "grad" | "gr") | (1, "m" | "min" | "minutes") => {
                    letters = true;
                    (true, None)
                }
                // After minutes with a letter, s is theirs, not the south.
                (2, "sec" | "seconds") => (true, None),
                (2, "s") if letters => (true, None),
                (2, joined)
                    if joined.len() > 1 && joined.starts_with('s') && Side::parse(joined).is_none() =>
                {
                    (true, Some(Side::parse(&joined[1..])?))
                }
                _ => break,
            },
            Token::Number(_) => continue,
            Token::Sign(_) => return None,
        };
        if !unit {
            return None;
        }
        marks += usize::from(!matches!(next, Token::Comma));
        rest = others;
        if left.is_some() {
            side = match side {
                None => left,
                Some(_) => return None,
            };
        }
    }
    if let [Token::Word(word)] = rest {
        let after = Side::parse(word)?;
        if side.replace(after).is_some() {
            return None;
        }
    } else if !rest.is_empty() {
        return None;
    }
    // Two bare numbers are anything; a comma between them needs its side, as XMP writes it.
    let sure = match parts.len() {
        1 => marks > 0 || side.is_some(),
        2 => marks > 0 || side.is_some(),
        3 => commas == 0 || side.is_some(),
        _ => false,
    };
    sure.then_some((parts, side))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COMMA: Notation = Notation { comma: true, points: false };

    fn read(cell: &str, axis: Axis, notation: Notation) -> Result<f64, String> {
        parse("lat", cell, axis, notation)?.degrees(None)
    }

    #[test]
    fn one_place_in_every_spelling() {
        // 52° 12' 19.44" = 52.2054.
        for cell in [
            "52.2054",
            "+52.2054",
            "52.2054°",
            "52.2054N",
            "52.2054 n",
            "N52.2054",
            "N 52.2054",
            "52.2054 North",
            "nord 52.2054",
            "52.2054° N",
            "52°12'19.44\"N",
            "52°12'19.44''N",
            "52° 12′ 19.44″ N",
            "52º12’19.44” N",
            "52 deg 12' 19.44\" N",
            "52 deg 12' 19.44\"",
            "52d12m19.44s",
            "52d12m19.44sN",
            "52d 12m 19.44s N",
            "52 12 19.44",
            "52 12 19.44 N",
            "52:12:19.44",
            "52:12:19.44N",
            "N 52° 12.324'",
            "52°12.324'N",
            "52 12.324 N",
            "52,12.324N",
            "52,12,19.44N",
        ] {
            let value = read(cell, Axis::Latitude, Notation::default()).expect(cell);
            assert!((value - 52.2054).abs() < 1e-9, "{cell}: {value}");
        }
        assert_eq!(read("52,2054", Axis::Latitude, Notation::default()), Ok(52.2054));
        for cell in ["52,2054", "52,2054N", "52,2054° N", "52°12'19,44\"N", "N 52°12,324'", "52 12 19,44"]
        {
            let value = read(cell, Axis::Latitude, COMMA).expect(cell);
            assert!((value - 52.2054).abs() < 1e-9, "{cell}: {value}");
        }
    }

    #[test]
    fn south_and_west_are_negative_once() {
        for cell in [
            "-33.8",
            "\u{2212}33.8",
            "33.8S",
            "S 33.8",
            "33.8 South",
            "33.8 süd",
            "-33.8 S",
            "33°48'S",
            "33°48'0\"S",
            "-33 48 0",
            "33 48 0 s",
            "33d48m0sS",
            "33d48m0s S",
            "33,48.0S",
        ] {
            let value = read(cell, Axis::Latitude, Notation::default()).expect(cell);
            assert!((value + 33.8).abs() < 1e-9, "{cell}: {value}");
        }
        for cell in ["70.6W", "70.6 Ouest", "W70.6", "-70.6"] {
            assert_eq!(read(cell, Axis::Longitude, Notation::default()), Ok(-70.6), "{cell}");
        }
        assert_eq!(read("70.6 Ost", Axis::Longitude, Notation::default()), Ok(70.6));
        let zero = read("-0 7 8.04", Axis::Longitude, Notation::default()).expect("west of Greenwich");
        assert!((zero + 0.1189).abs() < 1e-12, "{zero}");
    }

    #[test]
    fn a_side_from_another_column() {
        let of = |cell: &str| parse("lat", cell, Axis::Latitude, Notation::default()).expect(cell);
        assert_eq!(of("33.8").degrees(Some(Side::South)), Ok(-33.8));
        assert_eq!(of("-33.8").degrees(Some(Side::South)), Ok(-33.8));
        assert_eq!(of("33.8S").degrees(Some(Side::South)), Ok(-33.8));
        assert_eq!(of("33.8").degrees(Some(Side::North)), Ok(33.8));
        assert!(of("-33.8").degrees(Some(Side::North)).expect_err("contradicts").contains("negative and N"));
        assert!(of("33.8N").degrees(Some(Side::South)).expect_err("contradicts").contains("N here and S"));
        for (cell, side) in [("South", Side::South), ("s", Side::South), ("N latitude", Side::North)] {
            assert_eq!(Side::parse_cell(cell), Some(side), "{cell}");
        }
        assert_eq!(Side::parse_cell("Ost"), Some(Side::East));
        assert_eq!(Side::parse_cell("O"), None);
        assert_eq!(Side::parse_cell("0"), None);
        assert_eq!(Side::parse_cell("é"), None);
    }

    #[test]
    fn what_is_no_angle() {
        for (cell, wanted) in [
            ("", "is empty"),
            ("nan", "a finite number"),
            ("north", "is not an angle"),
            ("52.1X", "is not an angle"),
            ("52.1E", "are latitude and longitude swapped?"),
            ("7.1 O", "O is east in German"),
            ("-52.1N", "negative and N"),
            ("52°61'0\"N", "is not an angle"),
            ("52.5°12'N", "is not an angle"),
            ("52°12'19\"30N", "is not an angle"),
            ("N52N", "is not an angle"),
            ("52'12\"N", "is not an angle"),
            ("52.1 0.1", "is not a number"),
            ("52,1,2", "is not a number"),
            ("east", "is not an angle"),
            ("52.1/2", "is not a number"),
        ] {
            let said = read(cell, Axis::Latitude, Notation::default()).expect_err(cell);
            assert!(said.contains(wanted), "{cell}: {said}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_angle_or_an_error(text in "\\PC{0,20}", near in "[-+0-9.,°'\"NSEWdms ]{0,16}") {
            for cell in [text, near] {
                for notation in [Notation::default(), COMMA] {
                    if let Ok(value) = read(&cell, Axis::Longitude, notation) {
                        prop_assert!(value.is_finite());
                    }
                }
            }
        }
    }
}
