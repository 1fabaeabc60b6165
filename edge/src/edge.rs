//! What all parts of one running edge share.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use rand::Rng as _;
use soundoff_common::guard::Weather;
use soundoff_common::model::gate::Keeper;
use soundoff_common::pipeline::catalog::Catalog;
use soundoff_common::pipeline::deliver::{Judge, SignedAddress};
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::cache::Cache;
use soundoff_common::ports::queues::Queues;
use soundoff_common::ports::sessions::{Registration, Sessions};
use soundoff_common::ports::tables::Tables;
use soundoff_common::protocol::{CloseCode, ErrorBody, ErrorCode, Limits, ServerFrame, millis};
use soundoff_common::telemetry::{Metrics, ReasonLabel};
use soundoff_common::web::pages::Pages;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use ulid::Ulid;

use crate::admission::{Budgets, Guests, Hellos, Rate};
use crate::auth::Tokens;
use crate::clock::Clock;
use crate::config::EdgeConfig;
use crate::connection::{Arrival, Connection};
use crate::deadlines::Deadlines;
use crate::deps::EdgeDeps;
use crate::health::Health;
use crate::identity::Identity;
use crate::load::Load;
use crate::lobby::Lobby;
use crate::mailbox::Mailbox;
use crate::neighbours::Neighbours;
use crate::reason::reason;
use crate::registry::Registry;
use crate::session::Rules;
use crate::state::{Class, Offer, Room};
use crate::waiting::{Publish, Waiting};
use crate::websocket::json_frame;

/// For each message that a user may send, a socket may send so many frames of any kind, acks above all.
const FRAMES_FOR_A_MESSAGE: u32 = 8;
/// For so many messages a second a user may say one `hello` a second: it reads the tables several times, and makes a
/// timeline.
const MESSAGES_FOR_A_HELLO: u32 = 20;
/// For so many messages at once a user may say one `hello` at once; ten at least, since a network may come and go.
const BURST_FOR_A_HELLO: u32 = 5;
const LEAST_HELLOS: u32 = 10;

fn limits(config: &EdgeConfig, catalog: &Catalog) -> Limits {
    let told = |(name, terms): (&'static str, Terms)| Some((name.to_owned(), terms.told()?));
    Limits {
        frame_bytes: config.frame_bytes,
        messages_per_second: config.messages_per_second,
        burst: config.burst,
        types: catalog.terms().filter_map(told).collect(),
    }
}

/// One edge process (several may run in one operating system process).
pub(crate) struct Edge {
    pub(crate) config: EdgeConfig,
    pub(crate) boot: Arc<str>,
    pub(crate) advertise: Arc<str>,
    /// The same, as envelopes carry it.
    pub(crate) signed: SignedAddress,
    pub(crate) queues: Arc<dyn Queues>,
    pub(crate) sessions: Arc<dyn Sessions>,
    pub(crate) tables: Arc<dyn Tables>,
    pub(crate) pages: Arc<dyn Pages>,
    pub(crate) internal_pages: Option<Arc<dyn Pages>>,
    /// Judges what is delivered.
    pub(crate) judge: Judge,
    pub(crate) metrics: Metrics,
    pub(crate) weather: Weather,
    pub(crate) tokens: Tokens,
    pub(crate) registry: Registry,
    pub(crate) lobby: Lobby,
    pub(crate) guests: Arc<Guests>,
    pub(crate) gate: Keeper,
    pub(crate) cache: Arc<dyn Cache>,
    /// Of users' hellos; those of messages are in the rules.
    pub(crate) hellos: Budgets,
    /// Those of all users together.
    pub(crate) at_tables: Hellos,
    pub(crate) neighbours: Neighbours,
    /// One for each reactor; sockets are dealt out to them in turn.
    pub(crate) mailboxes: Vec<Arc<Mailbox<Arrival>>>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) outbound: mpsc::Sender<Publish>,
    pub(crate) waiting: Arc<Waiting>,
    pub(crate) health: Health,
    /// Everything that the edge's end waits for: sockets, and the handshakes before them.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the edge begins to drain.
    pub(crate) stopping: CancellationToken,
    /// Cancelled when the last socket is gone.
    pub(crate) ended: CancellationToken,
    pub(crate) rules: Rules,
    /// What clients are told of them.
    pub(crate) limits: Limits,
    draining: AtomicBool,
    hello_rate: Rate,
    room: Room,
    started: Instant,
}

