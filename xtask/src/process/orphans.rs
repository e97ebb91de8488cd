//! Finding what was started indirectly and outlived whoever started it.
//!
//! Linux hands orphans to the nearest ancestor that asked for them, so they stay our descendants and `/proc` shows them.
//! Other systems hand them to `init`; there only process groups are stopped.

use anyhow::Result;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};
use std::fs;

/// A descendant of this process that is still running.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) name: String,
    parent: i32,
    dead: bool,
}

impl Process {
    pub(super) fn kill(&self, signal: Signal) -> rustix::io::Result<()> {
        Pid::from_raw(self.pid).map_or(Ok(()), |pid| kill_process(pid, signal))
    }

    /// Reads a line of `/proc/PID/stat`: `pid (name) state parent …`; a name may hold spaces and parentheses.
    fn parse(stat: &str) -> Option<Self> {
        let (pid, rest) = stat.split_once(" (")?;
        let (name, rest) = rest.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let dead = matches!(fields.next()?, "Z" | "X");
        Some(Self {
            pid: pid.parse().ok()?,
            name: name.to_owned(),
            parent: fields.next()?.parse().ok()?,
            dead,
        })
    }
}

/// From now on, orphans of our descendants become our children.
pub(super) fn adopt() -> Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(getpid()))?;
    Ok(())
}

/// Every descendant that has not ended. Those that have are buried on the way, except for our own children: whoever
/// started one waits for it.
pub(super) fn running(own_children: &[Pid]) -> Vec<Process> {
    let all: Vec<Process> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Process::parse(&fs::read_to_string(entry.path().join("stat")).ok()?))
        .collect();
    let own = getpid().as_raw_pid();
    let (dead, alive): (Vec<_>, Vec<_>) = descendants(own, all).into_iter().partition(|process| process.dead);
    for process in dead.iter().filter(|process| process.parent == own) {
        if let Some(pid) = Pid::from_raw(process.pid).filter(|pid| !own_children.contains(pid)) {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG); // It is dead: this cannot fail for long.
        }
    }
    alive
}

fn descendants(of: i32, all: Vec<Process>) -> Vec<Process> {
    let mut family = vec![of];
    let mut found = Vec::new();
    let mut rest = all;
    loop {
        let (children, others): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|process| family.contains(&process.parent));
        if children.is_empty() {
            return found;
        }
        family = children.iter().map(|child| child.pid).collect();
        found.extend(children);
        rest = others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_is_read_whole() {
        let process = Process::parse("17 (a) (b c)) S 4 17 17 0").unwrap();
        assert_eq!(
            (process.pid, process.name.as_str(), process.parent, process.dead),
            (17, "a) (b c)", 4, false)
        );
    }

    #[test]
    fn descendants_of_descendants_are_found_and_strangers_are_not() {
        let all = ["2 (child) S 1", "9 (grandchild) S 2", "3 (stranger) S 7", "4 (dead) Z 9"]
            .map(|stat| Process::parse(stat).unwrap());
        let mut found: Vec<i32> = descendants(1, all.to_vec()).iter().map(|process| process.pid).collect();
        found.sort_unstable();
        assert_eq!(found, [2, 4, 9]);
    }
}
