//! Direct messages, and the sign that somebody writes one.

pub(crate) mod dm;

handlers! {
    send::DmSend,
    list::DmList,
    typing::Typing,
}
