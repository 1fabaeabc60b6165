//! Which file of a crate imports from which, read from the sources as text.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// One file of a crate.
struct File {
    path: PathBuf,
    /// The module that it is, from the crate's root on.
    module: Vec<String>,
    /// The source without comments, texts, and tests.
    code: String,
    /// What it passes on from elsewhere: the name, and the path that it is imported from.
    passes_on: BTreeMap<String, Vec<String>>,
    /// Modules that it passes on as a whole (`pub use x::*`).
    passes_all: Vec<Vec<String>>,
}

/// The files of a crate, and for each of them the files that it imports from.
pub(crate) fn imports(src: &Path) -> BTreeMap<PathBuf, BTreeSet<PathBuf>> {
    let files: Vec<File> = sources(src).into_iter().map(|path| File::read(src, path)).collect();
    let by_module: BTreeMap<&[String], usize> =
        files.iter().enumerate().map(|(at, file)| (file.module.as_slice(), at)).collect();
    let mut all = BTreeMap::new();
    for file in &files {
        let mut targets = BTreeSet::new();
        for (path, is_passed_on) in file.paths() {
            if is_passed_on {
                // An importer through this file is counted as an importer of the file that it comes from.
                continue;
            }
            if let Some(target) = resolve(&files, &by_module, &path, 0)
                && files[target].path != file.path
            {
                targets.insert(files[target].path.clone());
            }
        }
        all.insert(file.path.clone(), targets);
    }
    all
}

/// The file in which the item at a path is.
fn resolve(
    files: &[File],
    by_module: &BTreeMap<&[String], usize>,
    path: &[String],
    depth: usize,
) -> Option<usize> {
    let known = (0..=path.len()).rev().find_map(|end| Some((end, *by_module.get(&path[..end])?)));
    let (end, at) = known?;
    let file = &files[at];
    let Some(item) = path.get(end) else { return Some(at) };
    if depth > 8 {
        return Some(at);
    }
    if let Some(from) = file.passes_on.get(item) {
        return resolve(files, by_module, from, depth + 1);
    }
    let through = file.passes_all.iter().find_map(|module| {
        let at = *by_module.get(module.as_slice())?;
        let defines = [" fn ", " struct ", " enum ", " trait ", " const ", " type ", " static "];
        let is_there = |kind: &&str| files[at].code.contains(&format!("{kind}{item}"));
        defines.iter().any(is_there).then_some(at)
    });
    through.or(Some(at))
}

impl File {
    fn read(src: &Path, path: PathBuf) -> Self {
        let inner = path.strip_prefix(src).unwrap().with_extension("");
        let mut module: Vec<String> = inner.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        let code = bare(&std::fs::read_to_string(&path).unwrap());
        let mut file = Self { path, module, code, passes_on: BTreeMap::new(), passes_all: Vec::new() };
        for (path, is_passed_on) in file.paths() {
            match path.split_last() {
                Some((last, module)) if is_passed_on && last == "*" => file.passes_all.push(module.to_vec()),
                Some((last, _)) if is_passed_on => drop(file.passes_on.insert(last.clone(), path)),
                _ => {}
            }
        }
        file
    }

    /// All paths within the crate that the file names, and whether it only passes them on.
    fn paths(&self) -> Vec<(Vec<String>, bool)> {
        let mut paths = Vec::new();
        for statement in self.code.split(';') {
            let words = statement.trim_start();
            let words = words.rsplit_once('}').map_or(words, |(_, last)| last.trim_start());
            let is_public = words.starts_with("pub use ")
                || words.starts_with("pub(crate) use ")
                || words.starts_with("pub(super) use ");
            let tree =
                words.split_once("use ").filter(|(before, _)| before.is_empty() || before.starts_with("pub"));
            if let Some((_, tree)) = tree {
                let mut leaves = Vec::new();
                expand(&[], tree, &mut leaves);
                let inner = leaves.into_iter().filter_map(|leaf| self.absolute(&leaf, true));
                paths.extend(inner.map(|path| (path, is_public)));
                // What stands before a `use` in the same piece is code.
                if let Some((code, _)) = statement.rsplit_once("use ") {
                    paths.extend(self.inline(code).into_iter().map(|path| (path, false)));
                }
            } else {
                paths.extend(self.inline(statement).into_iter().map(|path| (path, false)));
            }
        }
        paths
    }

