//! Requests to follow private users. A request is a state of the follow.

mod answer;
pub(crate) mod sweep;

handlers! {
    [keeps]
    list::RequestList,
    accept::RequestAccept,
    reject::RequestReject,
    settle::Settle,
}
