//! Compares our results with the peers', item by item.

use std::collections::VecDeque;

use benchkit::files::Files;
use benchkit::ours::IN_A_ROW;

/// Checks that our chronological timelines are the same as the peer's.
pub(crate) fn chronological(files: &Files, peer: &str) -> anyhow::Result<()> {
    let ours = files.numbers("ours_chronological")?;
    let theirs = files.numbers(&format!("{peer}_chronological"))?;
    let first = ours.iter().zip(&theirs).position(|(ours, theirs)| ours != theirs);
    anyhow::ensure!(first.is_none() && ours.len() == theirs.len(), "{peer} differs at item {first:?}");
    println!("  all {} items are the same as ours", ours.len());
    Ok(())
}

/// Checks our ranked timelines against the peer's scores: every item's place, and every part of its score.
pub(crate) fn ranked(files: &Files) -> anyhow::Result<()> {
    let ours = files.numbers("ours_ranked")?;
    let theirs = files.numbers("peer_ranked")?;
    anyhow::ensure!(ours.len() / 4 == theirs.len() / 5, "other counts of ranked items");
    let (mut ours, mut theirs) = (ours.chunks_exact(4), theirs.chunks_exact(5));
    for (user, length) in files.numbers("ours_lengths")?.into_iter().enumerate() {
        let by_score: VecDeque<&[u32]> = theirs.by_ref().take(length as usize).collect();
        for (place, expected) in no_runs(by_score).into_iter().enumerate() {
            let [post, _, parts @ ..] = expected else { unreachable!("five numbers an item") };
            let same = ours.next().is_some_and(|ours| ours[0] == *post && ours[1..] == *parts);
            anyhow::ensure!(same, "user {user}'s ranked item {place} differs");
        }
    }
    println!(
        "  all ranked items and the parts of their scores are the same as ours, once runs of an author are broken"
    );
    Ok(())
}

/// Takes, again and again, the best item that is not the third of one author in a row.
fn no_runs(mut rest: VecDeque<&[u32]>) -> Vec<&[u32]> {
    let mut out: Vec<&[u32]> = Vec::new();
    while !rest.is_empty() {
        let last = &out[out.len().saturating_sub(IN_A_ROW)..];
        let barred = |item: &[u32]| last.len() == IN_A_ROW && last.iter().all(|before| before[1] == item[1]);
        let next = rest.iter().position(|item| !barred(item)).unwrap_or(0);
        out.extend(rest.remove(next));
    }
    out
}
