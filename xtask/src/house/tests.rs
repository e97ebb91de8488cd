//! Each rule, on small files.

use super::allow::Allowed;
use super::functions::{Function, functions};
use super::source::Source;
use super::{Finding, is_test_code, manifest, rules};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn source(text: &str) -> Source {
    Source::new(text.to_owned())
}

/// The rules that a file breaks, as `rule:line`.
fn broken(path: &str, text: &str) -> Vec<String> {
    let found = rules::rust(Path::new(path), &source(text), path.contains("tests"));
    found.iter().map(|finding| format!("{}:{}", finding.rule, finding.line)).collect()
}

#[test]
fn code_comments_and_literals_are_told_apart() {
    let text = r##"a("b\"{", 'c', '\'', '{', 'ä') // d {
        /* e /* { */ f */ g::<'static>(r#"h " {"#, b"i{", br"j{", r#type) {}"##;
    let source = source(text);
    let words = |layer: &str| layer.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words(&source.code), r#"a(" ", ' ', ' ', ' ', ' ') g::<'static>( , b" ", , r#type) {}"#);
    assert_eq!(words(&source.comments), "// d { /* e /* { */ f */");
    assert_eq!(source.code.len(), text.len());
}

#[test]
fn functions_are_measured_from_fn_to_the_closing_brace() {
    let text = "trait T { fn signature(&self) -> [u8; 4]; }\n\
        struct S { call: fn (u8) -> u8 }\n\
        fn one() -> [u8; 2] { \"}\"; [1; 2] }\n\
        async fn two(\n  a: u8,\n) {\n  fn inner() {}\n}\n";
    let function = |name: &str, line, lines| Function { name: name.into(), line, lines };
    assert_eq!(
        functions(&source(text)),
        [function("one", 3, 1), function("two", 4, 5), function("inner", 7, 1)]
    );
}

#[test]
fn a_function_of_seventy_lines_passes_and_one_more_does_not() {
    let of = |lines: usize| format!("//! M.\nfn long() {{{}}}", "\n".repeat(lines - 1));
    assert!(broken("a.rs", &of(70)).is_empty());
    assert_eq!(broken("a.rs", &of(71)), ["function-length:2"]);
}

#[test]
fn a_file_of_five_hundred_lines_passes_and_one_more_does_not() {
    let of = |lines: usize| format!("//! M.\n{}", "//\n".repeat(lines - 1));
    assert!(broken("a.rs", &of(500)).is_empty());
    assert_eq!(broken("a.rs", &of(501)), ["file-length:1"]);
}

#[test]
fn unfinished_code_is_found_and_words_in_strings_are_not() {
    let text = "//! M.\nfn a() { todo!() }\n// FIXME later\nfn b() { let _ = \"todo!\"; }\nfn c() { my_todo!() }\n#[ignore = \"slow\"]\n";
    assert_eq!(broken("a.rs", text), ["unfinished:6", "unfinished:2", "unfinished:3"]);
}

#[test]
fn sleeping_is_found_in_tests_only() {
    let sleep = "std::thread::sleep(second)";
    let inline = format!(
        "//! M.\nfn a() {{ {sleep} }}\n#[cfg(test)]\nmod tests {{ fn b() {{ {sleep} }} }}\nfn c() {{ {sleep} }}\n"
    );
    assert_eq!(broken("a.rs", &inline), ["sleep-in-test:4"]);
    assert_eq!(broken("tests/a.rs", &format!("//! M.\nfn a() {{ {sleep} }}\n")), ["sleep-in-test:2"]);
}

#[test]
fn a_module_that_is_declared_for_tests_is_test_code_with_all_below_it() {
    let modules =
        source("#[cfg(test)]\nmod props;\nmod shape;\n").test_modules(Path::new("crates/a/src/lib.rs"));
    assert_eq!(modules, [PathBuf::from("crates/a/src/props")]);
    let modules = BTreeSet::from_iter(modules);
    let is_test = |path: &str| is_test_code(Path::new(path), &modules);
    assert!(is_test("crates/a/src/props.rs"));
    assert!(is_test("crates/a/src/props/deep.rs"));
    assert!(is_test("crates/a/tests/kill.rs"));
    assert!(!is_test("crates/a/src/shape.rs"));
    let nested = source("#[cfg(test)]\nmod tests;\n").test_modules(Path::new("crates/a/src/shape.rs"));
    assert_eq!(nested, [PathBuf::from("crates/a/src/shape/tests")]);
}

#[test]
fn files_say_what_they_are_for_and_modules_are_not_called_mod() {
    assert_eq!(broken("a/mod.rs", "fn a() {}\n"), ["mod-rs:1", "module-docs:1"]);
}

#[test]
fn paths_of_one_machine_are_found_in_any_text() {
    let text = format!("fine\nsee {}\n", ["", "home", "me", "x"].join("/"));
    let found = rules::any_text(Path::new("README.md"), &text);
    assert_eq!(found.iter().map(|finding| finding.line).collect::<Vec<_>>(), [2]);
}

#[test]
fn manifests_inherit_lints_and_versions() {
    let messages = |text: &str| manifest::check(Path::new("crates/tw-a/Cargo.toml"), text).len();
    let good = "package.name = 'tw-a'\nlints.workspace = true\n[dependencies]\nbytes.workspace = true\n";
    assert_eq!(messages(good), 0);
    assert_eq!(messages(&good.replace("'tw-a'", "'tw-b'")), 1);
    assert_eq!(messages(&good.replace("lints.workspace = true\n", "")), 1);
    assert_eq!(messages(&good.replace("bytes.workspace = true", "bytes = '1'")), 1);
    assert_eq!(messages(&format!("{good}[dev-dependencies]\ntw-a.path = '.'\n")), 0);
    assert_eq!(messages("[workspace]\n[package]\nname = 'fuzz'\n"), 0);
}

#[test]
fn exceptions_cover_what_they_name_and_are_removed_when_idle() {
    let finding = |path: &str, message: &str| Finding {
        path: path.into(),
        line: 1,
        rule: "function-length",
        message: message.into(),
    };
    let exception =
        "[[allow]]\npath = 'a.rs'\nrule = 'function-length'\ncontaining = '`f`'\nreason = 'a table'\n";
    let allowed = Allowed::parse(exception).unwrap();
    assert!(allowed.sift(vec![finding("a.rs", "`f` is long")]).is_empty());
    let rest = allowed.sift(vec![finding("a.rs", "`g` is long"), finding("b.rs", "`f` is long")]);
    assert_eq!(
        rest.iter().map(|it| it.rule).collect::<Vec<_>>(),
        ["allow", "function-length", "function-length"]
    );
    let silent = Allowed::parse(&exception.replace("a table", " ")).unwrap();
    assert_eq!(silent.sift(vec![finding("a.rs", "`f` is long")]).len(), 1);
}
