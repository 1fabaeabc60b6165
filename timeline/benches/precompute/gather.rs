//! The lower bound: the time of reading the same places without any work on them.

use std::hint::black_box;

use benchkit::files::Files;
use benchkit::usage::cpu_seconds;

/// A list's head: one cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u64; 8]);

/// Reads, once in each round, the head of every follow's list and every post that is on a timeline. Prints the CPU
/// seconds of each round and its number of reads. Only the order of the reads lets the processor predict the next one.
pub(crate) fn measure(files: &Files, rounds: usize) -> anyhow::Result<()> {
    let follows = files.numbers("follows")?;
    let listed = files.numbers("ours_chronological")?;
    let heads = vec![Line([1; 8]); files.numbers("follow_begins")?.len() - 1];
    let posts = vec![[1_u64; 3]; files.numbers("post_author")?.len()];
    for _ in 0..rounds {
        let before = cpu_seconds()?;
        let mut sum = 0;
        // In turn, in the order of a merge: some heads, then some posts.
        for (follows, listed) in follows.chunks(100).zip(listed.chunks(100)) {
            sum += follows.iter().map(|author| heads[*author as usize].0[0]).sum::<u64>();
            sum += listed.iter().map(|post| posts[*post as usize][0]).sum::<u64>();
        }
        black_box(sum);
        let used = cpu_seconds()? - before;
        println!("{used} {}", follows.len() + listed.len());
    }
    Ok(())
}
