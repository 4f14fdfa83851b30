//! What the AMQP library does not decode: the payload of each transfer from the service reaches it inside a data section, so that it
//! hands on bytes. It could not decode every event that other clients send, and there is no other way to its bytes.

use std::{
    fmt,
    io::{Error, ErrorKind, Result},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BufMut as _, BytesMut};
use fe2o3_amqp_types::{
    messaging::{Body, Data},
    performatives::Open,
    primitives::Value,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

/// The largest frame that the service may send: what Azure's clients offer.
pub(crate) const FRAME: usize = 65_536;
/// What the section around a payload adds to its frame. The library is to take frames that are larger by it.
pub(crate) const ENVELOPE: usize = 8;

const CHUNK: usize = 16 << 10;
const HEADER: usize = 8;
const OPEN: u8 = 0x10;
const TRANSFER: u8 = 0x14;

/// The bytes of a delivery that came through [`Undecoded`]: those of all its transfers.
pub(crate) fn bytes(body: Body<Value>) -> Vec<u8> {
    let mut sections = match body {
        Body::Data(sections) => sections.into_iter(),
        _ => return Vec::new(), // a transfer without a payload
    };
    let mut all = sections.next().map(|Data(bytes)| bytes.into_vec()).unwrap_or_default();
    for Data(bytes) in sections {
        all.extend_from_slice(&bytes);
    }
    all
}

/// A connection, as the library is to see it.
pub(crate) struct Undecoded<S> {
    stream: S,
    /// What came and is no whole frame yet.
    came: BytesMut,
    /// What the library has not read yet.
    ready: BytesMut,
    /// What the library says, up to its Open; none from then on.
    opening: Option<BytesMut>,
    /// What is to be sent before anything else.
    held: BytesMut,
}

impl<S> Undecoded<S> {
    pub(crate) fn new(stream: S) -> Self {
        let opening = Some(BytesMut::new());
        Self { stream, came: BytesMut::new(), ready: BytesMut::new(), opening, held: BytesMut::new() }
    }

    /// Takes what the library says before its Open is out, in which it is to tell the true size of frames.
    fn open(&mut self, said: &[u8]) {
        let Some(mut opening) = self.opening.take() else { return self.held.put_slice(said) };
        opening.put_slice(said);
        while let Ok(Some(frame)) = take(&mut opening) {
            if open(&frame, &mut self.held) {
                return self.held.put_slice(&opening);
            }
        }
        self.opening = Some(opening);
    }
}

impl<S: AsyncWrite + Unpin> Undecoded<S> {
    fn poll_held(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        while !self.held.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, &self.held))?;
            if count == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.held.advance(count);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Undecoded<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        while this.ready.is_empty() {
            this.came.reserve(CHUNK);
            let count = ready!(poll_read_buf(Pin::new(&mut this.stream), context, &mut this.came))?;
            if count == 0 {
                return Poll::Ready(Ok(())); // it ended, if in the middle of a frame or not
            }
            while let Some(frame) = take(&mut this.came)? {
                hand_on(&frame, &mut this.ready);
            }
        }
        let count = this.ready.len().min(out.remaining());
        out.put_slice(&this.ready[..count]);
        this.ready.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Undecoded<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_held(context))?;
        if this.opening.is_some() {
            this.open(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut this.stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_held(context))?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_held(context))?;
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}

impl<S> fmt::Debug for Undecoded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Undecoded").finish_non_exhaustive()
    }
}

/// Takes the next frame or protocol header from the front, if all of it is there.
pub(crate) fn take(buffer: &mut BytesMut) -> Result<Option<BytesMut>> {
    let Some(&[a, b, c, d, offset, ..]) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
    if [a, b, c, d] == *b"AMQP" {
        return Ok(Some(buffer.split_to(HEADER)));
    }
    let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if !(HEADER..=FRAME).contains(&size) || !(2..=size / 4).contains(&usize::from(offset)) {
        return Err(Error::new(ErrorKind::InvalidData, "what the service sends is no AMQP"));
    }
    Ok(if buffer.len() < size { None } else { Some(buffer.split_to(size)) })
}

/// Passes on a frame from the service: the payload of a transfer in a data section.
pub(crate) fn hand_on(frame: &[u8], out: &mut BytesMut) {
    let payload = transfer(frame).unwrap_or(frame.len());
    let length = frame.len() - payload;
    if length == 0 {
        return out.put_slice(frame);
    }
    // None is larger than a frame may be.
    let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    out.put_u32(size(frame.len() + ENVELOPE));
    out.put_slice(&frame[4..payload]);
    out.put_slice(&[0, 0x53, 0x75, 0xb0]);
    out.put_u32(size(length));
    out.put_slice(&frame[payload..]);
}

/// Where the payload of a transfer begins; none if the frame is not that of a transfer.
fn transfer(frame: &[u8]) -> Option<usize> {
    let (code, body) = performative(frame)?;
    let length = match frame.get(body..)? {
        [0x45, ..] => 1,
        [0xc0, size, ..] => 2 + usize::from(*size),
        [0xd0, a, b, c, d, ..] => usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).ok()?.checked_add(5)?,
        _ => return None,
    };
    let payload = body.checked_add(length)?;
    (code == TRANSFER && payload <= frame.len()).then_some(payload)
}

/// The code of an AMQP frame's performative, and where its fields begin.
fn performative(frame: &[u8]) -> Option<(u8, usize)> {
    let (&[.., offset, kind, _, _], _) = frame.split_first_chunk::<HEADER>()?;
    let body = usize::from(offset) * 4;
    match (kind, frame.get(body..)?) {
        (0, [0, 0x53, code, ..]) => Some((*code, body + 3)),
        (0, [0, 0x80, 0, 0, 0, 0, 0, 0, 0, code, ..]) => Some((*code, body + 10)),
        _ => None,
    }
}

