//! Standard output and standard error, which may be gone: a pipe whose reader has left, a file on a full disk. The
//! standard library's macros panic then. A test refuses them in the code of our programs.

use std::fmt;
use std::io::{self, ErrorKind, Write as _};

/// Prints a line that a command was asked for; see [`terminal::print`](crate::terminal::print).
#[macro_export]
macro_rules! tell {
    () => { $crate::terminal::print("\n") };
    ($($text:tt)*) => { $crate::terminal::line(::std::format_args!($($text)*)) };
}

/// Prints a line of a server's to standard output; if nobody can read it, it is lost, and the server goes on.
#[macro_export]
macro_rules! announce {
    () => { $crate::terminal::announce(::std::format_args!("")) };
    ($($text:tt)*) => { $crate::terminal::announce(::std::format_args!($($text)*)) };
}

/// Prints a line to standard error; if nobody can read it, it is lost.
#[macro_export]
macro_rules! note {
    ($($text:tt)*) => { $crate::terminal::note(::std::format_args!($($text)*)) };
}

/// Prints what a command was asked for to standard output, as it is.
///
/// Ends the process when that cannot be written: quietly and with success when the reader has left, as `head` does when
/// it has enough; with the reason and code 1 otherwise.
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        if error.kind() == ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        note(format_args!("cannot write to standard output: {error}"));
        std::process::exit(1);
    }
}

/// Behind [`tell!`](crate::tell).
pub fn line(text: fmt::Arguments<'_>) {
    print(&format!("{text}\n"));
}

/// Behind [`announce!`](crate::announce).
pub fn announce(text: fmt::Arguments<'_>) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Behind [`note!`](crate::note).
pub fn note(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
