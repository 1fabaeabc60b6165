//! One engine's breaker: closed, open, or trying.

use std::future::Future;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use rand::Rng as _;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::lock::lock;
use crate::telemetry::{EngineLabel, Metrics};

/// So many failures in a row open a breaker at once.
const IN_A_ROW: u32 = 8;
/// Fewer failures in a row open it when they last for some time. More than one request's tries, which come soon after
/// each other, or two that are far apart.
const FEW_IN_A_ROW: [(u32, Duration); 2] = [(5, Duration::from_secs(1)), (2, Duration::from_secs(4))];
/// In a window of this length, more failures than successes open it.
const WINDOW: Duration = Duration::from_secs(10);
/// The fewest calls of a window that say something.
const WINDOW_CALLS: u32 = 20;
/// So many calls in progress, none of which has ended for [`STALL`], open it: an engine that hangs fails no call.
const STALLED_CALLS: u64 = 8;
/// How long a hanging engine is waited for.
const STALL: Duration = Duration::from_secs(2);
/// The first pause before the engine is asked again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause: with the drawn quarter on top, an engine that is back is noticed within some 3 s.
const LONGEST_PAUSE: Duration = Duration::from_millis(2500);
/// A trial that has no end after this long is given up, and the next one may begin.
const TRIAL: Duration = Duration::from_secs(10);
/// So many trials must succeed until all calls are let through again.
const TRIALS: u32 = 8;
/// An engine that has answered trials for this long, without a failure, is back even if few asked.
const SETTLED: Duration = Duration::from_secs(1);
/// How often a waiting caller looks again while trials are going on.
const LOOK: Duration = Duration::from_millis(20);

/// An engine's breaker.
///
/// Closed, it lets every call through and watches how they end. Open, it refuses them, for a pause that is drawn at
/// random and doubles from one to the next. Then it tries: it lets one call through, after its success two, then four,
/// and closes after [`TRIALS`] successes; a failure opens it again. Only an absent engine is a failure: refusals,
/// conditions and conflicts are answers.
#[derive(Debug)]
pub struct Breaker {
    engine: &'static str,
    /// Its engine's client asks it before each request, so that those who stand around the port only look.
    at_client: bool,
    /// Not closed. Read without the lock, so that a call to an engine in good health costs next to nothing.
    shut: AtomicBool,
    /// Something failed in the present window, so that successes count, too.
    troubled: AtomicBool,
    /// Calls in progress, without those that wait for something to come.
    in_progress: AtomicU64,
    /// Calls that have ended well.
    ended: AtomicU64,
    state: Mutex<State>,
    /// When it closed last.
    closed_at: Mutex<Option<Instant>>,
    cleared: watch::Sender<()>,
    away: Gauge,
    failures: Counter,
    refused: Counter,
}

#[derive(Debug)]
enum State {
    Closed {
        window: Window,
        stall: Option<(Instant, u64)>,
    },
    Open {
        since: Instant,
        until: Instant,
        pause: Duration,
    },
    Trying {
        since: Instant,
        pause: Duration,
        free: u32,
        succeeded: u32,
        good_since: Option<Instant>,
        patience: Instant,
    },
}

/// What happened since the first failure of some seconds.
#[derive(Debug, Default, Clone, Copy)]
struct Window {
    first: Option<Instant>,
    calls: u32,
    failures: u32,
    in_a_row: u32,
    row_since: Option<Instant>,
}

/// The right to one call. Dropped without a result, the call counts as neither success nor failure.
#[derive(Debug)]
pub struct Pass<B: Deref<Target = Breaker>> {
    breaker: B,
    trial: bool,
    /// Somebody else says how the call ended.
    told: bool,
    in_progress: bool,
}

impl Breaker {
    pub(super) fn new(
        engine: &'static str,
        at_client: bool,
        metrics: &Metrics,
        cleared: watch::Sender<()>,
    ) -> Self {
        let label = EngineLabel { engine };
        Self {
            engine,
            at_client,
            shut: AtomicBool::new(false),
            troubled: AtomicBool::new(false),
            in_progress: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            state: Mutex::new(State::CLOSED),
            closed_at: Mutex::default(),
            cleared,
            away: metrics.engine_away.get_or_create(&label).clone(),
            failures: metrics.engine_failures.get_or_create(&label).clone(),
            refused: metrics.engine_refused.get_or_create(&label).clone(),
        }
    }

