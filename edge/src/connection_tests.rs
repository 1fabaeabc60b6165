use super::*;
use crate::websocket::text_frame;

const ROOM: Room = Room { frames: 4, bytes: 1000 };

const DEADLINES: Deadlines = Deadlines { hello: 50, silence: 600, auth_due: 100, probe: 100, linger: 70 };

fn at(clock_ms: u64, unix_ms: u64) -> Now {
    Now { clock_ms, unix_ms }
}

fn claims(expires_at: u64) -> Claims {
    let user = "ann".parse().unwrap();
    Claims { user, session: Ulid::nil(), role: Role::User, expires_at }
}

fn open(cursor: u64) -> Connection {
    let connection = Connection::new(1, 0, Arc::default());
    let identity = Identity { user: "ann".parse().unwrap(), device: None };
    assert!(connection.join(identity, &claims(u64::MAX / 2000)));
    assert!(connection.welcome(text_frame("w"), cursor, cursor));
    assert_eq!(connection.span(), None);
    drain(&connection);
    connection
}

fn drain(connection: &Connection) -> Vec<String> {
    let mut state = connection.state();
    let mut texts = Vec::new();
    while state.has_output() {
        let mut slices = [std::io::IoSlice::new(&[]); 1];
        state.slices(&mut slices);
        let wire = slices[0].to_vec();
        texts.push(String::from_utf8_lossy(&wire[2..]).into_owned());
        state.wrote(wire.len());
    }
    assert_eq!((state.bytes, state.written), (0, 0));
    texts
}

#[test]
fn pushes_are_queued_in_order_and_once() {
    let c = open(5);
    for (seq, delivered) in [(4, 5), (5, 5), (6, 6), (6, 6), (7, 7), (5, 7)] {
        assert_eq!(c.offer_push(seq, Some(&text_frame(&seq.to_string())), ROOM, || 0), Offer::Taken);
        assert_eq!(c.state().delivered, delivered);
    }
    assert_eq!(drain(&c), ["6", "7"]);
}

#[test]
fn a_gap_or_a_nudge_makes_the_socket_read_the_inbox_and_holds_live_pushes_back() {
    for wire in [Some(text_frame("8")), None] {
        let seq = if wire.is_some() { 8 } else { 6 };
        let c = open(5);
        c.offer_push(seq, wire.as_ref(), ROOM, || 0);
        assert!(c.state().is_catching_up());
        c.offer_push(6, Some(&text_frame("6")), ROOM, || 0);
        assert!(drain(&c).is_empty(), "live pushes wait for the inbox");
        assert_eq!(c.span(), Some((5, seq)));
        c.offer_read(seq, &[text_frame("read")], ROOM).unwrap();
        assert_eq!(c.span(), None);
        c.offer_push(seq + 1, Some(&text_frame("next")), ROOM, || 0);
        assert_eq!(drain(&c), ["read", "next"]);
    }
}

#[test]
fn welcome_comes_before_what_came_while_joining() {
    let c = Connection::new(1, 0, Arc::default());
    c.join(Identity { user: "ann".parse().unwrap(), device: None }, &claims(10));
    c.offer(text_frame("event"), Class::Event, ROOM, || 0);
    c.offer_push(3, Some(&text_frame("3")), ROOM, || 0);
    assert!(!c.state().has_output());
    c.welcome(text_frame("welcome"), 2, 2);
    assert_eq!(drain(&c), ["welcome", "event"]);
    assert_eq!(c.span(), Some((2, 3)), "what came while joining is still unread");
}

#[test]
fn events_give_way_and_then_the_socket_closes() {
    let c = open(0);
    c.offer(text_frame("e1"), Class::Event, ROOM, || 0);
    c.state().wrote(1);
    for name in ["e2", "d1", "d2"] {
        let class = if name.starts_with('e') { Class::Event } else { Class::Durable };
        assert_eq!(c.offer(text_frame(name), class, ROOM, || 0), Offer::Taken);
    }
    assert_eq!(c.offer(text_frame("e3"), Class::Event, ROOM, || 0), Offer::Dropped);
    assert_eq!(c.offer(text_frame("d3"), Class::Durable, ROOM, || 0), Offer::Taken, "e2 gave way");
    assert_eq!(c.offer(text_frame("d4"), Class::Durable, ROOM, || 0), Offer::TooSlow);
    assert_eq!(c.offer(text_frame("d5"), Class::Durable, ROOM, || 0), Offer::Gone);
    let mut state = c.state();
    assert_eq!(state.phase, Phase::Closing);
    assert_eq!(state.queue.len(), 2, "the frame that was begun, and the close");
    state.wrote(3);
    assert_eq!(state.queue[0].wire[2..4], CloseCode::TooSlow.code().to_be_bytes());
}

#[test]
fn reading_waits_while_half_of_the_room_is_taken() {
    let c = open(0);
    c.offer_push(9, None, ROOM, || 0);
    let two = [text_frame("a"), text_frame("b")];
    assert_eq!(c.offer_read(2, &two, ROOM), Some(Offer::Taken));
    assert_eq!(c.offer_read(3, &two[..1], ROOM), None);
    assert_eq!(c.state().delivered, 2);
    drain(&c);
    let large = [text_frame(&"x".repeat(2000))];
    assert_eq!(c.offer_read(3, &large, ROOM), Some(Offer::Taken), "a frame larger than the room goes alone");
}

