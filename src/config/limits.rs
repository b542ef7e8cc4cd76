//! How much and how long.

use std::time::Duration;

use crate::{packet::MAX_JSON_DEPTH, server::SlowClientPolicy, util::FOREVER};

use super::SocketIoConfig;

impl SocketIoConfig {
    /// How long a connection may take to join its first namespace, admission included. Default: 45 seconds.
    ///
    /// Past it, the connection is closed.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.engine.connect_timeout = timeout.min(FOREVER);
        self
    }

    /// How long the server waits for an ack where no timeout was asked for. Default: 30 seconds.
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.settings.ack_timeout = timeout.min(FOREVER);
        self
    }

    /// Sets what happens when a client is too slow. Default: it is disconnected.
    pub fn slow_client_policy(mut self, policy: SlowClientPolicy) -> Self {
        self.settings.slow_client_policy = policy;
        self
    }

    /// Sets how much memory the events of one connection may take whose handlers have not ended, in bytes. Default: 512 KiB.
    ///
    /// An event counts with an estimate of what its arguments take in memory, at least 1 KiB. Past the limit the connection is not
    /// read until a handler ends. One event is always handled, whatever its size.
    pub fn max_event_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_event_bytes = bytes;
        self
    }

    /// The most attachments of one packet. Default: 10.
    ///
    /// A packet that announces more closes the connection. Binary that needs no placeholder, as msgpack's, does not count.
    pub fn max_attachments(mut self, attachments: usize) -> Self {
        self.settings.max_attachments = attachments;
        self
    }

    /// Sets how many bytes the attachments of one packet may take together. Default: ten times [`max_payload`](Self::max_payload),
    /// which are 10,000,000.
    ///
    /// More close the connection.
    pub fn max_attachment_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_attachment_bytes = Some(bytes);
        self
    }

    /// How many arrays and objects may be nested in an argument of an event or an ack. Default: 100; at most 1024.
    ///
    /// A number has no levels, `[1]` has one, `{"a":[1]}` two: the array in which the arguments travel does not count. In
    /// the auth payload, its object is the first level. What is nested deeper closes the connection.
    ///
    /// A text of more than 127 levels is read on a thread made for it, which has a stack of its own, while the thread that
    /// received it waits; a [`Value`](crate::Value) of any allowed depth can then be cloned, compared, emitted and dropped
    /// on a stack of 2 MiB, also in a debug build. Types of your own that recurse are dropped on your stack too: before you
    /// raise this limit, look at how much of it they need. `axum::Json`, as an extractor in `on_connect`, reads no more than
    /// 127 levels of the auth payload; [`Handshake::auth`](crate::client::Handshake::auth) reads them all.
    pub fn max_json_depth(mut self, levels: usize) -> Self {
        self.settings.max_json_depth = levels.min(MAX_JSON_DEPTH);
        self
    }

    /// How many event handlers of one socket may be under way. Default: 32.
    ///
    /// Beyond that the connection is not read until one has ended, and the pressure reaches the client's TCP window.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn max_concurrent_events(mut self, events: usize) -> Self {
        assert!(events > 0, "max_concurrent_events must be at least 1: at 0 no event could ever be handled");
        self.settings.max_concurrent_events = events;
        self
    }

    /// How many sessions may exist that have not joined a namespace; at least 1. Default: 10,000.
    ///
    /// Past it, the oldest of them is closed for each new one, in constant time: its polls are answered with a close
    /// packet, its WebSocket is closed. No handshake is refused for that. They go by themselves after
    /// [`connect_timeout`](Self::connect_timeout).
    pub fn max_idle_sessions(mut self, sessions: usize) -> Self {
        self.engine.max_idle_sessions = sessions;
        self
    }

    /// How many of [these](Self::max_idle_sessions) one [address](Self::client_address) may have; at least 1. Default: any
    /// number.
    ///
    /// Past it, the oldest one of the same address is closed, so that one host cannot push out the sessions of others.
    pub fn max_idle_sessions_per_address(mut self, sessions: usize) -> Self {
        self.engine.max_idle_sessions_per_address = Some(sessions);
        self
    }

    /// How many bytes of `auth` the sockets of one connection may keep, in all namespaces together. Default: 65,536.
    ///
    /// Past it, a CONNECT is refused with "the auth payload exceeds max_auth_bytes". What was sent for a socket that has
    /// been refused or has left no longer counts.
    pub fn max_auth_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_auth_bytes = bytes;
        self
    }
}
