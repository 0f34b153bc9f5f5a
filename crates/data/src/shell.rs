//! Words of the commands that messages print.

use std::path::Path;

/// A word as a POSIX shell reads it: quoted where it has to be.
///
/// ```
/// use r2former_data::shell_word;
/// assert_eq!(shell_word("a/b.jpg"), "a/b.jpg");
/// assert_eq!(shell_word("my photos/it's"), r"'my photos/it'\''s'");
/// ```
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+,@%=:".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A path as such a word. One that starts with a hyphen is no option.
pub fn shell_path(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.starts_with('-') { shell_word(&format!("./{text}")) } else { shell_word(&text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_they_must_be() {
        for (text, wanted) in [
            ("a.jpg", "a.jpg"),
            ("", "''"),
            ("a b", "'a b'"),
            ("$(id)", "'$(id)'"),
            ("~/x", "'~/x'"),
            ("日本.jpg", "日本.jpg"),
        ] {
            assert_eq!(shell_word(text), wanted);
        }
        assert_eq!(shell_path(Path::new("-dash.jpg")), "./-dash.jpg");
        assert_eq!(shell_path(Path::new("d/-dash.jpg")), "d/-dash.jpg");
    }
}
