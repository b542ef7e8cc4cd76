use std::{
    any::Any,
    collections::HashMap,
    fmt,
    hash::Hash,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
};

use axum::extract::ConnectInfo;
use http::{Request, Response, StatusCode, request::Parts};
use parking_lot::{Mutex, MutexGuard};
use serde_json::json;
use tower_layer::Layer;
use tower_service::Service;

use crate::{SocketRef, macros::log, service::ResponseBody};

use super::{HttpResponseFuture, http_future::Refusal};

/// Caps the sockets that are connected at a time, for each key: a peer's address, a user, or anything else that the CONNECT
/// request tells.
///
/// tower's concurrency limits count CONNECTs that are being answered; this one counts sockets, from their CONNECT until they
/// are disconnected, for whatever reason. It goes on a namespace:
///
/// ```
/// use tower_socketio::{Namespace, middleware::ConnectionLimitLayer};
///
/// #[derive(Clone)]
/// struct User { id: u64 }
///
/// let chat = Namespace::new()
///     .layer(ConnectionLimitLayer::new(3, |request| request.extensions.get::<User>().map(|user| user.id)))
///     // Around it: the layer that tells who the user is.
///     .layer(axum::Extension(User { id: 7 }));
/// # let _: Namespace = chat;
/// ```
///
/// Over the cap the client is refused: its `connect_error` gets "too many connections", with `data` of `{"limit": 3}`.
///
/// Clones of a layer count together: put clones of one layer on several namespaces to cap what a key has in all of them.
/// Another `new` counts for itself. The count is that of this process.
#[derive(Clone)]
pub struct ConnectionLimitLayer {
    max: usize,
    acquire: Arc<Acquire>,
}

type Acquire = dyn Fn(&Parts) -> Place + Send + Sync;

/// What a CONNECT gets.
enum Place {
    /// It has no key.
    Uncounted,
    /// Released when it is dropped.
    Taken(Box<dyn Any + Send>),
    Full,
}

impl ConnectionLimitLayer {
    /// At most `max` sockets for each key. A CONNECT for which `key` gives `None` is not counted.
    ///
    /// `key` sees the request as [`Namespace::layer`](crate::Namespace::layer) does, with the
    /// [`SocketRef`](crate::SocketRef) among its extensions. A key is held in memory while one of its sockets is connected.
    #[must_use]
    pub fn new<K>(max: usize, key: impl Fn(&Parts) -> Option<K> + Send + Sync + 'static) -> Self
    where
        K: Hash + Eq + Clone + Send + 'static,
    {
        let counts = Counts::default();
        let acquire = move |request: &Parts| match key(request) {
            None => Place::Uncounted,
            Some(key) => match counts.acquire(key, max) {
                Some(permit) => Place::Taken(Box::new(permit)),
                None => Place::Full,
            },
        };
        Self { max, acquire: Arc::new(acquire) }
    }

    /// At most `max` sockets for each address of a peer. The addresses of an IPv6 network of 64 bits, which one host has all
    /// to itself, count as one.
    ///
    /// The address is known if the server was made with axum's `into_make_service_with_connect_info::<SocketAddr>()`;
    /// without it nothing is counted, and a warning is logged. Behind a proxy all clients have the proxy's address: use
    /// [`new`](Self::new) and the header that the proxy sets.
    #[must_use]
    pub fn per_address(max: usize) -> Self {
        Self::new(max, |request| {
            let info = request.extensions.get::<ConnectInfo<SocketAddr>>();
            if info.is_none() {
                log!(warn, "the peer's address is not known: its sockets are not counted");
            }
            info.map(|info| network(info.0.ip()))
        })
    }
}

/// What one host has to itself.
fn network(address: IpAddr) -> IpAddr {
    const NETWORK: u128 = !0 << 64;
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & NETWORK)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// How many sockets each key has.
struct Counts<K>(Arc<Mutex<HashMap<K, usize>>>);

impl<K> Clone for Counts<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Hash + Eq + Clone> Counts<K> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.0.lock()
    }

    fn acquire(&self, key: K, max: usize) -> Option<Permit<K>> {
        let mut counts = self.lock();
        let taken = counts.get(&key).copied().unwrap_or_default();
        if taken >= max {
            return None;
        }
        counts.insert(key.clone(), taken + 1);
        drop(counts);
        Some(Permit { counts: self.clone(), key })
    }
}

/// A socket that counts.
struct Permit<K: Hash + Eq + Clone> {
    counts: Counts<K>,
    key: K,
}

impl<K: Hash + Eq + Clone> Drop for Permit<K> {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

impl<S> Layer<S> for ConnectionLimitLayer {
    type Service = ConnectionLimit<S>;

    fn layer(&self, inner: S) -> ConnectionLimit<S> {
        ConnectionLimit { inner, layer: self.clone() }
    }
}

impl fmt::Debug for ConnectionLimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionLimitLayer").field("max", &self.max).finish_non_exhaustive()
    }
}

/// Caps the connected sockets of a key. Made by [`ConnectionLimitLayer`].
#[derive(Debug, Clone)]
pub struct ConnectionLimit<S> {
    inner: S,
    layer: ConnectionLimitLayer,
}

impl<S, B, R> Service<Request<B>> for ConnectionLimit<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = HttpResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let Some(socket) = parts.extensions.get::<SocketRef>() else {
            return HttpResponseFuture::refused(Refusal::not_a_connect());
        };
        match (self.layer.acquire)(&parts) {
            Place::Uncounted => {}
            Place::Taken(permit) => socket.inner().keep(permit),
            Place::Full => {
                log!(debug, limit = %self.layer.max, "too many connections: CONNECT refused");
                let error = json!({ "message": "too many connections", "data": { "limit": self.layer.max } });
                return HttpResponseFuture::refused(Refusal::json(StatusCode::TOO_MANY_REQUESTS, &error));
            }
        }
        HttpResponseFuture::inner(self.inner.call(Request::from_parts(parts, body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_host_are_one() {
        let network = |address: &str| network(address.parse().unwrap()).to_string();
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }

    #[test]
    fn a_key_without_sockets_is_forgotten() {
        let counts = Counts::default();
        let first = counts.acquire("a", 2);
        let second = counts.acquire("a", 2);
        assert!(first.is_some() && second.is_some() && counts.acquire("a", 2).is_none());
        drop(first);
        assert!(counts.acquire("a", 2).is_some());
        drop(second);
        assert!(counts.lock().is_empty());
    }
}
