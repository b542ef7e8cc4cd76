//! Namespaces with a pattern as their name.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use axum::{Router, body::Body, response::Response};
use http::{Extensions, Request};
use tower_service::Service;

use super::{
    connect_request::encode_pattern,
    connect_route::{ConnectFuture, ConnectRoute},
};

/// Wraps a pattern's services in an axum router, so that `Path` can be extracted.
pub(super) fn with_path(route: ConnectRoute, pattern: &str) -> ConnectRoute {
    // Names may start a segment with `:` or `*`, which axum 0.7 used for parameters.
    let router = Router::new().without_v07_checks();
    let router: Router = router.route_service(&encode_pattern(pattern), RestoreExtensions(route));
    ConnectRoute::new(StashExtensions(router))
}

/// Hides the request's extensions from the pattern's router and restores them after it. Otherwise axum would merge the path
/// parameters of an outer route into the pattern's.
#[derive(Clone)]
struct StashExtensions(Router);

#[derive(Clone)]
struct RestoreExtensions(ConnectRoute);

#[derive(Clone)]
struct Stash(Extensions);

impl Service<Request<Body>> for StashExtensions {
    type Response = Response;
    type Error = Infallible;
    type Future = <Router as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let aside = Stash(std::mem::take(request.extensions_mut()));
        request.extensions_mut().insert(aside);
        self.0.call(request)
    }
}

impl Service<Request<Body>> for RestoreExtensions {
    type Response = Response;
    type Error = Infallible;
    type Future = ConnectFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let extensions = request.extensions_mut();
        if let Some(Stash(mut restored)) = extensions.remove::<Stash>() {
            restored.extend(std::mem::take(extensions));
            *extensions = restored;
        }
        self.0.call(request)
    }
}
