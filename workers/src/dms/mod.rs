//! Direct messages, and the sign that somebody writes one.

mod dm;

handlers! {
    [keeps dm::HOLDINGS]
    send::DmSend,
    list::DmList,
    typing::Typing,
}
