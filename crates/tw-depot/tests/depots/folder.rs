//! A folder as a depot.

use crate::conformance;
use bytes::Bytes;
use pollster::block_on;
use std::path::Path;
use tokio::runtime::Runtime;
use tw_depot::{Depot, Error, Objects, Options};

fn options(folder: &Path) -> Options {
    Options { place: folder.to_str().unwrap().to_owned(), ..Options::default() }
}

fn open(runtime: &Runtime, folder: &Path) -> Objects {
    Objects::open(&options(folder), runtime.handle().clone()).unwrap().unwrap()
}

#[test]
fn a_folder_keeps_every_promise() {
    let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    conformance::all(&open(&runtime, &folder.path().join("made/on/the/way")));
}

#[test]
fn nothing_is_opened_where_no_place_is_named() {
    let runtime = Runtime::new().unwrap();
    assert!(Objects::open(&Options::default(), runtime.handle().clone()).unwrap().is_none());
}

#[test]
fn what_one_process_stores_another_one_finds() {
    let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    block_on(open(&runtime, folder.path()).put("a/b", Bytes::from_static(b"x"))).unwrap();
    let found = block_on(open(&runtime, folder.path()).get("a/b", 1)).unwrap();
    assert_eq!(found, Some(Bytes::from_static(b"x")));
}

#[test]
fn files_that_others_left_there_are_not_listed() {
    let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let depot = open(&runtime, folder.path());
    block_on(depot.put("a/b", Bytes::new())).unwrap();
    for name in ["c#1", ".hidden", "a name", "ä"] {
        std::fs::write(folder.path().join("a").join(name), b"x").unwrap();
    }
    assert_eq!(block_on(depot.list("a", 10)).unwrap(), ["a/b"]);
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
    let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let outcome = Objects::open(&options(&file.join("x")), runtime.handle().clone());
    assert!(matches!(&outcome, Err(Error::Folder { place, .. }) if place.ends_with("file/x")), "{outcome:?}");
}

#[test]
fn a_folder_that_fails_is_an_error_and_not_an_empty_depot() {
    let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let depot = open(&runtime, folder.path());
    // A file is where a folder should be.
    std::fs::write(folder.path().join("a"), b"").unwrap();
    let outcome = block_on(depot.put("a/b", Bytes::new()));
    assert!(matches!(outcome, Err(Error::Engine { .. })), "{outcome:?}");
}

#[test]
fn a_request_after_the_end_of_the_runtime_is_refused() {
    let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let depot = open(&runtime, folder.path());
    drop(runtime);
    let outcome = block_on(depot.get("a", 1));
    assert!(matches!(outcome, Err(Error::Closed)), "{outcome:?}");
}
