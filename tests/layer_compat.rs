//! A layer for an axum router also layers a namespace, without changes, and has the same effect there.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    BoxError, Extension,
    body::Body,
    error_handling::HandleErrorLayer,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
    middleware::{Next, from_extractor, from_fn, from_fn_with_state, map_request, map_response},
    response::{IntoResponse, Response as AxumResponse},
};
use tokio::sync::Semaphore;
use tower::{
    ServiceBuilder,
    buffer::BufferLayer,
    filter::{AsyncFilterLayer, FilterLayer},
    limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer, RateLimitLayer},
    load_shed::LoadShedLayer,
    timeout::TimeoutLayer,
    util::{AndThenLayer, BoxCloneSyncServiceLayer, MapRequestLayer, MapResponseLayer, ThenLayer, option_layer},
};
use tower_http::{
    add_extension::AddExtensionLayer,
    auth::AsyncRequireAuthorizationLayer,
    catch_panic::CatchPanicLayer,
    compression::CompressionLayer,
    cors::CorsLayer,
    csrf::CsrfLayer,
    decompression::{DecompressionLayer, RequestDecompressionLayer},
    limit::RequestBodyLimitLayer,
    map_request_body::MapRequestBodyLayer,
    map_response_body::MapResponseBodyLayer,
    metrics::InFlightRequestsLayer,
    normalize_path::NormalizePathLayer,
    propagate_header::PropagateHeaderLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer},
    sensitive_headers::SetSensitiveHeadersLayer,
    set_header::{SetRequestHeaderLayer, SetResponseHeaderLayer},
    set_status::SetStatusLayer,
    timeout::{RequestBodyTimeoutLayer, ResponseBodyTimeoutLayer},
    trace::TraceLayer,
    validate_request::ValidateRequestHeaderLayer,
};
use tower_socketio::{Ack, Namespace, SocketIoConfig, SocketRef};

use crate::support::*;

/// Returns the message of the refusal, or an empty text if the client is admitted.
async fn told(namespace: Namespace) -> Option<String> {
    told_with(namespace, &[], "40").await
}

async fn told_with(namespace: Namespace, headers: &[(&'static str, &str)], connect: &str) -> Option<String> {
    let server = serve_namespace(namespace).await;
    let mut client = WebSocket::open_with(server.address, "", headers).await;
    connects(&mut client, connect).await
}

async fn connects(client: &mut WebSocket, connect: &str) -> Option<String> {
    client.say(connect).await;
    let reply = client.text().await;
    if reply.starts_with("40") {
        return None;
    }
    assert!(reply.starts_with("44"), "{reply}");
    Some(json(&reply)["message"].as_str().unwrap().to_owned())
}

fn refused(message: &str) -> Option<String> {
    Some(message.to_owned())
}

/// Layers that do not change an ordinary CONNECT: they must compile, and call the inner service.
macro_rules! lets_through {
    ($($name:ident: $layer:expr;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                let namespace = Namespace::new().on_connect(|_: SocketRef| async {}).layer($layer).with_state(());
                assert_eq!(told(namespace).await, None);
            }
        )*
    };
}

lets_through! {
    a_timeout: TimeoutLayer::new(PATIENCE);
    a_concurrency_limit: ConcurrencyLimitLayer::new(1);
    a_global_concurrency_limit: GlobalConcurrencyLimitLayer::new(1);
    load_shedding: LoadShedLayer::new();
    a_buffer: BufferLayer::new(4);
    a_filter: FilterLayer::new(|request: Request| Ok::<_, BoxError>(request));
    an_async_filter: AsyncFilterLayer::new(|request: Request| async { Ok::<_, BoxError>(request) });
    a_mapped_request_body: MapRequestBodyLayer::new(Body::new);
    a_boxed_layer: BoxCloneSyncServiceLayer::new(TimeoutLayer::new(PATIENCE));
    an_optional_layer: option_layer(Some(ConcurrencyLimitLayer::new(1)));
    an_absent_layer: option_layer(None::<ConcurrencyLimitLayer>);
    a_request_map: MapRequestLayer::new(|request: Request| request);
    a_response_map: MapResponseLayer::new(|response: AxumResponse| response);
    and_then: AndThenLayer::new(|response: AxumResponse| async { Ok::<_, std::convert::Infallible>(response) });
    then: ThenLayer::new(|result: Result<AxumResponse, std::convert::Infallible>| async { result });
    tracing: TraceLayer::new_for_http();
    cors: CorsLayer::permissive();
    csrf: CsrfLayer::new();
    catching_panics: CatchPanicLayer::new();
    compression: CompressionLayer::new();
    decompression: DecompressionLayer::new();
    request_decompression: RequestDecompressionLayer::new();
    normalised_paths: NormalizePathLayer::trim_trailing_slash();
    propagated_headers: PropagateHeaderLayer::new(header::COOKIE);
    sensitive_headers: SetSensitiveHeadersLayer::new([header::AUTHORIZATION]);
    a_set_response_header: SetResponseHeaderLayer::overriding(header::SERVER, HeaderValue::from_static("x"));
    a_request_body_timeout: RequestBodyTimeoutLayer::new(PATIENCE);
    a_response_body_timeout: ResponseBodyTimeoutLayer::new(PATIENCE);
    a_mapped_response_body: MapResponseBodyLayer::new(Body::new);
    counting_requests_in_flight: InFlightRequestsLayer::pair().0;
    a_stack: ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::new())
        .timeout(PATIENCE)
        .load_shed()
        .concurrency_limit(1);
}

