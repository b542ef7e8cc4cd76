use std::collections::{BTreeSet, HashMap};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    case::{Case, Step},
    client::Client,
    node::{Actor, Node},
    operation::{Action, Operation, Scope, all, replace},
    result::{check_handshake, equal, sorted},
};
use crate::support::{retry, until};

/// The clients, two for each node, and their rooms. `r1` has a1, b1 and c2, `r2` has a2, b1 and c1, `r3` has b2 and c2.
pub const CLIENTS: [(&str, &[&str]); 6] = [
    ("a1", &["r1", "a#b", ""]),
    ("a2", &["r2"]),
    ("b1", &["r1", "r2", "a#b", "", "é €😀 x", "of twenty characters"]),
    ("b2", &["r3"]),
    ("c1", &["r2", "é €😀 x", "of twenty characters"]),
    ("c2", &["r1", "r3"]),
];

/// Three nodes. The operations are executed by the emitter, or else by the first node.
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub emitter: Option<Box<dyn Actor>>,
    /// The adapter and the actor have these faults, which the names of cases begin with.
    pub faults: Vec<&'static str>,
    /// Clients get offsets.
    pub recovers: bool,
    /// Events to rooms may be overtaken by others.
    pub unordered: bool,
}

/// The clients of one case.
struct World<'a> {
    cluster: &'a Cluster,
    clients: Vec<Client>,
    /// The ids of sockets by `@name`.
    ids: HashMap<String, String>,
    namespace: &'static str,
}

impl Cluster {
    /// Runs all cases, and panics with the list of those that failed. Those that wait for a timeout run beside the others.
    pub async fn run(&self, mut cases: Vec<Case>) {
        cases.retain(|case| {
            let suits = self.emitter.is_none() || case.operations().all(Operation::suits_emitters);
            suits && !self.faults.iter().any(|fault| case.name.starts_with(fault))
        });
        let count = cases.len();
        let (slow, others): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| case.slow);
        let one_by_one = async {
            let mut failures = Vec::new();
            for case in &others {
                failures.extend(self.run_case(case).await);
            }
            failures
        };
        let (slow, others) = tokio::join!(join_all(slow.iter().map(|case| self.run_case(case))), one_by_one);
        let failures: Vec<_> = slow.into_iter().flatten().chain(others).collect();
        assert!(failures.is_empty(), "{} failures in {count} cases:\n{}", failures.len(), failures.join("\n"));
        assert!(count > 40, "there are only {count} cases");
    }

    async fn run_case(&self, case: &Case) -> Vec<String> {
        let world = World::new(self, case.namespace).await;
        world.settle().await;
        let mut failures = Vec::new();
        let mut result = Value::Null;
        for step in &case.steps {
            match world.step(step).await {
                Ok(value) => result = value,
                Err(error) => failures.push(format!("{step:?} failed: {error}")),
            }
        }
        world.end().await;
        for client in &world.clients {
            let expected = case.heard.get(client.name).cloned().unwrap_or_default();
            if self.unordered {
                until(|| Self::heard(client, case).len() >= expected.len()).await;
            }
            let heard = Self::heard(client, case);
            if !equal(&json!(heard), &json!(expected)) {
                failures.push(format!("{} received {}, not {}", client.name, short(&heard), short(&expected)));
            }
        }
        if let Some(expected) = &case.result
            && !equal(&result, expected)
        {
            failures.push(format!("the result is {result}, not {expected}"));
        }
        if let Some(expected) = &case.server_side {
            failures.extend(world.server_side(case.name, expected).await);
        }
        world.leave().await;
        failures.into_iter().map(|failure| format!("{}: {failure}", case.name)).collect()
    }

    /// What a client received because of the case.
    fn heard(client: &Client, case: &Case) -> Vec<Value> {
        let mut heard = client.record();
        heard.retain(|entry| entry[0] != *"probe" && entry[0] != *"end");
        if case.repeats() {
            heard.dedup();
        }
        heard
    }

    fn actor(&self) -> &dyn Actor {
        self.emitter.as_deref().unwrap_or(&*self.nodes[0].actor)
    }
}

