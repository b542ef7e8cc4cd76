use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

/// A channel that is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Channel {
    pub(super) name: Arc<str>,
    pub(super) kind: ChannelKind,
    pub(super) role: Role,
    /// The nodes of a namespace are counted by their subscriptions to it. It is subscribed to last: a node that is counted receives
    /// everything.
    pub(super) counts: bool,
}

impl Channel {
    pub(super) fn new(name: impl Into<Arc<str>>, kind: ChannelKind, role: Role) -> Self {
        Self { name: name.into(), kind, role, counts: false }
    }

    pub(super) fn counting(self) -> Self {
        Self { counts: true, ..self }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChannelKind {
    Plain,
    Pattern,
    Shard,
}

/// What messages a channel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Broadcasts,
    Requests,
    Responses,
    /// Bytes for the [shared sessions](crate::SocketIoConfig::share_sessions) of this node.
    Sessions,
}

/// Where the messages of a channel go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) namespace: Arc<str>,
    pub(super) role: Role,
}

/// A command to Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) subscribe: bool,
    pub(super) channel: Channel,
}

/// What this node subscribes to: the channels of its namespaces, and those of rooms.
///
/// Two namespaces may have a channel in common, since names may contain what separates them.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    namespaces: HashMap<Arc<str>, NamespaceChannels>,
    routes: HashMap<Arc<str>, Arc<[Route]>>,
}

#[derive(Debug)]
struct NamespaceChannels {
    channels: Vec<Channel>,
    rooms: HashMap<Arc<str>, Channel>,
}

impl Subscriptions {
    pub(super) fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.contains_key(namespace)
    }

    /// Returns where the messages of a channel go, if there is a subscription.
    pub(super) fn routes(&self, channel: &[u8]) -> Option<Arc<[Route]>> {
        self.routes.get(str::from_utf8(channel).ok()?).cloned()
    }

    /// Adds or removes a namespace. Its rooms are removed with it.
    pub(super) fn set_namespace(
        &mut self,
        namespace: &Arc<str>,
        exists: bool,
        channels: impl FnOnce() -> Vec<Channel>,
        changes: &mut Vec<Change>,
    ) {
        match (exists, self.has_namespace(namespace)) {
            (true, false) => {
                let channels = channels();
                channels.iter().for_each(|channel| self.add_route(namespace, channel, changes));
                self.namespaces.insert(namespace.clone(), NamespaceChannels { channels, rooms: HashMap::new() });
            }
            (false, true) => {
                let Some(removed) = self.namespaces.remove(namespace) else { return };
                for channel in removed.channels.iter().rev().chain(removed.rooms.values()) {
                    self.remove_route(namespace, channel, changes);
                }
            }
            _ => {}
        }
    }

    /// Adds or removes the channel of a room.
    pub(super) fn set_room(
        &mut self,
        namespace: &Arc<str>,
        room: &Arc<str>,
        exists: bool,
        channel: impl FnOnce() -> Option<Channel>,
        changes: &mut Vec<Change>,
    ) {
        let Some(entry) = self.namespaces.get_mut(namespace) else { return };
        match (exists, entry.rooms.entry(room.clone())) {
            (true, Entry::Vacant(vacant)) => {
                let Some(channel) = channel() else { return };
                vacant.insert(channel.clone());
                self.add_route(namespace, &channel, changes);
            }
            (false, Entry::Occupied(occupied)) => {
                let channel = occupied.remove();
                self.remove_route(namespace, &channel, changes);
            }
            _ => {}
        }
    }

    fn add_route(&mut self, namespace: &Arc<str>, channel: &Channel, changes: &mut Vec<Change>) {
        let route = Route { namespace: namespace.clone(), role: channel.role };
        match self.routes.entry(channel.name.clone()) {
            Entry::Occupied(mut routes) => {
                let all = routes.get().iter().cloned().chain([route]).collect();
                routes.insert(all);
            }
            Entry::Vacant(vacant) => {
                vacant.insert([route].into());
                changes.push(Change { subscribe: true, channel: channel.clone() });
            }
        }
    }

    fn remove_route(&mut self, namespace: &Arc<str>, channel: &Channel, changes: &mut Vec<Change>) {
        let Entry::Occupied(mut routes) = self.routes.entry(channel.name.clone()) else { return };
        let mut others = routes.get().to_vec();
        if let Some(index) = others.iter().position(|route| route.namespace == *namespace && route.role == channel.role)
        {
            others.remove(index);
        }
        if others.is_empty() {
            routes.remove();
            changes.push(Change { subscribe: false, channel: channel.clone() });
        } else {
            routes.insert(others.into());
        }
    }

    /// Returns the names of all namespaces and rooms.
    pub(super) fn names(&self) -> Vec<(Arc<str>, Option<Arc<str>>)> {
        let names = self.namespaces.iter().flat_map(|(namespace, entry)| {
            let rooms = entry.rooms.keys().map(|room| (namespace.clone(), Some(room.clone())));
            [(namespace.clone(), None)].into_iter().chain(rooms)
        });
        names.collect()
    }

    /// Returns what a new connection must subscribe to.
    pub(super) fn all(&self) -> Vec<Change> {
        let mut channels: HashMap<&str, &Channel> = HashMap::new();
        for entry in self.namespaces.values() {
            for channel in entry.rooms.values().chain(&entry.channels) {
                channels.insert(&channel.name, channel);
            }
        }
        channels.into_values().map(|channel| Change { subscribe: true, channel: channel.clone() }).collect()
    }

    /// Returns the channels by which nodes are counted.
    pub(super) fn counting(&self) -> impl Iterator<Item = &Arc<str>> {
        let channels = self.namespaces.values().flat_map(|entry| &entry.channels);
        channels.filter(|channel| channel.counts).map(|channel| &channel.name)
    }
}

