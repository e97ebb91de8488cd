//! Connecting to one peer, again and again, and telling the receiver what comes.

use super::pipe::{self, FrameReader, FrameWriter};
use super::receiver::{Arrived, Connection, Event};
use super::{PeerOptions, Shared, streams};
use crate::link::handshake::{Agreed, EVICTED, Note, Refusal};
use crate::link::wire::{Frame, Have, Hello, Refuse};
use crate::tls::{self, Purpose};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_rustls::client::TlsStream;
use tw_merge::Seen;
use tw_types::RegionId;
use tw_wire::Block;

/// The first wait after a failed connection.
const RECONNECT: Duration = Duration::from_millis(50);

/// Why there is no connection, or no longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot connect to `{address}`")]
    Connect {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Tls(#[from] tls::Error),
    #[error(transparent)]
    Pipe(#[from] pipe::Error),
    #[error("{} ({}): {}", .0.text, .0.code, .0.remedy)]
    Refused(Refuse),
    #[error("{refusal}: {}", .refusal.remedy())]
    Refusal { refusal: Refusal },
    #[error(
        "the region sends what a sender does not send: both sides must speak the protocol that they agreed on"
    )]
    Protocol,
    #[error("the region sends a damaged block")]
    Block(#[from] tw_wire::Error),
    #[error("what is replicated has changed: the connection begins anew")]
    Changed,
    #[error("the receiver has closed the connection")]
    Closed,
}

/// Another region's events than those of the peer to which the connection is.
#[derive(Clone, Copy)]
struct Wanted {
    of: RegionId,
    /// For good, and not only what is there.
    relays: bool,
}

/// The number of a connection that is about to be made.
pub(crate) fn next_connection() -> Connection {
    static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
    CONNECTIONS.fetch_add(1, Ordering::Relaxed)
}

/// One connection over which a peer sends what it has of region `of`, until it ends. The receiver is not told of its end.
pub(crate) async fn give_back(
    shared: &Arc<Shared>,
    peer: &PeerOptions,
    of: RegionId,
    queue: &mpsc::Sender<Event>,
    connection: Connection,
) -> Error {
    let fetch = async {
        let mut changes = shared.generation.subscribe();
        changes.mark_unchanged();
        let late = || failed(peer, io::Error::from(io::ErrorKind::TimedOut));
        let (mut reader, mut writer) = pipes(shared, peer).await?;
        let wanted = Some(Wanted { of, relays: false });
        let hello = greet(shared, peer.id, wanted, &mut reader, &mut writer);
        let (agreed, theirs) =
            tokio::time::timeout(shared.options.handshake_max(), hello).await.map_err(|_| late())??;
        shared.restore.withheld(peer.id, theirs.withheld);
        let agreed = agreed.in_place_of(of).map_err(|refusal| Error::Refusal { refusal })?;
        let ends = receive(shared, None, of, connection, reader, queue);
        carry(shared, agreed, connection, queue, ends, writer, changes).await
    };
    let Err::<std::convert::Infallible, _>(error) = fetch.await;
    error
}

/// Connects to a peer, for ever.
pub(crate) async fn run(shared: Arc<Shared>, peer: PeerOptions, queue: mpsc::Sender<Event>) {
    let mut wait = RECONNECT;
    let mut warned: Option<String> = None;
    let mut is_restoring = shared.restore.watch();
    loop {
        let connection = next_connection();
        let mut was_agreed = false;
        if shared.restore.leaves_out(peer.id) {
            // Others stand in for it.
            let _either_way = tokio::time::timeout(shared.options.heartbeat(), is_restoring.changed()).await;
            continue;
        }
        let Err(error) = once(&shared, &peer, &queue, connection, &mut was_agreed).await;
        if let Error::Refused(refuse) = &error
            && refuse.code == EVICTED
        {
            let by = shared.options.line(&peer).id;
            if let Err(error) = shared.told_to_be_evicted(by).await {
                tracing::error!(error = %tw_types::chain(&error), "that this region was evicted cannot be noted in its log");
            }
        }
        let disconnected = Event::Disconnected { peer: peer.id, connection };
        if queue.send(disconnected).await.is_err() {
            return;
        }
        if was_agreed {
            (wait, warned) = (RECONNECT, None);
        }
        let reason = match peer.via {
            Some(via) => format!("by way of region {via}: {}", tw_types::chain(&error)),
            None => tw_types::chain(&error),
        };
        if !matches!(error, Error::Changed) {
            shared.board.lock().failed(peer.id, reason.clone());
            // Connections end now and then; only one that does not come again at once is worth a warning, and once.
            if was_agreed {
                tracing::info!(region = %peer.id, %reason, "a link has ended: it is made again");
            } else if wait > RECONNECT && warned.as_ref() != Some(&reason) {
                tracing::warn!(region = %peer.id, address = %shared.options.line(&peer).address, %reason, "there is no link to a region: it is tried again");
                warned = Some(reason);
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_millis(shared.options.reconnect_ms_max));
    }
}

/// One connection to a peer or to its relay, until it ends.
async fn once(
    shared: &Arc<Shared>,
    peer: &PeerOptions,
    queue: &mpsc::Sender<Event>,
    connection: Connection,
    was_agreed: &mut bool,
) -> Result<std::convert::Infallible, Error> {
    let mut changes = shared.generation.subscribe();
    changes.mark_unchanged();
    let line = shared.options.line(peer);
    let late = || failed(line, io::Error::from(io::ErrorKind::TimedOut));
    let (mut reader, mut writer) = pipes(shared, line).await?;
    let wanted = peer.via.map(|_| Wanted { of: peer.id, relays: true });
    let hello = greet(shared, line.id, wanted, &mut reader, &mut writer);
    let agreed = tokio::time::timeout(shared.options.handshake_max(), hello).await.map_err(|_| late())??;
    let agreed = match (peer.via, agreed) {
        (None, (agreed, _)) => agreed,
        (Some(_), (agreed, theirs)) => {
            agreed.relays(peer.id, theirs.wanted_epoch).map_err(|refusal| Error::Refusal { refusal })?
        }
    };
    *was_agreed = true;
    tracing::info!(region = %peer.id, name = %agreed.name, streams = agreed.streams.len(), "there is a link to a region");
    for note in &agreed.notes {
        match note {
            // That is so for a moment whenever one is created.
            Note::MissingHere { .. } | Note::MissingThere { .. } => tracing::info!("{note}"),
            _ => tracing::warn!("{note}"),
        }
    }
    shared.board.lock().connected(peer.id, &agreed);
    let ends = receive(shared, Some(peer.id), peer.id, connection, reader, queue);
    carry(shared, agreed, connection, queue, ends, writer, changes).await
}

/// Tells the receiver of a connection, and carries frames until it ends.
async fn carry<W: AsyncWrite + Unpin>(
    shared: &Shared,
    agreed: Agreed,
    connection: Connection,
    queue: &mpsc::Sender<Event>,
    received: impl Future<Output = Result<std::convert::Infallible, Error>>,
    writer: FrameWriter<W>,
    mut changes: watch::Receiver<u64>,
) -> Result<std::convert::Infallible, Error> {
    let (to, outgoing) = mpsc::unbounded_channel();
    let told = queue.send(Event::Connected { agreed, connection, to }).await;
    told.map_err(|_| Error::Closed)?;
    tokio::select! {
        ended = received => ended,
        ended = send(shared, writer, outgoing) => ended,
        _ = changes.changed() => Err(Error::Changed),
    }
}

/// Both directions of a new connection.
type Pipes = (FrameReader<ReadHalf<TlsStream<TcpStream>>>, FrameWriter<WriteHalf<TlsStream<TcpStream>>>);

async fn pipes(shared: &Shared, peer: &PeerOptions) -> Result<Pipes, Error> {
    let stream = open(shared, peer, Purpose::Link).await?;
    let (reader, writer) = tokio::io::split(stream);
    let reader = FrameReader::new(reader, shared.options.silent_max()).map_err(pipe::Error::from)?;
    let writer = FrameWriter::new(writer).map_err(pipe::Error::from)?;
    Ok((reader, writer))
}

/// Makes a connection.
pub(crate) async fn open(
    shared: &Shared,
    peer: &PeerOptions,
    purpose: Purpose,
) -> Result<TlsStream<TcpStream>, Error> {
    let connect = TcpStream::connect(&peer.address);
    let late = |_| failed(peer, io::Error::from(io::ErrorKind::TimedOut));
    let connected = tokio::time::timeout(shared.options.handshake_max(), connect).await.map_err(late)?;
    let stream = connected.map_err(|source| failed(peer, source))?;
    stream.set_nodelay(true).map_err(|source| failed(peer, source))?;
    let (stream, _) = tls::connect(stream, &shared.credentials.current(), peer.id, purpose).await?;
    Ok(stream)
}

fn failed(peer: &PeerOptions, source: io::Error) -> Error {
    Error::Connect { address: peer.address.clone(), source }
}

/// Both sides say hello. This one speaks first, and says whose events are `wanted` if not the other side's own.
async fn greet<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    shared: &Shared,
    peer: RegionId,
    wanted: Option<Wanted>,
    reader: &mut FrameReader<R>,
    writer: &mut FrameWriter<W>,
) -> Result<(Agreed, Hello), Error> {
    let local = streams::local(shared);
    let (of, relays) = (wanted.map(|wanted| wanted.of), wanted.is_some_and(|wanted| wanted.relays));
    let restores = of.is_some() && shared.restore.is_on();
    let hello = Hello { wanted: of, relays, restores, ..local.hello(shared.now_ms()) };
    writer.send(&[Frame::Hello(hello)]).await?;
    match reader.next().await? {
        Frame::Hello(theirs) => {
            shared.evictions.hear(peer, &theirs.evicted);
            let skew_ms_max = shared.options.inbound.skew.skew_ms_max;
            match local.agree(&theirs, peer, shared.now_ms(), skew_ms_max) {
                Ok(agreed) => Ok((agreed, theirs)),
                Err(refusal) => {
                    writer.send(&[Frame::Refuse(refusal.to_frame())]).await?;
                    Err(Error::Refusal { refusal })
                }
            }
        }
        Frame::Refuse(refuse) => Err(Error::Refused(refuse)),
        _ => Err(Error::Protocol),
    }
}

/// Tells the receiver what comes as what region `peer` sends; `counts`: for which region the bytes are counted, if they are.
async fn receive<R: AsyncRead + Unpin>(
    shared: &Shared,
    counts: Option<RegionId>,
    peer: RegionId,
    connection: Connection,
    mut reader: FrameReader<R>,
    queue: &mpsc::Sender<Event>,
) -> Result<std::convert::Infallible, Error> {
    loop {
        let frame = reader.next().await?;
        if let Some(region) = counts {
            shared.board.lock().received(region, reader.bytes, shared.now_ms());
        }
        let event = match frame {
            Frame::Block(frame) => {
                let block = Block::read(&frame.bytes)?;
                let (stream, partition) = (frame.stream, frame.partition);
                let arrived =
                    Arrived { block, stream, partition, next_hlc: frame.next_hlc, seen: frame.seen };
                Event::Block { peer, connection, block: Box::new(arrived) }
            }
            Frame::Passed(passed) => Event::Passed { peer, connection, passed },
            Frame::Heartbeat(heartbeat) => Event::Heartbeat { peer, connection, heartbeat },
            Frame::Refuse(refuse) => return Err(Error::Refused(refuse)),
            _ => return Err(Error::Protocol),
        };
        queue.send(event).await.map_err(|_| Error::Closed)?;
    }
}

/// Sends what the receiver wants to be sent, and now and then what is here.
async fn send<W: AsyncWrite + Unpin>(
    shared: &Shared,
    mut writer: FrameWriter<W>,
    mut outgoing: mpsc::UnboundedReceiver<Frame>,
) -> Result<std::convert::Infallible, Error> {
    let mut ticks = tokio::time::interval(shared.options.heartbeat());
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            frame = outgoing.recv() => {
                let mut frames = vec![frame.ok_or(Error::Closed)?];
                while let Ok(more) = outgoing.try_recv() {
                    frames.push(more);
                }
                writer.send(&frames).await?;
            }
            _ = ticks.tick() => {
                // What a copy had told before is not here yet, if it is restored.
                let latest = if shared.restore.is_on() { Seen::new() } else { shared.history.last() };
                writer.send(&[Frame::Have(Have { now_ms: shared.now_ms(), latest })]).await?;
            }
        }
    }
}
