//! Flags about one part of the pipeline, which several commands share.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hyper::Uri;
use soundoff_common::pipeline::consumer::ConsumerConfig;
use soundoff_common::web::base::BasePath;
use soundoff_common::web::origins::{Origin, Origins};
use soundoff_common::web::tls_only::{Hosts, TlsOnly};
use soundoff_edge::EdgeConfig;
use soundoff_media::MediaConfig;
use soundoff_users::fetch::safe_url;

use super::memory::sockets;
use super::values::{DAY_MS, HOUR_MS, YEAR_S, whole};
use crate::chaos::ChaosRule;
use crate::door::Door;
use crate::purge::PurgeHook;

/// How long it may take to close the remaining sockets, after the time that clients had to leave by themselves.
const LAST_SECONDS: Duration = Duration::from_secs(3);

/// How many messages of main_q a router works on at once.
pub(crate) const ROUTER_SLOTS: usize = 4096;

/// The shortest interval of an edge: below it, a busy machine alone makes clients late.
const SHORTEST_MS: u64 = 100;
/// The bound of [`EdgeConfig::validate`].
const LARGEST_FRAME: u64 = 16 << 20;
/// A `hello` with an access token and the longest names has room in this many bytes.
const SMALLEST_FRAME: u64 = 1_000;
/// The most balancers in a row in front of a process.
const MOST_PROXIES: u64 = 16;
/// No socket can send faster than this, so that it means no limit.
const FASTEST: u64 = 1_000_000;

/// How an edge behaves.
#[derive(Debug, Args)]
pub(crate) struct EdgeArgs {
    /// How often clients ping, in milliseconds; two missed intervals close the socket.
    #[arg(long, env = "SOUNDOFF_HEARTBEAT_MS", default_value_t = 30_000, value_parser = whole::<u64>(SHORTEST_MS..=DAY_MS))]
    heartbeat_ms: u64,
    /// How long a new socket has for its hello, in milliseconds.
    #[arg(long, env = "SOUNDOFF_HELLO_TIMEOUT_MS", default_value_t = 5_000, value_parser = whole::<u64>(SHORTEST_MS..=DAY_MS))]
    hello_timeout_ms: u64,
    /// The largest inbound frame, in bytes.
    #[arg(long, env = "SOUNDOFF_FRAME_BYTES", default_value_t = 32 * 1024, value_parser = whole::<usize>(SMALLEST_FRAME..=LARGEST_FRAME))]
    pub(super) frame_bytes: usize,
    /// How many messages a second a user may send in the long run, on all sockets of one edge together.
    #[arg(long, env = "SOUNDOFF_MESSAGES_PER_SECOND", default_value_t = 100, value_parser = whole::<u32>(1..=FASTEST))]
    messages_per_second: u32,
    /// How many messages a user may send at once.
    #[arg(long, env = "SOUNDOFF_BURST", default_value_t = 200, value_parser = whole::<u32>(1..=FASTEST))]
    burst: u32,
    /// How many hellos a second an edge takes from all users together; each reads the tables some five times. Below that,
    /// it takes as many at once as the tables answer quickly.
    #[arg(long, env = "SOUNDOFF_HELLOS_PER_SECOND", default_value_t = 5_000, value_parser = whole::<u32>(1..=FASTEST))]
    hellos_per_second: u32,
    /// How many sockets a user may hold.
    #[arg(long, env = "SOUNDOFF_SOCKETS_PER_USER", default_value_t = 10, value_parser = whole::<usize>(1..=10_000))]
    sockets_per_user: usize,
    /// How many sockets an edge takes before it sheds load. Default: as many as have room in three quarters of the
    /// memory that this process may use, 8 KiB for each, and 100000 at most.
    #[arg(long, env = "SOUNDOFF_MAX_SOCKETS", value_parser = whole::<usize>(1..=10_000_000))]
    max_sockets: Option<usize>,
    /// How many websockets a second may be asked for from one address in the long run, and ten times as many at once. An
    /// IPv6 address counts with all others of its /64, and those of this machine are not counted.
    #[arg(long, env = "SOUNDOFF_UPGRADES_PER_ADDRESS", default_value_t = 100, value_parser = whole::<u32>(1..=FASTEST))]
    upgrades_per_address: u32,
    #[command(flatten)]
    proxies: ProxyArgs,
    #[command(flatten)]
    pub(crate) address: AddressArgs,
}

