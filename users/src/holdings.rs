//! What the User service keeps.

use soundoff_common::model::holdings::{Holding, Of};
use soundoff_common::ports::tables::Table;

/// The kinds of items that are kept of this.
pub(crate) const HOLDINGS: &[Holding] = &[
    Holding {
        kind: "identity",
        table: Table::Entities,
        pk: "identity#<kind>#<hash>",
        sk: "identity",
        attributes: &["user", "linked_at", "sealed"],
        of: Of::User,
        summary: "Whose a mail address, phone number or foreign account is.",
    },
    Holding {
        kind: "row of an identity",
        table: Table::Entities,
        pk: "identities#<h>",
        sk: "<kind>#<hash>",
        attributes: &["user", "linked_at", "sealed"],
        of: Of::User,
        summary: "The user's list of them.",
    },
    Holding {
        kind: "sends of codes",
        table: Table::Entities,
        pk: "code#<kind>#<hash>",
        sk: "sends",
        attributes: &["newest", "blind", "sent_at", "sends", "window", "expires"],
        of: Of::Nobody,
        summary: "How many codes an address was sent in the last hour, the request of the last one, and how often it was tried without naming a request.",
    },
    Holding {
        kind: "code",
        table: Table::Entities,
        pk: "code#<kind>#<hash>",
        sk: "c#<request>",
        attributes: &["hash", "tries", "sent_at", "expires"],
        of: Of::Nobody,
        summary: "One code; `hash` goes when it is used.",
    },
    Holding {
        kind: "nonce",
        table: Table::Entities,
        pk: "nonce#<hash>",
        sk: "nonce",
        attributes: &["expires"],
        of: Of::Nobody,
        summary: "A nonce of an `id_token` that was used.",
    },
    Holding {
        kind: "exchange",
        table: Table::Entities,
        pk: "exchange#<hash>",
        sk: "exchange",
        attributes: &["subject", "spent", "expires"],
        of: Of::Nobody,
        summary: "A foreign code that was exchanged, by code, verifier and redirect.",
    },
    Holding {
        kind: "token key",
        table: Table::Entities,
        pk: "token-keys",
        sk: "<created_at>#<kid>",
        attributes: &["created_at", "sealed"],
        of: Of::Nobody,
        summary: "A key of access tokens (PKCS #8, sealed).",
    },
];
