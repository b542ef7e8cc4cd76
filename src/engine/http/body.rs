use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::BoxError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project::pin_project;

/// The response body of [`SocketIoService`](crate::SocketIoService) and
/// [`EngineIoService`](crate::engine::EngineIoService): either their own, or that of the inner service.
#[pin_project]
#[derive(Debug)]
pub struct ResponseBody<B>(#[pin] Repr<B>);

#[pin_project(project = ReprProjection)]
#[derive(Debug)]
enum Repr<B> {
    Inner(#[pin] B),
    Engine(#[pin] EngineBody),
}

impl<B> ResponseBody<B> {
    pub(crate) fn inner(body: B) -> Self {
        Self(Repr::Inner(body))
    }

    pub(crate) fn engine(body: EngineBody) -> Self {
        Self(Repr::Engine(body))
    }
}

/// Returns an empty body.
impl<B> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::engine(EngineBody::default())
    }
}

/// The body of a response of the engine, or of the client bundle.
#[pin_project(project = EngineBodyProjection)]
#[derive(Debug)]
pub(crate) enum EngineBody {
    Whole(Full<Bytes>),
    /// A file of the client bundle, or a response of another node.
    Boxed(#[pin] axum::body::Body),
}

impl From<Bytes> for EngineBody {
    fn from(body: Bytes) -> Self {
        Self::Whole(Full::new(body))
    }
}

impl Default for EngineBody {
    fn default() -> Self {
        Bytes::new().into()
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().0.project() {
            ReprProjection::Inner(body) => body.poll_frame(cx).map_err(Into::into),
            ReprProjection::Engine(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Repr::Inner(body) => body.is_end_stream(),
            Repr::Engine(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Repr::Inner(body) => body.size_hint(),
            Repr::Engine(body) => body.size_hint(),
        }
    }
}

impl Body for EngineBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project() {
            EngineBodyProjection::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            EngineBodyProjection::Boxed(body) => body.poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Boxed(body) => body.size_hint(),
        }
    }
}
