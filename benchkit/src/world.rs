//! A synthetic world with the shape of real ones: few are followed by very many, few follow or post very much.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// How many follows a user has, on average.
const FOLLOWS: f64 = 100.0;
const MOST_FOLLOWS: usize = 5_000;
/// How many posts a user has made in the week, on average.
const POSTS: f64 = 10.0;
/// Times of posts are spread over this many milliseconds.
pub const WEEK_MS: u64 = 7 * 24 * 3_600 * 1_000;

/// A post of the world.
#[derive(Debug, Clone, Copy)]
pub struct WorldPost {
    /// Its age in milliseconds.
    pub ago_ms: u64,
    /// The number of likes, plus twice the number of comments.
    pub engagement: u32,
}

/// Draws users one after the other. The same seed draws the same world.
pub struct World {
    random: StdRng,
    /// The chances of being followed, added up.
    popularity: Vec<f64>,
}

/// Draws a number of a Pareto distribution of shape 2, which has a heavy tail; its least value is half its mean.
fn pareto(random: &mut StdRng, mean: f64, most: usize) -> usize {
    let uniform: f64 = random.random_range(1e-9..1.0);
    ((mean / 2.0) / uniform.sqrt()).round().min(most as f64) as usize
}

impl World {
    /// A world of `users` users.
    pub fn new(users: usize) -> Self {
        let mut sum = 0.0;
        // A Zipf law that is flat at its head: the most followed of 200,000 has about 0.5 % of all follows.
        let chance = |rank: usize| {
            sum += 1.0 / (rank as f64 + 10.0).powf(0.8);
            sum
        };
        Self { random: StdRng::seed_from_u64(1), popularity: (0..users).map(chance).collect() }
    }

    /// The accounts that the next user, `user`, follows, in rising order.
    pub fn follows(&mut self, user: usize) -> Vec<u32> {
        let users = self.popularity.len();
        let count = pareto(&mut self.random, FOLLOWS, MOST_FOLLOWS.min(users / 4));
        let all = self.popularity[users - 1];
        let mut chosen = std::collections::BTreeSet::new();
        for _ in 0..20 * count {
            if chosen.len() == count {
                break;
            }
            let at = self.random.random_range(0.0..all);
            // Ranks are dealt to users at random, so that popular users do not have the low numbers.
            let rank = self.popularity.partition_point(|reached| *reached <= at);
            let author = (rank as u64 * 2_654_435_761 % users as u64) as u32;
            if author as usize != user {
                chosen.insert(author);
            }
        }
        chosen.into_iter().collect()
    }

    /// The posts of the next user, in no order.
    pub fn posts(&mut self) -> Vec<WorldPost> {
        let count = pareto(&mut self.random, POSTS, 10_000);
        let mut post = || WorldPost {
            ago_ms: self.random.random_range(0..WEEK_MS),
            engagement: pareto(&mut self.random, 6.0, 1_000_000) as u32,
        };
        (0..count).map(|_| post()).collect()
    }

    /// How much the next user turns to some of the people they follow: pairs of a place among the follows and
    /// hundredths of a point.
    pub fn affinities(&mut self, follows: usize) -> Vec<(u32, u32)> {
        let mut known = std::collections::BTreeMap::new();
        for _ in 0..self.random.random_range(0..=10.min(follows)) {
            let author = self.random.random_range(0..follows) as u32;
            known.insert(author, 100 * pareto(&mut self.random, 4.0, 1_000) as u32);
        }
        known.into_iter().collect()
    }
}