    /// Paths in code, such as `crate::posts::key(…)`.
    fn inline(&self, code: &str) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        for start in ["crate::", "super::"] {
            for (at, _) in code.match_indices(start) {
                if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
                    continue;
                }
                let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
                let end = code[at..].find(|c: char| !is_part(c)).map_or(code.len(), |end| at + end);
                let parts = code[at..end].split("::").filter(|part| !part.is_empty());
                found.extend(self.absolute(&parts.map(str::to_owned).collect::<Vec<_>>(), false));
            }
        }
        found
    }

    /// A path from the crate's root on; `None` when it leads out of the crate.
    fn absolute(&self, path: &[String], is_use: bool) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([&self.module, rest].concat()),
            "super" => {
                let mut module = self.module.clone();
                module.pop();
                let mut rest = rest;
                while rest.first().is_some_and(|part| part == "super") {
                    module.pop();
                    rest = &rest[1..];
                }
                Some([&module, rest].concat())
            }
            // `use child::Item` names a module that this file declares.
            name if is_use && self.code.contains(&format!("mod {name};")) => {
                Some([&self.module, path].concat())
            }
            _ => None,
        }
    }
}

/// All leaves of a `use` tree.
fn expand(before: &[String], tree: &str, leaves: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    if let Some((head, group)) = tree.split_once('{') {
        let head = head.trim().trim_end_matches("::");
        let parts = head.split("::").filter(|part| !part.is_empty()).map(|part| part.trim().to_owned());
        let before: Vec<String> = before.iter().cloned().chain(parts).collect();
        let group = group.trim_end().strip_suffix('}').unwrap_or(group);
        let (mut depth, mut from) = (0, 0);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    expand(&before, &group[from..at], leaves);
                    from = at + 1;
                }
                _ => {}
            }
        }
        expand(&before, &group[from..], leaves);
        return;
    }
    let plain = tree.split(" as ").next().unwrap_or_default().trim();
    if plain.is_empty() {
        return;
    }
    let parts = plain.split("::").map(|part| part.trim().to_owned()).filter(|part| part != "self");
    let leaf: Vec<String> = before.iter().cloned().chain(parts).collect();
    if !leaf.is_empty() {
        leaves.push(leaf);
    }
}

/// A source without comments, without texts, and without its tests, which stand at its end.
fn bare(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut bare = String::with_capacity(text.len());
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or_default();
        for (at, part) in line.split('"').enumerate() {
            if at % 2 == 0 {
                bare.push_str(part);
            }
        }
        bare.push('\n');
    }
    bare
}

/// All Rust files of a crate but those of its tests.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && !matches!(name.as_str(), "testing" | "scenarios" | "tests") {
            files.extend(sources(&path));
        } else if name.ends_with(".rs") && name != "tests.rs" && !name.ends_with("_tests.rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Files that import from each other, however long the way around is: each circle once, its files in order of their
/// names.
pub(crate) fn circles(imports: &BTreeMap<PathBuf, BTreeSet<PathBuf>>) -> Vec<Vec<PathBuf>> {
    let reached = |from: &PathBuf| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(file) = open.pop() {
            for next in imports.get(&file).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    open.push(next.clone());
                }
            }
        }
        seen
    };
    let reaches: BTreeMap<&PathBuf, BTreeSet<PathBuf>> =
        imports.keys().map(|file| (file, reached(file))).collect();
    let mut circles = BTreeSet::new();
    for (file, seen) in &reaches {
        let circle: Vec<PathBuf> = seen
            .iter()
            .filter(|other| reaches.get(other).is_some_and(|back| back.contains(*file)))
            .cloned()
            .collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}
