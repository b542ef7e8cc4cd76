//! Explores the orders in which a connection's tasks can run. Checks that no task sleeps while it has something to do, and that
//! none is woken without a reason.
//!
//! The tasks are those of the server. Only the network and the protocol above the engine are replaced, by [`kit`]. Tasks can be
//! interrupted before each lock of a connection, before each call of a waker, and in the transport.

mod kit;

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::StatusCode;
use http_body::Body;
use http_body_util::Full;

use crate::{
    engine::{CloseCause, Connection, Packet, ProbeAction, Session, Transport},
    util::{
        Mutex,
        interleave::{Signal, Tasks, explore, run},
    },
};

use self::kit::{Pipe, Seen, Silence, open, runtime, send, send_and_write};
use super::{Driver, Foreign, PollFuture, PostFuture, keep_time, probe::probe};

/// All orders, for tasks that are few and short.
const ALL: usize = usize::MAX;

const CAUSE: CloseCause = CloseCause::Forced("the test closes it");

/// A session over a stream, whose driver is one of the tasks.
#[derive(Clone)]
struct Driven {
    connection: Arc<Connection>,
    seen: Arc<Seen>,
    pipe: Pipe,
    signal: Arc<Signal>,
    has_ended: Arc<AtomicBool>,
}

impl Driven {
    fn start(tasks: &mut Tasks, pipe: Pipe) -> Self {
        let (connection, seen) = open(Transport::Custom);
        let driven = Self { connection, seen, pipe, signal: Signal::new(), has_ended: Arc::default() };
        let (driver, signal, has_ended) = (driven.driver(), driven.signal.clone(), driven.has_ended.clone());
        tasks.add(move || has_ended.store(signal.run(driver).is_some(), Ordering::Relaxed));
        driven
    }

    fn driver(&self) -> Driver<Foreign<Pipe>> {
        Driver::start(self.connection.clone(), Foreign::new(self.pipe.clone())).shared()
    }

    fn drain(&self) {
        self.pipe.drain();
    }

    fn abort(&self) {
        self.connection.abort(CAUSE);
    }

    fn add(&self, tasks: &mut Tasks, task: impl FnOnce(&Self) + Send + 'static) {
        let driven = self.clone();
        tasks.add(move || task(&driven));
    }

    /// The connection wakes the driver only after it has parked, and each wake-up leads to a poll.
    fn assert_not_woken_in_vain(&self) {
        let wakes = self.signal.wakes() - self.pipe.wakes();
        assert!(wakes < self.signal.polls(), "{wakes} wake-ups, {} polls", self.signal.polls());
    }

    /// The driver is parked, and the outbox is empty.
    fn assert_at_rest(&self, sent: &[&str]) {
        self.assert_written(sent);
        self.assert_not_woken_in_vain();
    }

    fn assert_written(&self, sent: &[&str]) {
        assert!(!self.has_ended.load(Ordering::Relaxed));
        assert_eq!(self.pipe.sent(), sent);
        assert!(self.connection.inspect(Session::is_drained));
        assert_eq!((self.seen.ends(), self.seen.reader_is_dropped()), (0, false));
    }

    fn assert_ended(&self) {
        assert!(self.has_ended.load(Ordering::Relaxed), "the driver does not see the end");
        assert_eq!((self.seen.ends(), self.seen.reader_is_dropped()), (1, true));
        assert!(self.connection.has_ended());
    }
}

#[test]
fn what_is_queued_wakes_the_driver() {
    let runtime = runtime();
    let _entered = runtime.enter();
    explore(ALL, |tasks| {
        let driven = Driven::start(tasks, Pipe::default());
        driven.add(tasks, |driven| {
            send(&driven.connection, "a");
            send(&driven.connection, "b");
        });
        move || driven.assert_at_rest(&["a", "b"])
    });
}

#[test]
fn what_two_tasks_queue_is_sent() {
    let runtime = runtime();
    let _entered = runtime.enter();
    explore(2, |tasks| {
        let driven = Driven::start(tasks, Pipe::default());
        for text in ["a", "a"] {
            driven.add(tasks, move |driven| {
                send(&driven.connection, text);
                send(&driven.connection, text);
            });
        }
        move || driven.assert_at_rest(&["a"; 4])
    });
}