#[tokio::test]
async fn towers_timeout_refuses_with_its_text() {
    let namespace = Namespace::new().on_connect(std::future::pending::<()>);
    let namespace = namespace.layer(TimeoutLayer::new(Duration::from_millis(10))).with_state(());
    assert_eq!(told(namespace).await, refused("request timed out"));
}

#[tokio::test]
async fn tower_https_timeout_refuses_with_its_status() {
    let timeout =
        tower_http::timeout::TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_millis(10));
    let namespace = Namespace::new().on_connect(std::future::pending::<()>).layer(timeout).with_state(());
    assert_eq!(told(namespace).await, refused("Request Timeout"));
}

#[tokio::test]
async fn handle_error_layer_may_be_used() {
    let layer = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(|_: BoxError| async { (StatusCode::GATEWAY_TIMEOUT, "too slow") }))
        .timeout(Duration::from_millis(10));
    let namespace = Namespace::new().on_connect(std::future::pending::<()>).layer(layer).with_state(());
    assert_eq!(told(namespace).await, refused("too slow"));
}

/// A namespace whose admission waits for a permit.
fn gated(gate: &Arc<Semaphore>) -> Namespace<()> {
    let gate = gate.clone();
    Namespace::new().on_connect(move || {
        let gate = gate.clone();
        async move { gate.acquire().await.unwrap().forget() }
    })
}

#[tokio::test]
async fn a_concurrency_limit_counts_connects_under_way_and_not_sockets() {
    let gate = Arc::new(Semaphore::new(0));
    let namespace = gated(&gate).layer(ConcurrencyLimitLayer::new(1)).layer(LoadShedLayer::new()).with_state(());
    let server = serve_namespace(namespace).await;
    let mut first = WebSocket::open(server.address).await;
    first.say("40").await;
    first.is_quiet().await;
    let mut second = WebSocket::open(server.address).await;
    assert_eq!(connects(&mut second, "40").await, refused("service overloaded"));
    gate.add_permits(2);
    assert!(first.text().await.starts_with("40"));
    assert_eq!(connects(&mut second, "40").await, None, "the first one is admitted, and counts no more");
}

#[tokio::test]
async fn without_shedding_a_concurrency_limit_makes_others_wait() {
    let gate = Arc::new(Semaphore::new(0));
    let namespace = gated(&gate).layer(ConcurrencyLimitLayer::new(1)).with_state(());
    let server = serve_namespace(namespace).await;
    let mut first = WebSocket::open(server.address).await;
    first.say("40").await;
    first.is_quiet().await;
    let mut second = WebSocket::open(server.address).await;
    second.say("40").await;
    second.is_quiet().await;
    gate.add_permits(2);
    assert!(first.text().await.starts_with("40"));
    assert!(second.text().await.starts_with("40"));
}

