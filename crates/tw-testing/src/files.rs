//! Folders that servers start from.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where what takes long to make is kept: beside the tests' programs.
pub(crate) fn templates() -> PathBuf {
    let program = std::env::current_exe().expect("this program's path");
    program.ancestors().nth(2).expect("a build folder").join("tw-testing")
}

/// Copies a folder with everything in it; only its owner may look into the copy.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir(to).expect("create folder");
        fs::set_permissions(to, fs::Permissions::from_mode(0o700)).expect("permissions");
        for entry in fs::read_dir(from).expect("list") {
            let entry = entry.expect("list");
            copy_tree(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).expect("copy");
    }
}
