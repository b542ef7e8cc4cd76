//! The server over QUIC, with a client that writes the frames of HTTP/3 itself.

use std::{net::Ipv4Addr, sync::Arc};

use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, crypto::rustls::QuicClientConfig};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer},
    version::TLS13,
};
use tokio::io::{Join, join};
use web_transport_proto::{
    Capsule, ConnectError, ConnectRequest, ConnectResponse, Frame, Http3CapsuleReader, Settings, StreamUni, VarInt,
};

use super::*;

/// A server over QUIC alone.
struct Server {
    io: SocketIo,
    endpoint: Endpoint,
    certificate: CertificateDer<'static>,
}

impl Server {
    fn start(config: SocketIoConfig) -> Self {
        Self::start_with(service(config))
    }

    fn start_with(io: SocketIo) -> Self {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let tls = rustls::ServerConfig::builder_with_provider(default_provider().into())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let endpoint = Endpoint::server(io.webtransport_config(tls).unwrap(), (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let (serving, served) = (io.clone(), endpoint.clone());
        tokio::spawn(async move { serving.serve_webtransport(served).await });
        Self { io, endpoint, certificate: cert.der().clone() }
    }

    /// Connects, without a request.
    async fn connect(&self) -> Connection {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let mut tls = rustls::ClientConfig::builder_with_provider(default_provider().into())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = self.endpoint.local_addr().unwrap();
        soon(endpoint.connect_with(config, address, "localhost").unwrap()).await.unwrap()
    }

    /// Asks for a session. Returns the status.
    async fn request(&self, url: &str, origin: &str) -> (u16, Client) {
        let connection = self.connect().await;
        let mut control = connection.open_uni().await.unwrap();
        let mut settings = Settings::default();
        settings.enable_webtransport(1);
        settings.write(&mut control).await.unwrap();
        let mut settings = soon(connection.accept_uni()).await.unwrap();
        assert!(Settings::read(&mut settings).await.unwrap().supports_webtransport() > 0);
        let (mut connect, mut responses) = connection.open_bi().await.unwrap();
        let request = ConnectRequest::new(url.parse::<url::Url>().unwrap());
        let request = request.with_header(http::header::ORIGIN, origin.parse().unwrap());
        request.write(&mut connect).await.unwrap();
        let status = match soon(ConnectResponse::read(&mut responses)).await {
            Ok(response) => response.status,
            Err(ConnectError::WrongStatus(Some(status))) => status,
            Err(error) => panic!("{error}"),
        };
        (status.as_u16(), Client { connection, connect, responses, _control: (control, settings) })
    }

    /// Opens a session of WebTransport, and its stream.
    async fn session(&self) -> (Client, WebTransport<Join<RecvStream, SendStream>>) {
        let (status, client) = self.request("https://localhost/socket.io/", "https://localhost").await;
        assert_eq!(status, 200);
        let stream = client.stream().await;
        (client, stream)
    }

    /// Opens a session of Socket.IO.
    async fn join(&self) -> (Client, WebTransport<Join<RecvStream, SendStream>>) {
        let (client, mut stream) = self.session().await;
        stream.open_session().await;
        (client, stream)
    }
}

struct Client {
    connection: Connection,
    connect: SendStream,
    responses: RecvStream,
    _control: (SendStream, RecvStream),
}

impl Client {
    /// Opens a stream of the session.
    async fn stream(&self) -> WebTransport<Join<RecvStream, SendStream>> {
        let (mut send, recv) = soon(self.connection.open_bi()).await.unwrap();
        let mut header = Vec::new();
        Frame::WEBTRANSPORT.encode(&mut header);
        VarInt::from_u32(quinn::VarInt::from(self.connect.id()).into_inner() as u32).encode(&mut header);
        send.write_all(&header).await.unwrap();
        WebTransport::new(join(recv, send))
    }

    /// Sends a capsule on the stream of the request.
    async fn send(&mut self, capsule: Capsule) {
        let (mut bytes, mut frame) = (Vec::new(), Vec::new());
        capsule.encode(&mut bytes);
        Frame::DATA.encode(&mut frame);
        VarInt::from_u32(bytes.len() as u32).encode(&mut frame);
        frame.extend(bytes);
        self.connect.write_all(&frame).await.unwrap();
    }

    /// Waits until the server has closed the session, and checks that the connection is still open then.
    async fn closed(self) {
        let mut capsules = Http3CapsuleReader::new(self.responses);
        let capsule = soon(capsules.read()).await.unwrap();
        assert_eq!(capsule, Some(Capsule::CloseWebTransportSession { code: 0, reason: String::new() }));
        assert_eq!(soon(capsules.read()).await.unwrap(), None);
        assert!(self.connection.close_reason().is_none());
    }
}

#[tokio::test]
async fn a_session_over_quic_ends_after_its_last_packets() {
    let server = Server::start(config());
    let (client, mut stream) = server.join().await;
    let socket = server.io.sockets().remove(0);
    assert_eq!(socket.transport(), Transport::WebTransport);
    assert_eq!(socket.request().uri(), "https://localhost/socket.io/");
    assert_eq!(socket.request().headers()["origin"], "https://localhost");
    assert!(socket.conn().remote_addr().unwrap().ip().is_loopback());
    let long = "x".repeat(500_000);
    stream.say(&format!(r#"42["echo","{long}"]"#)).await;
    stream.expect(&format!(r#"42["echo","{long}"]"#)).await;
    socket.emit("last", &long).unwrap();
    stream.say(r#"42["kick"]"#).await;
    stream.expect(&format!(r#"42["last","{long}"]"#)).await;
    stream.expect("41").await;
    stream.expect_end().await;
    client.closed().await;
    until(|| server.io.stats().connections == 0).await;
}

#[tokio::test]
async fn a_request_is_checked_before_its_session_is_accepted() {
    let server = Server::start(config().origins(["https://example.org"]));
    for (url, origin, status) in [
        ("https://localhost/", "https://localhost", 404),
        ("https://localhost/socket.io", "https://localhost", 404),
        ("https://localhost/socket.io/x", "https://localhost", 404),
        ("https://localhost/socket.io/", "https://example.net", 403),
        ("https://localhost/socket.io/", "https://example.org", 200),
        ("https://localhost/socket.io/?a=b", "https://localhost", 200),
    ] {
        assert_eq!(server.request(url, origin).await.0, status, "{url} {origin}");
    }
    let disabled = Server::start(SocketIoConfig::new());
    assert_eq!(disabled.request("https://localhost/socket.io/", "null").await.0, 400);
    server.io.drain(Duration::ZERO).await;
    assert_eq!(server.request("https://localhost/socket.io/", "https://localhost").await.0, 503);
}

#[tokio::test]
async fn the_ways_in_which_a_client_leaves() {
    let (namespace, mut reasons) = namespace();
    let server = Server::start_with(SocketIoService::new(config().namespace("/", namespace)).io());
    // The session is closed, after a packet and capsules that are ignored.
    let (mut client, mut stream) = server.join().await;
    stream.say(r#"42["echo",1]"#).await;
    stream.expect(r#"42["echo",1]"#).await;
    client.send(Capsule::Grease { num: 1 }).await;
    client.send(Capsule::CloseWebTransportSession { code: 7, reason: "bye".into() }).await;
    assert_eq!(detail(soon(reasons.recv()).await), ("transport close", None));
    client.closed().await;
    // The stream of the request ends.
    let (mut client, _stream) = server.join().await;
    client.connect.finish().unwrap();
    assert_eq!(detail(soon(reasons.recv()).await), ("transport close", None));
    // The stream of the session ends.
    let (client, mut stream) = server.join().await;
    stream.finish().await;
    assert_eq!(detail(soon(reasons.recv()).await), ("transport close", None));
    client.closed().await;
    // The connection is closed.
    let (client, _stream) = server.join().await;
    client.connection.close(0u32.into(), b"");
    assert_eq!(detail(soon(reasons.recv()).await), ("transport close", None));
    // The client violates the protocol.
    let (client, mut stream) = server.join().await;
    stream.raw(b"\x01x").await;
    assert_eq!(detail(soon(reasons.recv()).await).0, "parse error");
    stream.expect_end().await;
    client.closed().await;
}

#[tokio::test]
async fn a_server_that_closes_tells_its_clients() {
    let server = Server::start(config());
    let (client, mut stream) = server.join().await;
    let closing = tokio::spawn({
        let io = server.io.clone();
        async move { io.close().await }
    });
    stream.expect("41").await;
    stream.expect_end().await;
    client.closed().await;
    soon(closing).await.unwrap();
    // The endpoint stays open.
    server.join().await;
}

#[tokio::test]
async fn a_first_packet_that_is_refused_closes_the_session() {
    let server = Server::start(config());
    for first in ["4x", r#"0{"sid":"unknown"}"#] {
        let (client, mut stream) = server.session().await;
        stream.say(first).await;
        stream.expect_end().await;
        client.closed().await;
    }
}

#[tokio::test]
async fn each_step_of_the_opening_is_limited_in_time() {
    let server = Server::start(config().upgrade_timeout(Duration::from_millis(300)));
    let silent = server.connect().await;
    soon(silent.closed()).await;
    let (_, client) = server.request("https://localhost/socket.io/", "null").await;
    soon(client.connection.closed()).await;
    let (client, mut stream) = server.session().await;
    stream.expect_end().await;
    client.closed().await;
}

#[tokio::test]
async fn a_connection_has_few_streams_and_small_windows() {
    let server = Server::start(config());
    // One stream for the request, one for the session.
    let (client, _stream) = server.join().await;
    let mut third = std::pin::pin!(client.connection.open_bi());
    assert!(futures_util::poll!(third.as_mut()).is_pending());
    // The server does not read this one. The control stream has been opened already.
    let mut ignored = soon(client.connection.open_uni()).await.unwrap();
    let mut header = Vec::new();
    StreamUni::WEBTRANSPORT.encode(&mut header);
    ignored.write_all(&header).await.unwrap();
    let (mut written, data) = (0, vec![0; 256 * 1024]);
    while let std::task::Poll::Ready(count) = futures_util::poll!(std::pin::pin!(ignored.write(&data))) {
        written += count.unwrap();
    }
    assert!((1..=64 * 1024).contains(&written), "{written}");
    let mut last = soon(client.connection.open_uni()).await.unwrap();
    last.write_all(&header).await.unwrap();
    assert!(futures_util::poll!(std::pin::pin!(client.connection.open_uni())).is_pending());
}

#[tokio::test]
async fn many_clients_that_do_not_finish_their_opening_do_not_lock_out_others() {
    let server = Server::start(config().max_idle_sessions(4).upgrade_timeout(10 * PATIENCE));
    let mut silent = Vec::new();
    for _ in 0..12 {
        silent.push(server.connect().await);
    }
    // The oldest ones are closed.
    for connection in &silent[..8] {
        soon(connection.closed()).await;
    }
    let (_client, mut stream) = server.join().await;
    stream.say(r#"42["echo",1]"#).await;
    stream.expect(r#"42["echo",1]"#).await;
}
