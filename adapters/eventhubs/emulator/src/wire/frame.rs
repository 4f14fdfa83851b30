//! Frames as bytes: where they end, what they are, and what is put around the payload of transfers.
//!
//! The AMQP library decodes what it receives into types, which loses what the types do not have, and refuses what they
//! cannot hold. So it is given each payload as the binary that it is: on the way in it is put into a data section, and the
//! value that the library sends is taken out of its section on the way out.

use bytes::{Buf as _, BufMut as _, BytesMut};
use fe2o3_amqp_types::{
    definitions::Role,
    performatives::{Attach, Begin, Open},
};

use super::value::{Malformed, measure};

/// The largest frame that peers may send, as the service has it.
pub(crate) const MOST: usize = 65_536;
/// What a section around a payload adds to its frame.
pub(crate) const ENVELOPE: usize = 8;

const HEADER: usize = 8;
const OPEN: u8 = 0x10;
const BEGIN: u8 = 0x11;
const ATTACH: u8 = 0x12;
const TRANSFER: u8 = 0x14;

/// Takes the next frame or protocol header from the front, if all of it is there.
pub(crate) fn take(buffer: &mut BytesMut) -> Result<Option<BytesMut>, Malformed> {
    let Some(&[a, b, c, d, offset, ..]) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
    if [a, b, c, d] == *b"AMQP" {
        return Ok(Some(buffer.split_to(HEADER)));
    }
    let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|_| Malformed)?;
    // Frames of the library itself may be larger by the envelope.
    if !(HEADER..=MOST + ENVELOPE).contains(&size) || !(2..=size / 4).contains(&usize::from(offset)) {
        return Err(Malformed);
    }
    if buffer.len() < size { Ok(None) } else { Ok(Some(buffer.split_to(size))) }
}

/// What a peer says of itself and of what it wants.
#[derive(Clone, Debug)]
pub(crate) enum Performative {
    Open(Box<Open>),
    Begin(Box<Begin>),
    Attach(Box<Attach>),
}

/// Passes on a frame from a peer: a transfer with its payload in a data section. What is no value is refused: the AMQP
/// library adds sizes without a look at whether they can be.
pub(crate) fn inward(frame: &[u8], out: &mut BytesMut) -> Result<Option<Performative>, Malformed> {
    let length = first_value(frame)?;
    let Some((code, body)) = performative(frame) else {
        out.put_slice(frame);
        return Ok(None);
    };
    if code == TRANSFER {
        let payload = body + length;
        let data = frame.len() - payload;
        out.put_u32(u32::try_from(frame.len() + ENVELOPE).map_err(|_| Malformed)?);
        out.put_slice(&frame[4..payload]);
        out.put_slice(&[0, 0x53, 0x75, 0xb0]);
        out.put_u32(u32::try_from(data).map_err(|_| Malformed)?);
        out.put_slice(&frame[payload..]);
        return Ok(None);
    }
    let (start, body) = frame.split_at(body);
    if code == OPEN
        && let Ok(open) = serde_amqp::from_slice::<Open>(body)
    {
        // Whatever a peer takes, no frame of ours is larger than those that we take.
        let most = open.max_frame_size.0.min(u32::try_from(MOST).unwrap_or(u32::MAX));
        write(start, &Open { max_frame_size: most.into(), ..open.clone() }, frame, out);
        return Ok(Some(Performative::Open(Box::new(open))));
    }
    out.put_slice(frame);
    // What does not decode is for the library to answer.
    Ok(match code {
        BEGIN => serde_amqp::from_slice(body).ok().map(|begin| Performative::Begin(Box::new(begin))),
        ATTACH => serde_amqp::from_slice(body).ok().map(|attach| Performative::Attach(Box::new(attach))),
        _ => None,
    })
}

