//! Where what is said to a node is cut into TLS records.
//!
//! memcached before 1.6.39 sleeps on what is left of a record that it has read in part: it waits for its socket, and all there is has
//! been taken from that already. It reads in part when a record goes on behind the end of a value, or does not fit beside the beginning
//! of a command in its buffer of 16 KiB. So each record ends where a command ends, or in the midst of one that takes several alone.

use bytes::{Bytes, BytesMut};

/// What a TLS record holds at most, and memcached's buffer too.
pub(super) const RECORD_BYTES: usize = 16 * 1024;

/// What has been said and is not on its way yet.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) said: BytesMut,
    /// How much is to come of a command that takes several records.
    rest: usize,
}

impl Records {
    /// The next record, once enough has been said for one.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let bytes = self.next_bytes();
        (bytes > 0).then(|| self.said.split_to(bytes).freeze())
    }

    fn next_bytes(&mut self) -> usize {
        let most = self.said.len().min(RECORD_BYTES);
        if self.rest > 0 {
            let bytes = most.min(self.rest);
            self.rest -= bytes;
            return bytes;
        }
        let mut whole = 0;
        while let Some(command) = command_bytes(&self.said[whole..]) {
            if whole == 0 && command > RECORD_BYTES {
                self.rest = command - most;
                return most;
            }
            if whole + command > most {
                break;
            }
            whole += command;
        }
        // A line without end is no command, and the node's to refuse.
        if whole == 0 && most == RECORD_BYTES { most } else { whole }
    }
}

/// How long the command is that begins here, its value included; `None` while its line has not ended.
fn command_bytes(said: &[u8]) -> Option<usize> {
    let line = said.iter().position(|byte| *byte == b'\n')? + 1;
    let value = said.starts_with(b"ms ").then(|| value_bytes(&said[..line])).flatten();
    Some(value.map_or(line, |value| line.saturating_add(value).saturating_add(2)))
}

/// The length of the value that follows `ms <key> <length> <flags>`.
fn value_bytes(line: &[u8]) -> Option<usize> {
    std::str::from_utf8(line).ok()?.split_ascii_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(key: &str, bytes: usize) -> Vec<u8> {
        // Its value looks like a command, to mislead.
        let value: Vec<u8> = b"ms k 9\r\n".iter().copied().cycle().take(bytes).collect();
        [format!("ms {key} {bytes} T60\r\n").as_bytes(), &value, b"\r\n"].concat()
    }

    fn get(key: &str) -> Vec<u8> {
        format!("mg {key} v\r\n").into_bytes()
    }

    /// The records when it is said so many bytes at a time.
    fn records(commands: &[Vec<u8>], at_once: usize) -> Vec<usize> {
        let (mut records, mut lengths, mut passed) = (Records::default(), Vec::new(), Vec::new());
        let all = commands.concat();
        for some in all.chunks(at_once) {
            records.said.extend_from_slice(some);
            while let Some(record) = records.next() {
                lengths.push(record.len());
                passed.extend_from_slice(&record);
            }
        }
        assert!(passed == all, "all of it, in order");
        lengths
    }

    #[test]
    fn records_end_where_commands_end() {
        let mut commands: Vec<Vec<u8>> = (0..300).map(|n| set(&format!("k{n}"), n * 7 % 400)).collect();
        commands.extend((0..900).map(|n| get(&format!("key{n}"))));
        commands.insert(100, set("large", 50_000));
        commands.insert(50, set("empty", 0));
        commands.insert(40, set("exact", RECORD_BYTES - "ms exact 16384 T60\r\n\r\n".len()));
        let mut ends = std::collections::HashSet::from([0]);
        let mut end = 0;
        for command in &commands {
            end += command.len();
            ends.insert(end);
        }
        let large: usize = commands.iter().take_while(|command| command.len() < 50_000).map(Vec::len).sum();
        let inside = large..large + set("large", 50_000).len();
        for at_once in [1, 100, 4_096, 16_384, 1_000_000] {
            let mut at = 0;
            for record in records(&commands, at_once) {
                assert!(record <= RECORD_BYTES);
                at += record;
                assert!(ends.contains(&at) || inside.contains(&at), "said {at_once} at a time: cut at {at}");
            }
        }
    }

    #[test]
    fn they_are_as_few_as_can_be() {
        let commands: Vec<Vec<u8>> = (0..3_000).map(|n| get(&format!("key{n:05}"))).collect();
        let bytes = commands.concat().len();
        assert_eq!(records(&commands, bytes).len(), bytes.div_ceil(RECORD_BYTES));
        let mut endless = Records { said: BytesMut::from(&[b'x'; 20_000][..]), rest: 0 };
        assert_eq!(endless.next().unwrap().len(), RECORD_BYTES, "it is not kept for ever");
        assert_eq!(endless.next(), None, "the rest may yet become a command");
    }
}
