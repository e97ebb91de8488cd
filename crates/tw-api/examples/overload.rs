//! Measures overload protection over real connections: `cargo run -p tw-api --example overload`.
//!
//! First a server whose statements wait for one of 16 workers and then for 50 ms, which is all that it can do: how long requests
//! take at three tenths of that, at three times that with the door and without it, and afterwards. Requests come when they are due, whether
//! earlier ones are answered or not, and their latency counts from then. Then appends to a log on disk by clients that wait for each
//! answer, with the door and without it: what it costs where nothing is to be refused. Client and server share the process.
//! `SECONDS` is how long each measurement takes (default 10), `ROUNDS` how many there are (default 3, medians are shown).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement, which ends when something is wrong"
)]

#[path = "../tests/http"]
#[allow(dead_code, reason = "what the tests need besides")]
mod tests {
    pub(crate) mod support;
}

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests::support::{World, event, options};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tw_api::parts::{Answer, Sql, Statement};
use tw_api::{Options, OverloadOptions, Problem};
use tw_env::Env;
use tw_log::{EmbeddedLog, Log, MemoryLog};

const WORKERS: usize = 16;
const WORK: Duration = Duration::from_millis(50);
/// What the workers can do in a second.
const CAPACITY: f64 = WORKERS as f64 * 20.0;
/// Clients that wait for each answer.
const CLIENTS: [usize; 2] = [64, 256];

/// Statements take one of so many workers for so long.
struct Workers(Semaphore);

impl Sql for Workers {
    fn execute(&self, _: Statement) -> BoxFuture<'_, Result<Answer, Problem>> {
        Box::pin(async move {
            let _worker = self.0.acquire().await.unwrap();
            tokio::time::sleep(WORK).await;
            Ok(Answer::Done { message: "done".into() })
        })
    }
}

/// Connections with one request at a time each, which are kept.
#[derive(Clone)]
struct Pool {
    address: SocketAddr,
    idle: Arc<Mutex<Vec<http1::SendRequest<Full<Bytes>>>>>,
}

impl Pool {
    fn new(address: SocketAddr) -> Self {
        Self { address, idle: Arc::default() }
    }

    async fn send(&self, path: &str, content_type: &str, body: String) -> u16 {
        let idle = self.idle.lock().pop().filter(|sender| !sender.is_closed());
        let mut sender = match idle {
            Some(sender) => sender,
            None => {
                let stream = TcpStream::connect(self.address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
                tokio::spawn(connection);
                sender
            }
        };
        sender.ready().await.unwrap();
        let request = Request::post(path).header("host", "localhost").header("content-type", content_type);
        let answer = sender.send_request(request.body(Full::from(body)).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        answer.into_body().collect().await.unwrap();
        self.idle.lock().push(sender);
        status
    }
}

/// What a measurement found: latencies in milliseconds, and rates in a second.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    p50: f64,
    p99: f64,
    refused_p99: f64,
    rate: f64,
    refused_part: f64,
}

/// One answer.
struct Met {
    status: u16,
    latency: Duration,
    /// Whether it came while requests were sent.
    is_in_time: bool,
}

impl Found {
    fn of(answers: &[Met], seconds: f64) -> Self {
        let latencies = |status: u16| {
            let of_status = answers.iter().filter(|met| met.status == status);
            let mut ms: Vec<f64> = of_status.map(|met| met.latency.as_secs_f64() * 1e3).collect();
            ms.sort_by(f64::total_cmp);
            ms
        };
        let quantile =
            |ms: &[f64], part: f64| ms.get((ms.len() as f64 * part) as usize).copied().unwrap_or_default();
        let (done, refused) = (latencies(200), latencies(503));
        // What is answered afterwards was waiting.
        let in_time = answers.iter().filter(|met| met.status == 200 && met.is_in_time).count();
        assert_eq!(done.len() + refused.len(), answers.len(), "something else than 200 and 503 was answered");
        Self {
            p50: quantile(&done, 0.5),
            p99: quantile(&done, 0.99),
            refused_p99: quantile(&refused, 0.99),
            rate: in_time as f64 / seconds,
            refused_part: refused.len() as f64 / answers.len() as f64,
        }
    }

