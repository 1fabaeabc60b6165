//! The rules for a text from a client. Lengths count Unicode characters, as the protocol does.

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

/// Checks a text that must not be blank: 1 to `most` characters, with line breaks and tabs as its only control
/// characters.
pub(crate) fn message(text: &str, most: usize) -> Result<(), Failure> {
    within("text", text, most)?;
    if text.trim().is_empty() {
        return Err(Failure::reject(ErrorCode::BadMessage, "text says nothing"));
    }
    without_controls("text", text, &['\n', '\r', '\t'])
}

/// Checks a name: one line, or empty.
pub(crate) fn name(text: &str) -> Result<(), Failure> {
    within("name", text, MAX_NAME)?;
    without_controls("name", text, &[])
}

/// Checks a bio: some lines, or empty.
pub(crate) fn bio(text: &str) -> Result<(), Failure> {
    within("bio", text, MAX_BIO)?;
    without_controls("bio", text, &['\n', '\r', '\t'])
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

    fn code(judged: Result<(), Failure>) -> Option<ErrorCode> {
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
        for blank in ["", " ", "\n\t ", "\u{2003}"] {
            assert_eq!(code(message(blank, MAX_DM)), Some(ErrorCode::BadMessage), "{blank:?}");
        }
        assert_eq!(code(message("a\r\n\tb", MAX_DM)), None);
        for bad in ["a\0", "\u{7f}b", "a\u{1b}[2J"] {
            assert_eq!(code(message(bad, MAX_DM)), Some(ErrorCode::BadMessage), "{bad:?}");
        }
        assert_eq!(code(name("two\nlines")), Some(ErrorCode::BadMessage));
        assert_eq!(code(bio("two\nlines")), None);
        assert_eq!((code(name("")), code(bio(""))), (None, None));
    }
}