#[test]
fn deadlines_come_due() {
    let deadlines = DEADLINES;
    let silent = Connection::new(1, 1000, Arc::default());
    assert_eq!(silent.due(at(1049, 0), deadlines), None);
    assert_eq!(silent.due(at(1050, 0), deadlines), Some(Due::Close(CloseCode::NoHello)));
    silent.close(CloseCode::NoHello, "", 2000);
    assert_eq!(silent.due(at(1999, 0), deadlines), None);
    assert_eq!(silent.due(at(2000, 0), deadlines), Some(Due::Cut));
    let c = Connection::new(2, 0, Arc::default());
    c.join(Identity { user: "ann".parse().unwrap(), device: None }, &claims(10));
    c.welcome(text_frame("w"), 0, 0);
    c.heard(1000);
    assert_eq!(c.due(at(1600, 9_000), deadlines), None);
    assert_eq!(c.due(at(1601, 9_000), deadlines), Some(Due::Close(CloseCode::NoHeartbeat)));
    assert_eq!(c.due(at(1600, 9_900), deadlines), Some(Due::Auth(100)));
    assert_eq!(c.due(at(1600, 9_950), deadlines), None, "said once");
    assert_eq!(c.due(at(1600, 10_000), deadlines), Some(Due::Close(CloseCode::TokenExpired)));
    c.renew(20, Role::User);
    assert_eq!(c.due(at(1600, 10_000), deadlines), None);
    assert_eq!(c.due(at(1600, 19_950), deadlines), Some(Due::Auth(50)), "and again for the fresh token");
}

#[test]
fn an_ack_counts_as_far_as_was_sent() {
    let c = open(5);
    assert_eq!(c.begin_saving(), None, "a cursor in hello is no ack");
    c.ack(9);
    assert_eq!((c.begin_saving(), c.begin_saving()), (Some(5), None), "nothing later was sent");
    c.offer_push(6, Some(&text_frame("6")), ROOM, || 0);
    c.ack(9);
    assert_eq!((c.begin_saving(), c.begin_saving()), (Some(6), None));
    c.end_saving(true);
    assert_eq!(c.begin_saving(), None);
    c.end_saving(false);
    assert_eq!(c.begin_saving(), Some(6));
}

#[test]
fn a_socket_that_is_asked_for_a_sign_of_life_closes_without_one() {
    let c = open(0);
    c.heard(1000);
    c.probe(ROOM, 1200);
    assert_eq!(drain(&c), [""], "a ping, once");
    c.probe(ROOM, 1250);
    assert!(drain(&c).is_empty(), "it is being asked already");
    assert_eq!(c.due(at(1199, 0), DEADLINES), None);
    assert_eq!(c.due(at(1200, 0), DEADLINES), Some(Due::Close(CloseCode::NoHeartbeat)));
    // It was asked at 1100, and any frame from then on is a sign.
    for (heard, due) in [(1099, Some(Due::Close(CloseCode::NoHeartbeat))), (1100, None), (1150, None)] {
        c.heard(heard);
        assert_eq!(c.due(at(1200, 0), DEADLINES), due, "{heard}");
    }
    assert_eq!(c.due(at(1200 + 500, 0), DEADLINES), None, "it is asked no longer");
    c.probe(ROOM, 1900);
    assert_eq!(drain(&c), [""], "and may be asked again");
}

#[test]
fn a_socket_without_room_for_a_ping_is_not_asked() {
    let c = open(0);
    for _ in 0..ROOM.frames {
        c.offer(text_frame("d"), Class::Durable, ROOM, || 0);
    }
    c.probe(ROOM, 200);
    c.heard(0);
    assert_eq!(c.due(at(300, 0), DEADLINES), None);
    let joining = Connection::new(1, 0, Arc::default());
    joining.join(Identity { user: "ann".parse().unwrap(), device: None }, &claims(10));
    joining.probe(ROOM, 100);
    joining.welcome(text_frame("welcome"), 0, 0);
    assert_eq!(drain(&joining), ["welcome"], "nor is one that is only coming");
}

#[test]
fn a_close_waits_until_the_last_ack_is_saved_but_not_forever() {
    for is_saved in [true, false] {
        let c = open(5);
        c.ack(5);
        assert_eq!(c.begin_saving(), Some(5));
        assert_eq!(c.begin_saving(), None);
        c.close(CloseCode::Normal, "", 100);
        c.release();
        assert!(!c.state().has_output(), "it is still being saved, by somebody else");
        c.end_saving(is_saved);
        assert!(c.state().has_output());
        assert_eq!(c.has_unsaved(), !is_saved, "it is tried once more when the socket ends");
    }
    let c = open(5);
    c.ack(5);
    assert_eq!(c.begin_saving(), Some(5));
    c.end_saving(true);
    c.close(CloseCode::Normal, "", 100);
    assert!(c.state().has_output(), "all was saved");
    for gives_up in [false, true] {
        let c = open(5);
        c.ack(5);
        c.close(CloseCode::Normal, "", 100);
        c.offer(text_frame("event"), Class::Event, ROOM, || 0);
        assert!(!c.state().has_output());
        assert_eq!(c.due(at(99, 0), DEADLINES), None);
        if gives_up {
            assert_eq!(c.due(at(100, 0), DEADLINES), None);
            assert!(c.state().has_output());
            assert_eq!(c.due(at(169, 0), DEADLINES), None, "there is time to say it");
            assert_eq!(c.due(at(170, 0), DEADLINES), Some(Due::Cut));
        } else {
            c.release();
            assert_eq!(drain(&c).len(), 1, "the close");
        }
    }
}
