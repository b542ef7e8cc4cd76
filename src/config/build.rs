//! Building a server from a configuration.

use std::sync::{Arc, Weak};

use bytes::Bytes;

use crate::{
    client_bundle::ClientBundle,
    cluster::{ClusterNode, Node, PublishError},
    engine::{Engine, EngineIoConfig, NodeId, Relay},
    namespace::Namespace,
    observe::ServerMeters,
    server::{Clients, Counters, EventBudget, Namespaces, Requests, Server, Settings, SlowClientPolicy},
};

use super::SocketIoConfig;

impl SocketIoConfig {
    pub(crate) fn build(self) -> Arc<Server> {
        let Self { mut engine, settings, hooks, mut namespaces, server_side, client_files } = self;
        if settings.slow_client_policy != SlowClientPolicy::Disconnect {
            engine.slow_client_timeout = None;
        }
        #[cfg(feature = "permessage-deflate")]
        let settings =
            Settings { deflate_threshold: engine.per_message_deflate.map(|deflate| deflate.threshold), ..settings };
        // The default namespace exists even if it has not been added.
        if !namespaces.has("/") {
            namespaces.add("/".to_owned(), Namespace::new().build("/"));
        }
        let settings = Arc::new(settings);
        let requests = Requests::new();
        let server = Arc::new_cyclic(|server: &Weak<Server>| Server {
            client_bundle: ClientBundle::new(&client_files),
            server_side,
            namespaces: Namespaces::new(namespaces, &settings, server),
            event_budget: EventBudget::new(engine.input_budget()),
            engine: {
                let relay = relay(&engine, &settings, requests.node(), server);
                Engine::with_relay(engine, Box::new(Clients::new(server.clone(), settings.is_observed)), relay)
            },
            requests,
            settings,
            hooks,
            counters: Counters::default(),
            saving: Server::not_saving(),
            meters: ServerMeters::new(),
        });
        if let Some(adapter) = &server.settings.adapter {
            let node: Arc<dyn Node> = server.clone();
            let node = ClusterNode::new(server.requests.node().clone(), Arc::downgrade(&node));
            adapter.start(node);
            // No node has this name.
            let is_supported = || adapter.send("", Bytes::new()) != Err(PublishError::Unsupported);
            assert!(
                !server.settings.share_sessions || is_supported(),
                "sessions cannot be shared, because the adapter does not support `ClusterAdapter::send`"
            );
        }
        server
    }
}

/// Creates what passes requests to the nodes that own their sessions, if sessions are shared.
fn relay(engine: &EngineIoConfig, settings: &Settings, node: &str, server: &Weak<Server>) -> Option<Arc<Relay>> {
    let adapter = settings.adapter.as_ref().filter(|_| settings.share_sessions)?;
    let server = server.clone();
    let send = move |node: &str, message| server.upgrade().is_some_and(|server| server.send_to_node(node, message));
    let node = NodeId::from_hex(node).expect("the ids of nodes are hexadecimal");
    let (timeout, quiet) = (adapter.request_timeout(), engine.ping_interval);
    Some(Relay::new(node, timeout, quiet, engine.input_budget(), Box::new(send)))
}
