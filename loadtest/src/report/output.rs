//! Files that a command writes when it is done.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;

use anyhow::{Result, anyhow};

/// The value of an option that names a file to write. A file that cannot be written is refused before the run, not
/// after it.
///
/// # Errors
/// The file cannot be opened for writing or cannot be created.
pub(crate) fn output(text: &str) -> Result<PathBuf> {
    let path = PathBuf::from(text);
    let check = || match path.metadata() {
        Ok(known) if known.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        // Opened without being cut, as the run may fail before it has something to write.
        Ok(known) if known.is_file() => OpenOptions::new().write(true).open(&path).map(drop),
        // Terminals and pipes.
        Ok(_) => Ok(()),
        Err(_) => File::create_new(&path).and_then(|_| std::fs::remove_file(&path)),
    };
    // One line with its cause: clap shows no chain.
    check().map_err(|error| anyhow!("cannot write {}: {error}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::output;

    #[test]
    fn a_file_that_cannot_be_written_is_refused_and_nothing_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        assert!(output(&at("new")).is_ok() && !folder.path().join("new").exists());
        std::fs::write(at("old"), "kept").unwrap();
        assert!(output(&at("old")).is_ok());
        assert_eq!(std::fs::read_to_string(at("old")).unwrap(), "kept");
        for wrong in [at(""), at("no/such"), at("old/beneath")] {
            let error = output(&wrong).unwrap_err().to_string();
            assert!(error.starts_with(&format!("cannot write {wrong}: ")), "{error}");
        }
        assert!(output("/dev/null").is_ok());
    }
}