    fn median(found: &[Self]) -> Self {
        let median = |value: fn(&Self) -> f64| {
            let mut values: Vec<f64> = found.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        Self {
            p50: median(|found| found.p50),
            p99: median(|found| found.p99),
            refused_p99: median(|found| found.refused_p99),
            rate: median(|found| found.rate),
            refused_part: median(|found| found.refused_part),
        }
    }

    fn show(&self, what: &str) {
        let Self { p50, p99, refused_p99, rate, refused_part } = self;
        println!(
            "| {what:<40} | {p50:>8.2} | {p99:>8.2} | {rate:>8.0} | {:>7.1} % | {refused_p99:>8.2} |",
            100.0 * refused_part
        );
    }
}

/// So many connections, each with up to 256 requests at a time.
async fn connect(address: SocketAddr) -> Vec<http2::SendRequest<Full<Bytes>>> {
    let mut senders = Vec::new();
    for _ in 0..64 {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        senders.push(sender);
    }
    senders
}

async fn statement(mut sender: http2::SendRequest<Full<Bytes>>) -> u16 {
    let request = Request::post("http://localhost/v1/sql").header("content-type", "text/plain");
    sender.ready().await.unwrap();
    let answer = sender.send_request(request.body(Full::from("SELECT 1")).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    answer.into_body().collect().await.unwrap();
    status
}

/// `load` times what the workers can do, due at moments that look random.
async fn rush(senders: &[http2::SendRequest<Full<Bytes>>], load: f64, seconds: f64) -> Found {
    let mut seed = 1u64;
    let started = Instant::now();
    let mut due = Duration::ZERO;
    let mut answers = Vec::new();
    while due.as_secs_f64() < seconds {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let uniform = (seed >> 11) as f64 / (1u64 << 53) as f64;
        due += Duration::from_secs_f64(-(1.0 - uniform).ln() / (CAPACITY * load));
        if let Some(wait) = due.checked_sub(started.elapsed()) {
            tokio::time::sleep(wait).await;
        }
        let sender = senders[answers.len() % senders.len()].clone();
        answers.push(tokio::spawn(async move {
            let status = statement(sender).await;
            let answered = started.elapsed();
            let (latency, is_in_time) = (answered.saturating_sub(due), answered.as_secs_f64() <= seconds);
            Met { status, latency, is_in_time }
        }));
    }
    let mut met = Vec::new();
    for answer in answers {
        met.push(answer.await.unwrap());
    }
    Found::of(&met, seconds)
}

async fn statements(seconds: f64) -> [Found; 4] {
    let open = async |enabled| {
        let overload = OverloadOptions { enabled, ..OverloadOptions::default() };
        let options = Options { overload, requests_max: 100_000, connections_max: 100_000, ..options() };
        let log = Arc::new(MemoryLog::new(Env::real()));
        World::over(options, log, |parts| parts.sql = Arc::new(Workers(Semaphore::new(WORKERS)))).await
    };
    let world = open(true).await;
    let senders = connect(world.address()).await;
    let unloaded = rush(&senders, 0.3, seconds).await;
    rush(&senders, 3.0, 3.0).await;
    let over = rush(&senders, 3.0, seconds).await;
    rush(&senders, 0.3, 2.0).await;
    let after = rush(&senders, 0.3, seconds).await;
    let world = open(false).await;
    // Not for long: whoever comes waits for all who came before.
    let without = rush(&connect(world.address()).await, 3.0, seconds.min(4.0)).await;
    [unloaded, over, after, without]
}

/// Appends of one event of 230 bytes by clients that wait for each answer.
async fn appends(clients: usize, enabled: bool, seconds: f64) -> Found {
    let folder = std::env::temp_dir().join(format!("overload-{}", std::process::id()));
    let log: Arc<dyn Log> =
        Arc::new(EmbeddedLog::open(folder.clone(), tw_log::Options::default(), Env::real()).unwrap());
    let overload = OverloadOptions { enabled, ..OverloadOptions::default() };
    let world = World::over(Options { overload, ..options() }, log, |_| {}).await;
    world.stream("orders", 4).await;
    let pool = Pool::new(world.address());
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let clients: Vec<_> = (0..clients)
        .map(|client| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let data = format!(r#","subject":"c{client}","data":"{}""#, "x".repeat(100));
                let mut met = Vec::new();
                while Instant::now() < until {
                    let sent = Instant::now();
                    let body = event(&format!("{client}-{}", met.len()), &data);
                    let path = "/v1/streams/orders/events";
                    let status = pool.send(path, "application/cloudevents+json", body).await;
                    let is_in_time = Instant::now() <= until;
                    met.push(Met { status, latency: sent.elapsed(), is_in_time });
                }
                met
            })
        })
        .collect();
    let mut met = Vec::new();
    for client in clients {
        met.append(&mut client.await.unwrap());
    }
    drop(world);
    std::fs::remove_dir_all(&folder).unwrap();
    Found::of(&met, seconds)
}

fn asked(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::main]
async fn main() {
    let (seconds, rounds) = (asked("SECONDS", 10.0), asked("ROUNDS", 3.0) as usize);
    println!(
        "medians of {rounds} rounds of {seconds} s; {WORKERS} workers of {WORK:?}, so {CAPACITY} statements/s\n"
    );
    println!(
        "| what | p50, ms | p99, ms | done/s | refused | p99 of refusals, ms |\n|---|--:|--:|--:|--:|--:|"
    );
    let mut found = [const { Vec::new() }; 4];
    for _ in 0..rounds {
        for (all, one) in found.iter_mut().zip(statements(seconds).await) {
            all.push(one);
        }
    }
    let names =
        ["load 0.3", "load 3, with the door", "load 0.3, afterwards", "load 3 for 4 s, without the door"];
    for (name, found) in names.iter().zip(&found) {
        Found::median(found).show(&format!("statements, {name}"));
    }
    for clients in CLIENTS {
        let mut found = [const { Vec::new() }; 2];
        for _ in 0..rounds {
            for (all, enabled) in found.iter_mut().zip([false, true]) {
                all.push(appends(clients, enabled, seconds / 2.0).await);
            }
        }
        for (name, found) in ["without", "with"].iter().zip(&found) {
            Found::median(found).show(&format!("appends, {clients} clients, {name} the door"));
        }
    }
}
