//! The SQL shell on a pseudo terminal, which `script` of util-linux makes.

use crate::support::{Node, tradewind};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tw_testing::eventually;

/// What a program asks a terminal to learn where its cursor is, and what the terminal answers.
const WHERE: &[u8] = b"\x1b[6n";
const HERE: &[u8] = b"\x1b[1;1R";

/// A shell, and what it has printed that nobody has waited for yet.
struct Shell {
    script: Child,
    keys: Arc<Mutex<ChildStdin>>,
    printed: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Shell {
    fn open(node: &Node, home: &Path) -> Self {
        let program = tradewind().get_program().to_str().unwrap().to_owned();
        let mut script = Command::new("script")
            .args([
                "-qfec",
                &format!("stty cols 100 rows 30; exec {program} sql --url {}", node.url),
                "/dev/null",
            ])
            .envs([("TERM", "xterm"), ("NO_COLOR", "1")])
            .env("HOME", home)
            .env_remove("XDG_STATE_HOME")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let keys = Arc::new(Mutex::new(script.stdin.take().unwrap()));
        let printed = Arc::<Mutex<Vec<u8>>>::default();
        let mut output = script.stdout.take().unwrap();
        let (answers, seen) = (keys.clone(), printed.clone());
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            let mut before: Vec<u8> = Vec::new();
            while let Ok(read @ 1..) = output.read(&mut buffer) {
                seen.lock().unwrap().extend(&buffer[..read]);
                before.extend(&buffer[..read]);
                while let Some(at) = before.windows(WHERE.len()).position(|bytes| bytes == WHERE) {
                    before.drain(..at + WHERE.len());
                    // A shell that has gone asks no more.
                    let _gone = answers.lock().unwrap().write_all(HERE);
                }
            }
        });
        Self { script, keys, printed, reader }
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.printed.lock().unwrap()).into_owned()
    }

    /// Waits until it has printed `text`, and forgets what it has printed up to there.
    fn shows(&self, text: &str) {
        let look = || {
            let mut printed = self.printed.lock().unwrap();
            let at = printed.windows(text.len()).position(|bytes| bytes == text.as_bytes())?;
            printed.drain(..at + text.len());
            Some(())
        };
        eventually(look, || format!("`{text}` in {:?}", self.seen()));
    }

    /// Types at a prompt that was seen.
    fn types(&self, keys: &str) {
        let mut terminal = self.keys.lock().unwrap();
        terminal.write_all(keys.as_bytes()).unwrap();
        terminal.flush().unwrap();
    }

    /// Waits for the end; gives the exit code.
    fn ends(mut self) -> Option<i32> {
        let status = eventually(|| self.script.try_wait().unwrap(), || "the shell does not end".to_owned());
        self.reader.join().unwrap();
        status.code()
    }
}

#[test]
fn the_shell_edits_completes_remembers_and_is_left_with_ctrl_d() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    node.ok(&["sql", "CREATE STREAM visits (page text)"]);
    node.ok(&["append", "visits", "{\"page\": \"/\"}"]);
    let shell = Shell::open(&node, folder.path());
    shell.shows("tradewind> ");
    // A statement over two lines.
    shell.types("SELECT 40 +\r");
    shell.shows("-> ");
    shell.types("2 AS answer;\r");
    shell.shows("42");
    shell.shows("tradewind> ");
    // Tab completes the name of a stream.
    shell.types("SELECT page FROM visi\t");
    shell.shows("visits");
    shell.types(";\r");
    shell.shows("(1 row)");
    shell.shows("tradewind> ");
    // What fails is said, and the shell goes on; Ctrl-C drops what was typed.
    shell.types("SELEC 1;\r");
    shell.shows("did you mean `SELECT`?");
    shell.shows("tradewind> ");
    shell.types("garbage");
    shell.shows("garbage");
    shell.types("\x03");
    shell.shows("tradewind> ");
    shell.types("SELECT 1 AS one;\r");
    shell.shows("(1 row)");
    shell.shows("tradewind> ");
    // Ctrl-C ends what repeats itself.
    shell.types("\\watch 0.1\r");
    shell.shows("every 100 ms");
    shell.types("\x03");
    shell.shows("tradewind> ");
    shell.types("\x04");
    assert_eq!(shell.ends(), Some(0));

    // Another shell remembers.
    let shell = Shell::open(&node, folder.path());
    shell.shows("tradewind> ");
    shell.types("\x12visits");
    shell.shows("SELECT page FROM visits");
    shell.types("\x03");
    shell.shows("tradewind> ");
    shell.types("\\q\r");
    assert_eq!(shell.ends(), Some(0));
}
