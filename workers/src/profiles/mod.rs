//! People as others see them, and whether they are online.

mod profile;

handlers! {
    get::ProfileGet,
    update::ProfileUpdate,
    presence::PresenceGet,
}
