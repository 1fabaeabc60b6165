//! The shape of the house: who knows whom, and how large a room may be.

#[path = "structure/imports.rs"]
mod imports;
#[path = "structure/security.rs"]
mod security;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which crates of ours a crate may depend on. Arrows point right and down, never sideways.
const ARROWS: &[(&str, &[&str])] = &[
    ("soundoff-common", &[]),
    ("soundoff-edge", &["soundoff-common"]),
    ("soundoff-router", &["soundoff-common"]),
    ("soundoff-workers", &["soundoff-common"]),
    ("soundoff-timeline", &["soundoff-common"]),
    ("soundoff-users", &["soundoff-common"]),
    ("soundoff-embedded", &["soundoff-common"]),
    ("soundoff-aws", &["soundoff-common"]),
    ("soundoff-media", &["soundoff-common"]),
    ("loadtest", &["soundoff-common"]),
    ("benchkit", &["soundoff-timeline"]),
    ("hotpaths", &["soundoff-common", "soundoff-edge", "soundoff-router", "soundoff-workers", "benchkit"]),
    (
        "soundoff",
        &[
            "soundoff-common",
            "soundoff-edge",
            "soundoff-router",
            "soundoff-workers",
            "soundoff-timeline",
            "soundoff-media",
            "soundoff-users",
            "soundoff-embedded",
            "soundoff-aws",
        ],
    ),
];

const MAX_FILE_LINES: usize = 500;
/// What apps take as one file, without a build step: its sections are what elsewhere are files.
const ONE_MODULE: &str = "web/client/soundoff.js";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn manifest(path: &Path) -> toml::Table {
    std::fs::read_to_string(path).unwrap().parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Our own crates that a manifest names, as product and as test dependencies.
fn ours(manifest: &toml::Table, section: &str) -> BTreeSet<String> {
    let table = manifest.get(section).and_then(|t| t.as_table());
    let names = table.into_iter().flat_map(|t| t.keys().cloned());
    names.filter(|name| name.starts_with("soundoff") || name == "loadtest" || name == "benchkit").collect()
}

/// What tests and benchmarks may use beside that: real engines to run on, and the world that benchmarks share.
const TESTS_MAY_USE: &[&str] = &["soundoff-embedded", "benchkit"];

#[test]
fn crates_use_only_what_they_may() {
    let rows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    for member in members() {
        let manifest = manifest(&root().join(&member).join("Cargo.toml"));
        let name = manifest["package"]["name"].as_str().unwrap();
        let may = rows.get(name).unwrap_or_else(|| panic!("{name} has no row in ARROWS"));
        for used in ours(&manifest, "dependencies") {
            assert!(may.contains(&used.as_str()), "{name} must not use {used}");
        }
        for used in ours(&manifest, "dev-dependencies") {
            let may = may.contains(&used.as_str()) || TESTS_MAY_USE.contains(&used.as_str());
            assert!(may, "the tests of {name} must not use {used}");
        }
    }
}

#[test]
fn loadtest_speaks_the_protocol_like_any_stranger() {
    let files = sources(&root().join("loadtest"));
    assert!(!files.is_empty());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        // `loadtest deliver` stands where a worker does: what it posts has to be signed as workers sign.
        let posts = file.ends_with("loadtest/src/posts.rs");
        for line in text.lines().filter(|line| line.contains("soundoff_common::")) {
            let deliver = posts && line.contains("soundoff_common::pipeline::deliver");
            let prints = ["note", "tell", "terminal"]
                .iter()
                .any(|name| line.contains(&format!("soundoff_common::{name}")));
            let speaks = line.contains("soundoff_common::protocol");
            assert!(deliver || prints || speaks, "{}: {line}", file.display());
        }
    }
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name().into_string().unwrap();
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
            files.extend(sources(&path));
        } else if ["rs", "js", "mjs", "py"]
            .iter()
            .any(|ending| path.extension().is_some_and(|e| e == *ending))
        {
            files.push(path);
        }
    }
    files
}

/// `println!` and its kin panic when standard output or standard error cannot be written.
#[test]
fn what_we_print_may_get_lost() {
    for member in members().iter().filter(|member| !["hotpaths", "benchkit"].contains(&member.as_str())) {
        for file in sources(&root().join(member).join("src")) {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            if name.ends_with("tests.rs")
                || name == "generated.rs"
                || file.ends_with("common/src/terminal.rs")
            {
                continue;
            }
            for line in std::fs::read_to_string(&file).unwrap().lines() {
                let panics = ["println!(", "print!(", "dbg!("].iter().any(|name| line.contains(name));
                assert!(!panics, "tell!, announce! or note! instead, in {}: {line}", file.display());
            }
        }
    }
}

