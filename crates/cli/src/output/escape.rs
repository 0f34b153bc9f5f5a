//! Names and messages made safe to print: a file may be called anything.

use std::borrow::Cow;

/// The text with control characters, line separators and marks that change the direction of writing replaced by
/// escapes (`\n`, `\u{1b}`, `\u{202e}`), so that a name stays on its line and cannot steer a terminal.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(
        text.chars()
            .flat_map(|c| {
                let (escape, plain) = match is_unsafe(c) {
                    true => (Some(c.escape_default()), None),
                    false => (None, Some(c)),
                };
                escape.into_iter().flatten().chain(plain)
            })
            .collect(),
    )
}

/// Controls, line and paragraph separators, and everything invisible that reorders or hides text.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_on_their_line() {
        for (name, shown) in [
            ("a b,é.jpg", "a b,é.jpg"),
            ("a\nb\t\u{1b}[31m.jpg", "a\\nb\\t\\u{1b}[31m.jpg"),
            ("gpj.\u{202e}exe", "gpj.\\u{202e}exe"),
            ("\u{85}\u{2028}\u{2066}\u{feff}", "\\u{85}\\u{2028}\\u{2066}\\u{feff}"),
            ("back\\slash", "back\\slash"),
            ("👩\u{200d}🌾.jpg", "👩\u{200d}🌾.jpg"),
        ] {
            assert_eq!(escaped(name), shown);
        }
    }
}
