use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::BoxError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project::pin_project;

/// The body of a [`SocketIoService`](crate::SocketIoService)'s response: its own, or that of the service within.
#[pin_project]
#[derive(Debug)]
pub struct ResponseBody<B>(#[pin] Repr<B>);

#[pin_project(project = ReprProjection)]
#[derive(Debug)]
enum Repr<B> {
    Inner(#[pin] B),
    Own(#[pin] OwnBody),
}

impl<B> ResponseBody<B> {
    pub(crate) fn inner(body: B) -> Self {
        Self(Repr::Inner(body))
    }

    pub(crate) fn own(body: OwnBody) -> Self {
        Self(Repr::Own(body))
    }
}

/// An empty body.
impl<B> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::own(OwnBody::default())
    }
}

/// The body of a response of ours.
#[pin_project(project = OwnBodyProjection)]
#[derive(Debug)]
pub(crate) enum OwnBody {
    Whole(Full<Bytes>),
    File(#[pin] axum::body::Body),
}

impl From<Bytes> for OwnBody {
    fn from(body: Bytes) -> Self {
        Self::Whole(Full::new(body))
    }
}

impl Default for OwnBody {
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
            ReprProjection::Own(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Repr::Inner(body) => body.is_end_stream(),
            Repr::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Repr::Inner(body) => body.size_hint(),
            Repr::Own(body) => body.size_hint(),
        }
    }
}

impl Body for OwnBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project() {
            OwnBodyProjection::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            OwnBodyProjection::File(body) => body.poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::File(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::File(body) => body.size_hint(),
        }
    }
}
