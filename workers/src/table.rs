//! The tables of handlers. A new MessageType is a file of its own, and one line in its noun's `handlers!`; a new noun is one word in `nouns!`.
//!
//! Both make the `mod` lines as well, so that a file cannot be forgotten. `cargo fmt` does not look into macros: `./generate` formats all files.

/// Declares the files of a noun's handlers, and their rows in the order of the protocol document.
macro_rules! handlers {
    ($($file:ident::$handler:ident,)*) => {
        $(mod $file;)*

        pub(crate) fn rows() -> Vec<soundoff_common::pipeline::feature::Row> {
            vec![$(soundoff_common::pipeline::feature::handler::<$file::$handler>()),*]
        }
    };
}

/// Declares the nouns, and all of their rows.
macro_rules! nouns {
    ($($noun:ident),*) => {
        $(mod $noun;)*

        fn rows() -> Vec<soundoff_common::pipeline::feature::Row> {
            [$($noun::rows()),*].into_iter().flatten().collect()
        }
    };
}
