//! What a frame from a client means, without I/O: text in, one step out.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use serde_json::value::RawValue;
use soundoff_common::pipeline::catalog::Catalog;
use soundoff_common::protocol::{ClientFrame, CloseCode, ErrorBody, ErrorCode, FrameError, Role};
use ulid::Ulid;

use crate::admission::{Budget, Budgets, Pace, Rate};
use crate::identity::Identity;

/// The bad frame with this number in a row closes the socket.
const BAD_FRAMES: u8 = 10;
/// So many messages over the rate, beyond those that were within it, close a socket: saying "slower" costs as much as
/// serving.
const EXCESS: u16 = 300;
/// So many bytes of a message cost as much as one message more.
const BYTES_FOR_A_MESSAGE: usize = 4096;
/// What a pong costs beside its ping, in frames.
const PING_COST: u32 = 7;
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
                let cost = 1 + (body.get().len() / BYTES_FOR_A_MESSAGE) as u32;
                if let Err(wait) = self.pay(now_ns, standing, cost) {
                    return self.over(Some(id.into_owned()), wait);
                }
                let refusal = match standing.rules.catalog.route(&message_type) {
                    Some(route) if route.from_clients && route.role <= standing.role => {
                        return Step::Publish { id, message_type, body };
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
                Err(wait) => self.over(None, wait),
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
        self.frames.charge(now_ns, rate, frames)
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
            Err(wait) => self.over(id, wait),
        }
    }

    /// Refuses what comes over the rate.
    fn over(&mut self, id: Option<String>, wait: u64) -> Step<'static> {
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
mod tests {
    use std::sync::LazyLock;

