//! The book holds together: pages, links, includes, anchors, figures, fragments and terms.
//! Needs no tool: it reads the sources, and the built pages where they are present.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All files below a folder with this extension, in a fixed order.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .flat_map(|path| if path.is_dir() { files(&path, extension) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    found.sort();
    found
}

/// The pages, without the fragments that are included in them.
fn pages() -> Vec<PathBuf> {
    let generated = root().join("book/src/generated");
    files(&root().join("book/src"), "md")
        .into_iter()
        .filter(|p| !p.starts_with(&generated))
        .collect()
}

fn name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Pages called `01-coin.md` and so on.
fn chapters() -> Vec<PathBuf> {
    let numbered = |p: &PathBuf| name(p).starts_with(|c: char| c.is_ascii_digit());
    pages().into_iter().filter(numbered).collect()
}

/// What stands between `open` and `close`, each time.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    text.split(open).skip(1).filter_map(|rest| rest.split(close).next()).collect()
}

/// `(file, anchor)` of every include in a page, the file relative to the page's folder.
fn includes(page: &Path) -> Vec<(PathBuf, Option<String>)> {
    let folder = page.parent().expect("a page has a folder");
    let target = |text: &str| {
        let mut parts = text.trim().splitn(2, ':');
        let file = folder.join(parts.next().unwrap_or_default());
        (file, parts.next().map(str::to_string))
    };
    let text = read(page);
    ["{{#include ", "{{#rustdoc_include "]
        .iter()
        .flat_map(|open| between(&text, open, "}}").into_iter().map(target).collect::<Vec<_>>())
        .collect()
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The page without its code, where brackets and numbers mean something else.
fn prose(text: &str) -> String {
    let mut in_fence = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        } else if !in_fence {
            kept += line;
            kept.push('\n');
        }
    }
    kept
}

/// The heading's id, as mdBook makes it.
fn heading_id(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_include_and_anchor_exists_and_every_anchor_is_used() {
    let (mut used, mut shown) = (BTreeSet::new(), BTreeSet::new());
    for page in pages() {
        for (file, anchor) in includes(&page) {
            let file = canonical(&file);
            if let Some(anchor) = anchor {
                let open = format!("ANCHOR: {anchor}\n");
                assert!(read(&file).contains(&open), "{}: no {open:?} in {file:?}", page.display());
                used.insert((file.clone(), anchor));
            }
            shown.insert(file);
        }
    }
    for file in files(&root().join("examples"), "rs") {
        let (text, file) = (read(&file), canonical(&file));
        for anchor in between(&text, "// ANCHOR: ", "\n") {
            let end = format!("// ANCHOR_END: {anchor}\n");
            assert!(text.contains(&end), "{}: no {end:?}", file.display());
            // an example may be there before its chapter
            let missing =
                shown.contains(&file) && !used.contains(&(file.clone(), anchor.to_string()));
            assert!(!missing, "{}: no page shows `{anchor}`", file.display());
        }
    }
}

#[test]
fn figures_and_fragments_are_used() {
    let used: BTreeSet<PathBuf> =
        pages().iter().flat_map(|p| includes(p)).map(|(file, _)| canonical(&file)).collect();
    let source = root().join("book/src");
    let drawn = files(&source.join("figures"), "svg")
        .into_iter()
        .chain(files(&source.join("generated"), "md"));
    for file in drawn {
        assert!(used.contains(&canonical(&file)), "{}: no page includes it", file.display());
        let text = read(&file);
        let blank = file.extension().is_some_and(|e| e == "svg") && text.contains("\n\n");
        assert!(!blank, "{}: a blank line would end the figure", file.display());
    }
}

#[test]
fn links_lead_somewhere() {
    for page in pages() {
        let text = prose(&read(&page));
        for link in between(&text, "](", ")") {
            let link = link.split_whitespace().next().unwrap_or_default();
            assert!(!link.contains("://"), "{}: {link} leads out of the book", page.display());
            let (file, id) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().expect("a page has a folder").join(file),
            };
            assert!(target.exists(), "{}: {link} leads nowhere", page.display());
            let known = || read(&target).lines().any(|l| l.starts_with('#') && heading_id(l) == id);
            assert!(id.is_empty() || known(), "{}: no heading #{id} in {file}", page.display());
        }
    }
}

#[test]
fn the_summary_and_the_doc_tests_list_every_page() {
    let summary = read(&root().join("book/src/SUMMARY.md"));
    let tested = read(&root().join("src/book.rs"));
    let pages: BTreeSet<String> =
        pages().iter().map(|p| name(p)).filter(|n| n != "SUMMARY.md").collect();
    let listed: BTreeSet<String> =
        between(&summary, "](", ")").iter().map(|l| l.replace("./", "")).collect();
    assert_eq!(listed, pages, "SUMMARY.md and the pages differ");
    for page in pages {
        let line = format!("\"../book/src/{page}\"");
        assert!(tested.contains(&line), "src/book.rs does not list {page}");
    }
}

