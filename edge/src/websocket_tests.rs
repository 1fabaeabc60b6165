use super::*;

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![first];
    match payload.len() {
        0..126 => frame.push(MASKED | payload.len() as u8),
        126..65_536 => {
            frame.push(MASKED | 126);
            frame.extend((payload.len() as u16).to_be_bytes());
        }
        _ => {
            frame.push(MASKED | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

#[test]
fn a_frame_of_any_length_is_read_when_its_last_byte_is_there() {
    for len in [0, 1, 3, 4, 5, 7, 8, 9, 125, 126, 127, 65_535, 65_536, 70_001] {
        let payload = "é".repeat(len / 2) + &"x".repeat(len % 2);
        let frame = masked(FIN | TEXT, payload.as_bytes());
        let mut fragments = Fragments::default();
        for cut in [0, 1, 2, 5, frame.len() - 1] {
            let mut torn = frame[..cut.min(frame.len() - 1)].to_vec();
            assert_eq!(fragments.decode(&mut torn, 100_000), Ok(None), "{len} cut at {cut}");
        }
        let mut more = [frame.clone(), vec![0x81]].concat();
        let read = fragments.decode(&mut more, 100_000).unwrap().unwrap();
        assert_eq!(read, (frame.len(), Inbound::Text(&payload)));
    }
}

#[test]
fn fragments_gather_around_control_frames() {
    let mut fragments = Fragments::default();
    let euro = "€".as_bytes();
    let frames = [
        (masked(TEXT, &euro[..1]), Inbound::Part),
        (masked(FIN | PING, b"p"), Inbound::Ping(b"p")),
        (masked(CONTINUATION, &euro[1..2]), Inbound::Part),
        (masked(FIN | PONG, b""), Inbound::Pong),
        (masked(FIN | CONTINUATION, &euro[2..]), Inbound::Gathered("€".to_owned())),
        (masked(FIN | CLOSE, &[0x03, 0xe8, b'o']), Inbound::Close(Some(1000))),
        (masked(FIN | CLOSE, &[]), Inbound::Close(None)),
    ];
    for (mut frame, expected) in frames {
        let len = frame.len();
        assert_eq!(fragments.decode(&mut frame, 64), Ok(Some((len, expected))));
    }
}

#[test]
fn what_the_rfc_forbids_is_a_violation() {
    let bad: &[(&[u8], &str)] = &[
        (&[0x81, 0x01, b'x'], "unmasked"),
        (&masked(FIN | TEXT | 0x40, b"x"), "reserved bit"),
        (&masked(FIN | BINARY, b"x"), "binary"),
        (&masked(FIN | 3, b"x"), "opcode 3"),
        (&masked(FIN | 11, b"x"), "opcode 11"),
        (&masked(PING, b"x"), "fragmented ping"),
        (&masked(FIN | PING, &[0; 126]), "long ping"),
        (&masked(FIN | CONTINUATION, b"x"), "continuation of nothing"),
        (&masked(FIN | TEXT, &[0xff]), "not UTF-8"),
        (&masked(FIN | CLOSE, &[3]), "half a code"),
        (&masked(FIN | CLOSE, &1005u16.to_be_bytes()), "a code that is never sent"),
        (&masked(FIN | CLOSE, &[3, 0xe8, 0xff]), "reason not UTF-8"),
        (&[0x81, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0], "longer than anything"),
        (&masked(FIN | TEXT, &[b'x'; 1001])[..8], "over the limit, judged by its head"),
    ];
    for (bytes, what) in bad {
        assert!(Fragments::default().decode(&mut bytes.to_vec(), 1000).is_err(), "{what}");
    }
    let mut fragments = Fragments::default();
    fragments.decode(&mut masked(TEXT, &[b'x'; 600]), 1000).unwrap();
    assert!(fragments.decode(&mut masked(FIN | TEXT, b"x"), 1000).is_err(), "a message within another");
    assert!(fragments.decode(&mut masked(CONTINUATION, &[b'x'; 600]), 1000).is_err(), "over in sum");
}

#[test]
fn of_a_text_over_the_limit_the_beginning_is_kept_however_it_comes() {
    let text = format!("{{\"id\":\"7\",\"body\":\"{}\"}}", "x".repeat(5_000));
    let wire = masked(FIN | TEXT, text.as_bytes());
    let (head, _) = wire.split_at(8);
    assert!(Fragments::default().decode(&mut wire.clone(), 1_000).is_err(), "it is over the limit");
    for step in [1, 7, 100, 2_000, 100_000] {
        let (mut skipped, at) = Skipped::begin(head, 1_000).expect("a whole text");
        assert_eq!(at, 8);
        for part in wire[at..].chunks(step) {
            assert_eq!(skipped.whole(), None);
            assert_eq!(skipped.take(part), part.len());
        }
        assert_eq!(skipped.take(b"next"), 0, "what is behind it is not its own");
        assert_eq!(skipped.whole().as_deref(), Some(&text[..START_BYTES]), "{step} bytes at once");
    }
    let begins = |first: u8, len: usize| Skipped::begin(&masked(first, &vec![b'x'; len]), 1_000).is_some();
    assert!(begins(FIN | TEXT, 8_000) && !begins(FIN | TEXT, 8_001), "eight times the limit");
    assert!(!begins(TEXT, 1_001) && !begins(FIN | BINARY, 1_001), "only a whole text");
}

#[test]
fn a_close_reason_is_cut_at_a_character() {
    let frame = close_frame(Some(4501), &"é".repeat(100));
    assert_eq!(frame[1] as usize, frame.len() - 2);
    assert!(frame.len() <= 2 + CONTROL_BYTES && std::str::from_utf8(&frame[4..]).is_ok());
}

/// A peer's bytes. It discards our answers.
struct Wire(std::io::Cursor<Vec<u8>>);

impl std::io::Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        std::io::Read::read(&mut self.0, buffer)
    }
}

impl std::io::Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a decoder makes of a stream: what it understood, and whether it refused the rest.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    messages: Vec<String>,
    refused: bool,
}