#[test]
fn what_is_written_for_the_driver_is_sent_in_order() {
    let runtime = runtime();
    let _entered = runtime.enter();
    explore(ALL, |tasks| {
        let driven = Driven::start(tasks, Pipe::default());
        driven.add(tasks, |driven| send_and_write(&driven.connection, "a"));
        move || driven.assert_written(&["a"])
    });
    explore(2, |tasks| {
        let driven = Driven::start(tasks, Pipe::default());
        driven.add(tasks, |driven| {
            send_and_write(&driven.connection, "a");
            send_and_write(&driven.connection, "b");
            send(&driven.connection, "c");
        });
        move || driven.assert_written(&["a", "b", "c"])
    });
    explore(2, |tasks| {
        let driven = Driven::start(tasks, Pipe::default());
        driven.add(tasks, |driven| send_and_write(&driven.connection, "a"));
        driven.add(tasks, |driven| send_and_write(&driven.connection, "a"));
        driven.add(tasks, |driven| send(&driven.connection, "a"));
        move || driven.assert_written(&["a"; 3])
    });
}

#[test]
fn what_cannot_be_written_for_the_driver_is_sent_once_the_transport_has_room() {
    let runtime = runtime();
    let _entered = runtime.enter();
    explore(2, |tasks| {
        let driven = Driven::start(tasks, Pipe::full());
        driven.add(tasks, |driven| {
            send_and_write(&driven.connection, "a");
            send_and_write(&driven.connection, "b");
        });
        driven.add(tasks, Driven::drain);
        move || driven.assert_written(&["a", "b"])
    });
}

#[test]
fn the_end_of_a_session_is_seen_by_its_driver_while_another_task_writes() {
    let runtime = runtime();
    let _entered = runtime.enter();
    explore(2, |tasks| {
        let driven = Driven::start(tasks, Pipe::default());
        driven.add(tasks, |driven| send_and_write(&driven.connection, "a"));
        driven.add(tasks, Driven::abort);
        move || driven.assert_ended()
    });
    explore(2, |tasks| {
        let driven = Driven::start(tasks, Pipe::default());
        driven.add(tasks, |driven| send_and_write(&driven.connection, "a"));
        driven.add(tasks, |driven| {
            driven.connection.close(CAUSE);
        });
        move || driven.assert_ended()
    });
}

#[test]
fn what_is_queued_while_the_transport_is_full_is_sent_once_it_is_not() {
    let runtime = runtime();
    let _entered = runtime.enter();
    explore(2, |tasks| {
        let driven = Driven::start(tasks, Pipe::full());
        driven.add(tasks, |driven| {
            send(&driven.connection, "a");
            send(&driven.connection, "b");
        });
        driven.add(tasks, Driven::drain);
        move || driven.assert_at_rest(&["a", "b"])
    });
}

#[test]
fn what_is_queued_wakes_no_driver_whose_transport_is_full() {
    let runtime = runtime();
    let _entered = runtime.enter();
    explore(ALL, |tasks| {
        let driven = Driven::start(tasks, Pipe::full());
        driven.add(tasks, |driven| {
            send(&driven.connection, "a");
            send(&driven.connection, "b");
        });
        move || assert_eq!((driven.signal.polls(), driven.signal.wakes()), (1, 0))
    });
}

#[test]
fn the_driver_sees_the_end_of_its_session() {
    let runtime = runtime();
    let _entered = runtime.enter();
    for pipe in [Pipe::default, Pipe::full] {
        explore(2, |tasks| {
            let driven = Driven::start(tasks, pipe());
            driven.add(tasks, |driven| send(&driven.connection, "a"));
            driven.add(tasks, Driven::abort);
            move || {
                driven.assert_ended();
                driven.assert_not_woken_in_vain();
            }
        });
    }
}

