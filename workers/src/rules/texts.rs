//! The rules for a text from a client. Lengths count Unicode characters, as the protocol does.

use soundoff_common::invisible::is_invisible;
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::protocol::ErrorCode;

/// The most characters of a post.
pub(crate) const MAX_POST: usize = 2000;
/// The most characters of a comment.
pub(crate) const MAX_COMMENT: usize = 1000;
/// The most characters of a direct message.
pub(crate) const MAX_DM: usize = 4000;
/// The most characters of a name.
pub(crate) const MAX_NAME: usize = 50;
/// The most characters of a bio.
pub(crate) const MAX_BIO: usize = 300;
/// The most characters of what a group is about.
pub(crate) const MAX_ABOUT: usize = 500;
/// The most characters of a moderator's reason.
pub(crate) const MAX_REASON: usize = 500;

/// What may be in a text of several lines beside what is shown.
const LINES: [char; 3] = ['\n', '\r', '\t'];

/// Checks a text that must say something: 1 to `most` characters, with line breaks and tabs as its only control
/// characters.
pub(crate) fn message(text: &str, most: usize) -> Result<(), Failure> {
    says_something("text", text)?;
    beside_pictures(text, most)
}

/// Checks a text that may be empty, because pictures are beside it.
pub(crate) fn beside_pictures(text: &str, most: usize) -> Result<(), Failure> {
    within("text", text, most)?;
    if !text.is_empty() {
        says_something("text", text)?;
    }
    without_controls("text", text, &LINES)
}

/// Checks a name: one line, or empty. Returns it as it is stored.
pub(crate) fn name(text: &str) -> Result<String, Failure> {
    within("name", text, MAX_NAME)?;
    if text.contains(['\u{2028}', '\u{2029}']) {
        return Err(Failure::reject(ErrorCode::BadMessage, "name is one line"));
    }
    about_oneself("name", text, &[])
}

/// Checks a bio: some lines, or empty. Returns it as it is stored.
pub(crate) fn bio(text: &str) -> Result<String, Failure> {
    within("bio", text, MAX_BIO)?;
    about_oneself("bio", text, &LINES)
}

/// Checks what a group is about: some lines, or empty. Returns it as it is stored.
pub(crate) fn about(text: &str) -> Result<String, Failure> {
    within("about", text, MAX_ABOUT)?;
    about_oneself("about", text, &LINES)
}

/// Checks a reason that a moderator gives: some lines. Returns it as it is stored.
pub(crate) fn reason(text: &str) -> Result<String, Failure> {
    within("reason", text, MAX_REASON)?;
    says_something("reason", text)?;
    about_oneself("reason", text, &LINES)
}

/// It is shown amid texts of others, whose direction is not its to change.
fn about_oneself(field: &str, text: &str, allowed: &[char]) -> Result<String, Failure> {
    if !text.is_empty() {
        says_something(field, text)?;
    }
    without_controls(field, text, allowed)?;
    Ok(text.chars().filter(|c| !turns(*c)).collect())
}

/// Whether a character changes the direction of all that follows it (UAX 9: embeddings, overrides, isolates).
fn turns(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

fn says_something(field: &str, text: &str) -> Result<(), Failure> {
    if text.chars().all(|c| c.is_whitespace() || is_invisible(c)) {
        return Err(Failure::reject(ErrorCode::BadMessage, format!("{field} says nothing")));
    }
    Ok(())
}

fn within(field: &str, text: &str, most: usize) -> Result<(), Failure> {
    let length = text.chars().count();
    if length > most {
        let message = format!("{field} has {length} characters; at most {most} are taken");
        return Err(Failure::reject(ErrorCode::TooLarge, message));
    }
    Ok(())
}

fn without_controls(field: &str, text: &str, allowed: &[char]) -> Result<(), Failure> {
    match text.chars().find(|c| c.is_control() && !allowed.contains(c)) {
        Some(c) => {
            let message = format!("{field} holds the control character U+{:04X}", c as u32);
            Err(Failure::reject(ErrorCode::BadMessage, message))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T>(judged: Result<T, Failure>) -> Option<ErrorCode> {
        match judged {
            Err(Failure::Reject(error)) => Some(error.code),
            _ => None,
        }
    }

    #[test]
    fn lengths_count_characters_not_bytes() {
        assert_eq!(code(message(&"🦀".repeat(MAX_POST), MAX_POST)), None);
        assert_eq!(code(message(&"🦀".repeat(MAX_POST + 1), MAX_POST)), Some(ErrorCode::TooLarge));
        assert_eq!(code(name(&"é".repeat(MAX_NAME))), None);
        assert_eq!(code(name(&"é".repeat(MAX_NAME + 1))), Some(ErrorCode::TooLarge));
        assert_eq!(code(bio(&"é".repeat(MAX_BIO + 1))), Some(ErrorCode::TooLarge));
    }

    #[test]
    fn blank_texts_and_control_characters_are_refused() {
        let long = "\n\u{200B}\n".repeat(300);
        let mut blanks = vec!["", " ", "\n\t ", "\u{2003}", &long];
        blanks.extend([
            "\u{A0}", "\u{200B}", "\u{2060}", "\u{FEFF}", "\u{3164}", "\u{2800}", "\u{AD}", "\u{FE0F}",
        ]);
        blanks.extend([
            "\u{115F}\u{1160}",
            "\u{E0041}",
            "\u{202E}",
            "\u{2066} \u{2069}",
            "\u{180E}",
            "\u{FFA0}",
            "\u{34F}",
        ]);
        for blank in blanks {
            assert_eq!(code(message(blank, MAX_DM)), Some(ErrorCode::BadMessage), "{blank:?}");
            if !blank.is_empty() {
                assert_eq!(code(beside_pictures(blank, MAX_DM)), Some(ErrorCode::BadMessage), "{blank:?}");
                assert!(name(blank).is_err() && bio(blank).is_err(), "{blank:?}");
            }
        }
        for said in
            ["e\u{301}", "👩\u{200D}🚀", "❤\u{FE0F}", "می\u{200C}خواهم", "a\u{AD}b", "\u{202E}gnp", "⠓"]
        {
            assert_eq!(code(message(said, MAX_DM)), None, "{said:?}");
        }
        assert_eq!(code(beside_pictures("", MAX_POST)), None);
        assert_eq!(code(message("a\r\n\tb", MAX_DM)), None);
        for bad in ["a\0", "\u{7f}b", "a\u{1b}[2J"] {
            assert_eq!(code(message(bad, MAX_DM)), Some(ErrorCode::BadMessage), "{bad:?}");
        }
        assert_eq!(code(name("two\nlines")), Some(ErrorCode::BadMessage));
        assert_eq!(code(bio("two\nlines")), None);
        assert_eq!((code(name("")), code(bio(""))), (None, None));
        assert_eq!(code(name("two\u{2028}lines")), Some(ErrorCode::BadMessage));
    }

    #[test]
    fn nobodys_name_turns_the_texts_of_others() {
        for (given, stored) in [
            ("Ann", "Ann"),
            ("\u{202E}gnp.nnA", "gnp.nnA"),
            ("\u{2067}A\u{2069}\u{202A}b\u{202C}", "Ab"),
            ("شيماء", "شيماء"),
            ("a\u{200F}b", "a\u{200F}b"),
        ] {
            assert_eq!((name(given).unwrap(), bio(given).unwrap()), (stored.to_owned(), stored.to_owned()));
        }
    }
}
