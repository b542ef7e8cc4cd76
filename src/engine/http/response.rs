//! The responses of ours.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};
use memchr::memmem;

use crate::engine::{BadUpgrade, Engine, Payload, Refusal, error_body};

#[cfg(feature = "compression")]
use super::compression::Encoding;

/// What of a request, and of the settings, shapes the answer to a poll or a POST.
pub(crate) struct Responder {
    agent: Agent,
    /// The answer is for a script element: a browser must not take it for anything else.
    jsonp: bool,
    /// How the body is compressed, and from how many bytes on.
    #[cfg(feature = "compression")]
    compression: Option<(Encoding, usize)>,
    /// Engine and request for the `on_headers` hook, if one is set.
    hooked: Option<Box<(Arc<Engine>, Parts)>>,
}

/// The kind of browser that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Agent {
    Any,
    /// Its filter against cross-site scripting takes payloads for an attack, unless it is told not to.
    InternetExplorer,
}

impl Agent {
    fn of(headers: &HeaderMap) -> Self {
        let names_it = |agent: &HeaderValue| {
            let agent = agent.as_bytes();
            memmem::find(agent, b";MSIE").is_some() || memmem::find(agent, b"Trident/").is_some()
        };
        if headers.get(header::USER_AGENT).is_some_and(names_it) { Self::InternetExplorer } else { Self::Any }
    }
}

impl Responder {
    #[cfg_attr(not(feature = "compression"), expect(unused_variables))]
    pub(super) fn new(engine: &Engine, request: &Parts, jsonp: bool) -> Self {
        Self {
            agent: Agent::of(&request.headers),
            jsonp,
            #[cfg(feature = "compression")]
            compression: engine
                .config
                .http_compression
                .and_then(|threshold| Some((Encoding::accepted(&request.headers)?, threshold))),
            hooked: None,
        }
    }

    /// Lets the user's hook see the response before it leaves, if there is one.
    pub(super) fn with_hook(mut self, engine: &Arc<Engine>, request: &mut Parts) -> Self {
        if engine.config.hooks.headers.is_some() {
            self.hooked = Some(Box::new((engine.clone(), take_parts(request))));
        }
        self
    }

    /// The answer to a poll.
    pub(super) fn payload(&self, payload: Payload) -> Response<Bytes> {
        #[cfg(feature = "compression")]
        if let Some((encoding, threshold)) = self.compression
            && payload.compress
            && payload.body.len() >= threshold
            && let Some(compressed) = encoding.compress(&payload.body)
        {
            let mut response = self.response(compressed, payload.content_type);
            response.headers_mut().insert(header::CONTENT_ENCODING, encoding.name());
            return self.hooked(response);
        }
        self.hooked(self.response(payload.body, payload.content_type))
    }

    /// The answer to a POST that went well. The type is Node's: some browsers offered to save anything else.
    pub(super) fn posted(&self) -> Response<Bytes> {
        self.hooked(self.response(Bytes::from_static(b"ok"), "text/html"))
    }

    fn response(&self, body: Bytes, content_type: &'static str) -> Response<Bytes> {
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header_value(content_type));
        headers.insert(header::CACHE_CONTROL, NO_STORE);
        if self.agent == Agent::InternetExplorer {
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

/// The value of a content type. Most are checked when this is compiled.
fn header_value(content_type: &'static str) -> HeaderValue {
    const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=UTF-8");
    const HTML: HeaderValue = HeaderValue::from_static("text/html");
    match content_type {
        "text/plain; charset=UTF-8" => TEXT,
        "text/html" => HTML,
        other => HeaderValue::from_static(other),
    }
}

/// Shows the first response of a session to the user's hooks.
pub(super) fn run_initial_headers_hook(engine: &Engine, headers: &mut HeaderMap, request: &Parts) {
    if let Some(hook) = &engine.config.hooks.initial_headers {
        engine.contain(|| hook(headers, request));
    }
    run_headers_hook(engine, headers, request);
}

/// Shows a response to the user's hook.
pub(super) fn run_headers_hook(engine: &Engine, headers: &mut HeaderMap, request: &Parts) {
    if let Some(hook) = &engine.config.hooks.headers {
        engine.contain(|| hook(headers, request));
    }
}

/// Takes a request out of its place, and leaves an empty one.
pub(super) fn take_parts(parts: &mut Parts) -> Parts {
    let (empty, ()) = http::Request::new(()).into_parts();
    std::mem::replace(parts, empty)
}

/// The engine refuses a request.
pub(super) fn refused(refusal: &Refusal) -> Response<Bytes> {
    let mut response = error(refusal.status(), refusal.body());
    if *refusal == Refusal::MethodNotAllowed {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
    }
    response
}

/// The opening handshake of a WebSocket is at fault.
pub(super) fn bad_upgrade(bad: &BadUpgrade) -> Response<Bytes> {
    let mut response = error(bad.status, error_body(Refusal::BadRequest("").code(), bad.message));
    response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}

/// A response that is not a success. A page that asked for it by a script element must not run it.
fn error(status: StatusCode, json: String) -> Response<Bytes> {
    let mut response = Response::new(json.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
    response
}

/// Puts the session's cookie before those that are set already.
pub(super) fn prepend_cookie(headers: &mut HeaderMap, cookie: HeaderValue) {
    let others: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).iter().cloned().collect();
    headers.insert(header::SET_COOKIE, cookie);
    for other in others {
        headers.append(header::SET_COOKIE, other);
    }
}