#[test]
fn a_session_ends_once() {
    let runtime = runtime();
    let _entered = runtime.enter();
    explore(1, |tasks| {
        let driven = Driven::start(tasks, Pipe::default());
        driven.add(tasks, |driven| {
            driven.connection.close(CAUSE);
        });
        driven.add(tasks, Driven::abort);
        driven.add(tasks, |driven| driven.pipe.hang_up());
        move || driven.assert_ended()
    });
}

#[test]
fn what_is_queued_before_a_close_is_sent() {
    let runtime = runtime();
    let _entered = runtime.enter();
    explore(2, |tasks| {
        let driven = Driven::start(tasks, Pipe::full());
        driven.add(tasks, |driven| {
            send(&driven.connection, "a");
            send(&driven.connection, "b");
            driven.connection.close(CAUSE);
        });
        driven.add(tasks, Driven::drain);
        move || {
            driven.assert_ended();
            assert_eq!(driven.pipe.sent(), ["a", "b"]);
        }
    });
}

#[test]
fn what_arrives_is_answered_while_others_send() {
    let runtime = runtime();
    let _entered = runtime.enter();
    explore(2, |tasks| {
        let driven = Driven::start(tasks, Pipe::default());
        driven.add(tasks, |driven| {
            driven.pipe.push(Packet::message("a"));
            driven.pipe.push(Packet::message("b"));
        });
        driven.add(tasks, |driven| send(&driven.connection, "c"));
        move || {
            let sent = driven.pipe.sent();
            let answers: Vec<&str> = sent.iter().map(|text| &**text).filter(|text| *text != "c").collect();
            assert_eq!(answers, ["a", "b"]);
            driven.assert_at_rest(&sent.iter().map(|text| &**text).collect::<Vec<_>>());
            assert_eq!((sent.len(), driven.seen.received()), (3, vec!["a".to_owned(), "b".to_owned()]));
        }
    });
}

#[test]
fn a_task_that_waits_until_all_is_sent_is_woken() {
    let runtime = runtime();
    let _entered = runtime.enter();
    for ending in [Driven::drain, Driven::abort] {
        explore(2, |tasks| {
            let driven = Driven::start(tasks, Pipe::full());
            let is_drained = Arc::new(AtomicBool::new(false));
            let drained = is_drained.clone();
            driven.add(tasks, move |driven| {
                send(&driven.connection, "a");
                let waits = poll_fn(|cx| driven.connection.poll_drained(cx.waker()));
                drained.store(run(waits).is_some(), Ordering::Relaxed);
            });
            driven.add(tasks, ending);
            move || assert!(is_drained.load(Ordering::Relaxed))
        });
    }
}

#[test]
fn a_task_that_waits_until_all_is_sent_sees_the_end() {
    let runtime = runtime();
    let _entered = runtime.enter();
    explore(2, |tasks| {
        let driven = Driven::start(tasks, Pipe::stuck());
        let is_drained = Arc::new(AtomicBool::new(false));
        let drained = is_drained.clone();
        driven.add(tasks, move |driven| {
            driven.connection.close(CAUSE);
            let waits = poll_fn(|cx| driven.connection.poll_drained(cx.waker()));
            drained.store(run(waits).is_some(), Ordering::Relaxed);
        });
        move || {
            // If it is stuck before the close, the session ends by a timeout.
            let has_ended = driven.connection.inspect(Session::closed).is_some();
            assert_eq!(is_drained.load(Ordering::Relaxed), has_ended);
            assert_eq!((driven.seen.ends(), driven.seen.reader_is_dropped()), (usize::from(has_ended), has_ended));
        }
    });
}

/// A session on long-polling, whose timer task is one of the tasks.
#[derive(Clone)]
struct Polled {
    connection: Arc<Connection>,
    seen: Arc<Seen>,
    /// The transport of a WebSocket that is about to carry the session.
    pipe: Pipe,
    /// The messages in the responses to GETs.
    polled: Arc<Mutex<Vec<String>>>,
    /// How many tasks have not ended.
    unfinished: Arc<AtomicUsize>,
}

