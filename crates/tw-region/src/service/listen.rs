//! Letting other regions connect, and sending to each what was accepted here.

mod giving;
mod relay;

use super::pipe::{self, FrameReader, FrameWriter};
use super::receiver::Event;
use super::sender::{self, Sender, Source};
use super::{QUEUE_FRAMES_MAX, Shared, streams};
use crate::link::handshake::{Agreed, Local, Refusal};
use crate::link::wire::{Frame, Hello, Refuse};
use crate::tls::{self, Purpose};
use giving::Withheld;
use relay::Relaying;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tw_types::RegionId;

/// How many connections there may be at a time, those included that are still to prove who they are.
const CONNECTIONS_MAX: usize = 1_024;

/// Why a connection has ended.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Tls(#[from] tls::Error),
    #[error(transparent)]
    Pipe(#[from] pipe::Error),
    #[error(transparent)]
    Sender(#[from] sender::Error),
    #[error("a region that was evicted cannot be readmitted")]
    Readmit(#[from] super::Error),
    #[error("region {0} refuses: {text} ({code}): {remedy}", text = .1.text, code = .1.code, remedy = .1.remedy)]
    Refused(RegionId, Refuse),
    #[error("region {0} was refused: {1}")]
    Refusal(RegionId, Refusal),
    #[error(
        "region {0} sends what a receiver does not send: both sides must speak the protocol that they agreed on"
    )]
    Protocol(RegionId),
    #[error("no hello came in time")]
    Late,
    #[error("the links of this region have ended")]
    Ended,
}

/// Accepts connections until the links end, and then ends them.
pub(crate) async fn run(
    shared: Arc<Shared>,
    listener: TcpListener,
    queue: mpsc::Sender<Event>,
    mut ending: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    tokio::select! {
        () = accept(&shared, &listener, &queue, &mut connections) => {}
        _ = ending.wait_for(|ends| *ends) => {}
    }
    connections.shutdown().await;
}

async fn accept(
    shared: &Arc<Shared>,
    listener: &TcpListener,
    queue: &mpsc::Sender<Event>,
    connections: &mut JoinSet<()>,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let (shared, queue) = (shared.clone(), queue.clone());
                connections.spawn(async move {
                    let _until_it_ends = permit;
                    match connection(&shared, &queue, stream).await {
                        Ok(()) => {}
                        // Whoever looks whether somebody listens here does as much.
                        Err(Error::Tls(tls::Error::Broken(error))) => {
                            tracing::debug!(%from, %error, "a connection has ended before it began");
                        }
                        Err(Error::Pipe(error)) => {
                            tracing::debug!(%from, error = %tw_types::chain(&error), "a link has ended");
                        }
                        Err(error) => {
                            tracing::warn!(%from, error = %tw_types::chain(&error), "a link has ended");
                        }
                    }
                });
            }
            Err(error) => {
                // The process has no file descriptors left, say: others may be closed meanwhile.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(shared.options.heartbeat()).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(
    shared: &Arc<Shared>,
    queue: &mpsc::Sender<Event>,
    stream: TcpStream,
) -> Result<(), Error> {
    stream.set_nodelay(true).map_err(pipe::Error::from)?;
    let (stream, peer) = tls::accept(stream, &shared.credentials.current()).await?;
    if Purpose::of(stream.get_ref().1.alpn_protocol()) == Some(Purpose::Requests) {
        // Not yet: whoever asks tries again.
        let Some(door) = shared.door.get() else { return Ok(()) };
        door(Box::new(stream), peer.region).await;
        return Ok(());
    }
    let mut changes = shared.generation.subscribe();
    changes.mark_unchanged();
    let (reader, writer) = tokio::io::split(stream);
    let mut reader = FrameReader::new(reader, shared.options.silent_max()).map_err(pipe::Error::from)?;
    let mut writer = FrameWriter::new(writer).map_err(pipe::Error::from)?;
    let hello = greet(shared, queue, peer.region, &mut reader, &mut writer);
    let (agreed, sender, relaying) =
        tokio::time::timeout(shared.options.handshake_max(), hello).await.map_err(|_| Error::Late)??;
    match &relaying {
        None => {
            tracing::info!(region = %peer.region, name = %agreed.name, "a region takes what is accepted here");
        }
        Some(relaying) => {
            let of = relaying.of;
            tracing::info!(region = %peer.region, name = %agreed.name, %of, "a region takes what another one accepts by way of this one");
        }
    }
    let is_relaying = relaying.is_some();
    let serve = serve(shared, peer.region, reader, writer, sender);
    let ended = tokio::select! {
        ended = serve => ended,
        _ = changes.changed() => Ok(()),
        () = relay::changed(relaying) => Ok(()),
    };
    if !is_relaying {
        shared.board.lock().left(peer.region);
    }
    ended
}