/// What stands between clients and a public port.
#[derive(Debug, Args)]
pub(crate) struct ProxyArgs {
    /// How many balancers or proxies of yours are in front of this port. Each adds the address that it heard from to
    /// X-Forwarded-For; limits count by the one that the outermost added.
    #[arg(long, env = "SOUNDOFF_PROXIES", default_value_t = 0, value_parser = whole::<usize>(0..=MOST_PROXIES))]
    pub(crate) proxies: usize,
    /// Whether browsers that came by TLS are told to come by TLS only, for a year (HSTS): `off`; `host`, for the host
    /// that they asked; or `subdomains`, for all hosts below its name as well, also those of others. Only behind --proxies,
    /// of which the outermost says in X-Forwarded-Proto how a request came.
    #[arg(long, env = "SOUNDOFF_HSTS", value_name = "HOSTS", default_value = "host", value_parser = hosts)]
    hsts: Hosts,
}

impl ProxyArgs {
    /// What browsers are told of TLS.
    fn tls_only(&self) -> TlsOnly {
        TlsOnly::new(self.hsts, self.proxies)
    }
}

fn hosts(text: &str) -> Result<Hosts, String> {
    match text {
        "off" => Ok(Hosts::None),
        "host" => Ok(Hosts::Asked),
        "subdomains" => Ok(Hosts::Subdomains),
        _ => Err("it is off, host or subdomains".to_owned()),
    }
}

/// Where a public port is on the web.
#[derive(Debug, Args)]
pub(crate) struct AddressArgs {
    /// Pages of which other origins may use this server, separated by commas, such as https://app.example.org,
    /// https://*.example.org or capacitor://localhost. Its own pages always may and, under `up`, all of this machine.
    #[arg(long, env = "SOUNDOFF_ORIGINS", value_name = "ORIGINS", value_delimiter = ',')]
    origins: Vec<Origin>,
    /// The path below which a proxy of yours hands on requests, such as /soundoff, if it does not take it away.
    #[arg(
        long,
        env = "SOUNDOFF_BASE_PATH",
        default_value = "",
        hide_default_value = true,
        value_name = "PATH"
    )]
    base_path: BasePath,
}

impl AddressArgs {
    /// The door to a public port behind these proxies, which pages of these origins may use.
    pub(crate) fn door(&self, proxies: &ProxyArgs) -> Door {
        let (origins, base) = (Origins::new(&self.origins), self.base_path.clone());
        Door { origins, base, tls_only: proxies.tls_only() }
    }
}

impl EdgeArgs {
    /// The door to the public port.
    pub(super) fn door(&self) -> Door {
        self.address.door(&self.proxies)
    }

    /// The configuration of each of `edges` edges in this process; clients have `drain` to leave when it stops.
    pub(crate) fn config(&self, edges: u16, drain: Duration) -> EdgeConfig {
        let Door { origins, base, tls_only } = self.door();
        EdgeConfig {
            goaway: (Duration::ZERO, drain / 2),
            drain_window: drain,
            drain_deadline: drain + LAST_SECONDS,
            heartbeat: Duration::from_millis(self.heartbeat_ms),
            hello_timeout: Duration::from_millis(self.hello_timeout_ms),
            frame_bytes: self.frame_bytes,
            messages_per_second: self.messages_per_second,
            burst: self.burst,
            hellos_per_second: self.hellos_per_second,
            sockets_per_user: self.sockets_per_user,
            max_sockets: self.max_sockets.unwrap_or_else(|| sockets(edges)),
            proxies: self.proxies.proxies,
            upgrades_per_address: self.upgrades_per_address,
            origins,
            base,
            tls_only,
            ..EdgeConfig::default()
        }
    }
}

/// SQS moves a message to the dead letters by itself after a number of receives (`maxReceiveCount`), and then nobody
/// answers its sender. So our own consumers, which do answer, must give up no later: ten was that number in the
/// deployments of 0.1.0.
pub(crate) const SQS_RECEIVES: u64 = 10;
/// The queues of `up` have no such limit: a message may be tried for as long as somebody wants to watch.
pub(crate) const OWN_RECEIVES: u64 = 1_000;
/// The shortest visibility timeout. It is extended each half of it; a run that a busy machine delays for longer is done
/// twice.
const SHORTEST_VISIBILITY_MS: u64 = 100;
/// The longest visibility timeout of SQS.
const LONGEST_VISIBILITY_MS: u64 = 12 * HOUR_MS;

