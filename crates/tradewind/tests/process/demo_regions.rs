//! The demo with several regions, as it runs where nobody sits at the keys.

use crate::support::{Node, said, tradewind};
use serde_json::Value;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use tw_testing::eventually;

fn demo(folder: &Path, args: &[&str]) -> Command {
    let mut command = tradewind();
    command.args(["demo", "--regions", "3", "--listen", "127.0.0.1:0", "--rate", "300", "--data", "data"]);
    command.args(args).current_dir(folder).stdin(Stdio::null());
    command
}

/// The processes of regions that were started on a folder.
fn processes(folder: &Path) -> Vec<u32> {
    let pid = |number: u16| {
        let path = folder.join(format!("data/region-{number}/pid"));
        fs::read_to_string(path).unwrap().trim().parse().unwrap()
    };
    (1..=3).map(pid).collect()
}

fn is_running(pid: &u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Runs the script, and gives how many events all regions had in the end, as the demo says.
fn play(folder: &Path) -> u64 {
    let ran = demo(folder, &["--seconds", "9"]).output().unwrap();
    let printed = String::from_utf8(ran.stdout.clone()).unwrap();
    assert!(ran.status.success(), "{}\n{printed}", said(&ran));
    for part in ["link 1-2 is cut", "link 1-2 is healed", "the writers have stopped"] {
        assert!(printed.contains(part), "`{part}` is not in {printed}");
    }
    let pids = processes(folder);
    assert!(!pids.iter().any(is_running), "{pids:?} are still there");
    let (_, equal) = printed.rsplit_once("equal at ").expect("the hashes were compared");
    equal.split_once(' ').unwrap().0.replace(',', "").parse().unwrap()
}

#[test]
fn reg_1_the_script_of_the_demo_ends_with_equal_hashes_and_no_process_stays() {
    let folder = tempfile::tempdir().unwrap();
    let first = play(folder.path());
    let again = play(folder.path());
    assert!(first > 1_000 && again > first + 1_000, "it goes on where it was: {first}, then {again}");
    // What was compared is what is on the disks of the regions, which reach nobody now.
    let nodes = [1, 2, 3].map(|number| Node::start(&folder.path().join(format!("data/region-{number}"))));
    let hashes = nodes.iter().map(|node| node.ok(&["region", "hashes", "orders", "-o", "json"]));
    let hashes: Vec<Value> = hashes.map(|printed| serde_json::from_str(&printed).unwrap()).collect();
    assert_eq!(hashes[0][0]["count"], Value::from(again), "{}", hashes[0]);
    assert!(hashes.iter().all(|of_region| *of_region == hashes[0]), "REG-1: {hashes:?}");
    assert_eq!(hashes[0].as_array().unwrap().len(), 2, "the stream and its projection");
}

#[test]
fn a_demo_with_regions_that_is_told_to_end_ends_its_regions_and_a_second_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = demo(folder.path(), &[]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    let shown = lines.by_ref().map(Result::unwrap).find(|line| line.contains("accepted")).unwrap();
    assert!(shown.contains("region 3:") && shown.contains("2-3 "), "{shown}");
    let pids = processes(folder.path());
    assert!(pids.iter().all(is_running), "{pids:?}");
    let second = demo(folder.path(), &[]).output().unwrap();
    assert_eq!(second.status.code(), Some(4), "{}", said(&second));
    assert!(said(&second).contains("runs on"), "{}", said(&second));
    let sent = Command::new("kill").args(["-TERM", &running.id().to_string()]).status().unwrap();
    assert!(sent.success());
    // Whoever prints is not kept waiting.
    std::thread::spawn(move || lines.for_each(drop));
    let ended = eventually(|| running.try_wait().unwrap(), || "the demo does not end".to_owned());
    assert_eq!(ended.code(), Some(0));
    assert!(!pids.iter().any(is_running), "{pids:?} are still there");
}

#[test]
fn options_that_contradict_regions_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for args in [&["--postgres", "postgres://nobody"][..], &["--node", "n1"], &["--delay-ms", "5000"]] {
        let refused = demo(folder.path(), args).output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {}", said(&refused));
    }
    let mut alone = tradewind();
    let alone = alone.args(["demo", "--delay-ms", "5"]).current_dir(folder.path()).output().unwrap();
    assert_eq!(alone.status.code(), Some(2), "{}", said(&alone));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made in vain");
}
