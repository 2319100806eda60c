//! A body that a thread writes while it is sent. The thread waits when the peer is slow, and learns when it has gone.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Bytes of a chunk.
const CHUNK: usize = 1 << 16;
/// Chunks that wait for a slow peer.
const WAITING: usize = 4;

/// The end that is sent.
#[derive(Debug)]
pub(super) struct Chunks(Receiver<io::Result<Bytes>>);

/// The end that is written. Blocking.
#[derive(Debug)]
pub(super) struct ChunkWriter {
    chunk: Vec<u8>,
    sender: Sender<io::Result<Bytes>>,
}

/// A body, and the end to write it.
pub(super) fn chunks() -> (ChunkWriter, Chunks) {
    let (sender, receiver) = channel(WAITING);
    let chunk = Vec::with_capacity(CHUNK);
    (ChunkWriter { chunk, sender }, Chunks(receiver))
}

impl ChunkWriter {
    /// Breaks the body off, so that nobody takes what was sent for whole.
    pub(super) fn fail(self, error: io::Error) {
        // With nobody there, nobody is deceived.
        drop(self.sender.blocking_send(Err(error)));
    }

    fn send(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        self.sender
            .blocking_send(Ok(chunk.into()))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK.saturating_sub(self.chunk.len()).min(bytes.len());
        self.chunk.extend_from_slice(bytes.get(..room).unwrap_or_default());
        if self.chunk.len() >= CHUNK {
            self.send()?;
        }
        Ok(room)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(context).map(|chunk| Some(chunk?.map(Frame::data)))
    }
}
