//! What a frame from a client means, without I/O: text in, one step out.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use serde_json::value::RawValue;
use soundoff_common::pipeline::catalog::{Catalog, Route};
use soundoff_common::protocol::{ClientFrame, CloseCode, ErrorBody, ErrorCode, FrameError, Role};
use ulid::Ulid;

use crate::admission::{Budget, Budgets, Pace, Rate};
use crate::identity::Identity;
use crate::load::{Load, Verdict};

/// The bad frame with this number in a row closes the socket.
const BAD_FRAMES: u8 = 10;
/// So many messages over the rate, beyond those that were within it, close a socket: saying "slower" costs as much as
/// serving.
const EXCESS: u16 = 300;
/// Beyond so many of them a client does not do what it is told. What it sends is then read together, four times a second:
/// reading and refusing one by one costs twice as much and more.
const HEEDLESS: u16 = 16;
/// How long a heedless client is not read, in nanoseconds.
const REST_NS: u64 = 250_000_000;
/// So many bytes of a message cost as much as one message more.
const BYTES_FOR_A_MESSAGE: usize = 4096;
/// What a pong costs beside its ping, in frames.
const PING_COST: u32 = 7;
/// What a frame over the limit costs, in messages, beside the pace of its parts.
const SKIPPED_COST: u32 = 4;
/// What checking a token costs, in messages.
const AUTH_COST: u32 = 2;

/// What the socket must do about a frame.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// Nothing at all.
    Nothing,
    Hello {
        token: Option<Cow<'a, str>>,
        device: Option<Cow<'a, str>>,
        cursor: Option<u64>,
        after: Option<Ulid>,
    },
    Publish {
        id: Cow<'a, str>,
        message_type: Cow<'a, str>,
        body: &'a RawValue,
    },
    Ack(u64),
    Pong,
    Auth(Cow<'a, str>),
    Refuse {
        id: Option<String>,
        error: ErrorBody,
    },
    /// Refuses and closes: this was one bad frame too many in a row.
    RefuseAndClose {
        id: Option<String>,
        error: ErrorBody,
    },
    /// Closes: the client does not become slower. It may come again in so many milliseconds.
    CloseExcess(u64),
    Close(CloseCode),
}

/// A client's way through the protocol.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// Of frames of all kinds.
    frames: Pace,
    /// The user's, from the first message on.
    budget: Option<Budget>,
    excess: u16,
    bad_in_a_row: u8,
    greeted: bool,
}

/// What an edge applies to all its sockets.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) catalog: Arc<Catalog>,
    /// Of a user's messages.
    pub(crate) rate: Rate,
    /// Of a socket's frames, whatever they are.
    pub(crate) frame_rate: Rate,
    pub(crate) budgets: Budgets,
    /// Of users' messages of each type of which there may be only so many a minute.
    pub(crate) minutes: Budgets,
    /// How far behind the queues are.
    pub(crate) load: Load,
}

/// What a frame is judged by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing<'a> {
    pub(crate) rules: &'a Rules,
    /// Whose budget pays; nobody's before a valid `hello`.
    pub(crate) identity: &'a OnceLock<Identity>,
    /// What the user may do.
    pub(crate) role: Role,
}

impl Standing<'_> {
    /// Whether a message of a type is taken while the queues are behind.
    #[cold]
    fn verdict(&self, message_type: &str, route: &Route, now_ns: u64) -> Verdict {
        // As good as random: nobody chooses the nanosecond in which we read.
        let draw = (now_ns % 1_000) as f64 / 1_000.0;
        self.rules.load.judge(message_type, route.terms.importance, draw)
    }

    /// Counts a message of a type of which there may be only so many a minute.
    #[cold]
    fn count(&self, message_type: &str, rate: Rate, now_ns: u64) -> Result<(), u64> {
        let Some(Identity { user, .. }) = self.identity.get() else { return Ok(()) };
        let minutes = &self.rules.minutes;
        minutes.take(minutes.of(&(user, message_type)), now_ns, rate, 1)
    }
}

