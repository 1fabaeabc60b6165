//! People as others see them, and whether they are there.

mod profile;

handlers! {
    get::ProfileGet,
    update::ProfileUpdate,
    presence::PresenceGet,
}
