//! The protobuf of a sub-record, and the sizes of fields.

use bytes::Bytes;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

/// The field of an aggregate that holds partition keys.
pub(super) const PARTITION_KEYS: u32 = 1;
/// The field of an aggregate that holds explicit hash keys.
pub(super) const HASH_KEYS: u32 = 2;
/// The field of an aggregate that holds sub-records.
pub(super) const SUB_RECORDS: u32 = 3;

/// A sub-record. What the format requires is optional here, so that its absence is seen.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SubRecord {
    #[prost(uint64, optional, tag = "1")]
    pub(super) partition_key: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub(super) hash_key: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub(super) data: Option<Bytes>,
    #[prost(message, repeated, tag = "4")]
    pub(super) tags: Vec<Tag>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Tag {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) value: Option<String>,
}

/// How many bytes a field of so many bytes has, with its number and its length.
pub(super) fn field(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

/// How many bytes a tag has, without the field that it is in.
pub(super) fn tag(name: usize, value: usize) -> usize {
    field(name) + field(value)
}

/// Begins a field of `length` bytes, which follow.
pub(super) fn begin(number: u32, length: usize, into: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, into);
    encode_varint(length as u64, into);
}

/// Writes a field of bytes or of text.
pub(super) fn put(number: u32, bytes: &[u8], into: &mut Vec<u8>) {
    begin(number, bytes.len(), into);
    into.extend_from_slice(bytes);
}

/// Writes an index of zero.
pub(super) fn put_zero(number: u32, into: &mut Vec<u8>) {
    encode_key(number, WireType::Varint, into);
    encode_varint(0, into);
}
