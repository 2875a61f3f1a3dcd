//! The house rules that no compiler holds: floors, sizes, words, and documents that tell the truth.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use seawall::error::ErrorKind;
use seawall::policy::Reason;

/// Lines of a file beyond which it should be split, and beyond which it must be.
const LONG: usize = 400;
const TOO_LONG: usize = 600;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file below `folder`: its path from the root, and its text.
fn rust_files(folder: &str) -> Vec<(String, String)> {
    let mut folders = vec![root().join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                // What a workspace of its own was built into is nobody's source.
                folders.extend((!path.ends_with("target")).then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).expect("below the root").display().to_string();
                files.push((name, read(&path)));
            }
        }
    }
    files.sort();
    files
}

fn all_rust_files() -> Vec<(String, String)> {
    ["src", "tests", "benches", "examples", "fuzz"].into_iter().flat_map(rust_files).collect()
}

fn assert_none(faults: &[String], rule: &str) {
    assert!(faults.is_empty(), "{rule}:\n{}", faults.join("\n"));
}

/// The part of a file before its tests, which stand last or in a file of their own.
fn without_tests<'a>(file: &str, text: &'a str) -> &'a str {
    if file.ends_with("/tests.rs") || file.contains("/tests/") || file.starts_with("tests/") {
        return "";
    }
    text.split("#[cfg(test)]\nmod ").next().unwrap_or(text)
}

/// Comments and what stands in them import nothing.
fn without_comments(text: &str) -> String {
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    text.lines().map(code).collect::<Vec<_>>().join("\n")
}

/// Each room's floor, from the table in `src/lib.rs`. Rooms of one floor do not know each other,
/// except that those after an arrow may know those before it: they get a height in between.
fn floors() -> HashMap<String, (u32, usize)> {
    let mut floors = HashMap::new();
    for line in read("src/lib.rs").lines() {
        let cells: Vec<_> = line.trim_start_matches("//!").split('|').map(str::trim).collect();
        let ["", floor, rooms, ""] = cells[..] else { continue };
        let Ok(floor) = floor.parse::<u32>() else { continue };
        for (height, rooms) in rooms.split('←').enumerate() {
            for room in rooms.split('`').skip(1).step_by(2) {
                floors.insert(room.to_owned(), (floor, height));
            }
        }
    }
    assert!(floors.len() > 10, "the table was found and read: {floors:?}");
    floors
}

/// The rooms that `text` names after `crate::`, inside braces too.
fn imports(text: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    let word = |text: &str| -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    for marker in ["crate::", "seawall::"] {
        for (at, _) in text.match_indices(marker) {
            let rest = &text[at + marker.len()..];
            let Some(group) = rest.strip_prefix('{') else {
                rooms.push(word(rest));
                continue;
            };
            let (mut depth, mut start) = (0, true);
            for (index, character) in group.char_indices() {
                match character {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = true,
                    _ if start && character.is_alphanumeric() => {
                        rooms.push(word(&group[index..]));
                        start = false;
                    }
                    _ => {}
                }
            }
        }
    }
    rooms
}

#[test]
fn imports_go_down_only() {
    let floors = floors();
    let mut faults = Vec::new();
    for (file, text) in rust_files("src") {
        let room = file["src/".len()..].split(['/', '.']).next().unwrap_or_default().to_owned();
        if room == "lib" {
            continue;
        }
        let Some(own) = floors.get(&room) else {
            faults.push(format!("{file}: `{room}` has no floor in src/lib.rs"));
            continue;
        };
        for import in imports(&without_comments(without_tests(&file, &text))) {
            match floors.get(&import) {
                Some(floor) if import != room && floor >= own => {
                    faults.push(format!("{file}: imports `{import}`, which is not below `{room}`"));
                }
                _ => {}
            }
        }
    }
    assert_none(&faults, "imports go down only (table in src/lib.rs)");
}

#[test]
fn floor_zero_does_no_input_or_output() {
    let floors = floors();
    let mut faults = Vec::new();
    for (file, text) in rust_files("src") {
        let room = file["src/".len()..].split(['/', '.']).next().unwrap_or_default();
        if floors.get(room).is_some_and(|(floor, _)| *floor == 0) {
            let code = without_comments(without_tests(&file, &text));
            for banned in ["tokio::", "tracing::", "std::fs", "std::net::Tcp", "std::thread"] {
                if code.contains(banned) {
                    faults.push(format!("{file}: {banned}"));
                }
            }
        }
    }
    assert_none(&faults, "floor 0 is pure");
}

#[test]
fn files_stay_small_enough_to_hold_in_the_head() {
    let mut faults = Vec::new();
    for (file, text) in all_rust_files() {
        let lines = text.lines().count();
        if lines > TOO_LONG {
            faults.push(format!("{file}: {lines} lines"));
        } else if lines > LONG {
            println!("warning: {file} has {lines} lines: think of splitting it");
        }
    }
    assert_none(&faults, &format!("no file has more than {TOO_LONG} lines"));
}

