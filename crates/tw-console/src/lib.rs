//! The web console as files: built from `web/`, compressed, and embedded in the binary.
//!
//! It stands beside `tw-api`, which serves it. It knows nothing of HTTP, of the node, and of what the console shows; it holds
//! bytes and their names. How they are made is in `build.rs`.

include!(concat!(env!("OUT_DIR"), "/table.rs"));

/// One file.
#[derive(Clone, Copy)]
pub struct File {
    /// Where it is served, from the root: `/index.html`, `/assets/index-4f2a.js`.
    pub path: &'static str,
    /// Its media type, with the character set.
    pub media_type: &'static str,
    /// A hash of its content, of letters that an ETag may have.
    pub hash: &'static str,
    /// The content as it is.
    pub plain: &'static [u8],
    /// The same in brotli, if that is shorter.
    pub brotli: Option<&'static [u8]>,
    /// The same in gzip, if that is shorter.
    pub gzip: Option<&'static [u8]>,
}

/// The path of the page that every view of the console begins with.
pub const SHELL: &str = "/index.html";

/// All files, in the order of their paths.
pub fn files() -> &'static [File] {
    FILES
}

/// Whether this is the console, and not the page that says how to get it.
pub fn is_built() -> bool {
    BUILT
}

/// The file that is served at a path.
pub fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a browser loads before it shows anything, compressed.
    const FIRST_LOAD_BYTES_MAX: usize = 120_000;
    /// What the program carries, compressed: pages that are loaded when they are opened, and icons, too.
    const ALL_BYTES_MAX: usize = 200_000;

    fn shell() -> &'static str {
        std::str::from_utf8(find(SHELL).unwrap().plain).unwrap()
    }

    #[test]
    fn each_file_is_there_once_and_has_content() {
        for file in files() {
            assert_eq!(files().iter().filter(|other| other.path == file.path).count(), 1, "{}", file.path);
            assert!(!file.plain.is_empty() && file.path.starts_with('/'), "{}", file.path);
            assert!(file.hash.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{}", file.hash);
            for smaller in [file.brotli, file.gzip].into_iter().flatten() {
                assert!(smaller.len() < file.plain.len(), "{}", file.path);
            }
        }
    }

    #[test]
    fn the_shell_has_nothing_inline_and_refers_to_files_that_are_there() {
        let html = shell();
        for inline in ["<style", " style=", "javascript:", " onload=", " onclick="] {
            assert!(!html.contains(inline), "{inline}");
        }
        for script in html.split("<script").skip(1) {
            assert!(script.split('>').next().unwrap().contains(" src="), "an inline script");
        }
        for reference in html.split("\"/assets/").skip(1) {
            let path = format!("/assets/{}", reference.split('"').next().unwrap());
            assert!(find(&path).is_some(), "{path} is not embedded");
        }
        assert_eq!(html.contains("\"/assets/"), is_built());
    }

    /// What a script imports before it runs; what it imports later begins with a parenthesis.
    fn imports(script: &File) -> impl Iterator<Item = &'static File> {
        let text = std::str::from_utf8(script.plain).unwrap();
        let named = ["from\"./", "import\"./"].into_iter().flat_map(|before| text.split(before).skip(1));
        named.filter_map(|rest| find(&format!("/assets/{}", rest.split('"').next().unwrap())))
    }

    /// The shell, what it names, the first page, what these import, and every style sheet.
    fn first_load() -> Vec<&'static File> {
        let html = shell();
        let mut paths = vec![SHELL.to_owned()];
        let named = html.split("\"/assets/").skip(1);
        paths.extend(named.map(|rest| format!("/assets/{}", rest.split('"').next().unwrap())));
        let begins = |file: &File| file.path.starts_with("/assets/Overview-") || file.path.ends_with(".css");
        paths.extend(files().iter().filter(|file| begins(file)).map(|file| file.path.to_owned()));
        let mut load: Vec<&File> = Vec::new();
        let mut next: Vec<&File> = paths.iter().filter_map(|path| find(path)).collect();
        while let Some(file) = next.pop() {
            if load.iter().all(|other| other.path != file.path) {
                load.push(file);
                next.extend(imports(file).filter(|_| file.path.ends_with(".js")));
            }
        }
        load
    }

    #[test]
    fn the_first_load_stays_within_its_budget() {
        let load = first_load();
        let bytes: usize = load.iter().map(|file| file.gzip.unwrap_or(file.plain).len()).sum();
        assert!(bytes <= FIRST_LOAD_BYTES_MAX, "{bytes} bytes");
        // Otherwise nothing was counted.
        assert!(!is_built() || (load.len() > 5 && bytes > 20_000), "{} files, {bytes} bytes", load.len());
    }

    #[test]
    fn all_files_together_stay_within_their_budget() {
        let all: usize = files().iter().map(|file| file.gzip.unwrap_or(file.plain).len()).sum();
        assert!(all <= ALL_BYTES_MAX, "{all} bytes");
    }
}