fn ours(mut input: Vec<u8>, limit: usize) -> Heard {
    let (mut heard, mut fragments, mut at) = (Heard::default(), Fragments::default(), 0);
    loop {
        match fragments.decode(&mut input[at..], limit) {
            Ok(None) => return heard,
            Err(Violation(_)) => {
                heard.refused = true;
                return heard;
            }
            Ok(Some((len, inbound))) => {
                at += len;
                match inbound {
                    Inbound::Text(text) => heard.messages.push(format!("text {text}")),
                    Inbound::Gathered(text) => heard.messages.push(format!("text {text}")),
                    Inbound::Ping(payload) => heard.messages.push(format!("ping {payload:?}")),
                    Inbound::Pong => heard.messages.push("pong".to_owned()),
                    Inbound::Part => {}
                    Inbound::Close(code) => {
                        heard.messages.push(format!("close {code:?}"));
                        return heard;
                    }
                }
            }
        }
    }
}

/// The same by tungstenite, which is independent of our code.
fn theirs(input: Vec<u8>, limit: usize) -> Heard {
    use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
    use tokio_tungstenite::tungstenite::{Error, Message};
    let config = WebSocketConfig::default()
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit.max(CONTROL_BYTES)));
    let mut socket =
        WebSocket::from_raw_socket(Wire(std::io::Cursor::new(input)), Role::Server, Some(config));
    let mut heard = Heard::default();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => heard.messages.push(format!("text {text}")),
            Ok(Message::Ping(payload)) => heard.messages.push(format!("ping {:?}", &payload[..])),
            Ok(Message::Pong(_)) => heard.messages.push("pong".to_owned()),
            Ok(Message::Close(close)) => {
                let code = close.map(|close| u16::from(close.code));
                if code == Some(1002) {
                    // Tungstenite says 1002 for an invalid close frame; our streams never contain that code.
                    heard.refused = true;
                    return heard;
                }
                heard.messages.push(format!("close {code:?}"));
                return heard;
            }
            Ok(other) => panic!("the streams hold no {other:?}"),
            // The stream is over: neither decoder read the rest.
            Err(Error::Io(_) | Error::ConnectionClosed | Error::AlreadyClosed) => return heard,
            Err(Error::Protocol(
                tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            )) => {
                return heard;
            }
            Err(_) => {
                heard.refused = true;
                return heard;
            }
        }
    }
}

/// A stream of frames, most of them valid, some broken.
fn stream(random: &mut rand::rngs::StdRng) -> Vec<u8> {
    use rand::Rng as _;
    let mut bytes = Vec::new();
    for _ in 0..random.random_range(1..8) {
        let texts = ["", "{}", "€ and ✓", "a longer text with ünicode \u{10FFFF}", &"long ".repeat(60)];
        let mut payload = texts[random.random_range(0..texts.len())].as_bytes().to_vec();
        let mut opcode = [TEXT, TEXT, TEXT, CONTINUATION, PING, PONG, CLOSE][random.random_range(0..7)];
        let mut first = if random.random_bool(0.6) { FIN } else { 0 };
        if opcode >= CLOSE {
            first = FIN;
            payload.truncate(100);
        }
        if opcode == CLOSE {
            let codes = [1000_u16, 1001, 1003, 1007, 3000, 4999];
            payload = codes[random.random_range(0..codes.len())].to_be_bytes().to_vec();
        }
        match random.random_range(0..30) {
            0 => payload = vec![0xff, 0xfe],
            1 => first |= 0x40,
            2 => opcode = 3 + random.random_range(0..5),
            3 => first &= !FIN,
            4 => payload.push(0xc3),
            _ => {}
        }
        let mut frame = masked(first | opcode, &payload);
        if random.random_bool(0.03) {
            frame[1] &= !MASKED;
        }
        if random.random_bool(0.03) {
            frame.truncate(random.random_range(0..frame.len()));
        }
        bytes.extend(frame);
    }
    bytes
}

#[test]
fn an_independent_decoder_hears_the_same() {
    use rand::SeedableRng as _;
    let mut random = rand::rngs::StdRng::seed_from_u64(7);
    let (mut understood, mut refused) = (0, 0);
    for round in 0..50_000 {
        let mut bytes = stream(&mut random);
        // One decoder refuses at a frame's head, the other at its end. The zeros end every frame, and are no frames
        // themselves.
        bytes.extend([0; 1000]);
        let (ours, theirs) = (ours(bytes.clone(), 400), theirs(bytes.clone(), 400));
        understood += ours.messages.len();
        refused += usize::from(ours.refused);
        assert_eq!(ours, theirs, "round {round}: {bytes:02x?}");
    }
    assert!(understood > 50_000 && refused > 5_000, "{understood} understood, {refused} refused");
}