/// Passes on a frame of the library: a transfer without the section around its payload, and without the room for sections
/// in what peers are told of sizes.
pub(crate) fn outward(frame: &[u8], largest_message: u64, out: &mut BytesMut) {
    let (Some((code, body)), Ok(length)) = (performative(frame), first_value(frame)) else {
        out.put_slice(frame);
        return;
    };
    let start = &frame[..body];
    match code {
        OPEN => {
            if let Ok(mut open) = serde_amqp::from_slice::<Open>(&frame[body..]) {
                open.max_frame_size.0 = u32::try_from(MOST).unwrap_or(u32::MAX);
                return write(start, &open, frame, out);
            }
        }
        ATTACH => {
            if let Ok(mut attach) = serde_amqp::from_slice::<Attach>(&frame[body..])
                && matches!(attach.role, Role::Receiver)
            {
                attach.max_message_size = Some(largest_message);
                return write(start, &attach, frame, out);
            }
        }
        TRANSFER => {
            let payload = body + length;
            let section = envelope(&frame[body..payload], &frame[payload..]);
            out.put_u32(u32::try_from(frame.len() - section).unwrap_or(u32::MAX));
            out.put_slice(&frame[4..payload]);
            out.put_slice(&frame[payload + section..]);
            return;
        }
        _ => {}
    }
    out.put_slice(frame);
}

/// The room that sections around the payloads of one message may take: of frames of 512 bytes, which are the smallest that
/// a peer may insist on.
pub(crate) fn slack(largest_message: u64) -> u64 {
    (largest_message / 256).saturating_mul(ENVELOPE as u64) + 4096
}

/// The length of the value that a frame's body begins with, of AMQP and of SASL; none for one without a body, and for a
/// protocol header.
fn first_value(frame: &[u8]) -> Result<usize, Malformed> {
    match frame {
        [b'A', b'M', b'Q', b'P', ..] => Ok(0),
        [_, _, _, _, offset, ..] => match frame.get(usize::from(*offset) * 4..) {
            Some([]) => Ok(0),
            Some(body) => measure(body),
            None => Err(Malformed),
        },
        _ => Err(Malformed),
    }
}

/// The code of an AMQP frame's performative, and where that begins.
fn performative(frame: &[u8]) -> Option<(u8, usize)> {
    let (&[.., offset, kind, _, _], _) = frame.split_first_chunk::<HEADER>()?;
    let body = usize::from(offset) * 4;
    if kind != 0 {
        return None;
    }
    match frame.get(body..)? {
        [0, 0x53, code, ..] | [0, 0x80, 0, 0, 0, 0, 0, 0, 0, code, ..] => Some((*code, body)),
        _ => None,
    }
}

/// The length of the value section's beginning on the first payload of a stored event. Answers begin with properties.
fn envelope(transfer: &[u8], payload: &[u8]) -> usize {
    // The second field, the delivery's id, is that of its first transfer only.
    let fields = transfer.get(3..).map(|list| match list {
        [0xc0, _, _, fields @ ..] | [0xd0, _, _, _, _, _, _, _, _, fields @ ..] => fields,
        _ => &[],
    });
    let continues = fields.and_then(|fields| fields.get(measure(fields).ok()?..)?.first()).is_none_or(|id| *id == 0x40);
    match payload {
        _ if continues => 0,
        [0, 0x53, 0x77, 0xb0, ..] if payload.len() >= 8 => 8,
        [0, 0x53, 0x77, 0xa0, _, ..] => 5,
        _ => 0,
    }
}

