//! The world as files that every contender reads: little-endian arrays.
//!
//! Posts are numbered by time, so that a higher number is a newer post; lists of posts and of follows are stored end to
//! end, and a file of its own says where each begins.

use std::cmp::Reverse;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::world::World;

/// The time of the computation, in milliseconds since 1970.
pub const NOW_MS: u64 = 1_790_000_000_000;

/// The folder of a world's files.
#[derive(Debug, Clone)]
pub struct Files(pub PathBuf);

impl Files {
    fn create(&self, name: &str) -> anyhow::Result<BufWriter<File>> {
        let path = self.0.join(name);
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(BufWriter::with_capacity(1 << 20, file))
    }

    /// Opens a file to read it from the start.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(&self, name: &str) -> anyhow::Result<BufReader<File>> {
        let path = self.0.join(name);
        let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(BufReader::with_capacity(1 << 20, file))
    }

    /// Reads a whole file of `u32`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn numbers(&self, name: &str) -> anyhow::Result<Vec<u32>> {
        let mut file = self.open(name)?;
        let count = file.get_ref().metadata()?.len() / 4;
        let mut numbers = Vec::with_capacity(usize::try_from(count)?);
        for _ in 0..count {
            numbers.push(number(&mut file)?);
        }
        Ok(numbers)
    }

    /// The path of a file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// Reads the next `u32`.
///
/// # Errors
/// There is none.
pub fn number(file: &mut impl Read) -> anyhow::Result<u32> {
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// Writes `u32`s.
///
/// # Errors
/// The file cannot be written.
pub fn write(file: &mut BufWriter<File>, numbers: impl IntoIterator<Item = u32>) -> anyhow::Result<()> {
    for number in numbers {
        file.write_all(&number.to_le_bytes())?;
    }
    Ok(())
}

/// Draws a world of `users` users and writes its files into `dir`. Returns how many follows and posts it has.
///
/// # Errors
/// A file cannot be written.
pub fn make(dir: &Path, users: usize) -> anyhow::Result<(usize, usize)> {
    let files = Files(dir.to_owned());
    let mut world = World::new(users);
    let (mut follows_file, mut follow_begins) = (files.create("follows")?, files.create("follow_begins")?);
    let (mut affinity_file, mut affinity_begins) =
        (files.create("affinities")?, files.create("affinity_begins")?);
    let (mut follows_count, mut affinity_count) = (0_usize, 0_u32);
    let mut posts: Vec<Row> = Vec::new();
    for user in 0..users {
        let follows = world.follows(user);
        write(&mut follow_begins, [u32::try_from(follows_count)?])?;
        follows_count += follows.len();
        let affinities = world.affinities(follows.len());
        write(&mut affinity_begins, [affinity_count])?;
        affinity_count += u32::try_from(affinities.len())?;
        write(&mut affinity_file, affinities.into_iter().flat_map(|(author, worth)| [author, worth]))?;
        write(&mut follows_file, follows)?;
        let made = world.posts().into_iter();
        posts.extend(made.map(|post| Row {
            ago_ms: Reverse(post.ago_ms as u32),
            author: user as u32,
            engagement: post.engagement,
        }));
    }
    write(&mut follow_begins, [u32::try_from(follows_count)?])?;
    write(&mut affinity_begins, [affinity_count])?;
    posts.sort_unstable();
    write_posts(&files, &posts, users)?;
    for file in [&mut follows_file, &mut follow_begins, &mut affinity_file, &mut affinity_begins] {
        file.flush()?;
    }
    Ok((follows_count, posts.len()))
}

/// A post; older ones come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    ago_ms: Reverse<u32>,
    author: u32,
    engagement: u32,
}

/// By number: author, engagement and milliseconds before now; and each author's numbers, newest first.
fn write_posts(files: &Files, posts: &[Row], users: usize) -> anyhow::Result<()> {
    let mut lists = vec![Vec::new(); users];
    for (number, row) in (0..).zip(posts) {
        lists[row.author as usize].push(number);
    }
    let column = |name: &str, column: fn(&Row) -> u32| -> anyhow::Result<()> {
        let mut file = files.create(name)?;
        write(&mut file, posts.iter().map(column))?;
        Ok(file.flush()?)
    };
    column("post_author", |row| row.author)?;
    column("post_engagement", |row| row.engagement)?;
    column("post_ago_ms", |row| row.ago_ms.0)?;
    let (mut list_file, mut list_lengths) = (files.create("lists")?, files.create("list_lengths")?);
    for list in lists {
        write(&mut list_lengths, [u32::try_from(list.len())?])?;
        write(&mut list_file, list.into_iter().rev())?;
    }
    list_file.flush()?;
    list_lengths.flush()?;
    Ok(())
}
