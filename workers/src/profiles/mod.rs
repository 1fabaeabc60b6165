//! People as others see them, and whether they are online.

mod profile;

handlers! {
    [keeps soundoff_common::model::accounts::HOLDINGS]
    get::ProfileGet,
    update::ProfileUpdate,
    presence::PresenceGet,
}