    use soundoff_common::pipeline::catalog::Spec;
    use soundoff_common::pipeline::handler::Source;
    use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};

    use super::*;

    struct Note<const INTERNAL: bool>;
    struct Judge;

    impl MessageType for Judge {
        const TYPE: &'static str = "note.judge";
        const SUMMARY: &'static str = "a verdict";
        const ROLE: Role = Role::Moderator;
        type Body = serde_json::Value;
        type Reply = ();

        async fn handle(_: &Context, _: &Request<Self::Body>) -> Result<Outcome<()>, Failure> {
            Ok(Outcome::read(()))
        }
    }

    impl<const INTERNAL: bool> MessageType for Note<INTERNAL> {
        const TYPE: &'static str = if INTERNAL { "note.internal" } else { "note.add" };
        const SUMMARY: &'static str = "a note";
        const SOURCE: Source = if INTERNAL { Source::Internal } else { Source::Client };
        type Body = serde_json::Value;
        type Reply = ();

        async fn handle(_: &Context, _: &Request<Self::Body>) -> Result<Outcome<()>, Failure> {
            Ok(Outcome::read(()))
        }
    }

    fn catalog() -> Catalog {
        Catalog::new(vec![Spec::of::<Note<false>>(), Spec::of::<Note<true>>(), Spec::of::<Judge>()])
    }

    static ANN: LazyLock<OnceLock<Identity>> =
        LazyLock::new(|| OnceLock::from(Identity { user: "ann".parse().unwrap(), device: None }));

    fn rules(per_second: u32, burst: u32) -> Rules {
        let rate = Rate::new(per_second, burst);
        Rules { catalog: Arc::new(catalog()), rate, frame_rate: rate, budgets: Budgets::default() }
    }

    fn ann(rules: &Rules) -> Standing<'_> {
        Standing { rules, identity: &ANN, role: Role::User }
    }

    fn code(step: &Step<'_>) -> Option<ErrorCode> {
        match step {
            Step::Refuse { error, .. } | Step::RefuseAndClose { error, .. } => Some(error.code),
            _ => None,
        }
    }

    const HELLO: &str = r#"{"op":"hello","token":"t"}"#;

    #[test]
    fn hello_comes_first_and_once() {
        let rules = rules(100, 200);
        let ann = ann(&rules);
        let mut fresh = Session::default();
        assert!(matches!(fresh.step(r#"{"op":"ping"}"#, 0, ann), Step::Close(CloseCode::NoHello)));
        let mut session = Session::default();
        assert_eq!(code(&session.step("junk", 0, ann)), Some(ErrorCode::BadFrame));
        assert!(matches!(session.step(HELLO, 0, ann), Step::Hello { .. }));
        assert_eq!(code(&session.step(HELLO, 0, ann)), Some(ErrorCode::BadFrame));
        assert!(matches!(session.step(r#"{"op":"bye"}"#, 0, ann), Step::Close(CloseCode::Normal)));
    }

    #[test]
    fn ten_bad_frames_in_a_row_close_and_a_good_one_forgives() {
        let rules = rules(100, 200);
        let ann = ann(&rules);
        let mut session = Session::default();
        session.step(HELLO, 0, ann);
        for _ in 0..3 {
            for _ in 0..9 {
                assert!(matches!(session.step("{}", 0, ann), Step::Refuse { .. }));
            }
            assert!(matches!(session.step(r#"{"op":"ack","cursor":1}"#, 0, ann), Step::Ack(1)));
        }
        for _ in 0..9 {
            session.step("[]", 0, ann);
        }
        assert!(matches!(session.step("[]", 0, ann), Step::RefuseAndClose { .. }));
    }

    #[test]
    fn bad_frames_among_good_ones_cost_what_messages_do() {
        let rules = rules(100, 200);
        let ann = ann(&rules);
        let mut session = Session::default();
        session.step(HELLO, 0, ann);
        let mut answers = [0; 2];
        loop {
            session.step(r#"{"op":"ack","cursor":1}"#, 0, ann);
            match session.step("{}", 0, ann) {
                Step::Refuse { error, .. } => answers[usize::from(error.code == ErrorCode::RateLimited)] += 1,
                Step::CloseExcess(_) => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(answers, [200, usize::from(EXCESS)]);
    }

    #[test]
    fn hello_forgives_the_bad_frames_before_it() {
        let rules = rules(100, 200);
        let ann = ann(&rules);
        let mut session = Session::default();
        for _ in 0..9 {
            assert!(matches!(session.step("junk", 0, ann), Step::Refuse { .. }));
        }
        assert!(matches!(session.step(HELLO, 0, ann), Step::Hello { .. }));
        for _ in 0..9 {
            // A second one is a bad frame like any other.
            assert!(matches!(session.step(HELLO, 0, ann), Step::Refuse { .. }));
        }
        assert!(matches!(session.step(HELLO, 0, ann), Step::RefuseAndClose { .. }));
    }

    #[test]
    fn tokens_are_checked_only_as_fast_as_messages_may_come() {
        let rules = rules(10, 3);
        let ann = ann(&rules);
        let mut session = Session::default();
        session.step(HELLO, 0, ann);
        let auth = r#"{"op":"auth","token":"fresh"}"#;
        for _ in 0..2 {
            assert!(matches!(session.step(auth, 0, ann), Step::Auth(token) if token == "fresh"));
        }
        let Step::Refuse { id: None, error } = session.step(auth, 0, ann) else { panic!("it is paced") };
        assert_eq!((error.code, error.retry_after_ms), (ErrorCode::RateLimited, Some(200)));
        assert!(matches!(session.step(auth, 200_000_000, ann), Step::Auth(_)));
    }

    #[test]
    fn all_sockets_of_a_user_pay_from_one_budget_and_large_messages_pay_more() {
        let rules = rules(10, 20);
        let ann = ann(&rules);
        let send =
            |bytes| format!(r#"{{"op":"send","id":"7","type":"note.add","body":"{}"}}"#, "x".repeat(bytes));
        let passed = |bytes: usize, now_ns| {
            let text = send(bytes);
            let mut sockets = [Session::default(), Session::default(), Session::default()];
            let mut count = 0;
            for session in &mut sockets {
                session.step(HELLO, now_ns, ann);
                count += (0..50)
                    .filter(|_| matches!(session.step(&text, now_ns, ann), Step::Publish { .. }))
                    .count();
            }
            count
        };
        assert_eq!(passed(10, 0), 20, "new sockets bring nothing");
        assert_eq!(passed(10, 1_000_000_000), 10);
        let rested = 10_000_000_000;
        assert_eq!(passed(3 * BYTES_FOR_A_MESSAGE, rested), 5, "each costs as much as four");
    }

    #[test]
    fn a_client_that_does_not_become_slower_is_closed_and_one_that_does_is_not() {
        let rules = rules(100, 200);
        let ann = ann(&rules);
        let send = r#"{"op":"send","id":"7","type":"note.add","body":{}}"#;
        let mut session = Session::default();
        session.step(HELLO, 0, ann);
        let mut refused = 0;
        let wait = loop {
            match session.step(send, 0, ann) {
                Step::Publish { .. } => {}
                Step::Refuse { .. } => refused += 1,
                Step::CloseExcess(wait) => break wait,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((refused, wait), (EXCESS, 10));
        let mut session = Session::default();
        // A tenth more than may be, for a minute.
        let steps = (0..6_600_u64).map(|n| session.step(send, 1_000_000_000 + n * 9_090_909, ann));
        assert!(steps.skip(1).all(|step| !matches!(step, Step::CloseExcess(_))));
    }

    #[test]
    fn only_types_that_clients_send_pass_and_only_so_fast() {
        let rules = rules(10, 3);
        let ann = ann(&rules);
        let mut session = Session::default();
        session.step(HELLO, 0, ann);
        let send = |ty: &str| format!(r#"{{"op":"send","id":"7","type":"{ty}","body":{{}}}}"#);
        assert!(matches!(session.step(&send("note.add"), 0, ann), Step::Publish { .. }));
        assert_eq!(code(&session.step(&send("note.internal"), 0, ann)), Some(ErrorCode::UnknownType));
        assert_eq!(code(&session.step(&send("nope"), 0, ann)), Some(ErrorCode::UnknownType));
        match session.step(&send("note.add"), 0, ann) {
            Step::Refuse { id, error } => {
                assert_eq!((id.as_deref(), error.code), (Some("7"), ErrorCode::RateLimited));
                assert_eq!(error.retry_after_ms, Some(100));
            }
            other => panic!("{other:?}"),
        }
        let ping = r#"{"op":"ping"}"#;
        assert!(matches!(session.step(ping, 0, ann), Step::Pong));
        assert!(matches!(session.step(ping, 0, ann), Step::Nothing), "it gets no pong");
        assert!(matches!(session.step(ping, 500_000_000, ann), Step::Pong));
    }

    #[test]
    fn a_type_for_moderators_passes_from_moderators_and_above() {
        let send = r#"{"op":"send","id":"7","type":"note.judge","body":{}}"#;
        for (role, passes) in [(Role::User, false), (Role::Moderator, true), (Role::Admin, true)] {
            let rules = rules(100, 200);
            let ann = Standing { role, ..ann(&rules) };
            let mut session = Session::default();
            session.step(HELLO, 0, ann);
            let step = session.step(send, 0, ann);
            assert_eq!(matches!(step, Step::Publish { .. }), passes, "{role}");
            assert_eq!(code(&step), (!passes).then_some(ErrorCode::Forbidden), "{role}");
        }
    }
}