    /// The engine's name.
    #[must_use]
    pub fn engine(&self) -> &'static str {
        self.engine
    }

    /// For how long the engine has been away; `None` while it answers.
    #[must_use]
    pub fn away(&self) -> Option<Duration> {
        let mut state = lock(&self.state);
        self.settle(&mut state, Instant::now());
        match *state {
            State::Closed { .. } => None,
            State::Open { since, .. } | State::Trying { since, .. } => Some(since.elapsed()),
        }
    }

    /// For how long the engine has answered without a break; [`Duration::MAX`] if it always has.
    #[must_use]
    pub fn calm_for(&self) -> Duration {
        if self.shut.load(Ordering::Acquire) {
            return Duration::ZERO;
        }
        lock(&self.closed_at).map_or(Duration::MAX, |at| at.elapsed())
    }

    /// Lets a call through, or not.
    pub fn admit(&self) -> Option<Pass<&Self>> {
        if !self.at_client {
            return self.let_through(self);
        }
        if self.refuses() {
            self.refused.inc();
            return None;
        }
        let trial = self.shut.load(Ordering::Acquire);
        Some(Pass { breaker: self, trial, told: true, in_progress: false })
    }

    /// Lets a request of the engine's client through, or not.
    pub fn ask(this: &Arc<Self>) -> Option<Pass<Arc<Self>>> {
        this.let_through(this.clone())
    }

    /// Whether a call would not be let through now.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.shut.load(Ordering::Acquire) && !self.is_due()
    }

    fn let_through<B: Deref<Target = Self>>(&self, breaker: B) -> Option<Pass<B>> {
        let trial = self.shut.load(Ordering::Acquire);
        let refused = if trial {
            !self.try_it()
        } else {
            self.in_progress.load(Ordering::Relaxed) >= STALLED_CALLS && self.hangs()
        };
        if refused {
            self.refused.inc();
            return None;
        }
        self.in_progress.fetch_add(1, Ordering::Relaxed);
        Some(Pass { breaker, trial, told: false, in_progress: true })
    }

    /// Waits up to `wait` until a call is let through.
    pub async fn admitted(&self, wait: Duration) -> Option<Pass<&Self>> {
        let end = Instant::now() + wait;
        let mut cleared = self.cleared.subscribe();
        loop {
            // Asked only when due: a caller that waits is not refused.
            if !self.refuses()
                && let Some(pass) = self.admit()
            {
                return Some(pass);
            }
            let now = Instant::now();
            if now >= end {
                return None;
            }
            let look = self.next_look(now).min(end);
            tokio::select! {
                () = tokio::time::sleep_until(look) => {}
                _ = cleared.changed() => {}
            }
        }
    }

    /// Makes a call if it is let through. `absent` says which errors tell that the engine is away; `refused` makes the
    /// error of a call that is not let through.
    ///
    /// # Errors
    /// The call's own, or `refused`.
    pub async fn call<T, E>(
        &self,
        call: impl Future<Output = Result<T, E>>,
        absent: impl Fn(&E) -> bool,
        refused: impl FnOnce(String) -> E,
    ) -> Result<T, E> {
        let Some(pass) = self.admit() else { return Err(refused(self.words())) };
        let result = call.await;
        pass.end(!result.as_ref().is_err_and(absent));
        result
    }

    /// Why a call was refused.
    pub(super) fn words(&self) -> String {
        format!("{} do not answer; they are asked again soon", self.engine)
    }

    /// Whether the pause is over, or a trial may begin.
    fn is_due(&self) -> bool {
        let (now, mut state) = (Instant::now(), lock(&self.state));
        self.settle(&mut state, now);
        match *state {
            State::Closed { .. } => true,
            State::Open { until, .. } => until <= now,
            State::Trying { free, patience, .. } => free > 0 || patience <= now,
        }
    }

    /// Closes when trials have succeeded for a while.
    fn settle(&self, state: &mut State, now: Instant) {
        if let State::Trying { good_since: Some(since), .. } = *state
            && now - since >= SETTLED
        {
            self.close(state);
        }
    }

    fn next_look(&self, now: Instant) -> Instant {
        match *lock(&self.state) {
            State::Open { until, .. } => until,
            State::Closed { .. } | State::Trying { .. } => now + LOOK,
        }
    }

    /// Takes the right to a trial, if there is one.
    fn try_it(&self) -> bool {
        let (now, mut state) = (Instant::now(), lock(&self.state));
        self.settle(&mut state, now);
        match &mut *state {
            State::Closed { .. } => true,
            State::Open { until, .. } if *until > now => false,
            State::Open { since, pause, .. } => {
                let (since, pause) = (*since, *pause);
                *state = State::Trying {
                    since,
                    pause,
                    free: 0,
                    succeeded: 0,
                    good_since: None,
                    patience: now + TRIAL,
                };
                true
            }
            State::Trying { free, patience, .. } if *free > 0 => {
                *free -= 1;
                *patience = now + TRIAL;
                true
            }
            State::Trying { patience, .. } if *patience <= now => {
                *patience = now + TRIAL;
                true
            }
            State::Trying { .. } => false,
        }
    }

    /// Whether many calls are in progress and none has ended for a while; opens then.
    fn hangs(&self) -> bool {
        let (now, mut state) = (Instant::now(), lock(&self.state));
        let ended = self.ended.load(Ordering::Relaxed);
        let State::Closed { stall, .. } = &mut *state else { return true };
        match *stall {
            Some((since, at)) if at == ended && now - since >= STALL => {
                self.open(&mut state, now, FIRST_PAUSE);
                true
            }
            Some((_, at)) if at == ended => false,
            _ => {
                *stall = Some((now, ended));
                false
            }
        }
    }

    fn open(&self, state: &mut State, now: Instant, pause: Duration) {
        let since = match *state {
            State::Closed { .. } => {
                self.away.inc();
                tracing::warn!(
                    engine = self.engine,
                    "does not answer; it is asked now and then until it does"
                );
                now
            }
            State::Open { since, .. } | State::Trying { since, .. } => since,
        };
        let drawn = pause.mul_f64(rand::rng().random_range(0.75..1.25));
        *state = State::Open { since, until: now + drawn, pause };
        self.shut.store(true, Ordering::Release);
    }

    fn close(&self, state: &mut State) {
        if let State::Trying { since, .. } = *state {
            tracing::info!(engine = self.engine, away_s = since.elapsed().as_secs(), "answers again");
        }
        *state = State::CLOSED;
        self.troubled.store(false, Ordering::Relaxed);
        self.shut.store(false, Ordering::Release);
        self.away.dec();
        *lock(&self.closed_at) = Some(Instant::now());
        self.cleared.send_replace(());
    }

    fn succeeded(&self, trial: bool) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        if !trial && !self.troubled.load(Ordering::Relaxed) {
            return;
        }
        let (now, mut state) = (Instant::now(), lock(&self.state));
        match &mut *state {
            State::Closed { window, .. } => {
                if !window.succeeded(now) {
                    self.troubled.store(false, Ordering::Relaxed);
                }
            }
            State::Trying { free, succeeded, good_since, .. } if trial => {
                *succeeded += 1;
                *free += 2;
                good_since.get_or_insert(now);
                if *succeeded >= TRIALS {
                    self.close(&mut state);
                }
            }
            // A call of before that ends late says nothing about now.
            State::Open { .. } | State::Trying { .. } => {}
        }
    }

    fn failed(&self, trial: bool) {
        self.failures.inc();
        let (now, mut state) = (Instant::now(), lock(&self.state));
        match &mut *state {
            State::Closed { window, .. } => {
                self.troubled.store(true, Ordering::Relaxed);
                if window.failed(now) {
                    self.open(&mut state, now, FIRST_PAUSE);
                }
            }
            State::Trying { pause, .. } if trial => {
                let pause = (*pause * 2).min(LONGEST_PAUSE);
                self.open(&mut state, now, pause);
            }
            State::Open { .. } | State::Trying { .. } => {}
        }
    }

    /// Gives the right to a trial back that ended without a result.
    fn unused(&self) {
        if let State::Trying { free, .. } = &mut *lock(&self.state) {
            *free += 1;
        }
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        if self.shut.load(Ordering::Acquire) {
            self.away.dec();
        }
    }
}

