//! The format of envelopes in an SQS message: plain where that is safe, otherwise with a header line that gives
//! lengths.
//!
//! A framed message is `~so1 <attempts> <sent_at> <length>,<length>…\n` and the escaped bodies one after the other. `~`
//! escapes itself (`~~`) and every character that SQS refuses (`~@` to `~_` for the control characters from zero on,
//! `~y` and `~z` for the two after `U+FFFD`). Attempts and time are those of an earlier message, or 0.
//!
//! This at most doubles a body, so the largest makes a message of little over 512 KiB: more than the 256 KiB of older
//! tools, less than the 1 MiB that SQS takes.

/// How many bytes SQS bills as one request.
pub(super) const CHUNK: usize = 64 * 1024;
const MARK: &str = "~so1 ";
/// The distance from a control character to the character that replaces it.
const CONTROL: u32 = 0x40;

/// The contents of one SQS message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) attempts: u32,
    pub(super) sent_at: u64,
    /// Whose all bodies are; not in the text, but beside it.
    pub(super) group: Option<String>,
    pub(super) bodies: Vec<String>,
}

fn is_allowed(c: char) -> bool {
    !matches!(c, '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

fn escape(body: &str) -> String {
    let mut out = String::with_capacity(body.len());
    for c in body.chars() {
        match c {
            '~' => out.push_str("~~"),
            c if is_allowed(c) => out.push(c),
            '\u{fffe}' => out.push_str("~y"),
            '\u{ffff}' => out.push_str("~z"),
            c => {
                out.push('~');
                out.extend(char::from_u32(u32::from(c) + CONTROL));
            }
        }
    }
    out
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('~') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let sign = rest.chars().next()?;
        out.push(match sign {
            '~' => '~',
            'y' => '\u{fffe}',
            'z' => '\u{ffff}',
            '@'..='_' => char::from_u32(u32::from(sign) - CONTROL)?,
            _ => return None,
        });
        rest = &rest[1..];
    }
    out.push_str(rest);
    Some(out)
}

/// Writes bodies as one message. A single body of allowed characters, without earlier attempts, stays as it is.
pub(super) fn encode(bodies: &[&str], attempts: u32, sent_at: u64) -> String {
    if let ([body], 0, 0) = (bodies, attempts, sent_at)
        && !body.is_empty()
        && !body.starts_with(MARK)
        && body.chars().all(is_allowed)
    {
        return (*body).to_owned();
    }
    let escaped: Vec<_> = bodies.iter().map(|body| escape(body)).collect();
    let lengths: Vec<_> = escaped.iter().map(|body| body.len().to_string()).collect();
    format!("{MARK}{attempts} {sent_at} {}\n{}", lengths.join(","), escaped.concat())
}

/// The most bytes that a body adds to a pack.
pub(super) fn weight(body: &str) -> usize {
    body.len() + body.chars().filter(|c| *c == '~' || !is_allowed(*c)).count() + 7
}

/// Reads a message; a text that is no frame of ours is one plain body.
pub(super) fn decode(text: &str) -> Packed {
    framed(text).unwrap_or_else(|| Packed { bodies: vec![text.to_owned()], ..Packed::default() })
}

fn framed(text: &str) -> Option<Packed> {
    let (header, mut rest) = text.strip_prefix(MARK)?.split_once('\n')?;
    let mut fields = header.split(' ');
    let attempts = fields.next()?.parse().ok()?;
    let sent_at = fields.next()?.parse().ok()?;
    let mut bodies = Vec::new();
    for length in fields.next()?.split(',') {
        let (body, after) = rest.split_at_checked(length.parse().ok()?)?;
        bodies.push(unescape(body)?);
        rest = after;
    }
    (rest.is_empty() && fields.next().is_none()).then_some(Packed { attempts, sent_at, bodies, group: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_body_fits() {
        const MOST: usize = soundoff_common::ports::queues::MAX_BODY_BYTES;
        for c in ["~", "\u{0}", "\u{1f}", "\u{fffe}", "\u{10ffff}"] {
            let body = c.repeat(MOST / c.len());
            let text = encode(&[&body], u32::MAX, u64::MAX);
            assert!(text.len() <= 2 * MOST + 64, "{c:?} takes {}", text.len());
            assert!(text.len() <= weight(&body) + 64, "its weight covers it");
            assert!(decode(&text).bodies == [body]);
        }
    }

    #[test]
    fn what_is_no_frame_is_plain() {
        for text in ["~so1 ", "~so1 0 0 3\nab", "~so1 0 0 2\n~a", "~so1 0 0 1\n~", "~so1 0 0 1 2\na"] {
            assert_eq!(decode(text).bodies, [text]);
        }
    }

    #[test]
    fn every_text_comes_back() {
        let every: String = ('\u{0}'..=char::MAX).collect();
        for bodies in
            [vec![""], vec!["one"], vec!["~so1 0 0 3\nabc"], vec![&every, "", "~", "\u{fffe}\u{ffff}"]]
        {
            let text = encode(&bodies, 0, 0);
            assert!(text.chars().all(is_allowed));
            assert_eq!(decode(&text).bodies, bodies);
        }
        assert_eq!(encode(&["plain"], 0, 0), "plain");
        assert_eq!(
            decode(&encode(&["a"], 3, 7)),
            Packed { attempts: 3, sent_at: 7, bodies: vec!["a".into()], group: None }
        );
    }
}
