//! Helpers that the standard library does not have.

use std::{future::Future, pin::Pin};

mod catch;
mod clock;
mod infallible;
mod log;
mod order;

pub(crate) use self::{
    catch::catch_panic,
    clock::{FOREVER, now},
    infallible::{FromError, InfallibleService},
    log::log,
    order::Order,
};

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