impl<'a> World<'a> {
    async fn new(cluster: &'a Cluster, namespace: &'static str) -> Self {
        let join = |(place, (name, rooms)): (usize, (&'static str, &'static [&'static str]))| {
            Client::join(cluster.nodes[place / 2].address, namespace, name, rooms, cluster.recovers)
        };
        let clients = join_all(CLIENTS.into_iter().enumerate().map(join)).await;
        let ids = clients.iter().map(|client| (format!("@{}", client.name), client.id.clone())).collect();
        Self { cluster, clients, ids, namespace }
    }

    fn scope(&self) -> Scope {
        all().of(self.namespace)
    }

    async fn act(&self, actor: &dyn Actor, operation: &Operation) -> Result<Value, String> {
        let result = actor.run(operation.resolve(&self.ids)).await?;
        Ok(replace(result, &self.ids.iter().map(|(name, id)| (id.clone(), name.clone())).collect()))
    }

    /// Waits until the first node counts all nodes and finds exactly these clients, and the actor reaches each of the rooms: nodes
    /// subscribe to rooms and learn of one another in the background.
    async fn settle(&self) {
        retry(async || {
            let count = self.act(&*self.cluster.nodes[0].actor, &self.scope().node_count()).await;
            (count == Ok(json!(3))).then_some(())
        })
        .await;
        self.has_members(self.scope(), &CLIENTS.map(|(name, _)| name)).await;
        let everyone = CLIENTS.map(|(name, _)| name).to_vec();
        let rooms: BTreeSet<_> = CLIENTS.iter().flat_map(|(_, rooms)| *rooms).collect();
        let rooms = rooms.into_iter().map(|room| {
            let members = CLIENTS.iter().filter(|(_, rooms)| rooms.contains(room)).map(|(name, _)| *name);
            (self.scope().to([room]), members.collect())
        });
        let ids = CLIENTS.iter().map(|(name, _)| (self.scope().to([&format!("@{name}")]), vec![*name]));
        let all = std::iter::once((self.scope(), everyone)).chain(rooms).chain(ids);
        join_all(all.map(|(scope, clients)| self.probe(scope, clients))).await;
    }

    /// Emits events that do not count until these clients have received one.
    async fn probe(&self, scope: Scope, clients: Vec<&str>) {
        let event = json!(["probe", scope.to]);
        self.reaches(&scope.emit(event), &clients).await;
    }

    /// Repeats an operation until these clients have received its event.
    async fn reaches(&self, operation: &Operation, clients: &[&str]) {
        let resolved = operation.resolve(&self.ids);
        let Action::Emit { args } = &resolved.action else { panic!("{operation:?} has no event") };
        let has = |client: &Client| client.record().iter().any(|entry| equal(entry, args));
        retry(async || {
            self.act(self.cluster.actor(), operation).await.expect("the event is emitted");
            let mut expected = self.clients.iter().filter(|client| clients.contains(&client.name));
            expected.all(has).then_some(())
        })
        .await;
    }

    /// Waits until the first node finds exactly these sockets.
    async fn has_members(&self, scope: Scope, clients: &[&str]) {
        let ids: Vec<_> = sorted(clients.iter().map(|name| json!(format!("@{name}"))).collect());
        retry(async || {
            let found = self.act(&*self.cluster.nodes[0].actor, &scope.clone().fetch()).await.ok()?;
            let found = found.as_array()?.iter().map(|socket| socket["id"].clone()).collect();
            (sorted(found) == ids).then_some(())
        })
        .await;
    }

    async fn step(&self, step: &Step) -> Result<Value, String> {
        match step {
            Step::Do(operation) => {
                let result = self.act(self.cluster.actor(), operation).await?;
                Self::normalize(&operation.action, result)
            }
            Step::Repeat(operation, clients) => {
                self.reaches(operation, clients).await;
                Ok(Value::Null)
            }
            Step::Remaining(clients) => {
                self.has_members(self.scope(), clients).await;
                Ok(Value::Null)
            }
            Step::Members(room, clients) => {
                self.has_members(self.scope().to([room]), clients).await;
                self.probe(self.scope().to([room]), clients.clone()).await;
                Ok(Value::Null)
            }
        }
    }

    /// A result without what differs from run to run.
    fn normalize(action: &Action, mut result: Value) -> Result<Value, String> {
        match action {
            Action::Ask { .. } | Action::ServerSideAsk { .. } => {
                let responses = result["responses"].as_array().cloned().unwrap_or_default();
                result["responses"] = json!(sorted(responses));
            }
            Action::Fetch => {
                let sockets = result.as_array_mut().ok_or("not a list")?;
                for socket in &mut *sockets {
                    let handshake = socket["handshake"].take();
                    let name = socket["id"].as_str().and_then(|id| id.strip_prefix('@')).ok_or("an unknown socket")?;
                    let rooms = CLIENTS.iter().find(|client| client.0 == name).ok_or("an unknown client")?.1;
                    check_handshake(&handshake, &Client::auth(name, rooms), name)?;
                    socket["rooms"] = json!(sorted(socket["rooms"].as_array().ok_or("no rooms")?.clone()));
                    socket.as_object_mut().ok_or("no socket")?.remove("handshake");
                }
                result = json!(sorted(sockets.clone()));
            }
            _ => {}
        }
        Ok(result)
    }

    /// Waits until each client has received all that was sent to it: the event `end` is sent after it, and takes the same way as events
    /// with bytes, which the adapter for Postgres sends by a table.
    async fn end(&self) {
        let end = self.scope().emit(json!(["end", { "$bytes": "00" }]));
        self.act(self.cluster.actor(), &end).await.expect("the event is emitted");
        for client in &self.clients {
            client.until_event_or_end("end").await;
        }
    }

    /// Closes the clients, and waits until the nodes have noticed.
    async fn leave(self) {
        let Self { cluster, clients, namespace, .. } = self;
        drop(clients);
        for node in &cluster.nodes {
            node.actor.run(all().of(namespace).run(Action::Idle)).await.expect("the node becomes idle");
        }
    }

    /// Compares the server-side events that the other nodes received.
    async fn server_side(&self, case: &str, expected: &[Value]) -> Vec<String> {
        let end = json!(["end", case]);
        let emit = self.scope().server_side_emit(json!(["record", "end", case]));
        self.act(self.cluster.actor(), &emit).await.expect("the event is emitted");
        let mut failures = Vec::new();
        let others = if self.cluster.emitter.is_some() { 0 } else { 1 };
        for (place, node) in self.cluster.nodes.iter().enumerate().skip(others) {
            let received = retry(async || {
                let received = self.act(&*node.actor, &self.scope().run(Action::Received)).await.expect("a record");
                let mut received = received.as_array().expect("a record").clone();
                equal(received.last()?, &end).then(|| {
                    received.pop();
                    let before = received.iter().rposition(|args| args[0] == *"end").map_or(0, |place| place + 1);
                    received.split_off(before)
                })
            })
            .await;
            if !equal(&json!(received), &json!(expected)) {
                failures.push(format!("node {place} received {}, not {}", short(&received), short(expected)));
            }
        }
        if self.cluster.emitter.is_none() {
            let own = self.act(self.cluster.actor(), &self.scope().run(Action::Received)).await.expect("a record");
            if own.as_array().is_some_and(|own| own.contains(&end)) {
                failures.push("the node received its own server-side event".to_owned());
            }
        }
        failures
    }
}

fn short(value: &[Value]) -> String {
    let text = json!(value).to_string();
    text.chars().take(300).collect()
}