impl Edge {
    pub(crate) fn new(
        advertise: String,
        config: EdgeConfig,
        deps: EdgeDeps,
        outbound: mpsc::Sender<Publish>,
        reactors: usize,
    ) -> Self {
        let EdgeDeps { queues, sessions, tables, clock, catalog, verifier, key, metrics, weather, .. } = deps;
        let EdgeDeps { replies, gate, cache, pages, internal_pages, .. } = deps;
        let boot: Arc<str> = Ulid::generate().to_string().into();
        Self {
            signed: key.sign_address(&boot, &advertise),
            judge: Judge::new(key, boot.clone()),
            boot,
            advertise: advertise.into(),
            queues,
            sessions,
            tables,
            pages,
            internal_pages,
            metrics,
            weather,
            tokens: Tokens::new(verifier, config.tokens_cached),
            registry: Registry::default(),
            lobby: Lobby::new(config.max_sockets),
            guests: Arc::new(Guests::new(config.proxies, config.upgrades_per_address, config.max_sockets)),
            gate,
            cache,
            hellos: Budgets::default(),
            at_tables: Hellos::new(config.hellos_per_second),
            neighbours: Neighbours::new(replies),
            mailboxes: (0..reactors).map(|_| Arc::default()).collect(),
            clock,
            outbound,
            waiting: Arc::default(),
            health: Health::default(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            ended: CancellationToken::new(),
            draining: AtomicBool::new(false),
            limits: limits(&config, &catalog),
            rules: Rules {
                catalog,
                rate: Rate::new(config.messages_per_second, config.burst),
                frame_rate: Rate::new(
                    config.messages_per_second.saturating_mul(FRAMES_FOR_A_MESSAGE),
                    config.burst.saturating_mul(FRAMES_FOR_A_MESSAGE),
                ),
                budgets: Budgets::default(),
                minutes: Budgets::default(),
                load: Load::default(),
            },
            hello_rate: Rate::new(
                config.messages_per_second / MESSAGES_FOR_A_HELLO,
                (config.burst / BURST_FOR_A_HELLO).max(LEAST_HELLOS),
            ),
            room: Room { frames: config.out_frames, bytes: config.out_bytes },
            started: Instant::now(),
            config,
        }
    }

    /// A new socket, which comes `from` that address, known to the registry. Others that wait without `hello` may have to
    /// go for it.
    pub(crate) fn open(&self, from: Option<IpAddr>) -> Arc<Connection> {
        self.metrics.edge_sockets.inc();
        let opened = self.registry.open(|id| {
            let mailbox = self.mailboxes[(id % self.mailboxes.len() as u64) as usize].clone();
            Connection::new(id, self.clock_ms(), mailbox)
        });
        for oldest in self.lobby.enter(opened.clone(), from) {
            oldest.wait_no_longer();
            self.close(&oldest, CloseCode::Shedding);
        }
        opened
    }

    /// Counts a `hello`, or returns in how many milliseconds its user may say one.
    pub(crate) fn take_hello(&self, user: &impl Hash) -> Result<(), u64> {
        self.hellos.take(self.hellos.of(user), self.clock_ns(), self.hello_rate, 1)
    }

    pub(crate) fn room(&self) -> Room {
        self.room
    }

    pub(crate) fn clock_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn clock_ms(&self) -> u64 {
        self.clock_ns() / 1_000_000
    }

    /// When a socket that begins to close now is cut, in milliseconds of the edge's clock.
    pub(crate) fn cut_at(&self) -> u64 {
        self.clock_ms() + millis(self.config.linger)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
        self.stopping.cancel();
    }

    pub(crate) fn registration(&self, connection: &Connection) -> Registration {
        Registration {
            edge: self.advertise.clone(),
            boot: self.boot.clone(),
            connection: connection.id,
            device: connection.identity().and_then(Identity::mark),
        }
    }

    /// Hands a socket a frame that the edge makes itself.
    pub(crate) fn offer(&self, connection: &Connection, frame: &ServerFrame<'_>, class: Class) {
        self.offer_wire(connection, json_frame(frame), class);
    }

    /// Hands a socket a frame; `false` when it is closing.
    pub(crate) fn offer_wire(&self, connection: &Connection, wire: Bytes, class: Class) -> bool {
        let offer = connection.offer(wire, class, self.room, || self.cut_at());
        self.note(offer)
    }

    /// Hands a socket an inbox entry; `false` when it is closing.
    pub(crate) fn offer_push(&self, connection: &Connection, seq: u64, wire: Option<&Bytes>) -> bool {
        let offer = connection.offer_push(seq, wire, self.room, || self.cut_at());
        self.note(offer)
    }

    fn note(&self, offer: Offer) -> bool {
        match offer {
            Offer::Taken => true,
            Offer::Dropped => {
                self.metrics.edge_events_dropped.inc();
                true
            }
            Offer::TooSlow => {
                self.count_close(CloseCode::TooSlow);
                false
            }
            Offer::Gone => false,
        }
    }

    fn count_close(&self, code: CloseCode) {
        self.metrics.edge_closed.get_or_create(&ReasonLabel { reason: code_name(code) }).inc();
    }

    /// Asks a socket's client to reconnect elsewhere.
    pub(crate) fn goaway(&self, connection: &Connection) {
        let (low, high) = self.config.goaway;
        let frame = ServerFrame::Goaway { reconnect_after_ms: [millis(low), millis(high)] };
        self.offer(connection, &frame, Class::Durable);
    }

    /// Answers a frame with an error.
    pub(crate) fn refuse(&self, connection: &Connection, id: Option<&str>, error: &ErrorBody) {
        self.metrics.edge_refused.get_or_create(&ReasonLabel { reason: error_name(error.code) }).inc();
        self.offer(connection, &ServerFrame::Error { id, error }, Class::Durable);
    }

    /// Begins to close a socket.
    pub(crate) fn close(&self, connection: &Connection, code: CloseCode) {
        let reason = match code {
            CloseCode::Shedding | CloseCode::TooManySockets => self.come_later(),
            _ => code.reason().to_owned(),
        };
        self.close_for(connection, code, &reason);
    }

    /// The reason of a close for want of room.
    pub(crate) fn come_later(&self) -> String {
        reason(self.retry_after_ms(), "")
    }

    /// Begins to close a socket whose user has used up more than there was: in `wait_ms` there is some again.
    pub(crate) fn close_excess(&self, connection: &Connection, wait_ms: u64) {
        self.close_for(connection, CloseCode::Shedding, &reason(wait_ms.max(self.drawn_ms()), ""));
    }

    /// Begins to close a socket for this reason.
    pub(crate) fn close_for(&self, connection: &Connection, code: CloseCode, reason: &str) {
        if connection.close(code, reason, self.cut_at()) {
            self.count_close(code);
        }
    }

    /// How long a client that finds no room should wait, in milliseconds: drawn at random, so that clients do not come
    /// back together, and longer when many others have been told so.
    pub(crate) fn retry_after_ms(&self) -> u64 {
        self.drawn_ms().max(self.at_tables.later_ms(self.clock_ns()))
    }

    /// The same when there are few others.
    fn drawn_ms(&self) -> u64 {
        let least = millis(self.config.retry_after);
        rand::rng().random_range(least..=least * 2)
    }

    /// Asks a socket for a sign of life: another one wants a place.
    pub(crate) fn probe(&self, connection: &Connection) {
        connection.probe(self.room, self.clock_ms() + millis(self.config.probe()));
    }

    pub(crate) fn deadlines(&self) -> Deadlines {
        Deadlines {
            hello: millis(self.config.hello_timeout),
            silence: 2 * millis(self.config.heartbeat),
            auth_due: millis(self.config.auth_due),
            probe: millis(self.config.probe()),
            linger: millis(self.config.linger),
        }
    }
}

fn error_name(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::BadFrame => "bad_frame",
        ErrorCode::BadMessage => "bad_message",
        ErrorCode::UnknownType => "unknown_type",
        ErrorCode::TooLarge => "too_large",
        ErrorCode::RateLimited => "rate_limited",
        ErrorCode::Overloaded => "overloaded",
        ErrorCode::Unauthorized => "unauthorized",
        ErrorCode::Forbidden => "forbidden",
        ErrorCode::NotFound => "not_found",
        ErrorCode::Conflict => "conflict",
        ErrorCode::Internal => "internal",
    }
}

fn code_name(code: CloseCode) -> &'static str {
    match code {
        CloseCode::Normal => "1000",
        CloseCode::Draining => "4001",
        CloseCode::TooSlow => "4002",
        CloseCode::NoHeartbeat => "4003",
        CloseCode::TokenExpired => "4005",
        CloseCode::Replaced => "4006",
        CloseCode::NoHello => "4007",
        CloseCode::Shedding => "4418",
        CloseCode::TooManySockets => "4429",
        CloseCode::BadToken => "4500",
        CloseCode::ProtocolViolation => "4501",
        CloseCode::SessionRevoked => "4503",
    }
}
