//! What is read and written as bytes, so that it comes out as it went in.

pub(crate) mod frame;
pub(crate) mod message;
pub(crate) mod pump;
pub(crate) mod value;
