//! What the adapters of brokers have in common that only carry messages: Postgres and NATS.
//!
//! | module | contents |
//! |---|---|
//! | `link` | the `Link`: a connection to a broker, which is what differs |
//! | `adapter` | the `BrokerAdapter`, which implements `ClusterAdapter` over any `Link` |
//! | `shared` | what the adapter and its driver share: the queue, the namespaces that changed, the other nodes |
//! | `driver` | the task that owns the link, and opens another one when it is lost |
//! | `silence` | notices that a broker does not respond |
//! | `macros` | the public methods that all of them have |
//! | `backoff` | how long to wait before that |

mod adapter;
mod driver;
mod link;
mod macros;
mod shared;
mod silence;
#[cfg(test)]
mod tests;

pub(super) use self::{
    adapter::BrokerAdapter,
    link::{Event, Link, Options},
    macros::{broker_adapter, option_setters},
    silence::Silence,
};
