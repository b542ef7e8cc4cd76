use std::net::SocketAddr;

use hyper::body::Bytes;

use super::{
    http::{Reply, get, post},
    json,
};

/// A client over long-polling.
pub struct Polling {
    pub address: SocketAddr,
    pub sid: String,
    pub open: serde_json::Value,
}

impl Polling {
    /// Opens a session.
    pub async fn open(address: SocketAddr) -> Self {
        Self::open_with(address, "").await
    }

    /// Opens a session with further query parameters, which begin with `&`.
    pub async fn open_with(address: SocketAddr, query: &str) -> Self {
        let reply = get(address, &format!("/socket.io/?EIO=4&transport=polling{query}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let open = json(reply.text().strip_prefix('0').expect("a handshake"));
        Self { address, sid: open["sid"].as_str().expect("a sid").to_owned(), open }
    }

    /// Opens a session and joins the default namespace.
    pub async fn join(address: SocketAddr) -> Self {
        let client = Self::open(address).await;
        client.post("40").await.is(200, "ok");
        let reply = client.poll().await;
        assert!(reply.text().starts_with(r#"40{"sid":""#), "{}", reply.text());
        client
    }

    pub fn target(&self) -> String {
        format!("/socket.io/?EIO=4&transport=polling&sid={}", self.sid)
    }

    pub async fn poll(&self) -> Reply {
        get(self.address, &self.target()).await
    }

    pub async fn post(&self, body: impl Into<Bytes>) -> Reply {
        post(self.address, &self.target(), body).await
    }

    /// Polls, and expects this payload.
    #[track_caller]
    pub fn expect(&self, body: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let reply = self.poll().await;
            assert_eq!((reply.status.as_u16(), reply.text()), (200, body), "at {caller}");
        }
    }

    /// Sends a POST, which the server must accept.
    #[track_caller]
    pub fn say(&self, body: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let reply = self.post(body.to_owned()).await;
            assert_eq!((reply.status.as_u16(), reply.text()), (200, "ok"), "at {caller}");
        }
    }

    /// Polls until the server rejects it.
    pub async fn poll_to_the_end(&self) -> Reply {
        loop {
            let reply = self.poll().await;
            if reply.status != 200 {
                return reply;
            }
        }
    }

    /// Checks that the session has ended.
    pub async fn is_gone(&self) {
        self.poll().await.refused(400, 1, "Session ID unknown");
    }
}
