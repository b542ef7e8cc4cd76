//! msgpack, and what becomes of it in JSON.
//!
//! What is read is what notepack and `@msgpack/msgpack` write; what is written is what both write for the same value.

mod from_json;
mod read;
mod to_json;

pub(super) use self::{
    from_json::from_json,
    read::{Begin, begin, is_undefined, skip},
    to_json::to_json,
};
