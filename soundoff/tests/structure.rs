//! The shape of the house: who knows whom, and how large a room may be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which crates of ours a crate may depend on. Arrows point right and down, never sideways.
const ARROWS: [(&str, &[&str]); 13] = [
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

#[test]
fn crates_know_only_whom_they_may() {
    let lawful: BTreeMap<_, _> = ARROWS.into_iter().collect();
    let members = manifest(&root().join("Cargo.toml"));
    let members = members["workspace"]["members"].as_array().unwrap().clone();
    assert_eq!(members.len(), lawful.len(), "a crate without a row in ARROWS");
    for member in members {
        let manifest = manifest(&root().join(member.as_str().unwrap()).join("Cargo.toml"));
        let name = manifest["package"]["name"].as_str().unwrap();
        let may = lawful.get(name).unwrap_or_else(|| panic!("{name} has no row in ARROWS"));
        for known in ours(&manifest, "dependencies") {
            assert!(may.contains(&known.as_str()), "{name} may not know {known}");
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
            assert!(deliver || line.contains("soundoff_common::protocol"), "{}: {line}", file.display());
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

#[test]
fn files_fit_in_a_head() {
    let long: Vec<_> = sources(&root())
        .into_iter()
        .map(|file| (std::fs::read_to_string(&file).unwrap().lines().count(), file))
        .filter(|(lines, file)| *lines > MAX_FILE_LINES && !file.ends_with(ONE_MODULE))
        .collect();
    assert!(long.is_empty(), "over {MAX_FILE_LINES} lines: {long:?}");
}
