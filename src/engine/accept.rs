//! Sessions that do not begin with an HTTP request to the engine.

use std::{net::IpAddr, sync::Arc};

use futures_core::Stream;
use futures_sink::Sink;
use http::request::Parts;

use super::{
    AcceptError, Connection, ConnectionRequest, Engine, Packet, ProtocolVersion, RequestQuery, Transport,
    TransportError, WireFormat,
    connection::{HeadError, OpenError},
    generate_id,
    transport::{Driver, Foreign},
};

impl Engine {
    /// Opens a connection over a custom transport. The future drives it to its end.
    pub(crate) fn accept<T>(
        self: &Arc<Self>,
        request: Parts,
        transport: T,
    ) -> Result<impl Future<Output = ()>, AcceptError>
    where
        T: Stream<Item = Result<Packet, TransportError>> + Sink<Packet, Error = TransportError>,
    {
        let protocol = RequestQuery::parse(request.uri.query().unwrap_or_default()).protocol();
        let protocol = protocol.filter(|_| self.config.allow_eio3).unwrap_or(ProtocolVersion::V4);
        // Custom transports have neither an address nor a limit for the head.
        let connection = self.open(request, Transport::Custom, protocol, usize::MAX, None)?;
        Ok(Driver::start(connection, Foreign::new(transport)))
    }

    /// Opens a connection over a stream.
    pub(super) fn open(
        self: &Arc<Self>,
        request: Parts,
        transport: Transport,
        protocol: ProtocolVersion,
        max_head_bytes: usize,
        address: Option<IpAddr>,
    ) -> Result<Arc<Connection>, AcceptError> {
        let id = match &self.config.generate_id {
            None => Some(generate_id()),
            Some(generate) => self.catch_panic(|| generate(&request).into()),
        };
        let id = id.filter(|id| !id.is_empty()).ok_or(AcceptError::InvalidId)?;
        let wire_format = WireFormat::default_for(protocol);
        let request = ConnectionRequest::new(request, max_head_bytes).map_err(|error| match error {
            HeadError::TooLarge => AcceptError::HeadTooLarge,
            HeadError::UnreadableTarget => AcceptError::TargetTooLong,
        })?;
        let connection = Connection::open(self.clone(), id, request, transport, wire_format, address);
        connection.map_err(|error| match error {
            OpenError::IdTaken => AcceptError::IdTaken,
            OpenError::Draining => AcceptError::Draining,
            OpenError::TooManySessions => AcceptError::TooManySessions,
        })
    }
}
