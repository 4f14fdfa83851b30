use std::{io, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, split},
    time::timeout,
};

use super::{frame, value::Malformed};
use crate::{faults::Faults, record::Recorder};

/// How much is read at once.
const CHUNK: usize = 64 << 10;
/// How long the library may take to end after its peer has.
const END: Duration = Duration::from_secs(5);

/// Carries frames between a socket and the AMQP library, until either ends.
pub(crate) struct Pump {
    pub(crate) largest_message: u64,
    pub(crate) faults: Faults,
    pub(crate) recorder: Recorder,
}

impl Pump {
    /// Runs until the library closes its side, or the peer its own, or sends what is no AMQP.
    pub(crate) async fn run(&self, socket: impl AsyncRead + AsyncWrite, library: DuplexStream) -> io::Result<()> {
        let (from_peer, mut to_peer) = split(socket);
        let (from_library, mut to_library) = split(library);
        let outward = async {
            let outcome = self.outward(from_library, &mut to_peer).await;
            let _ = to_peer.shutdown().await; // the peer may be gone
            outcome
        };
        tokio::pin!(outward);
        let inward = async {
            let outcome = self.inward(from_peer, &mut to_library).await;
            let _ = to_library.shutdown().await; // the library may be gone
            outcome
        };
        tokio::select! {
            outcome = &mut outward => outcome,
            outcome = inward => {
                // What the library still says is passed on, such as its Close.
                let _ = timeout(END, outward).await;
                outcome
            }
        }
    }

    async fn inward<S: AsyncRead>(
        &self,
        mut peer: ReadHalf<S>,
        library: &mut WriteHalf<DuplexStream>,
    ) -> io::Result<()> {
        let (mut buffer, mut out) = (BytesMut::with_capacity(2 * CHUNK), BytesMut::with_capacity(2 * CHUNK));
        loop {
            buffer.reserve(CHUNK);
            if peer.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            self.faults.thawed().await;
            while let Some(frame) = frame::take(&mut buffer).map_err(no_amqp)? {
                if let Some(said) = frame::inward(&frame, &mut out).map_err(no_amqp)? {
                    self.recorder.said(said);
                }
            }
            library.write_all(&out).await?;
            out.clear();
        }
    }

    async fn outward<S: AsyncWrite>(
        &self,
        mut library: ReadHalf<DuplexStream>,
        peer: &mut WriteHalf<S>,
    ) -> io::Result<()> {
        let (mut buffer, mut out) = (BytesMut::with_capacity(2 * CHUNK), BytesMut::with_capacity(2 * CHUNK));
        loop {
            buffer.reserve(CHUNK);
            if library.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            while let Some(frame) = frame::take(&mut buffer).map_err(no_amqp)? {
                frame::outward(&frame, self.largest_message, &mut out);
            }
            self.faults.thawed().await;
            peer.write_all(&out).await?;
            peer.flush().await?;
            out.clear();
        }
    }
}

fn no_amqp(_: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what the peer sends is no AMQP")
}
