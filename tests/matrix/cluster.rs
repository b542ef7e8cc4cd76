use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write,
};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    case::{Case, Step},
    client::Client,
    node::{Actor, Node},
    operation::{Action, Operation, Scope, all, replace},
    result::{check_handshake, equal, sorted},
};
use crate::support::retry;

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
    /// Runs all cases, and panics with the list of those that failed.
    pub async fn run(&self, cases: Vec<Case>) {
        let mut report = String::new();
        let mut count = 0;
        for case in cases {
            let suits = self.emitter.is_none() || case.operations().all(Operation::suits_emitters);
            if suits && !self.faults.iter().any(|fault| case.name.starts_with(fault)) {
                count += 1;
                for failure in self.run_case(&case).await {
                    writeln!(report, "{}: {failure}", case.name).unwrap();
                }
            }
        }
        assert!(report.is_empty(), "of {count} cases these failed:\n{report}");
        println!("{count} cases");
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
        failures
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
        self.reaches(&self.scope().emit(json!(["probe", "all"])), &CLIENTS.map(|(name, _)| name)).await;
        let rooms: BTreeSet<_> = CLIENTS.iter().flat_map(|(_, rooms)| *rooms).collect();
        for room in rooms {
            let members = CLIENTS.iter().filter(|(_, rooms)| rooms.contains(room)).map(|(name, _)| *name);
            self.reaches(&self.scope().to([room]).emit(json!(["probe", room])), &members.collect::<Vec<_>>()).await;
        }
        for (name, _) in CLIENTS {
            self.reaches(&self.scope().to([&format!("@{name}")]).emit(json!(["probe", name])), &[name]).await;
        }
    }

    /// Repeats an operation until these clients have received its event.
    async fn reaches(&self, operation: &Operation, clients: &[&str]) {
        let Action::Emit { args } = &operation.action else { panic!("{operation:?} has no event") };
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
                self.normalize(&operation.action, result)
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
                self.reaches(&self.scope().to([room]).emit(json!(["probe", room])), clients).await;
                Ok(Value::Null)
            }
        }
    }

    /// A result without what differs from run to run.
    fn normalize(&self, action: &Action, mut result: Value) -> Result<Value, String> {
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
