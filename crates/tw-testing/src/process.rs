//! Processes of servers: started so that they never outlive the tests, ended with a deadline.

use crate::wait::{eventually, within};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak, mpsc};
use std::time::Duration;

/// How long a server may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// The ports that are given out: below those that systems give to connections (32768 on Linux), which take any that is free, also
/// between its choice and the start of the server that is to have it.
const PORTS: Range<u32> = 12_000..32_000;

/// A port of 127.0.0.1 that nobody listens on now. This process gives each once, before it begins again; where it begins depends on its id.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let (start, count) = (std::process::id().wrapping_mul(64), PORTS.end - PORTS.start);
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let next = || PORTS.start + start.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % count;
    (0..count).map(|_| next() as u16).find(free).expect("a free port")
}

/// The one server of all tests of this program that use it at the same time, which `start` makes for the first of them. It ends
/// with the last one.
pub(crate) fn share<S>(shared: &Mutex<Weak<S>>, start: impl FnOnce() -> S) -> Arc<S> {
    // Whoever failed while it started one has left none behind.
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(start());
        *shared = Arc::downgrade(&server);
        server
    })
}

/// The text of a file, as far as there is one.
pub(crate) fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// What a server on 127.0.0.1 answers to a request without a body, head and all.
pub(crate) fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Starts a server that says what it says at the end of `log`.
pub(crate) fn launch(mut command: Command, log: &Path) -> Child {
    let file = File::options().create(true).append(true).open(log).expect("log file");
    command.stdin(Stdio::null()).stdout(file.try_clone().expect("log file")).stderr(file);
    spawn(command)
}

/// The same, and waits until it is ready; nothing when it ended instead.
pub(crate) fn start(command: Command, log: &Path, is_ready: impl Fn(&Child) -> bool) -> Option<Child> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut process = launch(command, log);
    let is_ready = eventually(
        || match process.try_wait().expect("wait") {
            Some(_ended) => Some(false),
            None => is_ready(&process).then_some(true),
        },
        || format!("{name} does not get ready:\n{}", text(log)),
    );
    is_ready.then_some(process)
}

/// Sends a signal; the process may have ended by itself, which is just as well.
pub(crate) fn send(process: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(process.id()).ok().and_then(Pid::from_raw) {
        let _gone = kill_process(pid, signal);
    }
}

/// Stops a process in its tracks (SIGSTOP), and returns once it has stopped.
pub(crate) fn pause(process: &Child) {
    send(process, Signal::STOP);
    eventually(|| is_paused(process).then_some(()), || "a server goes on in spite of SIGSTOP".into());
}

/// Whether each thread has stopped: they do so one after the other.
fn is_paused(process: &Child) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", process.id())).expect("the server's threads");
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    })
}

/// Ends a process with a signal, and with `kill -9` if it takes too long. It may be paused.
pub(crate) fn end(mut process: Child, signal: Signal) {
    send(&process, signal);
    if signal != Signal::KILL {
        // Who is paused takes no other signal before it goes on.
        send(&process, Signal::CONT);
    }
    if within(PATIENCE, || process.try_wait().expect("wait")).is_none() {
        process.kill().expect("kill");
        process.wait().expect("wait");
    }
}

/// Starts a process from a thread that lives as long as this program: the kernel ends the process with the thread
/// that started it, and a test's own thread may end before the server should.
fn spawn(command: Command) -> Child {
    type Request = (Command, mpsc::Sender<std::io::Result<Child>>);
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Request>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, answer) in requests {
                let _nobody_waits = answer.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let (answer, child) = mpsc::channel();
    spawner.lock().expect("spawner").send((command, answer)).expect("spawner");
    child.recv().expect("spawner").expect("start the server")
}
