use std::collections::BTreeMap;

use serde_json::Value;

use super::operation::Operation;

/// Operations in a row, and what can be observed of them.
pub struct Case {
    pub name: &'static str,
    pub namespace: &'static str,
    /// It waits for a timeout. It must have a namespace of its own.
    pub slow: bool,
    pub steps: Vec<Step>,
    /// What each client receives, in order. Those that are not listed receive nothing.
    pub heard: BTreeMap<&'static str, Vec<Value>>,
    /// What the last step results in.
    pub result: Option<Value>,
    /// The arguments of the server-side events `record` that each of the other nodes receives.
    pub server_side: Option<Vec<Value>>,
}

#[derive(Debug)]
pub enum Step {
    Do(Operation),
    /// Repeats the operation until these clients have received its event, which may get lost.
    Repeat(Operation, Vec<&'static str>),
    /// Waits until a room has exactly these members and the actor reaches them. Joining and leaving take effect in the background.
    Members(&'static str, Vec<&'static str>),
    /// Waits until these are the only clients in the namespace.
    Remaining(Vec<&'static str>),
}

fn names(clients: &'static str) -> Vec<&'static str> {
    clients.split_whitespace().collect()
}

impl Case {
    pub fn empty(name: &'static str) -> Self {
        let (steps, heard) = (Vec::new(), BTreeMap::new());
        Self { name, namespace: "/", slow: false, steps, heard, result: None, server_side: None }
    }

    pub fn new(name: &'static str, operation: Operation) -> Self {
        Self::empty(name).then(operation)
    }

    /// The namespace of the clients, `/` otherwise.
    pub fn of(self, namespace: &'static str) -> Self {
        Self { namespace, ..self }
    }

    pub fn slow(self) -> Self {
        Self { slow: true, ..self }
    }

    pub fn then(mut self, operation: Operation) -> Self {
        self.steps.push(Step::Do(operation));
        self
    }

    pub fn repeat(mut self, operation: Operation, clients: &'static str) -> Self {
        self.steps.push(Step::Repeat(operation, names(clients)));
        self
    }

    pub fn members(mut self, room: &'static str, clients: &'static str) -> Self {
        self.steps.push(Step::Members(room, names(clients)));
        self
    }

    pub fn remaining(mut self, clients: &'static str) -> Self {
        self.steps.push(Step::Remaining(names(clients)));
        self
    }

    /// These clients receive an event, after those that are already listed.
    pub fn heard(mut self, clients: &'static str, event: &Value) -> Self {
        for client in names(clients) {
            self.heard.entry(client).or_default().push(event.clone());
        }
        self
    }

    pub fn result(self, result: Value) -> Self {
        Self { result: Some(result), ..self }
    }

    pub fn server_side(self, events: &[Value]) -> Self {
        Self { server_side: Some(events.to_vec()), ..self }
    }

    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.steps.iter().filter_map(|step| match step {
            Step::Do(operation) | Step::Repeat(operation, _) => Some(operation),
            Step::Members(..) | Step::Remaining(_) => None,
        })
    }

    pub fn repeats(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Repeat(..)))
    }
}