/// Passes on a frame of the library, and says whether it was its Open.
fn open(frame: &[u8], out: &mut BytesMut) -> bool {
    let is_open = performative(frame).is_some_and(|(code, _)| code == OPEN);
    let start = frame.get(HEADER..).filter(|_| is_open).and_then(|body| serde_amqp::from_slice::<Open>(body).ok());
    let encoded = start.and_then(|mut open| {
        open.max_frame_size.0 = u32::try_from(FRAME).unwrap_or(u32::MAX);
        serde_amqp::to_vec(&open).ok()
    });
    match encoded {
        Some(body) => {
            out.put_u32(u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX));
            out.put_slice(&frame[4..HEADER]);
            out.put_slice(&body);
        }
        None => out.put_slice(frame),
    }
    is_open
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fe2o3_amqp_types::messaging::Batch;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const TRANSFERRED: &[u8] = b"\0\0\0\x17\x02\0\0\x05\0\x53\x14\xc0\x03\x01\x43\x40payload";

    fn handed_on(frame: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        hand_on(frame, &mut out);
        out.to_vec()
    }

    #[test]
    fn a_payload_is_put_into_a_section_and_all_else_stays() {
        assert_eq!(
            handed_on(TRANSFERRED),
            b"\0\0\0\x1f\x02\0\0\x05\0\x53\x14\xc0\x03\x01\x43\x40\0\x53\x75\xb0\0\0\0\x07payload"
        );
        for frame in [
            &b"AMQP\0\x01\0\0"[..],
            b"\0\0\0\x08\x02\0\0\0",
            b"\0\0\0\x0c\x02\0\0\0\0\x53\x14\x45",
            b"\0\0\0\x0d\x02\0\0\0\0\x53\x13\x45\0",
            b"\0\0\0\x0d\x02\x01\0\0\0\x53\x14\x45\0",
            b"\0\0\0\x0d\x02\0\0\0\0\x53\x14\xc0\xff",
        ] {
            assert_eq!(handed_on(frame), frame, "{frame:02x?}");
        }
    }

    #[test]
    fn the_transfers_of_a_delivery_are_joined() {
        let data = |bytes: &[u8]| Data(bytes.to_vec().into());
        assert_eq!(bytes(Body::Data(Batch::new(vec![data(b"one "), data(b"event")]))), b"one event");
        assert_eq!(bytes(Body::Empty), b"");
    }

    /// The service may send frames of the size that it is told; the library takes those and the section.
    #[tokio::test]
    async fn the_service_is_told_the_true_size_of_frames() {
        let (near, mut far) = duplex(1 << 20);
        let mut stream = Undecoded::new(near);
        let open = |most: usize| {
            let mut open: Open = serde_amqp::from_slice(b"\0\x53\x10\xc0\x04\x01\xa1\x01a").unwrap();
            open.max_frame_size.0 = u32::try_from(most).unwrap();
            let body = serde_amqp::to_vec(&open).unwrap();
            [&u32::try_from(8 + body.len()).unwrap().to_be_bytes()[..], &[2, 0, 0, 0], &body].concat()
        };
        let (before, behind) = (b"AMQP\0\x01\0\0", b"\0\0\0\x08\x02\0\0\0");
        let said = [&before[..], &open(FRAME + ENVELOPE), behind].concat();
        for part in said.chunks(5) {
            stream.write_all(part).await.unwrap();
        }
        stream.write_all(behind).await.unwrap();
        stream.flush().await.unwrap();
        let expected = [&before[..], &open(FRAME), behind, behind].concat();
        let mut heard = vec![0; expected.len()];
        far.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, expected);
    }

    #[tokio::test]
    async fn frames_arrive_whole_however_they_come() {
        let (near, mut far) = duplex(7);
        let mut stream = Undecoded::new(near);
        let sending = tokio::spawn(async move {
            far.write_all(&[TRANSFERRED, TRANSFERRED, b"\0\0\0\x08\x03\0\0\0"].concat()).await.unwrap();
            far
        });
        let expected = [handed_on(TRANSFERRED), handed_on(TRANSFERRED)].concat();
        let mut heard = vec![0; expected.len()];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, expected);
        let rubbish = tokio::time::timeout(Duration::from_secs(30), stream.read_u8()).await.unwrap();
        assert_eq!(rubbish.unwrap_err().kind(), ErrorKind::InvalidData);
        drop(sending.await.unwrap());
        assert!(stream.came.len() < FRAME);
    }

    proptest! {
        #[test]
        fn any_frame_is_handed_on_as_one(bytes in proptest::collection::vec(any::<u8>(), 0..100), code in 0x10_u8..0x19) {
            let body = [&[0, 0x53, code][..], &bytes].concat();
            let whole = [&u32::try_from(8 + body.len()).unwrap().to_be_bytes()[..], &[2, 0, 0, 0], &body].concat();
            for bytes in [&bytes, &whole] {
                let mut buffer = BytesMut::from(&bytes[..]);
                while let Ok(Some(frame)) = take(&mut buffer) {
                    let mut handed_on = BytesMut::from(&handed_on(&frame)[..]);
                    if handed_on.len() <= FRAME {
                        prop_assert_eq!(take(&mut handed_on).unwrap().map(|frame| frame.len() >= 8), Some(true));
                        prop_assert!(handed_on.is_empty());
                    }
                }
            }
        }
    }
}
