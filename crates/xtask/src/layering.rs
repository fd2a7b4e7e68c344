//! Invariant: `weir-events`, `weir-detectors` and `weir-engine` are functions of their input. They have no
//! runtime, no broker, no query engine, no clock, no randomness and no I/O.
//!
//! Two proofs: what they link (`cargo tree`) and what of the standard library their sources name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::run;

/// The pure crates and their folders.
const PURE: &[(&str, &str)] =
    &[("weir-events", "crates/events"), ("weir-detectors", "detectors"), ("weir-engine", "crates/engine")];

/// Crates that must not be in the normal dependency tree of a pure crate, and why.
const FORBIDDEN_CRATES: &[(&str, &str)] = &[
    ("async-std", "a runtime"),
    ("datafusion", "the query engine; its SQL is the proof of the detectors, not a part of them"),
    ("fastrand", "randomness"),
    ("hyper", "network"),
    ("mio", "network"),
    ("object_store", "storage"),
    ("oorandom", "randomness"),
    ("parquet", "files"),
    ("rand", "randomness"),
    ("rand_core", "randomness"),
    ("rayon", "threads"),
    ("rdkafka", "the broker"),
    ("reqwest", "network"),
    ("smol", "a runtime"),
    ("socket2", "network"),
    ("tempfile", "files"),
    ("time", "a clock"),
    ("tokio", "a runtime"),
    ("ureq", "network"),
    ("uuid", "randomness"),
    ("weir", "the command"),
    ("weir-history", "files and the query engine"),
    ("weir-sim", "randomness"),
];

/// Crates that may be linked only because these others link them. A new dependent is a finding.
const ONLY_THROUGH: &[(&str, &[&str], &str)] = &[
    (
        "getrandom",
        &["ahash"],
        "ahash, under sonic-rs and Arrow, seeds its own tables from it; nothing of Weir iterates those",
    ),
    (
        "iana-time-zone",
        &["chrono"],
        "Arrow turns the clock of chrono on; the sources are searched for its use",
    ),
];

/// Paths of the standard library, and of crates that are linked anyway, that the sources must not name.
const FORBIDDEN_PATHS: &[(&str, &str)] = &[
    ("std::time::Instant", "a clock"),
    ("std::time::SystemTime", "a clock"),
    ("std::time::UNIX_EPOCH", "a clock"),
    ("std::env", "the environment"),
    ("std::fs", "files"),
    ("std::io::stderr", "the terminal"),
    ("std::io::stdin", "the terminal"),
    ("std::io::stdout", "the terminal"),
    ("std::net", "network"),
    ("std::os", "the operating system"),
    ("std::process", "processes"),
    ("std::thread", "threads"),
    ("std::collections::HashMap", "its order is random; take hashbrown with a named hasher, or BTreeMap"),
    ("std::collections::HashSet", "its order is random; take hashbrown with a named hasher, or BTreeSet"),
    ("std::collections::hash_map", "its order is random"),
    ("std::hash::RandomState", "randomness"),
    ("std::hash::DefaultHasher", "its output may change between releases of Rust"),
    ("chrono::Local", "the machine's time zone"),
    ("chrono::Utc::now", "a clock"),
    ("Utc::now", "a clock"),
    ("Local::now", "a clock"),
    ("hashbrown::DefaultHashBuilder", "its order is random; name the hasher"),
    ("getrandom", "randomness"),
    ("ahash", "randomness"),
];

/// Single words that betray the same things however they were imported.
const FORBIDDEN_WORDS: &[(&str, &str)] = &[
    ("SystemTime", "a clock"),
    ("RandomState", "randomness"),
    ("thread_rng", "randomness"),
    ("println", "the terminal"),
    ("eprintln", "the terminal"),
];

/// Runs both proofs and gives a remark of what was looked at, or every finding.
pub(crate) fn check() -> Result<String, String> {
    let mut findings = Vec::new();
    let mut files = 0;
    for (package, folder) in PURE {
        let tree =
            run::cargo(["tree", "--locked", "--edges", "normal", "--prefix", "depth", "--format", " {p}"])
                .args(["--package", package])
                .output()?;
        findings.extend(forbidden_crates(package, &tree));
        let sources = sources(&run::root().join(folder))?;
        let tests: BTreeSet<PathBuf> =
            sources.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
        for (path, text) in &sources {
            if path.ancestors().any(|part| tests.contains(part)) {
                continue;
            }
            let shown = path.strip_prefix(run::root()).unwrap_or(path).display();
            findings.extend(forbidden_names(text).into_iter().map(|finding| format!("{shown}: {finding}")));
            files += 1;
        }
    }
    if findings.is_empty() {
        return Ok(format!("{} pure crates, {files} source files", PURE.len()));
    }
    Err(format!("the pure crates are not pure\n  {}", findings.join("\n  ")))
}