/// Both sides say hello, the other one first.
async fn greet<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    shared: &Arc<Shared>,
    queue: &mpsc::Sender<Event>,
    peer: RegionId,
    reader: &mut FrameReader<R>,
    writer: &mut FrameWriter<W>,
) -> Result<(Agreed, Sender, Option<Relaying>), Error> {
    let Frame::Hello(theirs) = reader.next().await? else { return Err(Error::Protocol(peer)) };
    shared.evictions.hear(peer, &theirs.evicted);
    let (mut local, mut relaying) = (streams::local(shared), None);
    if let (Some(of), true) = (theirs.wanted, theirs.relays) {
        let relay = Relaying::begin(shared, queue, of).await?;
        local.streams.retain(|stream| relay.exchanges(stream.id));
        relaying = Some(relay);
    }
    let skew_ms_max = shared.options.inbound.skew.skew_ms_max;
    let judged = match local.agree(&theirs, peer, shared.now_ms(), skew_ms_max) {
        Ok(agreed) => source(shared, queue, &local, &theirs, &agreed).await?.map(|source| (agreed, source)),
        Err(refusal) => Err(refusal),
    };
    let (agreed, (source, withheld)) = match judged {
        Ok(judged) => judged,
        Err(refusal) => {
            writer.send(&[Frame::Refuse(refusal.to_frame())]).await?;
            return Err(Error::Refusal(peer, refusal));
        }
    };
    let sender = Sender::start(shared.clone(), local.streams.clone(), &agreed, source).await?;
    let wanted_epoch = relaying.as_ref().map(|relaying: &Relaying| relaying.epoch);
    writer.send(&[Frame::Hello(Hello { wanted_epoch, withheld, ..local.hello(shared.now_ms()) })]).await?;
    Ok((agreed, sender, relaying))
}

/// Whose events the other side gets: this region's own, or what is here of the one that it wants, if that is all that there will be; and the streams of
/// which it gets nothing of that.
async fn source(
    shared: &Shared,
    queue: &mpsc::Sender<Event>,
    local: &Local,
    theirs: &Hello,
    agreed: &Agreed,
) -> Result<Result<(Source, Vec<String>), Refusal>, Error> {
    let (here, peer) = (local.region, agreed.peer);
    let Some(of) = theirs.wanted else {
        let is_restoring = shared.restore.is_on();
        return Ok(if is_restoring {
            Err(Refusal::Restoring { here })
        } else {
            Ok((Source::own(shared), Vec::new()))
        });
    };
    if of == here {
        return Ok(Err(Refusal::Itself { here }));
    }
    if theirs.relays {
        return Ok(match relay::may(shared, of, peer) {
            Ok(()) => Ok((Source::relay(shared, of, queue).await?, Vec::new())),
            Err(refusal) => Err(refusal),
        });
    }
    let withheld = match Withheld::find(shared, local, theirs, agreed, of).await? {
        Ok(withheld) => withheld,
        Err(refusal) => return Ok(Err(refusal)),
    };
    Ok(Ok((withheld.source(shared, queue, theirs, of).await?, withheld.streams)))
}

/// Sends what there is, and waits for more. What comes is read beside that, so that a slow line is not taken for a silent one.
async fn serve<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    shared: &Shared,
    peer: RegionId,
    mut reader: FrameReader<R>,
    writer: FrameWriter<W>,
    sender: Sender,
) -> Result<(), Error> {
    let (to, from) = mpsc::channel(QUEUE_FRAMES_MAX);
    let read = async {
        loop {
            let frame = reader.next().await?;
            if to.send(frame).await.is_err() {
                return Ok(());
            }
        }
    };
    tokio::select! {
        ended = read => ended,
        ended = send(shared, peer, from, writer, sender) => ended,
    }
}

async fn send<W: AsyncWrite + Unpin>(
    shared: &Shared,
    peer: RegionId,
    mut incoming: mpsc::Receiver<Frame>,
    mut writer: FrameWriter<W>,
    mut sender: Sender,
) -> Result<(), Error> {
    writer.limit(Some(shared.pace(peer)));
    let mut counted = writer.bytes;
    let commits = shared.events.log().commits();
    let (mut seen, mut heard) = (commits.get(), shared.seen.subscribe());
    let mut ticks = tokio::time::interval(shared.options.heartbeat());
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut beaten = Instant::now();
    loop {
        while sender.is_busy() {
            let frames = sender.work().await?;
            if !frames.is_empty() {
                writer.send(&frames).await?;
                shared.board.lock().sent(peer, writer.bytes - counted);
                counted = writer.bytes;
            }
            if sender.is_refused() {
                return Ok(());
            }
            // However much there is to send: the other side hears that this one is there, and is heard.
            if beaten.elapsed() >= shared.options.heartbeat() {
                beaten = Instant::now();
                sender.beat().await?;
            }
            while let Ok(frame) = incoming.try_recv() {
                hear(shared, peer, &mut sender, frame).await?;
            }
        }
        tokio::select! {
            frame = incoming.recv() => match frame {
                Some(frame) => hear(shared, peer, &mut sender, frame).await?,
                None => return Ok(()),
            },
            now = commits.over(seen) => {
                seen = now;
                sender.beat().await?;
            }
            // What is relayed may be told once the receiver knows that it is here, which is after the commit.
            Ok(()) = heard.changed(), if sender.is_relaying() => sender.beat().await?,
            _ = ticks.tick() => sender.beat().await?,
        }
    }
}

/// Takes what the other side has sent.
async fn hear(shared: &Shared, peer: RegionId, sender: &mut Sender, frame: Frame) -> Result<(), Error> {
    if let Frame::Refuse(refuse) = frame {
        return Err(Error::Refused(peer, refuse));
    }
    let lets_send = matches!(frame, Frame::Pull(_) | Frame::Credit(_));
    if !sender.take(frame) {
        return Err(Error::Protocol(peer));
    }
    if lets_send {
        // What was promised before ended where it was not known what is asked for, or could not be sent; and the next heartbeat may be far.
        sender.beat().await?;
    }
    if let Some(have) = sender.have() {
        shared.board.lock().has(peer, have);
    }
    Ok(())
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Pipe(error.into())
    }
}
