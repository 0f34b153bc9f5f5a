//! Numbers as tables write them.

use std::borrow::Cow;

/// How the numbers of a table are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Notation {
    /// A comma separates no columns, so that the decimal mark is one wherever it can be.
    pub(super) comma: bool,
    /// Positions have decimal points, so that a comma elsewhere may as well separate thousands.
    pub(super) points: bool,
}

/// What a number stands for, which decides what a comma before three digits can mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantity {
    /// Degrees of latitude or longitude: a thousand is impossible.
    Degrees,
    /// Eastings and northings: below a thousand is impossible.
    Metres,
    /// Anything else.
    Other,
}

/// A finite number with a decimal point.
///
/// # Errors
/// Says what is wrong with it, for use in a message.
pub(super) fn number(what: &str, cell: &str) -> Result<f64, String> {
    number_of(what, cell, Quantity::Other, Notation::default())
}

/// As [`number`], in a table's own notation.
///
/// # Errors
/// As [`number`]; also for a comma that could separate thousands.
pub(super) fn number_of(
    what: &str,
    cell: &str,
    quantity: Quantity,
    notation: Notation,
) -> Result<f64, String> {
    if cell.is_empty() {
        return Err(format!("{what} is empty"));
    }
    let plain = ascii_minus(cell);
    match plain.parse::<f64>() {
        Ok(value) if value.is_finite() => return Ok(value),
        Ok(_) => return Err(format!("{what} is {cell}, a finite number is needed")),
        Err(_) => {}
    }
    let grouped = without_thousands(&plain);
    let decimal = plain.replacen(',', ".", 1);
    let value = decimal.parse::<f64>().ok().filter(|v| v.is_finite() && plain.contains(','));
    match (grouped, value) {
        // 699,375 alone: either mark. An easting has thousands, a latitude cannot have them.
        (Some(grouped), None) => Err(thousands(what, cell, &grouped)),
        (Some(grouped), Some(_)) if quantity == Quantity::Metres => Err(thousands(what, cell, &grouped)),
        (Some(grouped), Some(_)) if quantity == Quantity::Other && (!notation.comma || notation.points) => {
            Err(format!(
                "{what} \"{cell}\" has a comma that may be a decimal comma or separate thousands: write {decimal} \
                 or {grouped}"
            ))
        }
        // A cell that holds a comma is quoted where commas separate columns.
        (_, Some(value)) => Ok(value),
        (None, None) => Err(format!("{what} \"{cell}\" is not a number")),
    }
}

fn thousands(what: &str, cell: &str, grouped: &str) -> String {
    format!("{what} \"{cell}\" has thousands separators: write {grouped}")
}

/// The same text with an ASCII hyphen for every sign that is used as a minus.
pub(super) fn ascii_minus(text: &str) -> Cow<'_, str> {
    const SIGNS: [char; 7] =
        ['\u{2212}', '\u{2010}', '\u{2011}', '\u{2012}', '\u{2013}', '\u{fe63}', '\u{ff0d}'];
    if text.contains(SIGNS) { text.replace(SIGNS, "-").into() } else { text.into() }
}

/// The number without its thousands separators, where it is groups of three digits: `5,710,155.5`,
/// `5.710.155,5`, `5 710 155`, `5'710'155`.
fn without_thousands(text: &str) -> Option<String> {
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (&text[..1], rest),
        None => ("", text),
    };
    let separator = digits.chars().find(|c| !c.is_ascii_digit())?;
    if !matches!(separator, ',' | '.' | '\'' | '\u{2019}' | ' ' | '\u{a0}' | '\u{202f}' | '\u{2009}' | '_') {
        return None;
    }
    let mark = if separator == '.' { ',' } else { '.' };
    let comma_after = if matches!(separator, ',' | '.') { mark } else { ',' };
    let (whole, fraction) = match digits.rsplit_once([mark, comma_after]) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let groups: Vec<&str> = whole.split(separator).collect();
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let sound = groups.len() > 1
        && (1..=3).contains(&groups[0].len())
        && groups.iter().all(|group| all_digits(group))
        && groups[1..].iter().all(|group| group.len() == 3)
        && fraction.is_none_or(|f| !f.is_empty() && all_digits(f));
    let fraction = fraction.map(|f| format!(".{f}")).unwrap_or_default();
    sound.then(|| format!("{sign}{}{fraction}", groups.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMA: Notation = Notation { comma: true, points: false };
    const POINTS: Notation = Notation { comma: true, points: true };

    #[test]
    fn numbers_are_finite_and_pointed() {
        assert_eq!(number("lat", "52.5"), Ok(52.5));
        assert_eq!(number("lat", "\u{2212}33.1"), Ok(-33.1));
        assert_eq!(number("lat", "\u{2013}33.1"), Ok(-33.1));
        assert_eq!(number("lat", "52,5"), Ok(52.5));
        for bad in ["", "nan", "inf", "x", "1 2", "1e999", "--1", "−", ",", "."] {
            assert!(number("lat", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_comma_is_read_where_it_can_only_be_decimal() {
        use Quantity::{Degrees, Metres, Other};
        for (cell, quantity, notation, value) in [
            ("52,5", Degrees, COMMA, 52.5),
            ("52,125", Degrees, COMMA, 52.125),
            ("-0,125", Degrees, POINTS, -0.125),
            ("699375,25", Metres, COMMA, 699_375.25),
            ("12,5", Other, POINTS, 12.5),
            ("1,234", Other, COMMA, 1.234),
            ("52,2053", Degrees, Notation::default(), 52.2053),
            ("-0,125", Degrees, Notation::default(), -0.125),
            ("699375,25", Metres, Notation::default(), 699_375.25),
            ("12,5", Other, Notation::default(), 12.5),
        ] {
            assert_eq!(number_of("x", cell, quantity, notation), Ok(value), "{cell}");
        }
    }

    #[test]
    fn thousands_are_named_for_what_they_are() {
        use Quantity::{Metres, Other};
        for (cell, write) in [
            ("699,375", "699375"),
            ("5,710,155", "5710155"),
            ("5.710.155", "5710155"),
            ("5.710.155,25", "5710155.25"),
            ("5,710,155.25", "5710155.25"),
            ("5 710 155", "5710155"),
            ("5'710'155.5", "5710155.5"),
            ("-1,234", "-1234"),
        ] {
            for notation in [Notation::default(), COMMA, POINTS] {
                let said = number_of("y", cell, Metres, notation).expect_err(cell);
                assert_eq!(said, format!("y \"{cell}\" has thousands separators: write {write}"));
            }
        }
        for notation in [Notation::default(), POINTS] {
            let said = number_of("alt", "1,234", Other, notation).expect_err("either");
            assert!(said.ends_with("write 1.234 or 1234"), "{said}");
        }
    }
}