#[test]
fn chapters_have_their_parts_and_their_example() {
    let parts = [
        "## Do it",
        "## What the assertion proves",
        "## Derive it",
        "## Where it breaks",
        "## Exercises",
        "## In one line",
    ];
    for page in chapters() {
        let text = read(&page);
        let mut from = 0;
        for part in parts {
            let heading = format!("\n{part}\n");
            let at = text[from..].find(&heading);
            from += at.unwrap_or_else(|| panic!("{}: no {part:?} in its place", page.display()));
        }
        let solutions = text.matches("<details>").count();
        assert!(solutions >= 3, "{}: {solutions} solutions, need 3", page.display());
        let example = between(&text, "cargo run --release --example ", "\n");
        assert!(!example.is_empty(), "{}: no example to run", page.display());
        for line in example {
            let name = line.split([' ', '`']).next().unwrap_or_default();
            let file = root().join(format!("examples/{name}.rs"));
            assert!(file.exists(), "{}: no {}", page.display(), file.display());
        }
    }
}

#[test]
fn numbers_in_prose_come_from_fragments() {
    for page in pages() {
        for line in prose(&read(&page)).lines() {
            for quantity in ["ELBO = ", "ELBO is ", "gap = ", "gap is ", "k-hat = "] {
                for after in line.split(quantity).skip(1) {
                    let first = after.trim_start_matches(['-', '\u{2212}', '$']).chars().next();
                    let number = first.is_some_and(|c| c.is_ascii_digit()) && after.contains('.');
                    assert!(!number, "{}: a number typed by hand: {line}", page.display());
                }
            }
        }
    }
}

#[test]
fn glossary_names_exist_in_the_library() {
    let source: String = files(&root().join("src"), "rs").iter().map(|f| read(f)).collect();
    let glossary = read(&root().join("book/src/glossary.md"));
    let mut checked = 0;
    for row in glossary.lines().filter(|l| l.starts_with('|')) {
        let cell = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        for name in between(cell, "`", "`").iter().step_by(2) {
            let word = name.rsplit("::").next().unwrap_or(name).trim_end_matches("()");
            assert!(source.contains(word), "glossary.md: no `{name}` in src");
            checked += 1;
        }
    }
    assert!(checked > 10, "the glossary's last column names the library: found {checked}");
}

#[test]
fn the_architecture_page_lists_the_modules_and_the_traits() {
    let page = read(&root().join("book/src/architecture.md"));
    let page = page.split("\n## Changes").next().unwrap_or_default();
    let library = read(&root().join("src/lib.rs"));
    for module in library.lines().filter_map(|l| l.strip_prefix("pub mod ")) {
        let row = format!("| `{}.rs` |", module.trim_end_matches(';'));
        assert!(page.contains(&row), "architecture.md has no row {row}");
    }
    let mut traits = BTreeSet::new();
    for file in files(&root().join("src"), "rs") {
        for line in read(&file).lines().filter_map(|l| l.strip_prefix("pub trait ")) {
            let word = line.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            assert!(page.contains(&format!("| `{word}` |")), "architecture.md has no trait {word}");
            traits.insert(word.to_string());
        }
    }
    for row in page.lines().filter_map(|l| l.strip_prefix("| `")) {
        let word = row.split('`').next().unwrap_or_default();
        let known = match word.ends_with(".rs") {
            true => root().join("src").join(word).exists(),
            false => traits.contains(word),
        };
        assert!(known, "architecture.md lists `{word}`, which is not there");
    }
}

#[test]
fn every_example_is_on_a_page() {
    let mut told: String = pages().iter().map(|p| read(p)).collect();
    told += &read(&root().join("README.md"));
    for file in files(&root().join("examples"), "rs") {
        let inside = file.parent() != Some(&root().join("examples"));
        let example = name(&file).replace(".rs", "");
        assert!(inside || told.contains(&example), "no page leads to examples/{example}.rs");
    }
}

#[test]
fn built_pages_load_nothing_from_elsewhere() {
    let built = root().join("target/book");
    for page in files(&built, "html") {
        let text = read(&page);
        for tag in ["<script", "<link", "<img", "<iframe"] {
            for inside in between(&text, tag, ">") {
                assert!(!inside.contains("://"), "{}: {tag}{inside}>", page.display());
            }
        }
    }
    for sheet in files(&built, "css") {
        let text = read(&sheet);
        for url in between(&text, "url(", ")") {
            let inside = url.trim_start_matches(['\'', '"']).starts_with("data:");
            assert!(inside || !url.contains("://"), "{}: {url}", sheet.display());
        }
    }
}
