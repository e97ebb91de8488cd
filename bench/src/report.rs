//! What every benchmark prints around its figures.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// Prints the machine and the conditions, once at the start of a run.
pub(crate) fn conditions(folder: &Path) {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("machine: {cores} cores, {}", model.unwrap_or("unknown processor"));
    println!("kernel: {}, load {}", read("/proc/sys/kernel/osrelease").trim(), load(&read("/proc/loadavg")));
    println!("folder: {} on {}", folder.display(), file_system(&read("/proc/mounts"), folder));
    if cfg!(debug_assertions) {
        println!("WARNING: a debug build; its figures mean nothing");
    }
}

fn load(loadavg: &str) -> &str {
    loadavg.split(' ').next().unwrap_or("unknown")
}

/// The type and the device of the file system that holds `folder`.
fn file_system(mounts: &str, folder: &Path) -> String {
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (device, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
            folder.starts_with(point).then(|| (point.len(), format!("{kind} ({device})")))
        })
        .max()
        .map_or_else(|| "an unknown file system".into(), |(_, text)| text)
}

/// The median; of an even number the upper one. Zero of nothing.
pub(crate) fn median<T: PartialOrd + Copy + Default>(values: &[T]) -> T {
    quantile(values, 0.5)
}

/// The value below which about `share` (0 to 1) of the values are.
pub(crate) fn quantile<T: PartialOrd + Copy + Default>(values: &[T], share: f64) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// A duration in milliseconds with three decimals.
pub(crate) fn ms(duration: Duration) -> String {
    format!("{:.3}", duration.as_secs_f64() * 1e3)
}

/// Processor time of the whole process, in seconds. The kernel counts in hundredths.
pub(crate) fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold spaces.
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect::<Vec<_>>();
    let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}
