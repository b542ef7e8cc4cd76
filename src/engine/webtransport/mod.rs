//! Sessions over WebTransport: the checks, the first packet, then a new session or the upgrade of one on long-polling.
//!
//! The client sends `0` to open a session, and `0{"sid":".."}` to upgrade one: its URL has no query.

mod opening;
#[cfg(feature = "webtransport")]
mod quic;
#[cfg(feature = "webtransport")]
mod session;

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
};

use futures_core::Stream;
use http::request::Parts;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    AcceptError, Connection, Engine, Packet, PacketType, ProtocolVersion, RequestError, Session, Transport,
    http::report_rejection,
    transport::{Driver, WebTransport, probe},
};

use self::opening::OpeningGuard;

/// The maximum size in bytes of packets before a session is opened or upgraded. The first one contains the id of a session.
const MAX_FIRST_PACKET: usize = 4 * 1024;

/// What a client asks for with its first packet.
enum Purpose {
    Open,
    Upgrade,
}

impl Engine {
    /// Serves a client on a stream of WebTransport, until the stream is not needed any more.
    pub(crate) async fn accept_webtransport<Io>(self: &Arc<Self>, request: Parts, io: Io) -> Result<(), AcceptError>
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        let opening = self.begin_opening(self.config.address_of(&request.headers, &request.extensions));
        self.check_webtransport(&request)?;
        self.carry_webtransport(opening, &request, io).await
    }

    /// Checks the request of a client, before its stream is read.
    fn check_webtransport(&self, request: &Parts) -> Result<(), AcceptError> {
        let origins = self.config.origins.as_ref();
        let checked = if !self.config.serves(Transport::WebTransport) {
            Err(AcceptError::Disabled)
        } else if origins.is_some_and(|origins| !origins.allow(request, false, || self.count_panic())) {
            Err(AcceptError::Forbidden)
        } else if self.draining.load(Ordering::Relaxed) {
            Err(AcceptError::Draining)
        } else {
            Ok(())
        };
        checked.inspect_err(|error| self.report(request, *error))
    }

    fn report(&self, request: &Parts, error: AcceptError) {
        report_rejection(self, request, &RequestError::from(error).into());
    }

    /// Waits for the first packet, then opens or upgrades a session and drives it to its end.
    async fn carry_webtransport<Io>(
        self: &Arc<Self>,
        opening: OpeningGuard,
        request: &Parts,
        io: Io,
    ) -> Result<(), AcceptError>
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        let mut transport = WebTransport::new(io, MAX_FIRST_PACKET);
        let first = opening.wait(poll_fn(|cx| Pin::new(&mut transport).poll_next(cx))).await;
        drop(opening);
        let begun = first.and_then(|packet| match packet {
            Some(Ok(packet)) => self.begin_webtransport(request, &packet),
            Some(Err(_)) | None => Err(AcceptError::NoHandshake),
        });
        let (purpose, connection) = begun.inspect_err(|error| self.report(request, *error))?;
        let max_payload = self.config.max_payload;
        match purpose {
            Purpose::Open => {
                transport.set_max_payload(max_payload);
                Driver::start(connection, transport).await;
            }
            Purpose::Upgrade => {
                let probing = ProbeGuard(&connection);
                if probe(probing.0, &mut transport).await {
                    transport.set_max_payload(max_payload);
                    Driver::new(connection.clone(), transport).await;
                }
            }
        }
        Ok(())
    }

    /// Opens a session, or begins the upgrade of one.
    fn begin_webtransport(
        self: &Arc<Self>,
        request: &Parts,
        first: &Packet,
    ) -> Result<(Purpose, Arc<Connection>), AcceptError> {
        #[derive(Deserialize)]
        struct Handshake {
            sid: String,
        }
        if first.packet_type() != PacketType::Open {
            return Err(AcceptError::NoHandshake);
        }
        if first.data().is_empty() {
            let limits = self.config.limits_addresses();
            let address = limits.then(|| self.config.address_of(&request.headers, &request.extensions)).flatten();
            let (transport, protocol) = (Transport::WebTransport, ProtocolVersion::V4);
            let max_head_bytes = self.config.max_head_bytes;
            let connection = self.open(request.clone(), transport, protocol, max_head_bytes, address)?;
            return Ok((Purpose::Open, connection));
        }
        let handshake: Handshake = serde_json::from_slice(first.data()).map_err(|_| AcceptError::NoHandshake)?;
        let connection = self.sessions.get(&handshake.sid).ok_or(AcceptError::UnknownSession)?;
        if connection.inspect(Session::closed).is_some() {
            return Err(AcceptError::UnknownSession);
        }
        let may_upgrade = self.config.allow_upgrades && connection.wire_format.protocol == ProtocolVersion::V4;
        if !may_upgrade || !connection.update(|session| session.probe_begin(Transport::WebTransport)) {
            return Err(AcceptError::CannotUpgrade);
        }
        Ok((Purpose::Upgrade, connection))
    }
}

/// Ends a probe. Has no effect once the session has been upgraded.
struct ProbeGuard<'a>(&'a Arc<Connection>);

impl Drop for ProbeGuard<'_> {
    fn drop(&mut self) {
        self.0.update(|session| session.probe_end(Transport::WebTransport));
    }
}
