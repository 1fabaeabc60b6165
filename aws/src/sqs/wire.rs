//! How envelopes lie in an SQS message: plain where that is safe, else with a header line that gives lengths.
//!
//! Framed: `~so1 <attempts> <sent_at> <length>,<length>…\n` and the escaped bodies end to end. `~` escapes itself
//! (`~~`) and every character that SQS refuses (`~<hex>;`). Attempts and time are those of an earlier message, or 0.

use std::fmt::Write as _;

/// What SQS bills as one request.
pub(super) const CHUNK: usize = 64 * 1024;
const MARK: &str = "~so1 ";

/// The contents of one SQS message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) attempts: u32,
    pub(super) sent_at: u64,
    pub(super) bodies: Vec<String>,
}

fn lawful(c: char) -> bool {
    !matches!(c, '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

fn escape(body: &str) -> String {
    let mut out = String::with_capacity(body.len());
    for c in body.chars() {
        match c {
            '~' => out.push_str("~~"),
            c if lawful(c) => out.push(c),
            c => {
                let _ = write!(out, "~{:x};", u32::from(c));
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
        if let Some(after) = rest.strip_prefix('~') {
            out.push('~');
            rest = after;
        } else {
            let (hex, after) = rest.split_once(';')?;
            out.push(char::from_u32(u32::from_str_radix(hex, 16).ok()?)?);
            rest = after;
        }
    }
    out.push_str(rest);
    Some(out)
}

/// Writes bodies as one message; one lawful body without a past travels as it is.
pub(super) fn encode(bodies: &[&str], attempts: u32, sent_at: u64) -> String {
    if let ([body], 0, 0) = (bodies, attempts, sent_at)
        && !body.is_empty()
        && !body.starts_with(MARK)
        && body.chars().all(lawful)
    {
        return (*body).to_owned();
    }
    let escaped: Vec<_> = bodies.iter().map(|body| escape(body)).collect();
    let lengths: Vec<_> = escaped.iter().map(|body| body.len().to_string()).collect();
    format!("{MARK}{attempts} {sent_at} {}\n{}", lengths.join(","), escaped.concat())
}

/// How many bytes a body may add to a pack.
pub(super) fn weight(body: &str) -> usize {
    let extra: usize = body
        .chars()
        .map(|c| {
            if c == '~' {
                1
            } else if lawful(c) {
                0
            } else {
                4
            }
        })
        .sum();
    body.len() + extra + 7
}

/// Reads a message; what is no frame of ours is one plain body.
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
    (rest.is_empty() && fields.next().is_none()).then_some(Packed { attempts, sent_at, bodies })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back() {
        let every: String = ('\u{0}'..=char::MAX).collect();
        for bodies in
            [vec![""], vec!["one"], vec!["~so1 0 0 3\nabc"], vec![&every, "", "~", "\u{fffe}\u{ffff}"]]
        {
            let text = encode(&bodies, 0, 0);
            assert!(text.chars().all(lawful));
            assert_eq!(decode(&text).bodies, bodies);
        }
        assert_eq!(encode(&["plain"], 0, 0), "plain");
        assert_eq!(
            decode(&encode(&["a"], 3, 7)),
            Packed { attempts: 3, sent_at: 7, bodies: vec!["a".into()] }
        );
    }
}
