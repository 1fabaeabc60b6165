//! The tables of handlers. A new MessageType is a file of its own, and one line in its noun's `handlers!`; a new noun
//! is one word in `nouns!`.
//!
//! Both make the `mod` lines as well, so that a file cannot be forgotten. `cargo fmt` does not look into macros:
//! `./generate` formats all files.

/// Declares the kinds of items that a noun keeps, the files of its handlers, and their rows in the order of the
/// protocol document: all that makes it a part of the feature.
macro_rules! handlers {
    ([keeps $($holdings:path),*] $($file:ident::$handler:ident,)*) => {
        $(mod $file;)*

        pub(crate) fn join(
            feature: soundoff_common::pipeline::feature::Feature,
        ) -> soundoff_common::pipeline::feature::Feature {
            let rows = [$(soundoff_common::pipeline::feature::handler::<$file::$handler>()),*];
            feature.handles(rows)$(.keeps($holdings))*
        }
    };
}

/// Declares the nouns, and how each joins the feature. A noun that has more than handlers (a job, pages, a loop) writes
/// its own `join`.
macro_rules! nouns {
    ($($noun:ident),*) => {
        $(mod $noun;)*

        fn join_all(
            mut feature: soundoff_common::pipeline::feature::Feature,
        ) -> soundoff_common::pipeline::feature::Feature {
            $(feature = $noun::join(feature);)*
            feature
        }
    };
}