impl State {
    const CLOSED: Self = Self::Closed {
        window: Window { first: None, calls: 0, failures: 0, in_a_row: 0, row_since: None },
        stall: None,
    };
}

impl Window {
    /// Begins again when it is over; `false` when there is nothing to count then.
    fn succeeded(&mut self, now: Instant) -> bool {
        if self.is_over(now) {
            *self = Self::default();
            return false;
        }
        self.calls += 1;
        self.in_a_row = 0;
        self.row_since = None;
        true
    }

    /// Whether that is enough to open.
    fn failed(&mut self, now: Instant) -> bool {
        if self.is_over(now) {
            // What fails in a row goes on over the windows' ends: calls may be rare.
            *self = Self { in_a_row: self.in_a_row, row_since: self.row_since, ..Self::default() };
        }
        self.first.get_or_insert(now);
        let row_since = *self.row_since.get_or_insert(now);
        self.calls += 1;
        self.failures += 1;
        self.in_a_row += 1;
        let failing = now - row_since;
        let only_failures = FEW_IN_A_ROW.iter().any(|(few, long)| self.in_a_row >= *few && failing >= *long);
        let mostly = self.calls >= WINDOW_CALLS && self.failures * 2 > self.calls;
        self.in_a_row >= IN_A_ROW || only_failures || mostly
    }

    fn is_over(&self, now: Instant) -> bool {
        self.first.is_none_or(|first| now - first >= WINDOW)
    }
}

impl<B: Deref<Target = Breaker>> Pass<B> {
    /// Whether the call tells if the engine is back: it should end soon.
    #[must_use]
    pub fn is_trial(&self) -> bool {
        self.trial
    }

    /// Says that the call waits for something to come, such as messages: it may take long.
    #[must_use]
    pub fn waiting(mut self) -> Self {
        self.leave();
        self
    }

    /// Says how the call ended: whether the engine answered.
    pub fn end(mut self, answered: bool) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        if answered { self.breaker.succeeded(self.trial) } else { self.breaker.failed(self.trial) }
    }

    fn leave(&mut self) {
        if std::mem::replace(&mut self.in_progress, false) {
            self.breaker.in_progress.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl<B: Deref<Target = Breaker>> Drop for Pass<B> {
    fn drop(&mut self) {
        self.leave();
        if self.trial && !self.told {
            self.breaker.unused();
        }
    }
}
