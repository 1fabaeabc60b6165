//! Valid frames, and what can be wrong with them.

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use crate::frames::{TEXT, frame};

/// Frames as clients send them; only the last has an effect.
const VALID: [&str; 8] = [
    r#"{"op":"ping"}"#,
    r#"{"op":"ack","cursor":12}"#,
    r#"{"op":"auth","token":"eyJ"}"#,
    r#"{"op":"hello","token":"eyJ","device":"phone","cursor":3}"#,
    r#"{"op":"send","id":"a-1","type":"profile.get","body":{"user":"ann"}}"#,
    r#"{"op":"send","id":"a-2","type":"post.list","body":{"limit":3,"before":"01JD0000000000000000000000"}}"#,
    r#"{"op":"send","id":"a-3","type":"typing","body":{"to":"ann"}}"#,
    r#"{"op":"send","id":"a-4","type":"profile.update","body":{"bio":"it was me"}}"#,
];
/// What is spliced into texts.
const SPLICES: [&str; 18] = [
    "null",
    "-0",
    "1e400",
    "-1",
    "18446744073709551616",
    "0.1",
    r#""\ud800""#,
    r#""\u0000""#,
    r#""op":"fly","#,
    r#""id":7,"#,
    r#""body":null,"#,
    "{",
    "[",
    "\"",
    "\\",
    "\u{feff}",
    "𝄞",
    "//",
];
const NO_FRAMES: [&str; 10] = [
    "",
    "null",
    "true",
    "7",
    "[]",
    "{}",
    r#""ping""#,
    r#"{"op":null}"#,
    r#"{"op":["ping"]}"#,
    r#"{"OP":"ping"}"#,
];

fn position(text: &str, random: &mut StdRng) -> usize {
    text.floor_char_boundary(random.random_range(0..=text.len()))
}

/// A text made from a frame.
pub(crate) fn mutated_text(random: &mut StdRng) -> String {
    let mut text = (*VALID.choose(random).unwrap()).to_owned();
    for _ in 0..random.random_range(1..4) {
        let at = position(&text, random);
        match random.random_range(0..9) {
            0 => text.truncate(at),
            1 => text.insert_str(at, SPLICES.choose(random).unwrap()),
            2 => text = NO_FRAMES.choose(random).unwrap().to_string(),
            3 => text.insert(at, char::from(random.random_range(0..128_u8))),
            4 => text = format!(r#"{{"op":"send","id":"d","type":"typing","body":{}}}"#, deep(random)),
            5 => text = text.replacen(':', &format!(":{},\"op\":", SPLICES.choose(random).unwrap()), 1),
            6 => text = text.replace("a-", &"é".repeat(random.random_range(0..100))),
            7 => text = text.replace('"', "'"),
            _ => {
                let end = position(&text, random).max(at);
                let middle = text[at..end].to_owned();
                text.insert_str(at, &middle);
            }
        }
    }
    text
}

fn deep(random: &mut StdRng) -> String {
    let depth = random.random_range(1..12_000);
    let (open, close) = if random.random_bool(0.5) { ("[", "]") } else { (r#"{"a":"#, "}") };
    let depth = depth / open.len();
    let closed = if random.random_bool(0.8) { depth } else { depth / 2 };
    format!("{}1{}", open.repeat(depth), close.repeat(closed))
}

fn noise(random: &mut StdRng, most: usize) -> Vec<u8> {
    let len = random.random_range(0..=most);
    (0..len).map(|_| random.random()).collect()
}

/// Any bytes at all: frames of every kind, whole or not, or nothing like a frame.
pub(crate) fn anything(random: &mut StdRng) -> Vec<u8> {
    let text = mutated_text(random);
    match random.random_range(0..12) {
        0 => noise(random, 200),
        1 => frame(0x82, &noise(random, 300)),
        2 => frame(TEXT, &noise(random, 300)),
        3 => flipped(frame(TEXT, text.as_bytes()), random),
        4 => {
            let mut cut = frame(TEXT, text.as_bytes());
            cut.truncate(random.random_range(0..=cut.len()));
            cut
        }
        5 => fragments(text.as_bytes(), random),
        6 => frame(TEXT, &vec![b'['; random.random_range(32_700..33_000)]),
        7 => frame(TEXT, &vec![b'x'; random.random_range(60_000..200_000)]),
        8 => frame(0x80 | random.random_range(8..11), &noise(random, 130)),
        9 => frame(random.random(), &noise(random, 50)),
        // Announces far more bytes than it sends.
        10 => [&[TEXT, 0xff][..], &random.random::<u64>().to_be_bytes(), &noise(random, 20)].concat(),
        _ => frame(TEXT, text.as_bytes()).repeat(random.random_range(1..30)),
    }
}

fn flipped(mut bytes: Vec<u8>, random: &mut StdRng) -> Vec<u8> {
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..bytes.len());
        bytes[at] ^= 1 << random.random_range(0..8);
    }
    bytes
}

/// A text in fragments, with control frames between them, and some fragments in the wrong order.
fn fragments(text: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = Vec::new();
    let pieces: Vec<&[u8]> = text.chunks(random.random_range(1..20)).collect();
    for (at, piece) in pieces.iter().enumerate() {
        let last = at + 1 == pieces.len();
        let opcode = if at == 0 { 1 } else { 0 };
        let first = if last { 0x80 | opcode } else { opcode };
        bytes.extend(frame(if random.random_bool(0.02) { 1 } else { first }, piece));
        if random.random_bool(0.3) {
            bytes.extend(frame(0x89, b"are you there"));
        }
    }
    bytes
}