impl Polled {
    fn start(tasks: &mut Tasks) -> Self {
        let (connection, seen) = open(Transport::Polling);
        let polled =
            Self { connection, seen, pipe: Pipe::default(), polled: Arc::default(), unfinished: Arc::default() };
        let timer = keep_time(polled.connection.clone());
        polled.add(tasks, |_| run(timer).is_some());
        polled
    }

    /// Adds a task, which returns `true` if it has completed.
    fn add(&self, tasks: &mut Tasks, task: impl FnOnce(&Self) -> bool + Send + 'static) {
        let polled = self.clone();
        polled.unfinished.fetch_add(1, Ordering::Relaxed);
        tasks.add(move || {
            let ended = task(&polled);
            polled.unfinished.fetch_sub(usize::from(ended), Ordering::Relaxed);
        });
    }

    /// Adds a client that polls some times, or until the session has ended or left long-polling.
    fn add_polls(&self, tasks: &mut Tasks) {
        self.add(tasks, |polled| {
            for _ in 0..4 {
                let Ok(poll) = PollFuture::begin(polled.connection.clone()) else { break };
                let Some(payload) = run(poll) else { return false };
                let body = String::from_utf8_lossy(&payload.body).into_owned();
                let messages = body.split('\u{1e}').filter_map(|packet| packet.strip_prefix('4'));
                polled.polled.lock().extend(messages.map(str::to_owned));
                if polled.connection.inspect(Session::closed).is_some() {
                    break;
                }
            }
            true
        });
    }

    /// Adds a POST with two messages.
    fn add_post(&self, tasks: &mut Tasks) {
        self.add_post_of(tasks, Full::new(Bytes::from_static(b"4a\x1e4b")));
    }

    fn add_post_of<B: Body + Send + 'static>(&self, tasks: &mut Tasks, body: B) {
        self.add(tasks, |polled| {
            let post = PostFuture::begin(polled.connection.clone(), false, body);
            post.map_or(Some(StatusCode::BAD_REQUEST), run).is_some()
        });
    }

    /// Adds a WebSocket that completes the upgrade, then sends a message. If it has not been probed, polls may be pending at
    /// that time.
    fn add_websocket(&self, tasks: &mut Tasks, is_proved: bool) {
        assert!(self.connection.update(|session| session.probe_begin(Transport::Custom)));
        if is_proved {
            let ping = Packet::from_text("2probe").unwrap();
            let action = self.connection.probe_packet(Transport::Custom, &ping);
            assert_eq!(action, ProbeAction::Send(Packet::from_text("3probe").unwrap()));
        }
        self.pipe.push(Packet::from_text("5").unwrap());
        self.pipe.push(Packet::message("c"));
        self.add(tasks, |polled| {
            let (connection, mut pipe) = (polled.connection.clone(), Foreign::new(polled.pipe.clone()));
            let websocket = async move {
                if probe(&connection, &mut pipe).await {
                    Driver::new(connection, pipe).await;
                }
            };
            run(websocket).is_some()
        });
    }

    fn assert_unfinished(&self, tasks: usize) {
        assert_eq!(self.unfinished.load(Ordering::Relaxed), tasks);
    }

    fn assert_ended(&self) {
        self.assert_unfinished(0);
        assert_eq!((self.seen.ends(), self.seen.reader_is_dropped()), (1, true));
        assert!(self.connection.has_ended());
    }
}

#[test]
fn what_is_queued_answers_polls() {
    let runtime = runtime();
    let _entered = runtime.enter();
    explore(2, |tasks| {
        let polled = Polled::start(tasks);
        polled.add_polls(tasks);
        polled.add(tasks, |polled| {
            send(&polled.connection, "a");
            send(&polled.connection, "b");
            true
        });
        move || {
            // The timer task and the pending poll.
            polled.assert_unfinished(2);
            assert_eq!(*polled.polled.lock(), ["a", "b"]);
        }
    });
}

#[test]
fn polls_and_posts_see_the_end_of_their_session() {
    let runtime = runtime();
    let _entered = runtime.enter();
    for in_order in [false, true] {
        explore(1, |tasks| {
            let polled = Polled::start(tasks);
            polled.add_polls(tasks);
            polled.add_post(tasks);
            polled.add(tasks, move |polled| {
                match in_order {
                    true => _ = polled.connection.close(CAUSE),
                    false => polled.connection.abort(CAUSE),
                }
                true
            });
            move || polled.assert_ended()
        });
    }
}

