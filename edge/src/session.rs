//! What a frame from a client means, without I/O: text in, one step out.

use std::borrow::Cow;

use serde_json::value::RawValue;
use soundoff_common::pipeline::catalog::Catalog;
use soundoff_common::protocol::{ClientFrame, CloseCode, ErrorBody, ErrorCode, FrameError, Role};
use ulid::Ulid;

use crate::admission::{Pace, Rate};

/// The bad frame with this number in a row closes the socket.
const BAD_FRAMES: u8 = 10;

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
    Close(CloseCode),
}

/// A client's way through the protocol.
#[derive(Debug, Default)]
pub(crate) struct Session {
    pace: Pace,
    bad_in_a_row: u8,
    greeted: bool,
}

/// The rules that a session applies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) rate: Rate,
    /// What the user may do.
    pub(crate) role: Role,
}

impl Session {
    /// Judges a text frame that came at `now_ns`.
    pub(crate) fn step<'a>(&mut self, text: &'a str, now_ns: u64, rules: Rules<'_>) -> Step<'a> {
        let frame = match ClientFrame::parse(text) {
            Ok(frame) => frame,
            Err(FrameError { id, error }) => return self.bad(id, error),
        };
        if let ClientFrame::Hello { token, device, cursor, after } = frame {
            if self.greeted {
                return self.bad(None, ErrorBody::new(ErrorCode::BadFrame, "hello is said once"));
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
                if let Err(wait) = self.pace.take(now_ns, rules.rate) {
                    return refuse_pace(Some(id.into_owned()), wait);
                }
                let refusal = match rules.catalog.route(&message_type) {
                    Some(route) if route.from_clients && route.role <= rules.role => {
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
            ClientFrame::Ping => self.ping(now_ns, rules),
            // Verifying a token costs as much as many messages, so it is paced, too.
            ClientFrame::Auth { token } => match self.pace.take(now_ns, rules.rate) {
                Ok(()) => Step::Auth(token),
                Err(wait) => refuse_pace(None, wait),
            },
            ClientFrame::Bye => Step::Close(CloseCode::Normal),
        }
    }

    /// A ping of either kind. One that comes faster than the rate counts as a sign of life but gets no pong.
    pub(crate) fn ping(&mut self, now_ns: u64, rules: Rules<'_>) -> Step<'static> {
        self.pace.take(now_ns, rules.rate).map_or(Step::Nothing, |()| Step::Pong)
    }

    fn bad(&mut self, id: Option<String>, error: ErrorBody) -> Step<'static> {
        self.bad_in_a_row += 1;
        if self.bad_in_a_row >= BAD_FRAMES {
            return Step::RefuseAndClose { id, error };
        }
        Step::Refuse { id, error }
    }
}

fn refuse_pace(id: Option<String>, wait: u64) -> Step<'static> {
    let error = ErrorBody::new(ErrorCode::RateLimited, "slower: welcome.limits says how fast").after(wait);
    Step::Refuse { id, error }
}

#[cfg(test)]
mod tests {
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

    fn code(step: &Step<'_>) -> Option<ErrorCode> {
        match step {
            Step::Refuse { error, .. } | Step::RefuseAndClose { error, .. } => Some(error.code),
            _ => None,
        }
    }

    const HELLO: &str = r#"{"op":"hello","token":"t"}"#;

    #[test]
    fn hello_comes_first_and_once() {
        let catalog = catalog();
        let rules = Rules { catalog: &catalog, rate: Rate::new(100, 200), role: Role::User };
        let mut fresh = Session::default();
        assert!(matches!(fresh.step(r#"{"op":"ping"}"#, 0, rules), Step::Close(CloseCode::NoHello)));
        let mut session = Session::default();
        assert_eq!(code(&session.step("junk", 0, rules)), Some(ErrorCode::BadFrame));
        assert!(matches!(session.step(HELLO, 0, rules), Step::Hello { .. }));
        assert_eq!(code(&session.step(HELLO, 0, rules)), Some(ErrorCode::BadFrame));
        assert!(matches!(session.step(r#"{"op":"bye"}"#, 0, rules), Step::Close(CloseCode::Normal)));
    }

    #[test]
    fn ten_bad_frames_in_a_row_close_and_a_good_one_forgives() {
        let catalog = catalog();
        let rules = Rules { catalog: &catalog, rate: Rate::new(100, 200), role: Role::User };
        let mut session = Session::default();
        session.step(HELLO, 0, rules);
        for _ in 0..3 {
            for _ in 0..9 {
                assert!(matches!(session.step("{}", 0, rules), Step::Refuse { .. }));
            }
            assert!(matches!(session.step(r#"{"op":"ack","cursor":1}"#, 0, rules), Step::Ack(1)));
        }
        for _ in 0..9 {
            session.step("[]", 0, rules);
        }
        assert!(matches!(session.step("[]", 0, rules), Step::RefuseAndClose { .. }));
    }

    #[test]
    fn hello_forgives_the_bad_frames_before_it() {
        let catalog = catalog();
        let rules = Rules { catalog: &catalog, rate: Rate::new(100, 200), role: Role::User };
        let mut session = Session::default();
        for _ in 0..9 {
            assert!(matches!(session.step("junk", 0, rules), Step::Refuse { .. }));
        }
        assert!(matches!(session.step(HELLO, 0, rules), Step::Hello { .. }));
        for _ in 0..9 {
            // A second one is a bad frame like any other.
            assert!(matches!(session.step(HELLO, 0, rules), Step::Refuse { .. }));
        }
        assert!(matches!(session.step(HELLO, 0, rules), Step::RefuseAndClose { .. }));
    }

    #[test]
    fn tokens_are_checked_only_as_fast_as_messages_may_come() {
        let catalog = catalog();
        let rules = Rules { catalog: &catalog, rate: Rate::new(10, 3), role: Role::User };
        let mut session = Session::default();
        session.step(HELLO, 0, rules);
        let auth = r#"{"op":"auth","token":"fresh"}"#;
        for _ in 0..3 {
            assert!(matches!(session.step(auth, 0, rules), Step::Auth(token) if token == "fresh"));
        }
        let Step::Refuse { id: None, error } = session.step(auth, 0, rules) else { panic!("it is paced") };
        assert_eq!((error.code, error.retry_after_ms), (ErrorCode::RateLimited, Some(100)));
        assert!(matches!(session.step(auth, 100_000_000, rules), Step::Auth(_)));
    }

    #[test]
    fn only_types_that_clients_send_pass_and_only_so_fast() {
        let catalog = catalog();
        let rules = Rules { catalog: &catalog, rate: Rate::new(10, 3), role: Role::User };
        let mut session = Session::default();
        session.step(HELLO, 0, rules);
        let send = |ty: &str| format!(r#"{{"op":"send","id":"7","type":"{ty}","body":{{}}}}"#);
        assert!(matches!(session.step(&send("note.add"), 0, rules), Step::Publish { .. }));
        assert_eq!(code(&session.step(&send("note.internal"), 0, rules)), Some(ErrorCode::UnknownType));
        assert_eq!(code(&session.step(&send("nope"), 0, rules)), Some(ErrorCode::UnknownType));
        match session.step(&send("note.add"), 0, rules) {
            Step::Refuse { id, error } => {
                assert_eq!((id.as_deref(), error.code), (Some("7"), ErrorCode::RateLimited));
                assert_eq!(error.retry_after_ms, Some(100));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(session.step(r#"{"op":"ping"}"#, 0, rules), Step::Nothing), "it gets no pong");
        assert!(matches!(session.step(r#"{"op":"ping"}"#, 100_000_000, rules), Step::Pong));
    }

    #[test]
    fn a_type_for_moderators_passes_from_moderators_and_above() {
        let catalog = catalog();
        let send = r#"{"op":"send","id":"7","type":"note.judge","body":{}}"#;
        for (role, passes) in [(Role::User, false), (Role::Moderator, true), (Role::Admin, true)] {
            let rules = Rules { catalog: &catalog, rate: Rate::new(100, 200), role };
            let mut session = Session::default();
            session.step(HELLO, 0, rules);
            let step = session.step(send, 0, rules);
            assert_eq!(matches!(step, Step::Publish { .. }), passes, "{role}");
            assert_eq!(code(&step), (!passes).then_some(ErrorCode::Forbidden), "{role}");
        }
    }
}
