//! Decides which node has a key: rendezvous hashing. Each of n nodes has 1/n of the keys, and a node that joins or
//! leaves moves only its own.
//!
//! Processes of different builds must agree, so the hash is written out here and never changes.

/// FNV-1a, 64 bits.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Every bit of the input changes every bit of the output with a probability of one half (the end of `SplitMix64`).
fn mixed(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The indices of the two best nodes for a key. `seeds` are the hashes of the nodes' names; the node with the highest
/// bid comes first. A single node is both.
pub(super) fn route(key: &[u8], seeds: impl Iterator<Item = u64>) -> [usize; 2] {
    let key = mixed(hash(key));
    let bid = |(place, seed): (usize, u64)| Some((mixed(key ^ mixed(seed)), seed, place));
    let [best, second] = seeds.enumerate().map(bid).fold([None; 2], |[best, second], bid| {
        if bid > best { [bid, best] } else { [best, second.max(bid)] }
    });
    let place = |bid: Option<(u64, u64, usize)>| bid.map_or(0, |(_, _, place)| place);
    [place(best), place(second.or(best))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: usize) -> Vec<u64> {
        (0..count).map(|n| hash(format!("cache-{n}.internal:11211").as_bytes())).collect()
    }

    fn routed(seeds: &[u64], keys: usize) -> Vec<u64> {
        let route = |n| seeds[route(format!("s:user{n}").as_bytes(), seeds.iter().copied())[0]];
        (0..keys).map(route).collect()
    }

    fn two(seeds: &[u64], n: usize) -> [u64; 2] {
        route(format!("s:user{n}").as_bytes(), seeds.iter().copied()).map(|place| seeds[place])
    }

    #[test]
    fn keys_spread_evenly() {
        for count in [1, 2, 3, 5, 10] {
            let seeds = nodes(count);
            let routed = routed(&seeds, 20_000);
            let share = 20_000 / count;
            for seed in &seeds {
                let has = routed.iter().filter(|to| *to == seed).count();
                assert!(has.abs_diff(share) <= share / 12, "{has} of {share} at one of {count} nodes");
            }
        }
    }

    #[test]
    fn a_node_more_moves_only_what_it_takes() {
        let (few, more) = (nodes(4), nodes(5));
        let (before, after) = (routed(&few, 20_000), routed(&more, 20_000));
        let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
        assert!(moved.iter().all(|(_, after)| **after == more[4]), "none moves between the old nodes");
        assert!((3_600..4_400).contains(&moved.len()), "about a fifth moves: {}", moved.len());
    }

    #[test]
    fn the_order_of_the_nodes_does_not_matter_and_no_build_changes_it() {
        let seeds = nodes(3);
        let turned: Vec<u64> = seeds.iter().rev().copied().collect();
        assert_eq!(routed(&seeds, 1_000), routed(&turned, 1_000));
        let places: Vec<usize> =
            (0..12).map(|n| route(format!("s:user{n}").as_bytes(), seeds.iter().copied())[0]).collect();
        assert_eq!(places, [1, 1, 2, 1, 0, 2, 1, 0, 2, 2, 1, 1]);
    }

    #[test]
    fn the_second_node_is_the_best_of_the_others() {
        for count in [1, 2, 3, 5, 10] {
            let seeds = nodes(count);
            for n in 0..2_000 {
                let [best, second] = two(&seeds, n);
                let others: Vec<u64> = seeds.iter().copied().filter(|seed| *seed != best).collect();
                let expected = if others.is_empty() { best } else { two(&others, n)[0] };
                assert_eq!(second, expected, "of {count} nodes");
            }
        }
    }

    #[test]
    fn who_knows_of_one_node_more_shares_a_node_with_who_does_not() {
        // A node more takes one of the two places, so one of the two that had them before is left.
        for count in 1..10 {
            let (few, more) = (nodes(count), nodes(count + 1));
            for n in 0..2_000 {
                let (before, after) = (two(&few, n), two(&more, n));
                assert!(
                    before.iter().any(|node| after.contains(node)),
                    "user{n}, {count} nodes and one more"
                );
            }
        }
    }
}
