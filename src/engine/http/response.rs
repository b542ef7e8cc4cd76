//! Responses of the engine.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};
use memchr::memmem;

use crate::engine::{ConnectionError, Engine, Payload, RequestError, UpgradeError, config::Rejection, error_body};

#[cfg(feature = "compression")]
use super::compression::Encoding;

/// Builds the response to a poll or a POST. Stores the parts of the request and of the settings that the response depends on.
pub(crate) struct PollResponse {
    agent: UserAgent,
    /// The response is a script, which browsers must not sniff as another type.
    jsonp: bool,
    #[cfg(feature = "compression")]
    compression: Option<Compression>,
    /// The engine and the request for the `on_headers` hook, if one is set.
    hooked: Option<Box<(Arc<Engine>, Parts)>>,
}

/// How a body is compressed.
#[cfg(feature = "compression")]
#[derive(Clone, Copy)]
struct Compression {
    encoding: Encoding,
    level: u32,
    /// The minimum size of a body that is compressed.
    threshold: usize,
}

/// Browsers that need special headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UserAgent {
    Any,
    /// Its XSS filter misinterprets payloads and must be disabled.
    InternetExplorer,
}

impl UserAgent {
    fn of(headers: &HeaderMap) -> Self {
        let names_it = |agent: &HeaderValue| {
            let agent = agent.as_bytes();
            memmem::find(agent, b";MSIE").is_some() || memmem::find(agent, b"Trident/").is_some()
        };
        if headers.get(header::USER_AGENT).is_some_and(names_it) { Self::InternetExplorer } else { Self::Any }
    }
}

impl PollResponse {
    #[cfg_attr(not(feature = "compression"), expect(unused_variables))]
    pub(super) fn new(engine: &Engine, request: &Parts, jsonp: bool) -> Self {
        Self {
            agent: UserAgent::of(&request.headers),
            jsonp,
            #[cfg(feature = "compression")]
            compression: engine.config.http_compression.and_then(|threshold| {
                let encoding = Encoding::accepted(&request.headers)?;
                Some(Compression { encoding, level: engine.config.http_compression_level, threshold })
            }),
            hooked: None,
        }
    }

    /// Runs the user's `on_headers` hook on the response, if one is set.
    pub(super) fn with_hook(mut self, engine: &Arc<Engine>, request: &mut Parts) -> Self {
        if engine.config.hooks.headers.is_some() {
            self.hooked = Some(Box::new((engine.clone(), take_parts(request))));
        }
        self
    }

    /// Returns the response to a poll.
    pub(super) fn payload(&self, payload: Payload) -> Response<Bytes> {
        #[cfg(feature = "compression")]
        if let Some(Compression { encoding, level, threshold }) = self.compression
            && payload.compress
            && payload.body.len() >= threshold
            && let Some(compressed) = encoding.compress(&payload.body, level)
        {
            let mut response = self.response(compressed, payload.content_type);
            response.headers_mut().insert(header::CONTENT_ENCODING, encoding.name());
            return self.hooked(response);
        }
        self.hooked(self.response(payload.body, payload.content_type))
    }

    /// Returns the response to a successful POST. The content type is that of Node: some browsers offer to save others.
    pub(super) fn posted(&self) -> Response<Bytes> {
        self.hooked(self.response(Bytes::from_static(b"ok"), "text/html"))
    }

    fn response(&self, body: Bytes, content_type: &'static str) -> Response<Bytes> {
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header_value(content_type));
        headers.insert(header::CACHE_CONTROL, NO_STORE);
        if self.agent == UserAgent::InternetExplorer {
            headers.insert(header::X_XSS_PROTECTION, HeaderValue::from_static("0"));
        }
        if self.jsonp {
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
        }
        response
    }

    fn hooked(&self, mut response: Response<Bytes>) -> Response<Bytes> {
        if let Some(hooked) = &self.hooked {
            let (engine, request) = &**hooked;
            run_headers_hook(engine, response.headers_mut(), request);
        }
        response
    }
}

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// Returns the header value of a content type. The common ones are constants.
fn header_value(content_type: &'static str) -> HeaderValue {
    const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=UTF-8");
    const HTML: HeaderValue = HeaderValue::from_static("text/html");
    match content_type {
        "text/plain; charset=UTF-8" => TEXT,
        "text/html" => HTML,
        other => HeaderValue::from_static(other),
    }
}

/// Runs the user's hooks on the first response of a session.
pub(super) fn run_initial_headers_hook(engine: &Engine, headers: &mut HeaderMap, request: &Parts) {
    if let Some(hook) = &engine.config.hooks.initial_headers {
        engine.catch_panic(|| hook(headers, request));
    }
    run_headers_hook(engine, headers, request);
}

/// Runs the user's `on_headers` hook.
pub(super) fn run_headers_hook(engine: &Engine, headers: &mut HeaderMap, request: &Parts) {
    if let Some(hook) = &engine.config.hooks.headers {
        engine.catch_panic(|| hook(headers, request));
    }
}

/// Replaces a request by an empty one.
pub(super) fn take_parts(parts: &mut Parts) -> Parts {
    let (empty, ()) = http::Request::new(()).into_parts();
    std::mem::replace(parts, empty)
}

/// Counts a request that is rejected, and runs the user's callback.
pub(crate) fn report_rejection(engine: &Engine, parts: &Parts, cause: &Rejection) {
    if let Some(hook) = &engine.config.hooks.connection_error {
        engine.catch_panic(|| hook(&ConnectionError::new(parts, cause)));
    }
    if let Rejection::Engine(error) = cause {
        engine.meters.rejected_request(error);
    }
}

/// Returns the response to a request that is rejected, after the user's callback.
pub(super) fn rejected(engine: &Engine, parts: &Parts, cause: &Rejection) -> Response<Bytes> {
    report_rejection(engine, parts, cause);
    match cause {
        Rejection::Engine(error) => error_response(error),
        Rejection::WebSocket(error) => upgrade_error(error),
    }
}

/// Returns the response of an error.
pub(super) fn error_response(error: &RequestError) -> Response<Bytes> {
    let mut response = json_error(error.status(), error.body());
    if *error == RequestError::MethodNotAllowed {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
    }
    response
}

/// Returns the response to an invalid WebSocket handshake.
fn upgrade_error(error: &UpgradeError) -> Response<Bytes> {
    let mut response = json_error(error.status, error_body(RequestError::BadRequest("").code(), error.message));
    response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}

/// Returns an error response. Without sniffing, so that a script element does not run it.
fn json_error(status: StatusCode, json: String) -> Response<Bytes> {
    let mut response = Response::new(json.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
    response
}

/// Inserts the session's cookie before those that are already set.
pub(super) fn prepend_cookie(headers: &mut HeaderMap, cookie: HeaderValue) {
    let others: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).iter().cloned().collect();
    headers.insert(header::SET_COOKIE, cookie);
    for other in others {
        headers.append(header::SET_COOKIE, other);
    }
}
