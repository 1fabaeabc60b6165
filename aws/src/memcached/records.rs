//! Cuts the bytes that are sent to a node into TLS records.
//!
//! memcached before 1.6.39 hangs on the rest of a record that it has read in part: it waits for its socket, although
//! the bytes have been read from that already. It reads a record in part when the record continues after the end of a
//! value, or does not fit into its buffer of 16 KiB beside the beginning of a command. So each record ends where a
//! command ends, or inside a command that has several records for itself.

use bytes::{Bytes, BytesMut};

/// The most bytes in a TLS record, and the size of memcached's buffer.
pub(super) const RECORD_BYTES: usize = 16 * 1024;

/// The bytes that are not sent yet.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) pending: BytesMut,
    /// How many bytes are left of a command that takes several records.
    rest: usize,
}

impl Records {
    /// The next record, once there are enough bytes for one.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let bytes = self.next_bytes();
        (bytes > 0).then(|| self.pending.split_to(bytes).freeze())
    }

    fn next_bytes(&mut self) -> usize {
        let most = self.pending.len().min(RECORD_BYTES);
        if self.rest > 0 {
            let bytes = most.min(self.rest);
            self.rest -= bytes;
            return bytes;
        }
        let mut whole = 0;
        while let Some(command) = command_bytes(&self.pending[whole..]) {
            if whole == 0 && command > RECORD_BYTES {
                self.rest = command - most;
                return most;
            }
            if whole + command > most {
                break;
            }
            whole += command;
        }
        // A line without an end is no command: the node will refuse it.
        if whole == 0 && most == RECORD_BYTES { most } else { whole }
    }
}

/// The length of the command that begins here, with its value; `None` while its line has not ended.
fn command_bytes(pending: &[u8]) -> Option<usize> {
    let line = pending.iter().position(|byte| *byte == b'\n')? + 1;
    let value = pending.starts_with(b"ms ").then(|| value_bytes(&pending[..line])).flatten();
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
        // Its value looks like a command, as a trap.
        let value: Vec<u8> = b"ms k 9\r\n".iter().copied().cycle().take(bytes).collect();
        [format!("ms {key} {bytes} T60\r\n").as_bytes(), &value, b"\r\n"].concat()
    }

    fn get(key: &str) -> Vec<u8> {
        format!("mg {key} v\r\n").into_bytes()
    }

    /// The lengths of the records when `at_once` bytes come at a time.
    fn records(commands: &[Vec<u8>], at_once: usize) -> Vec<usize> {
        let (mut records, mut lengths, mut passed) = (Records::default(), Vec::new(), Vec::new());
        let all = commands.concat();
        for some in all.chunks(at_once) {
            records.pending.extend_from_slice(some);
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
                assert!(ends.contains(&at) || inside.contains(&at), "{at_once} bytes at a time: cut at {at}");
            }
        }
    }

    #[test]
    fn they_are_as_few_as_can_be() {
        let commands: Vec<Vec<u8>> = (0..3_000).map(|n| get(&format!("key{n:05}"))).collect();
        let bytes = commands.concat().len();
        assert_eq!(records(&commands, bytes).len(), bytes.div_ceil(RECORD_BYTES));
        let mut endless = Records { pending: BytesMut::from(&[b'x'; 20_000][..]), rest: 0 };
        assert_eq!(endless.next().unwrap().len(), RECORD_BYTES, "it is not kept forever");
        assert_eq!(endless.next(), None, "the rest may still become a command");
    }
}
