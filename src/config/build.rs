//! Building a server from a configuration.

use std::sync::{Arc, Weak};

use crate::{
    client_bundle::ClientBundle,
    cluster::{ClusterNode, Node},
    engine::Engine,
    namespace::Namespace,
    observe::ServerMeters,
    server::{Clients, Counters, EventBudget, Namespaces, Requests, Server, SlowClientPolicy},
};

use super::SocketIoConfig;

impl SocketIoConfig {
    pub(crate) fn build(self) -> Arc<Server> {
        let Self { mut engine, settings, hooks, mut namespaces, server_side, client_files } = self;
        if settings.slow_client_policy != SlowClientPolicy::Disconnect {
            engine.slow_client_timeout = None;
        }
        // The default namespace exists even if it has not been added.
        if !namespaces.has("/") {
            namespaces.add("/".to_owned(), Namespace::new().build("/"));
        }
        let settings = Arc::new(settings);
        let server = Arc::new_cyclic(|server: &Weak<Server>| Server {
            client_bundle: ClientBundle::new(&client_files),
            server_side,
            requests: Requests::new(),
            namespaces: Namespaces::new(namespaces, &settings, server),
            event_budget: EventBudget::new(engine.input_budget()),
            engine: Engine::new(engine, Box::new(Clients::new(server.clone()))),
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
        }
        server
    }
}