/// Returns the changes in the order in which they are made: a node is counted last when it subscribes, and first when it unsubscribes.
/// Of several changes of a channel, the last one counts.
pub(super) fn in_order(changes: &[Change]) -> [Vec<&Change>; 3] {
    let last: HashMap<&str, usize> = changes.iter().map(|change| &*change.channel.name).zip(0..).collect();
    let mut order = [Vec::new(), Vec::new(), Vec::new()];
    for (index, change) in changes.iter().enumerate() {
        if last.get(&*change.channel.name) == Some(&index) {
            let step = match (change.channel.counts, change.subscribe) {
                (true, false) => 0,
                (false, _) => 1,
                (true, true) => 2,
            };
            order[step].push(change);
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(prefix: &str, namespace: &str) -> Vec<Channel> {
        let main = format!("{prefix}#{namespace}#");
        vec![
            Channel::new(format!("{main}id#"), ChannelKind::Shard, Role::Responses),
            Channel::new(main, ChannelKind::Shard, Role::Requests).counting(),
        ]
    }

    fn room_channel(namespace: &str, room: &str) -> Option<Channel> {
        Some(Channel::new(format!("p#{namespace}#{room}#"), ChannelKind::Shard, Role::Broadcasts))
    }

    #[derive(Default)]
    struct Node(Subscriptions);

    impl Node {
        /// Adds or removes a namespace or a room, and returns the commands.
        fn set(&mut self, namespace: &str, room: Option<&str>, exists: bool) -> Vec<String> {
            let mut changes = Vec::new();
            match room {
                None => self.0.set_namespace(&namespace.into(), exists, || channels("p", namespace), &mut changes),
                Some(room) => {
                    let channel = || room_channel(namespace, room);
                    self.0.set_room(&namespace.into(), &room.into(), exists, channel, &mut changes);
                }
            }
            let text = |Change { subscribe, channel }: Change| {
                format!("{}{}", if subscribe { '+' } else { '-' }, channel.name)
            };
            changes.into_iter().map(text).collect()
        }

        fn all(&self) -> Vec<String> {
            let mut all: Vec<_> = self.0.all().into_iter().map(|change| change.channel.name.to_string()).collect();
            all.sort();
            all
        }
    }

    #[test]
    fn each_channel_is_subscribed_to_once() {
        let mut node = Node::default();
        assert_eq!(node.set("/", None, true), ["+p#/#id#", "+p#/#"]);
        assert!(node.set("/", None, true).is_empty());
        assert_eq!(node.set("/", Some("a"), true), ["+p#/#a#"]);
        assert!(node.set("/", Some("a"), true).is_empty());
        assert_eq!(node.all(), ["p#/#", "p#/#a#", "p#/#id#"]);
        assert_eq!(node.0.counting().map(|name| &**name).collect::<Vec<_>>(), ["p#/#"]);
        assert_eq!(node.set("/", Some("a"), false), ["-p#/#a#"]);
        assert!(node.set("/", Some("a"), false).is_empty());
        assert_eq!(node.set("/", None, false), ["-p#/#", "-p#/#id#"]);
        assert!(node.set("/", None, false).is_empty());
        assert!(node.all().is_empty() && node.0.names().is_empty());
    }

    #[test]
    fn rooms_go_with_their_namespace() {
        let mut node = Node::default();
        assert!(node.set("/x", Some("a"), true).is_empty());
        node.set("/x", None, true);
        node.set("/x", Some("a"), true);
        assert_eq!(node.0.names().len(), 2);
        assert_eq!(node.set("/x", None, false), ["-p#/x#", "-p#/x#id#", "-p#/x#a#"]);
        assert!(node.all().is_empty());
    }

    #[test]
    fn a_common_channel_goes_with_the_last_of_its_namespaces() {
        let mut node = Node::default();
        node.set("/a", None, true);
        node.set("/a#b", None, true);
        assert!(node.set("/a", Some("b"), true).is_empty());
        let routes = node.0.routes(b"p#/a#b#").unwrap();
        let routes: Vec<_> = routes.iter().map(|route| (&*route.namespace, route.role)).collect();
        assert_eq!(routes, [("/a#b", Role::Requests), ("/a", Role::Broadcasts)]);
        assert_eq!(node.set("/a#b", None, false), ["-p#/a#b#id#"]);
        assert_eq!(node.set("/a", Some("b"), false), ["-p#/a#b#"]);
        assert!(node.0.routes(b"p#/a#b#").is_none() && node.0.routes(b"\xff").is_none());
    }

    #[test]
    fn what_is_counted_is_renewed_as_such() {
        let mut node = Node::default();
        node.set("/a", None, true);
        node.set("/a", Some("b"), true);
        assert_eq!(node.0.all().iter().filter(|change| change.channel.counts).count(), 1);
    }
    #[test]
    fn a_node_is_counted_while_it_receives_everything() {
        let mut node = Subscriptions::default();
        let mut changes = Vec::new();
        node.set_namespace(&"/a".into(), true, || channels("p", "/a"), &mut changes);
        node.set_namespace(&"/b".into(), true, || channels("p", "/b"), &mut changes);
        node.set_namespace(&"/b".into(), false, Vec::new, &mut changes);
        node.set_namespace(&"/a".into(), false, Vec::new, &mut changes);
        node.set_namespace(&"/a".into(), true, || channels("p", "/a"), &mut changes);
        let order = in_order(&changes).map(|changes| {
            let text = |change: &Change| format!("{}{}", if change.subscribe { '+' } else { '-' }, change.channel.name);
            changes.into_iter().map(text).collect::<Vec<_>>()
        });
        assert_eq!(order, [vec!["-p#/b#"], vec!["-p#/b#id#", "+p#/a#id#"], vec!["+p#/a#"]]);
    }
}