#[tokio::test]
async fn a_buffer_with_a_rate_limit_limits_connects() {
    let layer =
        ServiceBuilder::new().load_shed().layer(BufferLayer::new(1)).layer(RateLimitLayer::new(1, PATIENCE * 9));
    let server = serve_namespace(Namespace::new().layer(layer).with_state(())).await;
    let mut client = WebSocket::open(server.address).await;
    assert_eq!(connects(&mut client, "40").await, None);
    // The buffer holds one more request, which waits. The next one is shed.
    let mut waiting = WebSocket::open(server.address).await;
    waiting.say("40").await;
    waiting.is_quiet().await;
    let mut shed = WebSocket::open(server.address).await;
    shed.say("40").await;
    let mut last = WebSocket::open(server.address).await;
    last.say("40").await;
    let reply = tokio::select! { reply = shed.text() => reply, reply = last.text() => reply };
    assert_eq!(json(&reply)["message"], "service overloaded");
}

#[tokio::test]
async fn a_filter_refuses_with_its_error() {
    let filter = || {
        FilterLayer::new(|request: Request| match request.headers().get("x-ok") {
            Some(_) => Ok(request),
            None => Err(BoxError::from("filtered out")),
        })
    };
    assert_eq!(told(Namespace::new().layer(filter()).with_state(())).await, refused("filtered out"));
    let namespace = Namespace::new().layer(filter()).with_state(());
    assert_eq!(told_with(namespace, &[("x-ok", "1")], "40").await, None);
}

#[tokio::test]
async fn csrf_protection_sees_a_post() {
    let headers = [("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")];
    let namespace = Namespace::new().layer(CsrfLayer::new()).with_state(());
    assert!(told_with(namespace, &headers, "40").await.is_some());
}

#[tokio::test]
async fn tower_https_panic_catcher_refuses() {
    async fn panics() {
        panic!("on purpose");
    }
    let namespace = Namespace::new().on_connect(panics).layer(CatchPanicLayer::new()).with_state(());
    assert_eq!(told(namespace).await, refused("Service panicked"));
}

