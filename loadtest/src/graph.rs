//! A social graph from a text file: one undirected friendship `a b` a line, as the SNAP collection writes them.

use std::collections::{HashMap, HashSet};
use std::io::BufRead;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use soundoff_common::protocol::Handle;

/// People by index, and who is friends with whom.
#[derive(Debug)]
pub(crate) struct Graph {
    /// Each person's handle.
    pub(crate) handles: Vec<Handle>,
    /// Each person's friends, by index, in the file's order.
    pub(crate) friends: Vec<Vec<u32>>,
    /// How many friendships there are.
    pub(crate) friendships: usize,
    /// How many lines repeated a friendship that an earlier line had named, in either direction.
    pub(crate) repeated: usize,
    indexes: HashMap<Handle, u32>,
}

impl Graph {
    /// Reads and validates a file.
    ///
    /// # Errors
    /// The file cannot be read, a line is not two different whole numbers, or a handle would not be valid.
    pub(crate) fn read(path: &Path, prefix: &str) -> Result<Self> {
        let file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Self::parse(std::io::BufReader::new(file), prefix).with_context(|| format!("{}", path.display()))
    }

    fn parse(lines: impl BufRead, prefix: &str) -> Result<Self> {
        let mut numbers = Numbers::default();
        let mut seen = HashSet::new();
        let mut edges = Vec::new();
        let mut repeated = 0;
        for (index, line) in lines.lines().enumerate() {
            let at = index + 1;
            let line = line.with_context(|| format!("line {at}"))?;
            let Some((a, b)) = edge(&line).with_context(|| format!("line {at}: {line:?}"))? else { continue };
            if seen.insert((a.min(b), a.max(b))) {
                edges.push((numbers.index(a), numbers.index(b)));
            } else {
                repeated += 1;
            }
        }
        ensure!(!edges.is_empty(), "no friendships in it: expected lines such as `0 1`");
        let mut friends = vec![Vec::new(); numbers.names.len()];
        for &(a, b) in &edges {
            friends[a as usize].push(b);
            friends[b as usize].push(a);
        }
        let handles = numbers.handles(prefix)?;
        let indexes = handles.iter().cloned().zip(0u32..).collect();
        Ok(Self { handles, friends, friendships: edges.len(), repeated, indexes })
    }

    /// How many friends a person has: at least one.
    pub(crate) fn degree(&self, handle: &Handle) -> usize {
        self.indexes.get(handle).map_or(0, |&index| self.friends[index as usize].len())
    }
}

/// One line's friendship; `None` for a comment or an empty line.
fn edge(line: &str) -> Result<Option<(u32, u32)>> {
    let text = line.trim();
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let mut fields = text.split_whitespace();
    let (Some(a), Some(b), None) = (fields.next(), fields.next(), fields.next()) else {
        bail!("expected two numbers, such as `0 1`");
    };
    let number = |field: &str| {
        field.parse::<u32>().with_context(|| format!("{field:?} is not a whole number up to {}", u32::MAX))
    };
    let (a, b) = (number(a)?, number(b)?);
    ensure!(a != b, "nobody is their own friend");
    Ok(Some((a, b)))
}

/// The file's numbers in order of appearance: they may have gaps, our indexes have none.
#[derive(Default)]
struct Numbers {
    names: Vec<u32>,
    indexes: HashMap<u32, u32>,
}

impl Numbers {
    fn index(&mut self, name: u32) -> u32 {
        *self.indexes.entry(name).or_insert_with(|| {
            self.names.push(name);
            u32::try_from(self.names.len() - 1).expect("there are no more names than u32s")
        })
    }

    /// All numbers get as many digits as the greatest, at least four, so that handles sort as the numbers do.
    fn handles(&self, prefix: &str) -> Result<Vec<Handle>> {
        let width = self.names.iter().max().map_or(4, |max| max.to_string().len().max(4));
        let handle = |name: &u32| {
            let handle = format!("{prefix}{name:0width$}");
            handle.parse().with_context(|| format!("{handle:?} is no handle: choose another --prefix"))
        };
        self.names.iter().map(handle).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Graph;

    #[test]
    fn friendships_are_undirected_and_comments_are_skipped() {
        let graph = Graph::parse("# people\n\n7 2\r\n 2\t30000 \n2 7\n".as_bytes(), "user_").unwrap();
        let handles: Vec<&str> = graph.handles.iter().map(|h| h.as_str()).collect();
        assert_eq!(handles, ["user_00007", "user_00002", "user_30000"]);
        assert_eq!(graph.friends, [vec![1], vec![0, 2], vec![1]]);
        assert_eq!((graph.friendships, graph.repeated), (2, 1));
    }

    #[test]
    fn a_bad_line_is_named_with_its_number() {
        for (text, expected) in [
            ("0 1\n2\n", "line 2: \"2\": expected two numbers"),
            ("0 1 2\n", "line 1: \"0 1 2\": expected two numbers"),
            ("0 1\n#\n1 x\n", "line 3: \"1 x\": \"x\" is not a whole number"),
            ("0 -1\n", "line 1: \"0 -1\": \"-1\" is not a whole number"),
            ("5 5\n", "line 1: \"5 5\": nobody is their own friend"),
            ("# nothing\n", "no friendships in it"),
        ] {
            let error = format!("{:#}", Graph::parse(text.as_bytes(), "user_").unwrap_err());
            assert!(error.starts_with(expected), "{error}");
        }
        let error = format!("{:#}", Graph::parse("0 1".as_bytes(), "User-").unwrap_err());
        assert!(error.contains("choose another --prefix"), "{error}");
    }
}
