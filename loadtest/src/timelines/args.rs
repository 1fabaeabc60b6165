//! The command line of `loadtest timelines`.

use std::path::PathBuf;

use crate::report::{JsonArgs, output};

/// Measure how soon a timeline is there, for readers who follow few accounts and many.
///
/// Three phases. Setup makes authors who post and groups of readers who follow the first 10, 1,000, … of them. Warm:
/// every reader's timeline has been computed beforehand, and first pages of 20 items are fetched while some authors
/// post. Cold: before each fetch its reader follows or unfollows one more account, so that the computed timeline is of
/// no use and the server gathers the page at once. Fetches after an unfollow are counted separately: for them the
/// server has to read again whom the reader follows.
///
/// Fetches become due at fixed times, the groups in turn, so that all of them meet the same disturbances. Latency
/// counts from the time a fetch was due (cold: from the reply to the follow before it; a reader has one fetch at a
/// time) to its reply. Pages whose computed_at is later than that time are fresh: in the cold phase only those count;
/// in the warm phase they are pages whose timeline the schedule has computed meanwhile.
///
/// Nothing needs to be done on the server: a reader's first fetch makes it compute the timeline, and the warm phase
/// begins when every reader gets the same computed_at twice, as only a computed timeline keeps it. If that takes long,
/// `soundoff timeline status` shows what the server does. The default schedule computes everybody's timelines again
/// each minute; to measure without that, run the server with `--timeline-interval-ms 0`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = TIMELINES_EXAMPLES)]
pub(crate) struct TimelinesArgs {
    /// The server's websocket; without a path it means /v1/ws. Users are created by POST /dev/tokens on the same port.
    #[arg(long, default_value = "ws://127.0.0.1:8080", value_name = "URL")]
    pub(super) url: String,
    /// How many accounts the readers of each group follow.
    #[arg(long, default_value = "10,1000,5000", value_name = "N,N,…", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=16_000))]
    pub(super) follows: Vec<u32>,
    /// Readers in each group.
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) readers: u32,
    /// Posts of each author before anything is measured.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) posts: u32,
    /// Fetches per second in the warm phase, of all readers together.
    #[arg(long, default_value_t = 200, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) rate: u32,
    /// Fetches per second in the cold phase; 0 leaves the phase out.
    #[arg(long, default_value_t = 30, value_name = "R", value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub(super) cold_rate: u32,
    /// New posts per second in the warm phase, of up to 1,000 authors spread over all: readers who follow more get more
    /// new posts.
    #[arg(long, default_value_t = 20, value_name = "R", value_parser = clap::value_parser!(u32).range(..=5_000))]
    pub(super) post_rate: u32,
    /// Seconds of each phase.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(super) duration: u32,
    /// Use the posts and follows of an earlier run. They take the longest, at 100 follows per second and reader.
    #[arg(long)]
    pub(super) skip_setup: bool,
    /// Sockets open at once during the setup.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) sockets: u32,
    /// Handles begin with this.
    #[arg(long, default_value = "tl_", value_name = "TEXT")]
    pub(super) prefix: String,
    /// The server's process, when it runs on this machine: its processor time and memory are reported as well.
    #[arg(long, value_name = "PID")]
    pub(super) pid: Option<u32>,
    #[command(flatten)]
    pub(super) json: JsonArgs,
    /// Draw p50 and p99 of each group into this file, as SVG.
    #[arg(long, value_name = "FILE", value_parser = output)]
    pub(super) plot: Option<PathBuf>,
}

const TIMELINES_EXAMPLES: &str = "\
Examples:
  Start a server, measure groups of 10, 1,000 and 5,000 follows:
    soundoff up
    loadtest timelines

  The same users again, faster and for longer, with a picture and what the server spends:
    loadtest timelines --skip-setup --rate 500 --duration 120 --plot timelines.svg --pid $(pgrep -x soundoff)

  A first look that is over in seconds:
    loadtest timelines --follows 10,200 --duration 5

Running it again is safe: posts and follows of the setup have the same ids each time, so they take effect once.

Exit code: 0 when every fetch was answered, however fast; 1 when not, 130 on Ctrl-C.";
