use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::{
    Request,
    body::{Bytes, Incoming},
    client::conn::http1::{SendRequest, handshake},
    http::{HeaderMap, StatusCode},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

pub use hyper::http::Method;

use super::soon;

pub type Body = Full<Bytes>;

/// A response, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("the header is text"))
    }

    /// Checks that the engine refused the request with this error.
    #[track_caller]
    pub fn refused(&self, status: u16, code: u8, message: &str) {
        assert_eq!(self.status, status);
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.text(), format!(r#"{{"code":{code},"message":"{message}"}}"#));
    }

    /// Checks the status and the body.
    #[track_caller]
    pub fn is(&self, status: u16, body: &str) {
        assert_eq!((self.status.as_u16(), self.text()), (status, body));
    }
}

/// One connection to a server.
pub struct HttpClient {
    sender: SendRequest<Body>,
}

impl HttpClient {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("a client can be made");
        tokio::spawn(connection);
        Self { sender }
    }

    pub async fn send(&mut self, request: Request<Body>) -> Reply {
        soon(self.sender.ready()).await.expect("the connection is open");
        let response = soon(self.sender.send_request(request)).await.expect("the server answers");
        let (parts, body): (_, Incoming) = response.into_parts();
        let body = soon(body.collect()).await.expect("the body arrives whole").to_bytes();
        Reply { status: parts.status, headers: parts.headers, body }
    }
}

/// Sends a request on a new connection.
pub async fn send(
    address: SocketAddr,
    method: Method,
    target: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Reply {
    let mut request = Request::builder().method(method).uri(target).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).expect("the request is well formed");
    HttpClient::connect(address).await.send(request).await
}

pub async fn get(address: SocketAddr, target: &str) -> Reply {
    send(address, Method::GET, target, &[], "").await
}

pub async fn post(address: SocketAddr, target: &str, body: impl Into<Bytes>) -> Reply {
    send(address, Method::POST, target, &[("content-type", "text/plain;charset=UTF-8")], body).await
}

pub async fn put(address: SocketAddr, target: &str) -> Reply {
    send(address, Method::PUT, target, &[], "").await
}

pub async fn delete(address: SocketAddr, target: &str) -> Reply {
    send(address, Method::DELETE, target, &[], "").await
}

pub async fn options(address: SocketAddr, target: &str) -> Reply {
    send(address, Method::OPTIONS, target, &[], "").await
}