#[test]
fn files_fit_in_a_head() {
    let long: Vec<_> = sources(&root())
        .into_iter()
        .map(|file| (std::fs::read_to_string(&file).unwrap().lines().count(), file))
        .filter(|(lines, file)| *lines > MAX_FILE_LINES && !file.ends_with(ONE_MODULE))
        .collect();
    assert!(long.is_empty(), "over {MAX_FILE_LINES} lines: {long:?}");
}

/// Circles that stay, each with its reason.
const CIRCLES: &[(&[&str], &str)] = &[];

fn members() -> Vec<String> {
    let root = manifest(&root().join("Cargo.toml"));
    let members = root["workspace"]["members"].as_array().unwrap().clone();
    members.iter().map(|member| member.as_str().unwrap().to_owned()).collect()
}

#[test]
fn no_files_of_a_crate_import_from_each_other_in_a_circle() {
    let root = root();
    let mut found = Vec::new();
    for member in members() {
        let imports = imports::imports(&root.join(&member).join("src"));
        let arrows: usize = imports.values().map(BTreeSet::len).sum();
        println!("{member}: {} files, {arrows} arrows", imports.len());
        for circle in imports::circles(&imports) {
            let names = circle.iter().map(|file| file.strip_prefix(&root).unwrap().display().to_string());
            found.push(names.collect::<Vec<_>>());
        }
    }
    let stays = |circle: &&Vec<String>| !CIRCLES.iter().any(|(files, _)| circle.iter().eq(files.iter()));
    let circles: Vec<String> = found.iter().filter(stays).map(|circle| circle.join(" ⇄ ")).collect();
    assert!(circles.is_empty(), "move what they share into a file below them:\n{}", circles.join("\n"));
    for (files, reason) in CIRCLES {
        assert!(
            found.iter().any(|circle| circle.iter().eq(files.iter())),
            "no circle any more: {files:?} ({reason})"
        );
    }
}

#[test]
fn no_crate_reads_the_files_of_another() {
    let root = root();
    for member in members() {
        for file in
            sources(&root.join(&member)).iter().filter(|file| file.extension().is_some_and(|e| e == "rs"))
        {
            let text = std::fs::read_to_string(file).unwrap();
            for line in text.lines().filter(|line| line.trim_start().starts_with("#[path")) {
                let path = line.split('"').nth(1).unwrap();
                let names = file.parent().unwrap().join(path).canonicalize();
                let inside =
                    names.is_ok_and(|names| names.starts_with(root.join(&member).canonicalize().unwrap()));
                assert!(inside, "{}: {line} leads out of {member}", file.display());
            }
        }
    }
}

/// Operators let people in by the app's name and version: it must be this release's.
#[test]
fn the_app_names_its_version() {
    let app = std::fs::read_to_string(root().join("web/app/live.js")).unwrap();
    let name = concat!("\"web-", env!("CARGO_PKG_VERSION"), "\"");
    assert!(app.contains(name), "web/app/live.js does not name {name}");
}

/// Words that our readers stumble over, and what to write instead: `docs/words.txt`.
#[test]
fn we_write_plain_english() {
    let root = root();
    let list = std::fs::read_to_string(root.join("docs/words.txt")).unwrap();
    let rows = list.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let words: Vec<(String, &str)> = rows
        .map(|row| row.split_once('|').unwrap_or_else(|| panic!("docs/words.txt: {row}")))
        .map(|(word, instead)| (word.trim().to_lowercase(), instead.trim()))
        .collect();
    assert!(words.len() > 10);
    let mut found = Vec::new();
    for file in texts(&root) {
        let text = std::fs::read_to_string(&file).unwrap();
        for (at, line) in text.lines().enumerate() {
            // Names count as well: their parts are words.
            let line = line.to_lowercase().replace('_', " ");
            for (word, instead) in words.iter().filter(|(word, _)| has_word(&line, word)) {
                let place = file.strip_prefix(&root).unwrap().display();
                found.push(format!("{place}:{}: \"{word}\": write {instead}", at + 1));
            }
        }
    }
    assert!(found.is_empty(), "{} places:\n{}", found.len(), found.join("\n"));
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let is_letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        !is_letter(before) && !is_letter(after)
    })
}

/// All that people read, but what is generated, others' licences, and the list of words itself.
fn texts(dir: &Path) -> Vec<PathBuf> {
    const ENDINGS: [&str; 13] =
        ["rs", "js", "mjs", "ts", "py", "md", "tf", "hcl", "toml", "sh", "html", "css", "txt"];
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name().into_string().unwrap();
        if path.is_dir() {
            if !name.starts_with('.') && !matches!(name.as_str(), "target" | "node_modules" | "screenshots") {
                files.extend(texts(&path));
            }
        } else if path.extension().is_some_and(|e| ENDINGS.iter().any(|ending| e == *ending))
            || matches!(name.as_str(), "test" | "generate" | "check" | "with" | "paired" | "count")
        {
            files.push(path);
        }
    }
    files.retain(|file| !file.ends_with("docs/words.txt"));
    files
}
