//! The customer's own tokens: who already has users lets them in with the tokens that they have.
//!
//! Such a token opens what one of ours does, on every service, and nothing is exchanged: it is judged by its issuer's keys
//! (`tokens`), and a sign-in stands for each user of theirs. Once, the User service makes that sign-in, and the account
//! if there is none (`introduce`). So what ends sessions ends these, too; and edges, which write nothing, only read it.

mod introduce;
mod tokens;

pub use tokens::{ForeignConfig, ForeignKey, ForeignTokens};
