//! `docs/security.md`: each requirement has its row, and what a row names is there.

use std::collections::BTreeSet;

use super::root;

/// How many requirements OWASP's ASVS 5.0.0 has: in levels 1 and 2, and in all three.
const ROWS: usize = 253;
const ALL: usize = 345;
const VERDICTS: [&str; 4] = ["holds", "partly", "open", "does not apply"];

/// Chapter, section, and number in it.
type Id = [u32; 3];

struct Row<'a> {
    id: Id,
    verdict: &'a str,
    evidence: &'a str,
}

fn page() -> String {
    std::fs::read_to_string(root().join("docs/security.md")).unwrap()
}

fn id(text: &str) -> Option<Id> {
    let numbers: Vec<u32> = text.trim().split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
    numbers.try_into().ok()
}

fn rows(page: &str) -> Vec<Row<'_>> {
    let cells = page.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    cells
        .filter_map(|cells| match cells[..] {
            [_, first, _level, _asks, verdict, evidence, _] => {
                Some(Row { id: id(first)?, verdict, evidence })
            }
            _ => None,
        })
        .collect()
}

/// The requirements of level 3, which have no row.
fn left_out(page: &str) -> Vec<Id> {
    let lists = page.split("Level 3: ").skip(1).filter_map(|rest| rest.split(".\n").next());
    lists.flat_map(|list| list.split(',')).map(|text| id(text).unwrap_or_else(|| panic!("{text}"))).collect()
}

#[test]
fn each_requirement_has_its_row() {
    let page = page();
    let rows = rows(&page);
    assert_eq!(rows.len(), ROWS, "rows of levels 1 and 2");
    let ids: BTreeSet<Id> = rows.iter().map(|row| row.id).chain(left_out(&page)).collect();
    assert_eq!(ids.len(), ALL, "requirements, each named once");
    for &[chapter, section, number] in &ids {
        let before = match (section, number) {
            (_, 2..) => [chapter, section, number - 1],
            (2.., _) => [chapter, section - 1, 1],
            _ if chapter > 1 => [chapter - 1, 1, 1],
            _ => continue,
        };
        assert!(ids.contains(&before), "{before:?} is missing");
    }
}

#[test]
fn the_figures_are_those_of_the_rows() {
    let page = page();
    let rows = rows(&page);
    for Row { id, verdict, .. } in &rows {
        assert!(VERDICTS.contains(verdict), "{id:?}: \"{verdict}\" is none of {VERDICTS:?}");
    }
    let count = |verdict: &str| rows.iter().filter(|row| row.verdict == verdict).count();
    let [holds, partly, open, none] = VERDICTS.map(count);
    let said = format!(
        "Of {ROWS} requirements, {holds} hold, {partly} hold in part, {open} are open, and {none} do not apply."
    );
    assert!(page.contains(&said), "docs/security.md must say: {said}");
}

/// The texts in backticks that name a file of ours: the file, and the test in it.
fn named(text: &str) -> Vec<(&str, Option<&str>)> {
    let spans = text.split('`').skip(1).step_by(2);
    spans
        .filter_map(|span| {
            let (file, test) = match span.split_once("::") {
                Some((file, test)) => (file, Some(test)),
                None => (span, None),
            };
            let (folder, _) = file.split_once('/')?;
            let is_ours = !folder.is_empty() && root().join(folder).is_dir();
            (is_ours || test.is_some()).then_some((file, test))
        })
        .collect()
}

/// Whether a file has a test, or a part of a walk, of this name.
fn has_test(file: &str, text: &str, name: &str) -> bool {
    if file.ends_with(".rs") {
        let before = text.split_once(&format!("fn {name}(")).map(|(before, _)| before);
        let attributes = before.and_then(|before| before.rsplit("\n\n").next()).unwrap_or_default();
        return attributes.contains("#[test") || attributes.contains("#[tokio::test");
    }
    let forms = [
        format!("function {name}("),
        format!("def {name}("),
        format!("test(\"{name}\""),
        format!("run \"{name}\""),
    ];
    forms.iter().any(|form| text.contains(form.as_str()))
}

#[test]
fn what_the_page_names_is_there() {
    let page = page();
    let mut wrong = Vec::new();
    for (file, test) in named(&page) {
        let path = root().join(file);
        match test {
            _ if !path.exists() => wrong.push(file.to_owned()),
            None => {}
            Some(name) if has_test(file, &std::fs::read_to_string(&path).unwrap(), name) => {}
            Some(name) => wrong.push(format!("{file}::{name}")),
        }
    }
    for link in page.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
        if !link.starts_with("https://") && !root().join("docs").join(link).exists() {
            wrong.push(link.to_owned());
        }
    }
    assert!(wrong.is_empty(), "docs/security.md names what is not there: {wrong:#?}");
}

/// Whether a row names a test, or a walk.
fn is_held(row: &Row<'_>) -> bool {
    named(row.evidence).iter().any(|(file, test)| test.is_some() || file.starts_with("tests/"))
}

#[test]
fn what_holds_is_held_by_something() {
    let page = page();
    for row in rows(&page).iter().filter(|row| row.verdict == "holds") {
        assert!(is_held(row), "{:?} holds, and its row names no test", row.id);
    }
}

#[test]
fn vulnerable_dependencies_have_a_number_of_days() {
    let page = std::fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let (_, rest) = page.split_once("## How soon dependencies are replaced\n").expect("it is written down");
    let section = rest.split("\n## ").next().unwrap_or_default();
    for days in ["**7 days**", "**30 days**"] {
        assert!(section.contains(days), "{days} is missing: {section}");
    }
}
