//! The archive as files, by the port's laws.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use flate2::read::GzDecoder;
use soundoff_common::ports::archive::contract::{self, Harness};
use soundoff_common::ports::archive::{Archive, Record};
use soundoff_embedded::archive::{ArchiveOptions, FileArchive};
use tempfile::TempDir;

/// A killed process cannot clean up, so the tests simulate a kill: they continue with a copy of the files as they are.
struct Local(std::sync::Mutex<TempDir>);

impl Local {
    fn new() -> Self {
        Self(std::sync::Mutex::new(TempDir::new().unwrap()))
    }

    fn path(&self) -> PathBuf {
        self.0.lock().unwrap().path().to_owned()
    }
}

fn options() -> ArchiveOptions {
    ArchiveOptions { gather: Duration::from_millis(1), ..ArchiveOptions::default() }
}

fn open(dir: &Path) -> FileArchive {
    FileArchive::open(dir, options()).unwrap()
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn unpack(path: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    let packed = std::fs::read(path).unwrap();
    let mut decoder = GzDecoder::new(packed.as_slice());
    decoder.read_to_end(&mut text).unwrap_or_else(|e| panic!("law 2: {} is complete: {e}", path.display()));
    text
}

fn copy(from: &Path, to: &Path) {
    for file in files_below(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        // A part may be rolled and removed while it is copied. Then the files that it was rolled into are copied, or
        // are not needed.
        std::fs::copy(file, target).unwrap();
    }
}

#[async_trait]
impl Harness for Local {
    async fn open(&self) -> Arc<dyn Archive> {
        Arc::new(open(&self.path()))
    }

    async fn reopen(&self, archive: Arc<dyn Archive>) -> Arc<dyn Archive> {
        let after = TempDir::new().unwrap();
        copy(&self.path(), after.path());
        drop(archive);
        *self.0.lock().unwrap() = after;
        self.open().await
    }

    async fn files(&self) -> Vec<(String, Vec<u8>)> {
        let events = self.path().join("archive/events");
        let named = |path: PathBuf| {
            let name = path.strip_prefix(&events).unwrap().to_str().unwrap().to_owned();
            (name, unpack(&path))
        };
        files_below(&events).into_iter().map(named).collect()
    }
}

#[tokio::test]
async fn records_are_found_at_their_place() {
    contract::records_are_found_at_their_place(&Local::new()).await;
}

#[tokio::test]
async fn a_record_is_one_line() {
    contract::a_record_is_one_line(&Local::new()).await;
}

#[tokio::test]
async fn what_was_put_outlives_a_kill() {
    contract::what_was_put_outlives_a_kill(&Local::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_complete_at_all_times() {
    contract::files_are_complete_at_all_times(&Local::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_put_at_once() {
    contract::many_put_at_once(&Local::new()).await;
}

#[tokio::test]
async fn invalid_records_are_refused() {
    contract::invalid_records_are_refused(&Local::new()).await;
}

fn record(id: u32, message_type: &str, hour: u32) -> Record {
    let ts = format!("2026-11-{:02}T{:02}:00:00Z", 1 + hour / 24, hour % 24);
    Record {
        id: format!("{id:04}").into(),
        message_type: message_type.into(),
        v: 1,
        ingest_ts: ts.as_str().into(),
        ts,
        user_key: "ada".into(),
        trace_id: "t".into(),
        body: Some(serde_json::value::to_raw_value("x").unwrap()),
    }
}

/// How often each id is archived.
fn ids(dir: &Path) -> BTreeMap<Arc<str>, usize> {
    let mut ids = BTreeMap::new();
    for file in files_below(&dir.join("archive/events")) {
        for line in String::from_utf8(unpack(&file)).unwrap().lines() {
            let record: Record = serde_json::from_str(line).unwrap();
            *ids.entry(record.id).or_default() += 1;
        }
    }
    ids
}

fn once(ids: impl IntoIterator<Item = u32>) -> BTreeMap<Arc<str>, usize> {
    ids.into_iter().map(|id| (format!("{id:04}").into(), 1)).collect()
}

fn parts(dir: &Path) -> Vec<PathBuf> {
    files_below(&dir.join("archive/.open"))
}

#[tokio::test]
async fn a_part_cut_short_anywhere_is_recovered_up_to_its_last_whole_line() {
    let dir = TempDir::new().unwrap();
    let archive = open(dir.path());
    for id in 0..3 {
        archive.put(vec![record(id, "post.create", 1)]).await.unwrap();
    }
    let part = parts(dir.path()).remove(0);
    let whole = std::fs::read(&part).unwrap();
    let line = whole.iter().position(|b| *b == b'\n').unwrap() + 1;
    for length in [0, 1, line - 1, line, line + 1, 2 * line + 30, 3 * line - 1, 3 * line] {
        let crashed = TempDir::new().unwrap();
        let hidden = crashed.path().join("archive/.open");
        std::fs::create_dir_all(&hidden).unwrap();
        std::fs::write(hidden.join(part.file_name().unwrap()), &whole[..length]).unwrap();
        std::fs::write(hidden.join("left.gz.0.tmp"), b"half").unwrap();
        let archive = open(crashed.path());
        archive.flush().await.unwrap();
        let expected = once(0..u32::try_from(length / line).unwrap());
        assert_eq!(ids(crashed.path()), expected, "a part of {length} bytes, lines of {line}");
        assert_eq!(parts(crashed.path()), Vec::<PathBuf>::new(), "the part and the draft are gone");
        drop(archive);
        // The state after a power loss: the file has grown, but its new bytes were never written, or are those of
        // another file.
        for strange in [0, b'x'] {
            let mut text = whole[..2 * line + 40].to_vec();
            text.extend([strange; 700]);
            text.extend(b"}\n");
            std::fs::write(hidden.join(part.file_name().unwrap()), &text).unwrap();
            drop(open(crashed.path()));
            assert_eq!(ids(crashed.path()), once(0..2), "{strange} is no record");
        }
    }
}

#[tokio::test]
async fn a_roll_cut_short_makes_no_second_copies() {
    let dir = TempDir::new().unwrap();
    let archive = open(dir.path());
    archive.put((0..6).map(|id| record(id, ["a", "b", "c"][id as usize % 3], 1)).collect()).await.unwrap();
    let part = parts(dir.path()).remove(0);
    let whole = std::fs::read(&part).unwrap();
    archive.flush().await.unwrap();
    assert_eq!(ids(dir.path()), once(0..6));
    drop(archive);
    // A kill after the first file was published: the others are not there yet, and the part still is.
    let published = files_below(&dir.path().join("archive/events"));
    assert_eq!(published.len(), 3);
    published[1..].iter().for_each(|file| std::fs::remove_file(file).unwrap());
    std::fs::write(&part, &whole).unwrap();
    drop(open(dir.path()));
    assert_eq!(ids(dir.path()), once(0..6), "each record once");
    assert_eq!(files_below(&dir.path().join("archive/events")), published, "under the same names");
}

#[tokio::test]
async fn files_have_firehose_names_and_gzip_reads_them() {
    let dir = TempDir::new().unwrap();
    let archive = open(dir.path());
    archive.put(vec![record(1, "post.create", 1)]).await.unwrap();
    archive.flush().await.unwrap();
    let files = files_below(&dir.path().join("archive/events"));
    let [file] = files.as_slice() else { panic!("one file: {files:?}") };
    assert!(file.parent().unwrap().ends_with("type=post.create/dt=2026-11-01/hour=01"), "{file:?}");
    let name = file.file_name().unwrap().to_str().unwrap();
    let rest = name.strip_prefix("soundoff-1-20").and_then(|n| n.strip_suffix(".gz")).unwrap();
    assert_eq!(rest.len(), "26-11-22-13-11-29-".len() + 26, "a time and a ULID: {name}");
    let output = Command::new("gzip").arg("-dc").arg(file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("{\"id\":\"0001\",\"type\":\"post.create\",\"v\":1,") && text.ends_with("}\n"),
        "{text}"
    );
}

#[tokio::test]
async fn a_part_rolls_by_size_by_age_and_by_variety() {
    let by_size = TempDir::new().unwrap();
    let archive = FileArchive::open(by_size.path(), ArchiveOptions { roll_bytes: 1, ..options() }).unwrap();
    archive.put(vec![record(1, "a", 1)]).await.unwrap();
    until(|| ids(by_size.path()) == once([1])).await;

    let by_age = TempDir::new().unwrap();
    let aged = ArchiveOptions { roll_after: Duration::from_millis(50), ..options() };
    let archive_by_age = FileArchive::open(by_age.path(), aged).unwrap();
    archive_by_age.put(vec![record(1, "a", 1)]).await.unwrap();
    until(|| ids(by_age.path()) == once([1])).await;

    // One call with so many hours that they need several parts.
    let by_variety = TempDir::new().unwrap();
    let archive = open(by_variety.path());
    archive.put((0..200).map(|id| record(id, "a", id)).collect()).await.unwrap();
    until(|| files_below(&by_variety.path().join("archive/events")).len() >= 128).await;
    archive.flush().await.unwrap();
    assert_eq!(ids(by_variety.path()), once(0..200));
    assert_eq!(files_below(&by_variety.path().join("archive/events")).len(), 200);
}

/// Waits for something that another thread does.
async fn until(done: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(std::time::Instant::now() < deadline, "it never came");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_clean_stop_leaves_everything_readable() {
    let dir = TempDir::new().unwrap();
    let archive = open(dir.path());
    archive.put(vec![record(1, "a", 1)]).await.unwrap();
    drop(archive);
    assert_eq!(ids(dir.path()), once([1]));
    assert_eq!(parts(dir.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_disk_that_fails_is_said_so_and_recovered_from() {
    let dir = TempDir::new().unwrap();
    let archive = open(dir.path());
    // A file where the directory of published files must be: rolling fails, as it does on a full disk.
    let events = dir.path().join("archive/events");
    std::fs::write(&events, b"in the way").unwrap();
    archive.put(vec![record(1, "a", 1)]).await.unwrap();
    let flushed = archive.flush().await.unwrap_err();
    assert!(flushed.0.contains("could not be rolled"), "{flushed}");
    std::fs::remove_file(&events).unwrap();
    archive.flush().await.unwrap();
    assert_eq!(ids(dir.path()), once([1]), "nothing is lost by it");
    // And one where the next part must be.
    let hidden = dir.path().join("archive/.open");
    std::fs::remove_dir(&hidden).unwrap();
    let put = archive.put(vec![record(2, "a", 1)]).await.unwrap_err();
    assert!(put.0.contains("could not be written"), "{put}");
    std::fs::create_dir(&hidden).unwrap();
    archive.put(vec![record(3, "a", 1)]).await.unwrap();
    archive.flush().await.unwrap();
    assert_eq!(ids(dir.path()), once([1, 3]));
}