#[test]
fn nothing_is_left_for_later() {
    let marks = ["TODO", "FIXME", "XXX", "todo!(", "dbg!(", "unimplemented!(", "#[ignore"];
    let mut faults = Vec::new();
    for (file, text) in all_rust_files() {
        if file == "tests/tidy.rs" {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            for mark in marks.iter().filter(|mark| line.contains(**mark)) {
                faults.push(format!("{file}:{}: {mark}", number + 1));
            }
        }
    }
    assert_none(&faults, "no marks of unfinished work, no tests that do not run");
}

#[test]
fn no_test_sleeps() {
    let mut faults = Vec::new();
    for (file, text) in all_rust_files() {
        let tests = &text[without_tests(&file, &text).len()..];
        if file != "tests/tidy.rs" && without_comments(tests).contains("sleep(") {
            faults.push(file);
        }
    }
    assert_none(&faults, "tests wait for what happens, not for time to pass");
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = |(file, text): (String, String)| (!text.starts_with("//!")).then_some(file);
    let faults: Vec<_> = all_rust_files().into_iter().filter_map(silent).collect();
    assert_none(&faults, "every file begins with //!");
}

#[test]
fn reason_words_are_unique_kebab_case_and_documented() {
    let mut words = BTreeMap::new();
    let reasons = Reason::ALL.iter().map(|reason| (reason.word(), format!("{reason:?}")));
    let errors = ErrorKind::ALL.iter().map(|kind| (kind.word(), format!("{kind:?}")));
    for (word, name) in reasons.chain(errors) {
        let kebab = word
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte.is_ascii_digit());
        assert!(kebab, "{word}");
        if let Some(other) = words.insert(word, name.clone()) {
            panic!("{word:?} means both {other} and {name}");
        }
    }
    let text = read("docs/reasons.md");
    let reasons = Reason::ALL.iter().map(|reason| {
        format!("| `{}` | {} | {} |", reason.word(), reason.meaning(), reason.advice())
    });
    let errors = ErrorKind::ALL.iter().map(|kind| {
        let status = match kind {
            ErrorKind::ReaderStalled => "–".to_owned(),
            kind => kind.status().as_u16().to_string(),
        };
        format!("| `{}` | {status} | {} | {} |", kind.word(), kind.meaning(), kind.advice())
    });
    let rows: Vec<_> = reasons.chain(errors).collect();
    let untold = |row: &&String| row.contains("|  |") || !text.contains(row.as_str());
    let faults: Vec<_> = rows.iter().filter(untold).cloned().collect();
    assert_none(&faults, "docs/reasons.md has every word, as the code explains it");
}

#[test]
fn make_commands_in_the_documents_exist() {
    let makefile = read("Makefile");
    let mut faults = Vec::new();
    for document in ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"] {
        for (at, _) in read(document).match_indices("make ") {
            let text = read(document);
            let before = text[..at].chars().next_back();
            if !matches!(before, Some('`' | '\n' | ' '))
                || before == Some(' ') && !text[..at].ends_with("    ")
            {
                continue;
            }
            let target: String = text[at + 5..]
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '-')
                .collect();
            if !target.is_empty() && !makefile.contains(&format!("\n{target}:")) {
                faults.push(format!("{document}: make {target}"));
            }
        }
    }
    assert_none(&faults, "the Makefile has every target that is promised");
    assert!(read("README.md").contains("make test"));
    assert!(read(".ci/run").contains("make test"), "CI runs what the README says");
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    let mut faults = Vec::new();
    for document in documents() {
        let text = read(&document);
        let folder = document.parent().unwrap_or(root());
        for (_, rest) in text.match_indices("](").map(|(at, _)| text.split_at(at + 2)) {
            let target = rest.split([')', '#']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !folder.join(target).exists() {
                faults.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert_none(&faults, "relative links lead to files");
}

fn documents() -> Vec<PathBuf> {
    [root().to_owned(), root().join("docs")]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).into_iter().flatten())
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

/// `theme::test_name` in these documents is a promise.
#[test]
fn tests_named_by_the_documents_exist() {
    let code: String =
        ["tests", "src"].into_iter().flat_map(rust_files).map(|(_, it)| it).collect();
    let mut faults = Vec::new();
    for (document, least) in [("ARCHITECTURE.md", 10), ("docs/security.md", 100)] {
        let (text, mut found) = (read(document), 0);
        for name in text.split('`').skip(1).step_by(2) {
            let Some((theme, function)) = name.rsplit_once("::") else { continue };
            let is_test = function.len() > 12 || theme == "corpus";
            if !is_test || name.contains(|c: char| !(c.is_alphanumeric() || "_:".contains(c))) {
                continue;
            }
            found += 1;
            let corpus = theme == "corpus" && root().join("fuzz/corpus").join(function).is_dir();
            if !corpus && !code.contains(&format!("fn {function}(")) {
                faults.push(format!("{document}: {name}"));
            }
        }
        assert!(found >= least, "{document} names tests");
    }
    assert_none(&faults, "tests that documents name exist");
}
