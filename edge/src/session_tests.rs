use std::sync::LazyLock;

use soundoff_common::pipeline::catalog::Spec;
use soundoff_common::pipeline::handler::Source;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::terms::{Limited, Terms};

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
    Rules {
        catalog: Arc::new(catalog()),
        rate,
        frame_rate: rate,
        budgets: Budgets::default(),
        minutes: Budgets::default(),
        load: Load::default(),
    }
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
            count +=
                (0..50).filter(|_| matches!(session.step(&text, now_ns, ann), Step::Publish { .. })).count();
        }
        count
    };
    assert_eq!(passed(10, 0), 20, "new sockets bring nothing");
    assert_eq!(passed(10, 1_000_000_000), 10);
    let rested = 10_000_000_000;
    assert_eq!(passed(3 * BYTES_FOR_A_MESSAGE, rested), 5, "each costs as much as four");
}

#[test]
fn a_type_has_its_own_cost_and_its_own_limit_a_minute() {
    let off = [Limited { message_type: None, per_minute: Some(3), per_day: None }];
    let few = Rules { catalog: Arc::new(catalog().limited(&off).unwrap()), ..rules(100, 200) };
    let ann_of_few = ann(&few);
    let send = r#"{"op":"send","id":"7","type":"note.add","body":{}}"#;
    let mut waits = Vec::new();
    let mut passed = |now_ns| {
        let mut session = Session::default();
        session.step(HELLO, now_ns, ann_of_few);
        let steps = (0..10).filter(|_| match session.step(send, now_ns, ann_of_few) {
            Step::Publish { .. } => true,
            Step::Refuse { error, .. } => {
                waits.push(error.retry_after_ms);
                false
            }
            other => panic!("{other:?}"),
        });
        steps.count()
    };
    assert_eq!((passed(0), passed(0)), (3, 0), "on all sockets together");
    assert_eq!(passed(20_000_000_000), 1);
    assert_eq!(passed(120_000_000_000), 3);
    assert_eq!(waits[0], Some(20_000));
    // The cost is of the user's budget.
    let dear = Spec { terms: Terms::USUAL.cost(50), ..Spec::of::<Note<false>>() };
    let dear = Rules { catalog: Arc::new(Catalog::new(vec![dear])), ..rules(100, 200) };
    let ann = ann(&dear);
    let mut session = Session::default();
    session.step(HELLO, 500_000_000_000, ann);
    let passed = (0..10).filter(|_| matches!(session.step(send, 500_000_000_000, ann), Step::Publish { .. }));
    assert_eq!(passed.count(), 4);
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
    assert_eq!((refused, wait), (EXCESS, 10 + 10 * u64::from(EXCESS)));
    // Those that come again when they were told pass at once, however many there are.
    let (few, mut session) = (self::rules(10, 5), Session::default());
    session.step(HELLO, 0, self::ann(&few));
    let mut at = |now_ms: u64| session.step(send, now_ms * 1_000_000, self::ann(&few));
    let told = (0..30).filter_map(|_| match at(0) {
        Step::Refuse { error, .. } => error.retry_after_ms,
        _ => None,
    });
    let told: Vec<_> = told.collect();
    assert!(told.len() == 25 && told.into_iter().all(|then| matches!(at(then), Step::Publish { .. })));
    let mut session = Session::default();
    // A tenth more than may be, for a minute.
    let steps = (0..6_600_u64).map(|n| session.step(send, 1_000_000_000 + n * 9_090_909, ann));
    assert!(steps.skip(1).all(|step| !matches!(step, Step::CloseExcess(_))));
}

#[test]
fn who_does_not_obey_is_read_four_times_a_second_until_they_do() {
    let (frames, rules) = (rules(1_000, 1_000).frame_rate, rules(100, 5));
    let ann = ann(&rules);
    let send = r#"{"op":"send","id":"7","type":"note.add","body":{}}"#;
    let mut session = Session::default();
    session.step(HELLO, 0, ann);
    let mut rests = |now_ms: u64| {
        session.step(send, now_ms * 1_000_000, ann);
        session.charge(now_ms * 1_000_000, frames, 1)
    };
    let at_once = 5 + HEEDLESS - 1;
    assert!((0..at_once).all(|_| rests(0).is_none()), "a few too many are nothing");
    assert_eq!(rests(0), Some(REST_NS));
    // One a second: each makes up for one that was too many.
    let rested: Vec<_> = (1..=4).map(|second| rests(second * 1_000)).collect();
    assert_eq!(rested, [None; 4]);
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
