//! Clients that cost little: each sends a request, waits for its answer, and sends the next.

use super::script::Script;
use crate::report::cpu;
use anyhow::{Context, bail};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A measurement to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) threads: usize,
    pub(crate) events: u32,
    pub(crate) subjects: u64,
    pub(crate) lines: bool,
    pub(crate) duration: Duration,
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) requests_per_s: f64,
    pub(crate) latency_us: Vec<u32>,
    /// Processor time of the whole process, clients included.
    pub(crate) cpu_us_per_request: f64,
}

impl Load {
    /// How long a request is.
    pub(crate) fn request_bytes(&self) -> usize {
        Script::new(self, 0).next().len()
    }

    /// Runs it. `round` must be another one each time.
    pub(crate) fn run(&self, round: u64) -> anyhow::Result<Measured> {
        let (started, cpu_before) = (Instant::now(), cpu());
        let outcomes: Vec<anyhow::Result<Vec<u32>>> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..self.threads).map(|thread| scope.spawn(move || self.thread(thread, round))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| bail!("a client panicked")))
                .collect()
        });
        let seconds = started.elapsed().as_secs_f64();
        let mut latency_us = Vec::new();
        for outcome in outcomes {
            latency_us.append(&mut outcome?);
        }
        let requests = latency_us.len().max(1) as f64;
        Ok(Measured {
            requests_per_s: requests / seconds,
            latency_us,
            cpu_us_per_request: (cpu() - cpu_before) * 1e6 / requests,
        })
    }

    fn thread(&self, thread: usize, round: u64) -> anyhow::Result<Vec<u32>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let until = Instant::now() + self.duration;
        runtime.block_on(async {
            let connections = (thread..self.connections).step_by(self.threads.max(1));
            let clients =
                connections.map(|connection| self.client(round << 48 | (connection as u64) << 36, until));
            let all = futures_util::future::try_join_all(clients).await?;
            Ok(all.into_iter().flatten().collect())
        })
    }

    /// One connection: the latency of each request, in microseconds.
    async fn client(&self, first: u64, until: Instant) -> anyhow::Result<Vec<u32>> {
        let mut script = Script::new(self, first);
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let mut buffer = vec![0; 64 << 10];
        let mut latencies = Vec::new();
        while Instant::now() < until {
            let request = script.next();
            let sent = Instant::now();
            stream.write_all(request).await?;
            answer(&mut stream, &mut buffer).await?;
            latencies.push(sent.elapsed().as_micros() as u32);
        }
        Ok(latencies)
    }
}

/// Reads one answer and checks that it is 200.
async fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<()> {
    let mut have = 0;
    let (head, length) = loop {
        let room = buffer.get_mut(have..).filter(|room| !room.is_empty()).context("the head is too long")?;
        have += match stream.read(room).await? {
            0 => bail!("the server closed the connection"),
            bytes => bytes,
        };
        let text = buffer.get(..have).unwrap_or_default();
        if let Some(end) = text.windows(4).position(|window| window == b"\r\n\r\n") {
            break (end + 4, length(text.get(..end).unwrap_or_default())?);
        }
    };
    let mut missing = (head + length).saturating_sub(have);
    while missing > 0 {
        missing = missing.saturating_sub(match stream.read(buffer).await? {
            0 => bail!("the server closed the connection"),
            bytes => bytes,
        });
    }
    Ok(())
}

/// The length of the body that the head of an answer announces.
fn length(head: &[u8]) -> anyhow::Result<usize> {
    let head = std::str::from_utf8(head)?;
    if !head.starts_with("HTTP/1.1 200") {
        bail!("the server refused a request: {head}");
    }
    let field = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim())
    });
    Ok(field.context("the answer has no length")?.parse()?)
}