/// How queues are pulled that let a message be received at most `MOST_RECEIVES` times.
#[derive(Debug, Args)]
pub(crate) struct ConsumerArgs<const MOST_RECEIVES: u64> {
    /// How many messages of one queue are worked on at once. Many of them share a commit, so more is faster up to a
    /// point.
    #[arg(long, env = "SOUNDOFF_SLOTS", default_value_t = 256, value_parser = whole::<u16>(1..=65_535))]
    slots: u16,
    /// How long a message in progress stays out of sight, in milliseconds; extended while work goes on.
    #[arg(long, env = "SOUNDOFF_VISIBILITY_MS", default_value_t = 30_000, value_parser = whole::<u64>(SHORTEST_VISIBILITY_MS..=LONGEST_VISIBILITY_MS))]
    visibility_ms: u64,
    /// How often a message is tried before it goes to the dead letters. On AWS at most 10 times, after which SQS itself
    /// gives up.
    #[arg(long, env = "SOUNDOFF_MAX_RECEIVES", default_value_t = 5, value_parser = whole::<u32>(1..=MOST_RECEIVES))]
    max_receives: u32,
    /// Make a share of a type's runs fail, to see how a client copes: `post.create=0.1`. Repeatable; for development.
    #[arg(long, env = "SOUNDOFF_CHAOS", value_name = "TYPE=RATE", value_delimiter = ',')]
    chaos: Vec<ChaosRule>,
    /// The seed of `--chaos`: the same seed makes the same choices.
    #[arg(long, env = "SOUNDOFF_CHAOS_SEED", default_value_t = 1, value_parser = whole::<u64>(0..=u64::MAX))]
    chaos_seed: u64,
}

impl<const MOST_RECEIVES: u64> ConsumerArgs<MOST_RECEIVES> {
    /// How this process pulls its queues.
    pub(crate) fn pulling(&self) -> Pulling {
        let config = ConsumerConfig {
            slots: usize::from(self.slots),
            visibility: Duration::from_millis(self.visibility_ms),
            max_receives: self.max_receives,
            ..ConsumerConfig::default()
        };
        Pulling { config, chaos: self.chaos.clone(), chaos_seed: self.chaos_seed }
    }
}

/// How a process pulls its queues, and which of its runs fail on purpose.
#[derive(Debug)]
pub(crate) struct Pulling {
    config: ConsumerConfig,
    pub(crate) chaos: Vec<ChaosRule>,
    pub(crate) chaos_seed: u64,
}

impl Pulling {
    /// How a type's queue is pulled.
    pub(crate) fn worker(&self) -> ConsumerConfig {
        self.config
    }

    /// How main_q is pulled: in batches, as routing is the same small work for each message, and with slots enough for
    /// the time the archive takes to share its disk syncs.
    pub(crate) fn router(&self) -> ConsumerConfig {
        ConsumerConfig { slots: ROUTER_SLOTS, batch: 256, ..self.config }
    }
}

/// How pictures are kept, and by whom.
#[derive(Debug, Args)]
pub(crate) struct MediaArgs {
    /// How long pictures that no post shows are kept, in seconds.
    #[arg(long, env = "SOUNDOFF_MEDIA_KEPT_S", default_value_t = 24 * 3600, value_parser = whole::<u64>(1..=10 * YEAR_S))]
    media_kept_s: u64,
    /// How long browsers and caches in front may keep a picture that everybody may see, in seconds. One that is hidden or
    /// deleted is seen there for so long, unless --media-purge-url tells those in front.
    #[arg(long, env = "SOUNDOFF_MEDIA_MAX_AGE_S", default_value_t = 3_600, value_parser = whole::<u64>(1..=DAY_MS / 1000))]
    media_max_age_s: u64,
    /// Where caches in front of pictures are told what to forget, when a picture is not for everybody any more:
    /// `{"urls":["/v1/media/…",…]}` is POSTed, with paths on this server. Answer 2xx when it is done.
    #[arg(long, env = "SOUNDOFF_MEDIA_PURGE_URL", value_name = "URL", value_parser = hook)]
    media_purge_url: Option<Uri>,
    /// The bearer token of these POSTs.
    #[arg(
        long,
        env = "SOUNDOFF_MEDIA_PURGE_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true,
        requires = "media_purge_url"
    )]
    media_purge_token: Option<String>,
}

fn hook(text: &str) -> Result<Uri, String> {
    safe_url(text).map_err(|error| format!("{error:#}"))
}

impl MediaArgs {
    pub(crate) fn config(&self) -> MediaConfig {
        let hook = |url: &Uri| Arc::new(PurgeHook::new(url.clone(), self.media_purge_token.clone())) as _;
        MediaConfig {
            kept: Duration::from_secs(self.media_kept_s),
            max_age: self.media_max_age_s,
            purger: self.media_purge_url.as_ref().map(hook),
            ..MediaConfig::default()
        }
    }

    /// Whether there is somebody to tell what to forget.
    pub(crate) fn purges(&self) -> bool {
        self.media_purge_url.is_some()
    }
}
