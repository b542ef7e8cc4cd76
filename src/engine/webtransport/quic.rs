//! A server for WebTransport: HTTP/3 over QUIC, with one session per connection and nothing else.
//!
//! It speaks the drafts 02 to 07 of "WebTransport over HTTP/3", as browsers do.

use std::{
    future::{Future, poll_fn},
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap};
use quinn::{
    Endpoint, Incoming, ServerConfig, TransportConfig,
    crypto::rustls::{NoInitialCipherSuite, QuicServerConfig},
};

use crate::{engine::Engine, util::log};

use super::session::Session;

/// Unread bytes that a client may leave in a stream. It has one.
const STREAM_WINDOW: u32 = 64 * 1024;

/// Unread bytes that a client may leave in all of its streams.
const CONNECTION_WINDOW: u32 = 128 * 1024;

/// Unacknowledged bytes that are kept for a client, in addition to those that are queued.
const SEND_WINDOW: u64 = 256 * 1024;

/// The CONNECT request, and the stream of the client.
const BIDIRECTIONAL_STREAMS: u32 = 2;

/// The control stream of HTTP/3, and two for the compression of headers.
const UNIDIRECTIONAL_STREAMS: u32 = 3;

/// Browsers require datagrams, which are not used.
const DATAGRAM_BUFFER: usize = 2 * 1024;

/// Packets of connections that have not been accepted, for each and for all of them.
const INCOMING_BUFFERS: (u64, u64) = (64 * 1024, 16 << 20);

impl Engine {
    /// Returns a configuration for QUIC with limits for clients that are not trusted.
    pub(crate) fn webtransport_config(
        &self,
        mut tls: rustls::ServerConfig,
    ) -> Result<ServerConfig, NoInitialCipherSuite> {
        tls.alpn_protocols = vec![b"h3".to_vec()];
        // A request that an attacker repeats must not open a session.
        tls.max_early_data_size = 0;
        let (keep_alive, max_idle) = idle_times(self.config.ping_interval);
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(BIDIRECTIONAL_STREAMS.into())
            .max_concurrent_uni_streams(UNIDIRECTIONAL_STREAMS.into())
            .stream_receive_window(STREAM_WINDOW.into())
            .receive_window(CONNECTION_WINDOW.into())
            .send_window(SEND_WINDOW)
            .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER))
            .datagram_send_buffer_size(DATAGRAM_BUFFER)
            .keep_alive_interval(Some(keep_alive))
            .max_idle_timeout(Some(max_idle.try_into().expect("it is at most half a minute")));
        let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
        config
            .transport_config(Arc::new(transport))
            .incoming_buffer_size(INCOMING_BUFFERS.0)
            .incoming_buffer_size_total(INCOMING_BUFFERS.1);
        Ok(config)
    }

    /// Serves clients until the endpoint is closed or the future is dropped.
    pub(crate) async fn serve_webtransport(self: Arc<Self>, endpoint: Endpoint) {
        while let Some(incoming) = endpoint.accept().await {
            // Addresses may be forged, until the client has answered. Under load it must, before it costs a handshake.
            if self.openings.is_crowded() && !incoming.remote_address_validated() && incoming.may_retry() {
                let retried = incoming.retry();
                debug_assert!(retried.is_ok(), "`may_retry` returned `true`");
                continue;
            }
            tokio::spawn(self.clone().serve_incoming(incoming));
        }
    }

    /// Serves a client to the end of its connection.
    async fn serve_incoming(self: Arc<Self>, incoming: Incoming) {
        let opening = self.begin_opening(self.address_of_peer(incoming.remote_address()));
        let session = match opening.wait(Session::accept(&self, incoming)).await {
            Ok(Ok(session)) => session,
            Ok(Err(error)) => return log!(debug, error = %error, "no session of WebTransport was opened"),
            Err(error) => return log!(debug, error = %error, "no session of WebTransport was opened"),
        };
        let Session { request, mut stream, mut requests, link } = session;
        {
            let mut carried = pin!(self.carry_webtransport(opening, &request, &mut stream));
            let mut closed = pin!(requests.closed());
            // What has arrived before the client closed its session is handled first.
            poll_fn(|cx| match carried.as_mut().poll(cx) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => closed.as_mut().poll(cx),
            })
            .await;
        }
        // Ends a stream that was refused. Others have been shut down.
        drop(stream);
        link.close().await;
    }

    fn address_of_peer(&self, peer: SocketAddr) -> Option<IpAddr> {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(peer));
        self.config.address_of(&HeaderMap::new(), &extensions)
    }
}

/// Returns the interval of QUIC's keep-alive, and the time without a sign of life after which a connection is lost.
///
/// A browser does not say that a tab has been closed. QUIC notices it earlier than the heartbeat, whose interval may be long.
fn idle_times(ping_interval: Duration) -> (Duration, Duration) {
    let keep_alive = (ping_interval / 5).clamp(Duration::from_secs(1), Duration::from_secs(10));
    (keep_alive, keep_alive * 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_tab_is_noticed_before_the_heartbeat_does() {
        let seconds = Duration::from_secs;
        assert_eq!(idle_times(seconds(25)), (seconds(5), seconds(15)));
        assert_eq!(idle_times(Duration::ZERO), (seconds(1), seconds(3)));
        assert_eq!(idle_times(crate::util::FOREVER), (seconds(10), seconds(30)));
    }
}