/// What the output of `cargo tree --prefix depth --format " {p}"` shows to be linked and must not be.
fn forbidden_crates(package: &str, tree: &str) -> Vec<String> {
    let edges = edges(tree);
    let mut findings = Vec::new();
    for (name, why) in FORBIDDEN_CRATES {
        if edges.iter().any(|(_, linked)| linked == name) {
            findings
                .push(format!("{package} links {name} ({why}): cargo tree -e normal -p {package} -i {name}"));
        }
    }
    for (name, allowed, why) in ONLY_THROUGH {
        for (dependent, _) in edges.iter().filter(|(_, linked)| linked == name) {
            if !allowed.contains(dependent) {
                findings.push(format!("{package}: {dependent} links {name}, only {allowed:?} may ({why})"));
            }
        }
    }
    findings
}

/// The (dependent, dependency) pairs of a tree printed with depths. A crate met again is cut short by
/// cargo, but its dependencies were listed where it first stood, so no pair is missing.
fn edges(tree: &str) -> BTreeSet<(&str, &str)> {
    let mut ancestors: Vec<&str> = Vec::new();
    let mut edges = BTreeSet::new();
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        let depth = words.next().and_then(|word| word.parse::<usize>().ok());
        let (Some(depth), Some(name)) = (depth, words.next()) else {
            continue;
        };
        ancestors.truncate(depth);
        if let Some(dependent) = ancestors.last() {
            edges.insert((*dependent, name));
        }
        ancestors.push(name);
    }
    edges
}

/// Every Rust source of a crate with its text, but for tests, benches and examples in folders of their own.
fn sources(folder: &Path) -> Result<Vec<(PathBuf, String)>, String> {
    let named = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| named(&folder, error))? {
            let path = entry.map_err(|error| named(&folder, error))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["tests", "benches", "examples", "target"].contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") && name != "build.rs" {
                let text = fs::read_to_string(&path).map_err(|error| named(&path, error))?;
                found.push((path, text));
            }
        }
    }
    if found.is_empty() {
        return Err(format!("{} holds no Rust source", folder.display()));
    }
    found.sort();
    Ok(found)
}

/// The files and folders of the modules that a source declares for tests only.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let folder = path.parent().unwrap_or(path);
    // A module of `a/b.rs` lies in `a/b/`, one of `a/mod.rs` in `a/`; taking both names nothing that exists
    // otherwise.
    let below = path.with_extension("");
    lines
        .windows(2)
        .filter_map(|pair| match pair {
            ["#[cfg(test)]", declaration] => {
                declaration.trim_start_matches("pub(crate) ").strip_prefix("mod ")
            }
            _ => None,
        })
        .filter_map(|module| module.strip_suffix(';'))
        .flat_map(|module| {
            [folder, &below].map(|folder| [folder.join(module), folder.join(format!("{module}.rs"))]).concat()
        })
        .collect()
}

/// What one source names that it must not.
fn forbidden_names(source: &str) -> BTreeSet<String> {
    let code = without_tests(&without_comments_and_strings(source));
    let mut findings = BTreeSet::new();
    for path in used_paths(&code).into_iter().chain(written_paths(&code)) {
        // `core` and `alloc` hold none of the forbidden names, but `::std` is a spelling of `std`.
        let path = path.trim_start_matches("::");
        for (forbidden, why) in FORBIDDEN_PATHS {
            if is_within(path, forbidden) {
                findings.insert(format!("`{path}` ({why})"));
            } else if path != "std" && is_within(forbidden, path) && path.starts_with("std::time") {
                // Importing the module would hide its clocks behind a shorter path.
                findings.insert(format!("`{path}` as a whole ({why}); name what is needed of it"));
            }
        }
    }
    for word in code.split(|c: char| !c.is_alphanumeric() && c != '_') {
        for (forbidden, why) in FORBIDDEN_WORDS.iter().filter(|(forbidden, _)| *forbidden == word) {
            findings.insert(format!("`{forbidden}` ({why})"));
        }
    }
    findings
}

/// Whether `path` is `prefix` or something below it.
fn is_within(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Comments and the contents of strings become blanks; line breaks stay.
fn without_comments_and_strings(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let taken = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            string_length(rest)
        } else if let Some(hashes) = raw_string_hashes(rest).filter(|_| !ends_in_word(&code)) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = hashes + 2;
            rest.get(open..)
                .and_then(|body| body.find(&close))
                .map_or(rest.len(), |at| open + at + close.len())
        } else if rest.starts_with("'\"'") {
            3
        } else {
            code.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            continue;
        };
        let (blanked, after) = rest.split_at_checked(taken).unwrap_or((rest, ""));
        code.extend(blanked.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = after;
    }
    code
}

/// The length of a string literal with its quotes, escapes observed.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The number of `#` when `r"` or `r#…#"` starts here.
fn raw_string_hashes(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r')?;
    let hashes = after.bytes().take_while(|byte| *byte == b'#').count();
    (after.as_bytes().get(hashes) == Some(&b'"')).then_some(hashes)
}

fn ends_in_word(code: &str) -> bool {
    code.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// Drops the `#[cfg(test)] mod … { … }` of a formatted file: its closing brace stands alone at the start of
/// a line.
fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut lines = code.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            for skipped in lines.by_ref() {
                if skipped == "}" || skipped.ends_with(';') {
                    break;
                }
            }
            continue;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}

