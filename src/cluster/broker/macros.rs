//! What is public and the same for all brokers.

/// The setters of the [`Options`](super::Options) of a configuration.
macro_rules! option_setters {
    ($config:ident) => {
        impl $config {
            /// Sets the size in bytes of the messages that may wait to be sent. Further messages are dropped. Default: 16 MiB.
            pub fn queue_bytes(mut self, bytes: usize) -> Self {
                self.options.queue_bytes = bytes;
                self
            }

            /// Sets how long requests wait for responses of other nodes if the caller sets no timeout. Default: five seconds.
            pub fn request_timeout(mut self, timeout: std::time::Duration) -> Self {
                self.options.request_timeout = timeout.min($crate::util::FOREVER);
                self
            }

            /// Sets how long an attempt to connect may take. Default: five seconds.
            pub fn connect_timeout(mut self, timeout: std::time::Duration) -> Self {
                self.options.connect_timeout = timeout.min($crate::util::FOREVER);
                self
            }

            /// Sets after which silence a node tells the others that it is alive. Default: five seconds. Minimum: ten milliseconds.
            pub fn heartbeat_interval(mut self, interval: std::time::Duration) -> Self {
                let shortest = std::time::Duration::from_millis(10);
                self.options.heartbeat_interval = interval.clamp(shortest, $crate::util::FOREVER);
                self
            }

            /// Sets after which silence another node is considered dead. Default: ten seconds. It should be at least twice the
            /// heartbeat interval of all nodes.
            pub fn heartbeat_timeout(mut self, timeout: std::time::Duration) -> Self {
                self.options.heartbeat_timeout = timeout.min($crate::util::FOREVER);
                self
            }
        }
    };
}

/// Implements [`ClusterAdapter`](crate::cluster::ClusterAdapter) and `Debug` for a newtype of a [`BrokerAdapter`](super::BrokerAdapter).
macro_rules! broker_adapter {
    ($adapter:ident) => {
        impl $crate::cluster::ClusterAdapter for $adapter {
            fn start(&self, node: $crate::cluster::ClusterNode) {
                self.0.start(node);
            }

            fn publish(&self, message: $crate::cluster::ClusterMessage) -> Result<(), $crate::cluster::PublishError> {
                self.0.publish(&message)
            }

            fn peers(
                &self,
                namespace: &str,
            ) -> $crate::util::BoxFuture<Result<$crate::cluster::Peers, $crate::cluster::ClusterError>> {
                self.0.peers(namespace)
            }

            fn request_timeout(&self) -> std::time::Duration {
                self.0.request_timeout()
            }

            fn send(&self, node: &str, message: bytes::Bytes) -> Result<(), $crate::cluster::PublishError> {
                self.0.send(node, message)
            }

            fn local_change(&self, change: $crate::cluster::LocalChange<'_>) {
                if change.room.is_none() {
                    self.0.namespace_changed(change.namespace);
                }
            }

            fn close(&self) -> $crate::util::BoxFuture<()> {
                self.0.close()
            }
        }

        impl std::fmt::Debug for $adapter {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($adapter)).field(&self.0).finish()
            }
        }
    };
}

pub(crate) use {broker_adapter, option_setters};
