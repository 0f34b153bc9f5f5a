//! Names as they are printed: a file may be called anything, a terminal obeys control characters.

use std::borrow::Cow;
use std::fmt::Write;

/// A name with its control and bidirectional formatting characters escaped as Rust does it: a newline becomes
/// `\n`, an escape `\u{1b}`, a right-to-left override `\u{202e}`. Other names stay as they are.
pub(crate) fn escaped(name: &str) -> Cow<'_, str> {
    if !name.chars().any(is_unsafe) {
        return Cow::Borrowed(name);
    }
    let mut safe = String::with_capacity(name.len() + 8);
    for c in name.chars() {
        if is_unsafe(c) {
            // Writing to a string does not fail.
            let _ = write!(safe, "{}", c.escape_default());
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// As [`escaped`], for a whole message: its own line breaks stay.
pub(crate) fn escaped_lines(message: &str) -> String {
    message.split('\n').map(escaped).collect::<Vec<_>>().join("\n")
}

/// Control characters, line separators, and whatever changes the direction of the text around it.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::{escaped, escaped_lines};

    #[test]
    fn only_what_a_terminal_obeys_is_escaped() {
        for plain in ["a b.jpg", "né.jpg", "né.jpg", "東京/1.jpg", "a\\b", "שלום.jpg", "👩‍👧.jpg"] {
            assert_eq!(escaped(plain), plain);
        }
        assert_eq!(escaped("a\u{1b}[31mb"), "a\\u{1b}[31mb");
        assert_eq!(escaped("a\nb\tc\rd"), "a\\nb\\tc\\rd");
        assert_eq!(escaped("a\u{7f}\u{9b}b"), "a\\u{7f}\\u{9b}b");
        assert_eq!(escaped("exe\u{202e}gpj"), "exe\\u{202e}gpj");
        assert_eq!(escaped("\u{2066}a\u{2069}\u{2028}"), "\\u{2066}a\\u{2069}\\u{2028}");
        assert_eq!(escaped_lines("one\ntwo\u{1b}"), "one\ntwo\\u{1b}");
    }
}
