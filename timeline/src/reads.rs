//! Many reads, a few at a time.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

/// The most reads in progress at the same time.
pub(crate) const AT_ONCE: usize = 64;

/// The results in the reads' order; the first error ends it.
///
/// It takes a `Vec` of futures: a stream that makes them would be tied to the lifetimes of what they borrow.
pub(crate) async fn few_at_once<T, E>(reads: Vec<impl Future<Output = Result<T, E>>>) -> Result<Vec<T>, E> {
    stream::iter(reads).buffered(AT_ONCE).try_collect().await
}