#[tokio::test]
async fn a_request_id_reaches_the_handlers() {
    async fn joined(Extension(id): Extension<RequestId>, headers: axum::http::HeaderMap) {
        assert_eq!(headers["x-request-id"], id.header_value());
    }
    async fn event(Extension(id): Extension<RequestId>) -> Ack<String> {
        Ack(id.header_value().to_str().unwrap().to_owned())
    }
    let namespace = Namespace::new()
        .on_connect(joined)
        .on("id", event)
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .with_state(());
    let server = serve_namespace(namespace).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.say(r#"420["id"]"#).await;
    assert_eq!(json(&client.text().await)[0].as_str().unwrap().len(), 36);
}

#[tokio::test]
async fn extensions_and_headers_that_layers_add_are_seen() {
    async fn joined(Extension(number): Extension<u8>, headers: axum::http::HeaderMap) {
        assert_eq!((number, &headers["x-added"]), (7, &HeaderValue::from_static("yes")));
    }
    let added = SetRequestHeaderLayer::overriding(HeaderName::from_static("x-added"), HeaderValue::from_static("yes"));
    let namespace = Namespace::new().on_connect(joined).layer(AddExtensionLayer::new(7u8)).layer(added).with_state(());
    assert_eq!(told(namespace).await, None);
}

#[tokio::test]
async fn a_status_that_a_layer_sets_decides() {
    let namespace = Namespace::new().layer(SetStatusLayer::new(StatusCode::IM_A_TEAPOT)).with_state(());
    assert_eq!(told(namespace).await, refused("I'm a teapot"));
}

#[tokio::test]
async fn authorisation_is_required() {
    #[allow(deprecated)]
    let bearer = || ValidateRequestHeaderLayer::bearer("token");
    let namespace = || Namespace::new().layer(bearer()).with_state(());
    assert_eq!(told(namespace()).await, refused("Unauthorized"));
    assert_eq!(told_with(namespace(), &[("authorization", "Bearer wrong")], "40").await, refused("Unauthorized"));
    assert_eq!(told_with(namespace(), &[("authorization", "Bearer token")], "40").await, None);
}

#[tokio::test]
async fn authorisation_can_be_asynchronous() {
    async fn authorize(mut request: Request) -> Result<Request, Response<Body>> {
        tokio::task::yield_now().await;
        match request.headers().get("x-user").cloned() {
            Some(user) => {
                request.extensions_mut().insert(user);
                Ok(request)
            }
            None => Err((StatusCode::UNAUTHORIZED, "who are you?").into_response()),
        }
    }
    async fn joined(Extension(user): Extension<HeaderValue>) {
        assert_eq!(user, "ada");
    }
    let namespace =
        || Namespace::new().on_connect(joined).layer(AsyncRequireAuthorizationLayer::new(authorize)).with_state(());
    assert_eq!(told(namespace()).await, refused("who are you?"));
    assert_eq!(told_with(namespace(), &[("x-user", "ada")], "40").await, None);
}

#[tokio::test]
async fn a_body_limit_bounds_the_auth_payload() {
    async fn joined(axum::Json(_): axum::Json<serde_json::Value>) {}
    let namespace = || Namespace::new().on_connect(joined).layer(RequestBodyLimitLayer::new(10)).with_state(());
    assert_eq!(told_with(namespace(), &[], r#"40{"a":1}"#).await, None);
    let refusal = told_with(namespace(), &[], r#"40{"a":"a long one"}"#).await;
    assert!(refusal.unwrap().contains("length limit exceeded"));
}

#[tokio::test]
async fn axums_functions_are_middleware() {
    #[derive(Clone)]
    struct App(Arc<AtomicUsize>);
    async fn count(State(app): State<App>, request: Request, next: Next) -> AxumResponse {
        app.0.fetch_add(1, Ordering::SeqCst);
        next.run(request).await
    }
    async fn check(socket: SocketRef, request: Request, next: Next) -> Result<AxumResponse, StatusCode> {
        assert!(!socket.is_connected());
        if request.headers().contains_key("x-bad") { Err(StatusCode::FORBIDDEN) } else { Ok(next.run(request).await) }
    }
    async fn mark(mut request: Request) -> Request {
        request.headers_mut().insert("x-marked", HeaderValue::from_static("1"));
        request
    }
    async fn respond(response: AxumResponse) -> AxumResponse {
        assert!(response.status().is_success());
        response
    }
    struct Marked;
    impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Marked {
        type Rejection = StatusCode;
        async fn from_request_parts(parts: &mut axum::http::request::Parts, _: &S) -> Result<Self, StatusCode> {
            parts.headers.get("x-marked").map(|_| Self).ok_or(StatusCode::BAD_REQUEST)
        }
    }
    let app = App(Arc::default());
    let namespace = || {
        Namespace::new()
            .layer(map_response(respond))
            .layer(from_extractor::<Marked>())
            .layer(map_request(mark))
            .layer(from_fn(check))
            .layer(from_fn_with_state(app.clone(), count))
            .with_state(())
    };
    assert_eq!(told(namespace()).await, None);
    assert_eq!(told_with(namespace(), &[("x-bad", "1")], "40").await, refused("Forbidden"));
    assert_eq!(app.0.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_last_layer_added_is_the_outermost() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let log = log.clone();
        from_fn(move |request: Request, next: Next| {
            let log = log.clone();
            async move {
                log.lock().unwrap().push(what);
                next.run(request).await
            }
        })
    };
    let namespace = Namespace::new().layer(note("inner")).layer(note("outer")).with_state(());
    assert_eq!(told(namespace).await, None);
    assert_eq!(*log.lock().unwrap(), ["outer", "inner"]);
}

mod sessions {
    //! Session and authentication layers of other crates.

    use axum::{
        Router,
        extract::Json,
        routing::{get, post},
    };
    use axum_login::{AuthManagerLayerBuilder, AuthSession, AuthUser, AuthnBackend, login_required};
    use tower_cookies::{Cookie, CookieManagerLayer, Cookies};
    use tower_governor::{GovernorLayer, governor::GovernorConfigBuilder};
    use tower_sessions::{MemoryStore, Session, SessionManagerLayer};
    use tower_socketio::{
        EventError, SocketIoLayer,
        event::EventRequest,
        extract::{FromEvent, FromHandshake},
    };

    use super::*;

    /// Returns the cookie that a response sets.
    fn cookie(reply: &Reply) -> String {
        reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_session_of_tower_sessions_is_shared_with_http() {
        async fn write(session: Session) {
            session.insert("visits", 1).await.unwrap();
        }
        async fn joined(session: Session) {
            let visits: u32 = session.get("visits").await.unwrap().unwrap();
            session.insert("visits", visits + 1).await.unwrap();
        }
        async fn read(session: Session) -> String {
            session.get::<u32>("visits").await.unwrap().unwrap_or_default().to_string()
        }
        async fn event(Extension(session): Extension<Session>) -> Ack<u32> {
            Ack(session.get("visits").await.unwrap().unwrap())
        }
        let sessions = SessionManagerLayer::new(MemoryStore::default()).with_secure(false);
        let namespace = Namespace::new().on_connect(joined).on("visits", event).layer(sessions.clone()).with_state(());
        let layer = SocketIoLayer::new(SocketIoConfig::new().namespace("/", namespace));
        let io = layer.io();
        let app = Router::new().route("/write", post(write)).route("/read", get(read)).layer(sessions).layer(layer);
        let server = serve(app, io).await;
        let cookie = cookie(&support_post(&server, "/write").await);
        let mut client = WebSocket::open_with(server.address, "", &[("cookie", &cookie)]).await;
        client.connect("40").await;
        client.say(r#"420["visits"]"#).await;
        client.expect("430[2]").await;
        let reply = send(server.address, hyper::Method::GET, "/read", &[("cookie", &cookie)], "").await;
        reply.is(200, "2");
    }

    /// The extractor of docs/middleware.md.
    #[tokio::test]
    async fn event_handlers_change_the_current_session() {
        #[derive(Clone, Default)]
        struct App {
            sessions: Arc<MemoryStore>,
        }
        struct CurrentSession(Session);
        impl FromEvent<App> for CurrentSession {
            type Rejection = EventError;

            async fn from_event(request: &mut EventRequest, app: &App) -> Result<Self, EventError> {
                let opened: Session =
                    request.socket().extensions().get().ok_or("the namespace has no session layer")?;
                let id = opened.id().ok_or_else(|| EventError::new("there is no session"))?;
                Ok(Self(Session::new(Some(id), app.sessions.clone(), opened.expiry())))
            }
        }
        async fn visit(CurrentSession(session): CurrentSession) -> Result<Ack<u32>, EventError> {
            let visits = session.get::<u32>("visits").await?.unwrap_or_default() + 1;
            session.insert("visits", visits).await?;
            session.save().await?;
            Ok(Ack(visits))
        }
        async fn over_http(session: Session) -> String {
            let visits = session.get::<u32>("visits").await.unwrap().unwrap_or_default() + 1;
            session.insert("visits", visits).await.unwrap();
            visits.to_string()
        }
        let app = App::default();
        let sessions = SessionManagerLayer::new(app.sessions.as_ref().clone()).with_secure(false);
        let chat = Namespace::new().on("visit", visit).layer(sessions.clone()).with_state(app);
        let layer = SocketIoLayer::new(SocketIoConfig::new().namespace("/", chat));
        let io = layer.io();
        let server = serve(Router::new().route("/visit", post(over_http)).layer(sessions).layer(layer), io).await;
        let cookie = cookie(&support_post(&server, "/visit").await);
        let mut client = WebSocket::open_with(server.address, "", &[("cookie", &cookie)]).await;
        client.connect("40").await;
        for visits in [2, 4] {
            client.say(r#"420["visit"]"#).await;
            client.expect(&format!("430[{visits}]")).await;
            let reply = send(server.address, hyper::Method::POST, "/visit", &[("cookie", &cookie)], "").await;
            reply.is(200, &(visits + 1).to_string());
        }
        let (mut stranger, _) = WebSocket::join(server.address, "40").await;
        stranger.say(r#"420["visit"]"#).await;
        stranger.expect(r#"430[{"error":{"message":"there is no session"}}]"#).await;
    }

    async fn support_post(server: &TestServer, path: &str) -> Reply {
        send(server.address, hyper::Method::POST, path, &[], "").await
    }

    #[derive(Debug, Clone)]
    struct User;

    impl AuthUser for User {
        type Id = u32;

        fn id(&self) -> u32 {
            1
        }

        fn session_auth_hash(&self) -> &[u8] {
            b"hash"
        }
    }

    #[derive(Debug, Clone)]
    struct Backend;

    impl AuthnBackend for Backend {
        type User = User;
        type Credentials = ();
        type Error = std::io::Error;

        async fn authenticate(&self, (): ()) -> Result<Option<User>, std::io::Error> {
            Ok(Some(User))
        }

        async fn get_user(&self, _: &u32) -> Result<Option<User>, std::io::Error> {
            Ok(Some(User))
        }
    }

    #[tokio::test]
    async fn axum_logins_login_required_guards_a_namespace() {
        async fn login(mut auth: AuthSession<Backend>) {
            auth.login(&User).await.unwrap();
        }
        async fn joined(auth: AuthSession<Backend>) {
            assert_eq!(auth.user.unwrap().id(), 1);
        }
        async fn who(FromHandshake(auth): FromHandshake<AuthSession<Backend>>) -> Ack<u32> {
            Ack(auth.user.unwrap().id())
        }
        let store = tower_sessions_0_14::MemoryStore::default();
        let sessions = tower_sessions_0_14::SessionManagerLayer::new(store).with_secure(false);
        let auth = AuthManagerLayerBuilder::new(Backend, sessions).build();
        let guarded = Namespace::new()
            .on_connect(joined)
            .on("who", who)
            .layer(login_required!(Backend))
            .layer(auth.clone())
            .with_state(());
        let redirecting =
            Namespace::new().layer(login_required!(Backend, login_url = "/login")).layer(auth.clone()).with_state(());
        let config = SocketIoConfig::new().namespace("/guarded", guarded).namespace("/redirecting", redirecting);
        let layer = SocketIoLayer::new(config);
        let io = layer.io();
        let server = serve(Router::new().route("/login", post(login)).layer(auth).layer(layer), io).await;
        let mut client = WebSocket::open(server.address).await;
        client.say("40/guarded").await;
        client.expect(r#"44/guarded,{"message":"Unauthorized"}"#).await;
        client.say("40/redirecting").await;
        let refusal = client.text().await;
        assert!(refusal.contains(r#""data":{"location":"/login?next="#), "{refusal}");
        let cookie = cookie(&support_post(&server, "/login").await);
        let mut client = WebSocket::open_with(server.address, "", &[("cookie", &cookie)]).await;
        client.connect("40/guarded").await;
        client.connect("40/redirecting").await;
        client.say(r#"42/guarded,0["who"]"#).await;
        client.expect("43/guarded,0[1]").await;
    }

    #[tokio::test]
    async fn tower_cookies_are_read() {
        async fn joined(cookies: Cookies) -> Result<(), StatusCode> {
            assert_eq!(cookies.get("a").unwrap().value(), "1");
            cookies.add(Cookie::new("b", "2"));
            Ok(())
        }
        let namespace = Namespace::new().on_connect(joined).layer(CookieManagerLayer::new()).with_state(());
        assert_eq!(told_with(namespace, &[("cookie", "a=1; c=3")], "40").await, None);
    }

    #[tokio::test]
    async fn tower_governor_limits_the_rate_of_connects() {
        let config = GovernorConfigBuilder::default().per_second(3600).burst_size(1).finish().unwrap();
        let namespace = Namespace::new().layer(GovernorLayer::new(config)).with_state(());
        let server = serve_namespace(namespace).await;
        let mut client = WebSocket::open(server.address).await;
        assert_eq!(connects(&mut client, "40").await, None);
        let mut client = WebSocket::open(server.address).await;
        assert!(connects(&mut client, "40").await.unwrap().contains("Too Many Requests"));
    }

    #[tokio::test]
    async fn a_handshakes_json_is_the_auth_payload() {
        async fn joined(Json(auth): Json<serde_json::Value>) -> Result<(), StatusCode> {
            if auth["token"] == "t" { Ok(()) } else { Err(StatusCode::UNAUTHORIZED) }
        }
        let namespace = || Namespace::new().on_connect(joined).with_state(());
        assert_eq!(told_with(namespace(), &[], r#"40{"token":"t"}"#).await, None);
        assert_eq!(told_with(namespace(), &[], "40").await, refused("Unauthorized"));
    }
}