fn write(start: &[u8], performative: &impl serde::Serialize, frame: &[u8], out: &mut BytesMut) {
    let Ok(body) = serde_amqp::to_vec(performative) else {
        out.put_slice(frame);
        return;
    };
    let mut rest = start;
    rest.advance(4);
    out.put_u32(u32::try_from(start.len() + body.len()).unwrap_or(u32::MAX));
    out.put_slice(rest);
    out.put_slice(&body);
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp_types::{
        definitions::{DeliveryTag, Handle},
        performatives::Transfer,
    };
    use proptest::prelude::*;

    use super::*;

    /// Found by fuzzing: sizes that the AMQP library overflowed by.
    #[test]
    fn a_size_beyond_the_frame_is_refused_before_it_is_decoded() {
        for kind in [0, 1] {
            let header = [0, 0, 0, 63, 2, kind, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, OPEN, 0xd0, 0, 0];
            let frame = [&header[..], &[0xff; 42]].concat();
            let mut out = BytesMut::new();
            assert_eq!(inward(&frame, &mut out).err(), Some(Malformed));
            outward(&frame, 1 << 20, &mut out);
        }
    }

    fn frame(performative: &impl serde::Serialize, payload: &[u8]) -> Vec<u8> {
        let body = serde_amqp::to_vec(performative).unwrap();
        let size = u32::try_from(8 + body.len() + payload.len()).unwrap();
        [&size.to_be_bytes()[..], &[2, 0, 0, 1], &body, payload].concat()
    }

    fn transfer(id: Option<u32>) -> Transfer {
        Transfer {
            handle: Handle(0),
            delivery_id: id,
            delivery_tag: id.map(|id| DeliveryTag::from(id.to_be_bytes().to_vec())),
            message_format: Some(0),
            settled: Some(true),
            more: true,
            rcv_settle_mode: None,
            state: None,
            resume: false,
            aborted: false,
            batchable: false,
        }
    }

    fn open() -> Open {
        serde_amqp::from_slice(b"\0\x53\x10\xc0\x04\x01\xa1\x01a").unwrap()
    }

    fn passed(frame: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        outward(frame, 1_048_576, &mut out);
        out.to_vec()
    }

    #[test]
    fn frames_are_taken_whole() {
        let mut buffer = BytesMut::from(&b"AMQP\x03\x01\x00\x00\0\0\0\x08\x02\0\0\0\0\0\0\x0a\x02"[..]);
        assert_eq!(take(&mut buffer).unwrap().unwrap(), &b"AMQP\x03\x01\x00\x00"[..]);
        assert_eq!(take(&mut buffer).unwrap().unwrap().len(), 8);
        assert_eq!(take(&mut buffer), Ok(None));
        for rubbish in
            [&b"GET / HTTP/1.1"[..], b"\0\0\0\x07\x02\0\0\0", b"\0\0\0\x08\x03\0\0\0", b"\0\0\0\x08\x01\0\0\0"]
        {
            assert_eq!(take(&mut BytesMut::from(rubbish)), Err(Malformed));
        }
    }

    #[test]
    fn a_payload_is_put_into_a_section_and_all_else_stays() {
        let mut out = BytesMut::new();
        inward(&frame(&transfer(Some(7)), b"payload"), &mut out).unwrap();
        assert_eq!(out, frame(&transfer(Some(7)), b"\0\x53\x75\xb0\0\0\0\x07payload"));
        out.clear();
        inward(b"\0\0\0\x08\x02\0\0\0", &mut out).unwrap();
        assert_eq!(out, &b"\0\0\0\x08\x02\0\0\0"[..]);
    }

    #[test]
    fn the_section_around_an_event_is_taken_off_its_first_payload_only() {
        let event = b"\0\x53\x77\xb0\0\0\0\x05event";
        assert_eq!(passed(&frame(&transfer(Some(7)), event)), frame(&transfer(Some(7)), b"event"));
        assert_eq!(passed(&frame(&transfer(None), event)), frame(&transfer(None), event));
        let answer = b"\0\x53\x73\x45\0\x53\x77\x40";
        assert_eq!(passed(&frame(&transfer(Some(7)), answer)), frame(&transfer(Some(7)), answer));
    }

    #[test]
    fn peers_are_told_sizes_without_the_room_for_sections() {
        let open = open();
        let told = passed(&frame(&Open { max_frame_size: 65_600.into(), ..open.clone() }, b""));
        assert_eq!(told, frame(&Open { max_frame_size: 65_536.into(), ..open }, b""));
    }

    #[test]
    fn the_library_is_told_of_no_larger_frames_than_the_pump_takes() {
        for (peer, told) in [(512, 512), (65_536, 65_536), (u32::MAX, 65_536)] {
            let mut out = BytesMut::new();
            let peer = Open { max_frame_size: peer.into(), ..open() };
            let said = inward(&frame(&peer, b""), &mut out).unwrap();
            assert!(matches!(said, Some(Performative::Open(open)) if *open == peer));
            assert_eq!(out, frame(&Open { max_frame_size: told.into(), ..open() }, b""));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_pass_or_are_malformed(bytes in proptest::collection::vec(any::<u8>(), 0..100), code in 0x10_u8..0x19) {
            let body = [&[0, 0x53, code][..], &bytes].concat();
            let whole = [&u32::try_from(8 + body.len()).unwrap().to_be_bytes()[..], &[2, 0, 0, 0], &body].concat();
            for bytes in [&bytes, &whole] {
                let mut buffer = BytesMut::from(&bytes[..]);
                while let Ok(Some(frame)) = take(&mut buffer) {
                    let mut out = BytesMut::new();
                    let _ = inward(&frame, &mut out);
                    outward(&frame, 5, &mut out);
                }
            }
        }
    }
}
