//! What users let others see and do.

mod settings;

handlers! {
    [keeps soundoff_common::model::privacy::HOLDINGS]
    get::PrivacyGet,
    update::PrivacyUpdate,
}
