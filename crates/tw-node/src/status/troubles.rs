//! Everything that a person should look at, each with a code that stays, what it is about, and what to do. `docs/operations.md`
//! lists the codes; a test keeps the page and this file the same.

use super::{LATEST, failure, sources};
use crate::cluster::{Subject, name_of};
use crate::core::Core;
use tw_api::parts::{Projection, Source, Trouble};

/// All that there is at the moment.
pub(super) fn all(
    core: &Core,
    sources: &[Source],
    projections: &[Projection],
    free: Option<u64>,
) -> Vec<Trouble> {
    let mut troubles = of_log(core, free);
    troubles.extend(of_regions(core));
    troubles.extend(sources.iter().flat_map(sources::problems));
    for projection in projections.iter().filter(|projection| projection.state == "failed") {
        let error = projection.error.as_deref().unwrap_or("it stands still");
        let remedy =
            "define it anew with CREATE OR REPLACE PROJECTION, or restart the node once the cause is gone";
        troubles.push(Trouble::new("projection_failed", "projection", &projection.name, error, remedy));
    }
    for view in core.workers.status().iter().filter(|view| view.name.starts_with(LATEST)) {
        if let Some(error) = failure(view) {
            let remedy = "restart the node once the cause is gone; its log says more";
            troubles.push(Trouble::new(
                "latest_rows_failed",
                "stream",
                &view.stream.to_string(),
                error,
                remedy,
            ));
        }
    }
    for (view, error) in core.definitions.broken() {
        let remedy = "drop what is in its way, or define it anew; it is tried again all the time";
        troubles.push(Trouble::new("definition_broken", "definition", &view, error, remedy));
    }
    for (name, dispute) in core.definitions.disputes() {
        let remedy = "drop one of the two definitions";
        troubles.push(Trouble::new("definition_disputed", "definition", &name.to_string(), dispute, remedy));
    }
    for broken in core.cluster.breaches().all() {
        let detail = format!("{}: {}", broken.invariant, broken.what);
        let remedy = "this must never happen: keep the logs of all nodes and etcd's history, and report it; it stays until the node is started again";
        let (kind, name) = match Subject::of(&broken.unit) {
            Some(Subject::Source(name)) => ("source", name),
            _ => ("partition", name_of(core, &broken.unit)),
        };
        troubles.push(Trouble::new("invariant_broken", kind, &name, detail, remedy));
    }
    if let Some(error) = core.workers.parked().failure() {
        let detail = format!("`$parked` cannot be written: {error}");
        troubles.push(Trouble::new(
            "parked_unwritable",
            "log",
            "$parked",
            detail,
            "see what keeps the log from taking events",
        ));
    }
    troubles
}

/// What the log and the disk suffer from.
fn of_log(core: &Core, free: Option<u64>) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    if let Some(error) = core.log_failure() {
        let remedy = "free room on its disk if that is full; otherwise restart the node, nothing that was acknowledged is lost";
        troubles.push(Trouble::new("log_refuses", "log", "", error.to_string(), remedy));
    }
    if let Some(silent_ms) = core.log_silent_ms() {
        let detail = format!("the servers of the log have given no sign of life for {} s", silent_ms / 1_000);
        let remedy =
            "check that they run, and that this node reaches them; nodes that do take over what it has";
        troubles.push(Trouble::new("log_silent", "log", "", detail, remedy));
    }
    let least = core.options.holds().node.disk_free_bytes_min;
    if let Some(free) = free.filter(|free| *free < least) {
        let detail = format!("{free} bytes are free on the disk of the data folder, fewer than {least}");
        let remedy = "enlarge the disk, lower the retention of the largest streams, or lower `disk_free_bytes_min` of [node]";
        troubles.push(Trouble::new("disk_low", "disk", "", detail, remedy));
    }
    troubles
}

/// What keeps the links with other regions from going on, as far as it was looked at last.
fn of_regions(core: &Core) -> Vec<Trouble> {
    let remedy = "`tradewind region status` says more";
    let texts = core.regions.problems.lock().clone();
    let mut troubles: Vec<Trouble> = texts.iter().map(|text| of_region(text, remedy)).collect();
    if core.regions.drain.until().is_some() {
        let detail = "this region is drained, and accepts nothing for streams that others have";
        let remedy = "`tradewind region drain --undo` ends that";
        troubles.push(Trouble::new("region_drained", "region", "", detail, remedy));
    }
    troubles
}

/// What is wrong with a link says first with which region it is.
fn of_region(text: &str, remedy: &str) -> Trouble {
    let of_link = text.strip_prefix("region ").and_then(|rest| rest.split_once(": "));
    match of_link.filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit())) {
        Some((number, what)) => Trouble::new("region_link", "region", number, what, remedy),
        None => Trouble::new("region", "region", "", text, remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_named_by_its_region_and_what_is_of_all_by_none() {
        let link = of_region("region 2: there is no link: refused", "r");
        assert_eq!((link.code.as_str(), link.about.name.as_str()), ("region_link", "2"));
        assert_eq!(link.detail, "there is no link: refused");
        let of_all = of_region("the clocks of most other regions seem to be ahead", "r");
        assert_eq!((of_all.code.as_str(), of_all.about.name.as_str()), ("region", ""));
    }

    #[test]
    fn every_code_is_in_the_documentation() {
        let page = include_str!("../../../../docs/operations.md");
        for source in [include_str!("troubles.rs"), include_str!("sources.rs")] {
            let made = source.split("#[cfg(test)]").next().unwrap_or_default();
            let calls = made.split("Trouble::new(").skip(1);
            for code in calls.filter_map(|call| call.split('"').nth(1)) {
                assert!(page.contains(&format!("| `{code}` |")), "`{code}` is not in docs/operations.md");
            }
        }
    }
}