impl Session {
    /// Judges a text frame that came at `now_ns`.
    pub(crate) fn step<'a>(&mut self, text: &'a str, now_ns: u64, standing: Standing<'_>) -> Step<'a> {
        let frame = match ClientFrame::parse(text) {
            Ok(frame) => frame,
            Err(FrameError { id, error }) => return self.bad(id, error, now_ns, standing),
        };
        if let ClientFrame::Hello { token, device, cursor, after } = frame {
            if self.greeted {
                let error = ErrorBody::new(ErrorCode::BadFrame, "hello is said once");
                return self.bad(None, error, now_ns, standing);
            }
            self.greeted = true;
            self.bad_in_a_row = 0;
            return Step::Hello { token, device, cursor, after };
        }
        if !self.greeted {
            // The first frame must be hello: a client that begins with another one does not speak this protocol.
            return Step::Close(CloseCode::NoHello);
        }
        self.bad_in_a_row = 0;
        match frame {
            ClientFrame::Hello { .. } => Step::Nothing,
            ClientFrame::Send { id, message_type, body } => {
                let route = standing.rules.catalog.route(&message_type);
                let cost = route.map_or(1, |route| u32::from(route.terms.cost));
                let mut cost = cost + (body.get().len() / BYTES_FOR_A_MESSAGE) as u32;
                let mut later = None;
                if standing.rules.load.is_high()
                    && let Some(route) = route
                {
                    match standing.verdict(&message_type, route, now_ns) {
                        Verdict::Costs(times) => cost = (f64::from(cost) * times) as u32,
                        Verdict::Later(wait) => later = Some(wait),
                    }
                }
                if let Err(wait) = self.pay(now_ns, standing, cost) {
                    return self.over(Some(id.into_owned()), wait, standing.rules.rate.takes_ms(cost));
                }
                if let Some(wait) = later {
                    let error = ErrorBody::new(ErrorCode::Overloaded, "the service is behind").after(wait);
                    return Step::Refuse { id: Some(id.into_owned()), error };
                }
                let refusal = match route {
                    Some(route) if route.from_clients && route.role <= standing.role => {
                        let Some(most) = route.terms.per_minute else {
                            return Step::Publish { id, message_type, body };
                        };
                        let rate = Rate::per_minute(most);
                        return match standing.count(&message_type, rate, now_ns) {
                            Ok(()) => Step::Publish { id, message_type, body },
                            Err(wait) => self.over(Some(id.into_owned()), wait, rate.takes_ms(1)),
                        };
                    }
                    Some(route) if route.from_clients => {
                        ErrorBody::new(ErrorCode::Forbidden, format!("only a {} sends this type", route.role))
                    }
                    _ => ErrorBody::new(ErrorCode::UnknownType, "clients send no such type"),
                };
                Step::Refuse { id: Some(id.into_owned()), error: refusal }
            }
            ClientFrame::Ack { cursor } => Step::Ack(cursor),
            ClientFrame::Ping => self.ping(now_ns, standing.rules),
            // Verifying a token costs as much as many messages, so it is paced, too.
            ClientFrame::Auth { token } => match self.pay(now_ns, standing, AUTH_COST) {
                Ok(()) => Step::Auth(token),
                Err(wait) => self.over(None, wait, standing.rules.rate.takes_ms(AUTH_COST)),
            },
            ClientFrame::Bye => Step::Close(CloseCode::Normal),
        }
    }

    /// Whether `hello` was said, be it valid or not.
    #[inline]
    pub(crate) fn has_greeted(&self) -> bool {
        self.greeted
    }

    /// Counts frames of any kind; returns for how many nanoseconds no other may be read, if those were too many.
    pub(crate) fn charge(&mut self, now_ns: u64, rate: Rate, frames: u32) -> Option<u64> {
        let wait = self.frames.charge(now_ns, rate, frames);
        if self.excess < HEEDLESS { wait } else { wait.max(Some(REST_NS)) }
    }

    /// Takes a cost from the user's budget.
    fn pay(&mut self, now_ns: u64, standing: Standing<'_>, cost: u32) -> Result<(), u64> {
        // Before `hello` is found valid nothing is read, so there is a user.
        let Some(Identity { user, .. }) = standing.identity.get() else { return Ok(()) };
        let rules = standing.rules;
        let budget = *self.budget.get_or_insert_with(|| rules.budgets.of(user));
        rules.budgets.take(budget, now_ns, rules.rate, cost)?;
        self.excess = self.excess.saturating_sub(1);
        Ok(())
    }

    /// A ping of either kind. One that comes faster than the rate counts as a sign of life but gets no pong.
    pub(crate) fn ping(&mut self, now_ns: u64, rules: &Rules) -> Step<'static> {
        // By socket: a user's few sockets get few pongs, and the user's budget costs more to look up than a pong.
        self.frames.take(now_ns, rules.frame_rate, PING_COST).map_or(Step::Nothing, |()| Step::Pong)
    }

    /// A bad frame costs what a message does, as it gets an answer.
    fn bad(
        &mut self,
        id: Option<String>,
        error: ErrorBody,
        now_ns: u64,
        standing: Standing<'_>,
    ) -> Step<'static> {
        self.bad_in_a_row += 1;
        if self.bad_in_a_row >= BAD_FRAMES {
            return Step::RefuseAndClose { id, error };
        }
        match self.pay(now_ns, standing, 1) {
            Ok(()) => Step::Refuse { id, error },
            Err(wait) => self.over(id, wait, standing.rules.rate.takes_ms(1)),
        }
    }

    /// Refuses a frame that was over the limit, of which only the beginning was kept.
    #[cold]
    pub(crate) fn skipped(
        &mut self,
        start: &str,
        most: usize,
        now_ns: u64,
        standing: Standing<'_>,
    ) -> Step<'static> {
        let id = ClientFrame::id_of_start(start);
        if let Err(wait) = self.pay(now_ns, standing, SKIPPED_COST) {
            return self.over(id, wait, standing.rules.rate.takes_ms(SKIPPED_COST));
        }
        let message = format!(
            "a frame has at most {most} bytes; a character takes fewer of them as itself than as \\u and four digits"
        );
        Step::Refuse { id, error: ErrorBody::new(ErrorCode::TooLarge, message) }
    }

    /// Refuses what comes over the rate: there is room in `wait` milliseconds, and after each further `each` for one more.
    /// Those that were refused before have the first places: all of them in one moment would be refused again.
    fn over(&mut self, id: Option<String>, wait: u64, each: u64) -> Step<'static> {
        let wait = wait + u64::from(self.excess) * each;
        self.excess += 1;
        if self.excess > EXCESS {
            return Step::CloseExcess(wait);
        }
        let error =
            ErrorBody::new(ErrorCode::RateLimited, "slower: welcome.limits says how fast").after(wait);
        Step::Refuse { id, error }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
