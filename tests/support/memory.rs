use tower_socketio::{
    SocketIo,
    engine::{Frame, Packet},
    test::{TestClient, TestClientBuilder},
};

/// A client in the same process that sends packets as they are: a wire script over a [`TestClient`].
pub struct Memory(TestClient);

impl Memory {
    /// Connects. The caller sends and reads all packets, starting with the handshake.
    pub fn open(io: &SocketIo) -> Self {
        Self::open_with(TestClient::builder(io))
    }

    /// The same over this client. The caller also answers its pings.
    pub fn open_with(client: TestClientBuilder) -> Self {
        Self(client.header("x-from", "memory").answer_pings(false).open())
    }

    /// Connects and joins the default namespace.
    pub async fn join(io: &SocketIo) -> Self {
        let mut client = Self::open(io);
        assert!(client.text().await.starts_with("0{"));
        client.say("40");
        assert!(client.text().await.starts_with("40{"));
        client
    }

    /// Connects and joins the default namespace with this auth payload. Returns the public and the private id.
    pub async fn join_with_auth(io: &SocketIo, auth: &serde_json::Value) -> (Self, String, String) {
        let mut client = Self::open(io);
        assert!(client.text().await.starts_with("0{"));
        client.say(&format!("40{auth}"));
        let answer = super::json(&client.text().await);
        let id = |name: &str| answer[name].as_str().unwrap().to_owned();
        (client, id("sid"), id("pid"))
    }

    pub fn say(&self, text: &str) {
        self.send(Packet::from_text(text.to_owned()).expect("a packet"));
    }

    pub fn send(&self, packet: Packet) {
        self.0.send_raw(packet);
    }

    /// Returns the next packet, or `None` at the end.
    #[track_caller]
    pub fn packet(&mut self) -> impl Future<Output = Option<Packet>> {
        self.0.next_raw()
    }

    /// Returns the next packet, which must be text.
    pub async fn text(&mut self) -> String {
        match self.packet().await.expect("the connection is open").into_frame() {
            Frame::Text(text) => String::from_utf8(text.to_vec()).expect("UTF-8"),
            Frame::Binary(data) => panic!("expected text, got {data:?}"),
        }
    }

    #[track_caller]
    pub fn expect(&mut self, text: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move { assert_eq!(self.text().await, text, "at {caller}") }
    }
}