#[test]
fn a_post_hands_the_reader_over_to_a_websocket() {
    let runtime = runtime();
    let _entered = runtime.enter();
    explore(2, |tasks| {
        let polled = Polled::start(tasks);
        polled.add_post(tasks);
        polled.add_websocket(tasks, true);
        move || {
            // The driver.
            polled.assert_unfinished(1);
            let received = polled.seen.received();
            // The upgrade may come before the POST has been read.
            assert!(["abc", "c"].contains(&&*received.concat()), "{received:?}");
            assert_eq!(polled.pipe.sent(), received);
            assert!(!polled.seen.reader_is_dropped());
        }
    });
}

#[test]
fn a_pending_poll_is_answered_when_a_websocket_takes_over() {
    let runtime = runtime();
    let _entered = runtime.enter();
    for is_proved in [true, false] {
        explore(1, |tasks| {
            let polled = Polled::start(tasks);
            polled.add_polls(tasks);
            polled.add_websocket(tasks, is_proved);
            polled.add(tasks, |polled| {
                send(&polled.connection, "a");
                true
            });
            move || {
                // The driver.
                polled.assert_unfinished(1);
                let mut arrived = [&**polled.polled.lock(), &*polled.pipe.sent()].concat();
                arrived.sort();
                assert_eq!(arrived, ["a", "c"]);
            }
        });
    }
}

#[test]
fn a_post_that_waits_for_its_body_sees_the_upgrade_and_the_end() {
    let runtime = runtime();
    let _entered = runtime.enter();
    explore(2, |tasks| {
        let polled = Polled::start(tasks);
        polled.add_post_of(tasks, Silence);
        polled.add(tasks, |polled| {
            polled.connection.abort(CAUSE);
            true
        });
        move || polled.assert_ended()
    });
    explore(1, |tasks| {
        let polled = Polled::start(tasks);
        polled.add_post_of(tasks, Silence);
        polled.add_websocket(tasks, true);
        move || {
            // The driver.
            polled.assert_unfinished(1);
            assert_eq!(polled.pipe.sent(), ["c"]);
        }
    });
}

/// Another event may wake the task that waits for the reader.
#[test]
fn the_reader_slot_wakes_the_task_that_waits_for_the_reader() {
    let runtime = runtime();
    let _entered = runtime.enter();
    for (has_end, preemptions) in [(false, ALL), (true, 3)] {
        explore(preemptions, |tasks| {
            let (connection, seen) = open(Transport::Polling);
            let held = run(poll_fn(|cx| connection.poll_take_reader(cx))).flatten();
            let reader = held.expect("a new session has its reader");
            let holding = connection.clone();
            tasks.add(move || holding.put_reader(reader));
            let (waiting, taken) = (connection.clone(), Arc::new(Mutex::new(None)));
            let take = taken.clone();
            tasks.add(move || *take.lock() = run(poll_fn(|cx| waiting.poll_take_reader(cx))));
            if has_end {
                let ending = connection.clone();
                tasks.add(move || {
                    ending.abort(CAUSE);
                    ending.finish();
                });
            }
            move || {
                let reader = taken.lock().take().expect("the task sleeps");
                assert!(has_end || reader.is_some());
                assert_eq!(seen.reader_is_dropped(), reader.is_none());
                // The next one is told of the end.
                if let Some(reader) = reader {
                    connection.put_reader(reader);
                }
                assert_eq!(seen.reader_is_dropped(), has_end);
            }
        });
    }
}

#[test]
fn a_session_that_ends_while_it_is_upgraded_ends_once() {
    let runtime = runtime();
    let _entered = runtime.enter();
    explore(1, |tasks| {
        let polled = Polled::start(tasks);
        polled.add_post(tasks);
        polled.add_websocket(tasks, true);
        polled.add(tasks, |polled| {
            polled.connection.abort(CAUSE);
            true
        });
        move || polled.assert_ended()
    });
}