/// Every path that the `use` declarations import, groups expanded.
fn used_paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let starts_a_word = !code.get(..at).is_some_and(ends_in_word);
        let declaration = code.get(at + 4..).and_then(|rest| rest.split_once(';'));
        if let (true, Some((tree, _))) = (starts_a_word, declaration) {
            let tree: String = tree.replace(" as ", "!").split_whitespace().collect();
            expand(&tree, "", &mut paths);
        }
    }
    paths
}

/// Expands `a::{b, c::{d}}` into `a::b` and `a::c::d`.
fn expand(tree: &str, prefix: &str, paths: &mut Vec<String>) {
    let Some((head, group)) = tree.split_once('{') else {
        let leaf = tree.split('!').next().unwrap_or(tree);
        let path = format!("{prefix}{leaf}");
        paths.push(path.trim_end_matches("::self").trim_end_matches("::*").to_owned());
        return;
    };
    let prefix = format!("{prefix}{head}");
    let group = group.strip_suffix('}').unwrap_or(group);
    let mut depth = 0_usize;
    let mut start = 0;
    for (at, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                expand(group.get(start..at).unwrap_or_default(), &prefix, paths);
                start = at + 1;
            }
            _ => {}
        }
    }
    if let Some(last) = group.get(start..).filter(|last| !last.is_empty()) {
        expand(last, &prefix, paths);
    }
}

/// Every path written out in the code, such as `std::time::Instant::now`.
fn written_paths(code: &str) -> Vec<String> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
        .map(|word| word.trim_end_matches(':'))
        .filter(|word| word.contains("::"))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &[&str]) {
        let found: Vec<String> =
            forbidden_names(source).iter().filter_map(|f| f.split('`').nth(1).map(str::to_owned)).collect();
        assert_eq!(found, expected, "{source}");
    }

    #[test]
    fn names_what_is_forbidden() {
        check("use std::time::Instant;", &["std::time::Instant"]);
        check("use std::{fmt, fs};", &["std::fs"]);
        check("use std::{\n    collections::{BTreeMap, HashMap},\n};", &["std::collections::HashMap"]);
        check("pub use std::io::{self as x, stdin as y};", &["std::io::stdin"]);
        check("use std::time;", &["std::time"]);
        check("use std::time::*;", &["std::time"]);
        check("fn f() { let t = ::std::time::Instant::now(); }", &["std::time::Instant::now"]);
        check("fn f() { println!(\"x\"); }", &["println"]);
        check("fn f(t: SystemTime) {}", &["SystemTime"]);
        check("use chrono::Utc;\nfn f() { Utc::now(); }", &["Utc::now"]);
        check("use ahash::AHashMap;", &["ahash::AHashMap"]);
        check("#[cfg(test)]\nmod tests {\n    use std::fs;\n}\nuse std::env;", &["std::env"]);
        check("#[cfg(test)]\nmod tests;\nuse std::env;", &["std::env"]);
        check("const C: char = '\"'; use std::env; const D: char = '\"';", &["std::env"]);
        check("const C: &str = r#\"\"\"#; use std::env;", &["std::env"]);
    }

    #[test]
    fn leaves_the_rest_alone() {
        check("use std::time::Duration;", &[]);
        check("use std::fmt::{self, Display};", &[]);
        check("use std::io;", &[]);
        check("use hashbrown::HashMap;", &[]);
        check("// std::fs\n/* std::env */ /// use std::net;\nfn f() {}", &[]);
        check("const S: &str = \"use std::fs; \\\" println\";", &[]);
        check("const S: &str = r\"std::fs\";", &[]);
        check("#[cfg(test)]\nmod tests {\n    use std::fs;\n    fn f() {\n    }\n}\n", &[]);
    }

    #[test]
    fn knows_the_modules_that_are_tests() {
        let modules =
            test_modules(Path::new("a/lib.rs"), "mod x;\n#[cfg(test)]\nmod t;\n#[cfg(test)]\nmod u {\n}\n");
        let expected = ["a/t", "a/t.rs", "a/lib/t", "a/lib/t.rs"].map(PathBuf::from);
        assert_eq!(modules, expected);
    }

    #[test]
    fn finds_what_a_tree_links() {
        fn check(tree: &str, expected: usize) {
            assert_eq!(forbidden_crates("weir-events", tree).len(), expected, "{tree}");
        }
        check("0 weir-events v0.1.0 (/x)\n1 serde v1.0.229\n2 tokio v1.0.0\n1 serde v1.0.229 (*)\n", 1);
        check("0 weir-events v0.1.0 (/x)\n1 tokio-lookalike v1\n", 0);
        check("0 weir-events v0.1.0 (/x)\n1 ahash v0.8\n2 getrandom v0.3\n", 0);
        check("0 weir-events v0.1.0 (/x)\n1 ahash v0.8\n1 getrandom v0.3\n", 1);
    }
}
