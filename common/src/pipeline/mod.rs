//! From an envelope on a queue to an effect, replies and pushes; and the seam at which features join the pipeline.

pub mod archived;
pub mod audit;
pub mod catalog;
pub mod consumer;
pub mod deliver;
mod effect;
pub mod envelope;
pub mod feature;
pub mod grants;
pub mod handler;
mod held;
pub mod inbox;
mod inbox_heads;
pub mod job;
pub mod lists;
pub mod load;
pub mod purge;
mod quota;
pub mod replies;
pub mod side;
pub mod terms;
pub mod tier;
pub mod turns;
pub mod worker;
pub mod world;
