//! Measures how costs grow with open connections, members of a room, rooms and namespaces. The transport is in memory and clients
//! only count packets, so that the server is measured.
//!
//! Prints Markdown. Each number is the minimum of several repetitions, which are spread over the whole run. Also measures what threads that
//! work at the same time cost each other.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{Sink, Stream};
use http::Request;
use tokio::runtime::Builder;
use tower_socketio::{
    Ack, Namespace, Room, SocketIo, SocketIoConfig, SocketIoLayer, SocketRef, Value,
    engine::{Frame, Packet, TransportError},
    extract::Data,
};

/// The number of setups.
const ROUNDS: usize = 6;

/// The number of times that each operation is timed in each setup.
const REPETITIONS: usize = 8;

const ECHO: &str = r#"0["echo",{"c":1,"n":2,"t":"text"}]"#;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts the packets and the ends of connections that have reached the clients of a server.
#[derive(Default)]
struct Tally {
    arrived: usize,
    wanted: usize,
    waker: Option<Waker>,
}

impl Tally {
    fn count(tally: &Mutex<Self>) {
        let mut tally = lock(tally);
        tally.arrived += 1;
        let waker = if tally.arrived == tally.wanted { tally.waker.take() } else { None };
        drop(tally);
        waker.into_iter().for_each(Waker::wake);
    }
}

#[derive(Default)]
struct Inbox {
    packets: VecDeque<Packet>,
    reader: Option<Waker>,
    hung_up: bool,
}

/// A client.
#[derive(Clone)]
struct Client(Arc<Mutex<Inbox>>);

impl Client {
    fn change(&self, change: impl FnOnce(&mut Inbox)) {
        let mut inbox = lock(&self.0);
        change(&mut inbox);
        let reader = inbox.reader.take();
        drop(inbox);
        reader.into_iter().for_each(Waker::wake);
    }

    fn send(&self, packet: &Packet) {
        self.change(|inbox| inbox.packets.push_back(packet.clone()));
    }

    fn hang_up(&self) {
        self.change(|inbox| inbox.hung_up = true);
    }
}

/// The server's side of a client's connection.
struct Wire {
    inbox: Arc<Mutex<Inbox>>,
    tally: Arc<Mutex<Tally>>,
}

impl Stream for Wire {
    type Item = Result<Packet, TransportError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut inbox = lock(&self.inbox);
        if let Some(packet) = inbox.packets.pop_front() {
            return Poll::Ready(Some(Ok(packet)));
        }
        if inbox.hung_up {
            return Poll::Ready(None);
        }
        inbox.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Sink<Packet> for Wire {
    type Error = TransportError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, packet: Packet) -> Result<(), TransportError> {
        if let Frame::Text(text) = packet.into_frame() {
            assert!(!text.starts_with(b"44"), "the server refuses: {text:?}");
        }
        Tally::count(&self.tally);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        lock(&self.inbox).hung_up = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        Tally::count(&self.tally);
    }
}

struct Server {
    io: SocketIo,
    tally: Arc<Mutex<Tally>>,
}

impl Server {
    /// Returns a server with the namespaces `/`, `/n1`, `/n2` and so on.
    fn new(namespaces: usize) -> Self {
        let namespace = || Namespace::new().on("echo", async |Data(value): Data<Value>| Ack(value));
        // No heartbeats, timeouts or slow clients during the measurement.
        let config = SocketIoConfig::new().ping_interval(Duration::from_secs(3600)).max_buffered_bytes(1 << 30);
        let config = config.max_namespaces(namespaces + 1).namespace("/", namespace());
        let config =
            (1..=namespaces).fold(config, |config, number| config.namespace(&format!("/n{number}"), namespace()));
        Self { io: SocketIoLayer::new(config).io(), tally: Arc::default() }
    }

    /// Runs `cause` and waits until the clients have received what it sends. No packets may be in flight before.
    async fn after(&self, arrivals: usize, cause: impl FnOnce()) {
        *lock(&self.tally) = Tally { wanted: arrivals, ..Tally::default() };
        cause();
        poll_fn(|cx| {
            let mut tally = lock(&self.tally);
            if tally.arrived == tally.wanted {
                return Poll::Ready(());
            }
            tally.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Connects clients to namespaces.
    async fn clients(&self, clients: usize, namespaces: &[String]) -> Vec<Client> {
        let connects: Vec<_> = namespaces.iter().map(|name| packet(&format!("40{}", prefix(name)))).collect();
        let mut opened = Vec::new();
        let open = || opened.extend((0..clients).map(|_| self.open(&connects)));
        self.after(clients * (1 + namespaces.len()), open).await;
        opened
    }

    fn open(&self, connects: &[Packet]) -> Client {
        let request = Request::get("/socket.io/?EIO=4&transport=websocket").body(());
        let (request, ()) = request.expect("the request is well formed").into_parts();
        let inbox = Inbox { packets: connects.iter().cloned().collect(), ..Inbox::default() };
        let client = Client(Arc::new(Mutex::new(inbox)));
        let wire = Wire { inbox: client.0.clone(), tally: self.tally.clone() };
        let io = self.io.clone();
        tokio::spawn(async move { io.accept(request, wire).await });
        client
    }

    /// Returns sockets of the default namespace.
    async fn sockets(&self, sockets: usize) -> Vec<SocketRef> {
        let before = self.io.sockets().len();
        self.clients(sockets, &root()).await;
        self.io.sockets().split_off(before)
    }

    /// Measures an event with an ack.
    async fn echo(&self, client: &Client, namespace: &str) -> f64 {
        let event = packet(&format!("42{}{ECHO}", prefix(namespace)));
        least(2000, async || self.after(1, || client.send(&event)).await).await
    }

    /// Measures a client that connects, joins the default namespace and disconnects.
    async fn connect(&self) -> f64 {
        let root = root();
        let connect = async || {
            let client = self.clients(1, &root).await;
            self.after(1, || client[0].hang_up()).await;
        };
        least(500, connect).await
    }

    /// Measures a broadcast for each member of a room. Rooms of the same size are used in turn.
    async fn broadcast(&self, rooms: &[Room], members: usize) -> f64 {
        let args = serde_json::json!({"c": 1, "n": 2, "t": "text"});
        let emit = |room: &Room| self.io.to(room.clone()).emit("news", &args).expect("the arguments can be encoded");
        let mut turns = rooms.iter().cycle();
        let turn = async || {
            let room = turns.next().expect("a room");
            self.after(members, || emit(room)).await;
        };
        least(40_000 / members, turn).await / members as f64
    }
}

/// Measures a socket that joins and leaves a room.
async fn join_and_leave(socket: &SocketRef, room: &str) -> f64 {
    let turn = async || {
        socket.join(room);
        socket.leave(room);
    };
    least(10_000, turn).await
}

fn root() -> Vec<String> {
    vec!["/".to_owned()]
}

/// Returns a namespace in the form of a packet.
fn prefix(namespace: &str) -> String {
    if namespace == "/" { String::new() } else { format!("{namespace},") }
}

fn packet(text: &str) -> Packet {
    Packet::from_text(Bytes::copy_from_slice(text.as_bytes())).expect("a packet")
}

/// Returns the nanoseconds of one turn, the minimum of several repetitions.
async fn least(turns: usize, mut turn: impl AsyncFnMut()) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..REPETITIONS {
        let begin = Instant::now();
        for _ in 0..turns {
            turn().await;
        }
        least = least.min(begin.elapsed().as_nanos() as f64 / turns as f64);
    }
    least
}

/// The costs of operations for several sizes.
struct Table {
    title: &'static str,
    size: &'static str,
    operations: &'static [&'static str],
    /// Sizes, and the cost of each operation in nanoseconds.
    rows: Vec<(usize, Vec<f64>)>,
}

impl Table {
    fn new(title: &'static str, size: &'static str, operations: &'static [&'static str], sizes: &[usize]) -> Self {
        let rows = sizes.iter().map(|size| (*size, vec![f64::INFINITY; operations.len()])).collect();
        Self { title, size, operations, rows }
    }

    /// Measures every row once more, each on its own runtime.
    fn round(&mut self, mut measure: impl AsyncFnMut(usize) -> Vec<f64>) {
        for (size, costs) in &mut self.rows {
            let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime can be made");
            let measured = runtime.block_on(measure(*size));
            costs.iter_mut().zip(measured).for_each(|(cost, measured)| *cost = cost.min(measured));
        }
    }

    fn print(&self) {
        println!("\n{}\n", self.title);
        let heads: String = self.operations.iter().map(|operation| format!(" {operation} | ratio |")).collect();
        println!("| {} |{heads}", self.size);
        println!("|{}", "--:|".repeat(1 + 2 * self.operations.len()));
        let first = &self.rows[0].1;
        for (size, costs) in &self.rows {
            let cells = costs.iter().zip(first).map(|(cost, first)| format!(" {cost:.0} ns | {:.2} |", cost / first));
            println!("| {} |{}", grouped(*size), cells.collect::<String>());
        }
    }
}

/// Formats `10000` as `10,000`.
fn grouped(number: usize) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1000), number % 1000),
    }
}

/// With other connections that are idle.
async fn connections(open: usize) -> Vec<f64> {
    let server = Server::new(0);
    server.clients(open, &root()).await;
    let client = server.clients(1, &root()).await;
    vec![server.echo(&client[0], "/").await, server.connect().await]
}

/// With members of a room. Also with many such rooms in turn, to separate the number of members from the number of sockets whose
/// memory is touched.
async fn members(members: usize) -> Vec<f64> {
    let server = Server::new(0);
    let sockets = server.sockets(10_001).await;
    let rooms: Vec<_> = (0..10_000 / members).map(|room| Room::from(format!("room {room}"))).collect();
    for (place, socket) in sockets[1..].iter().enumerate() {
        socket.join(rooms[place / members].clone());
    }
    vec![
        server.broadcast(&rooms[..1], members).await,
        server.broadcast(&rooms, members).await,
        join_and_leave(&sockets[0], &rooms[0]).await,
    ]
}

/// Returns a server with a room of a hundred members, a socket without a room, and the members.
async fn hundred() -> (Server, SocketRef, Vec<SocketRef>) {
    let server = Server::new(0);
    let mut sockets = server.sockets(101).await;
    let members = sockets.split_off(1);
    members.iter().for_each(|socket| socket.join("room"));
    (server, sockets.remove(0), members)
}

/// With other rooms that have one member each.
async fn other_rooms(rooms: usize) -> Vec<f64> {
    let (server, outsider, _) = hundred().await;
    let others = server.sockets(100).await;
    (0..rooms).for_each(|room| others[room % others.len()].join(format!("other {room}")));
    let broadcast = server.broadcast(&["room".into()], 100).await;
    vec![broadcast, join_and_leave(&outsider, "room").await, join_and_leave(&outsider, "nobody else's").await]
}

/// With members that are in other rooms.
async fn rooms_each(rooms: usize) -> Vec<f64> {
    let (server, outsider, members) = hundred().await;
    for (place, socket) in members.iter().chain([&outsider]).enumerate() {
        (1..rooms).for_each(|room| socket.join(format!("other {place} {room}")));
    }
    vec![server.broadcast(&["room".into()], 100).await, join_and_leave(&outsider, "room").await]
}

/// With namespaces that one connection has joined, or one connection each.
async fn namespaces(namespaces: usize) -> Vec<f64> {
    let server = Server::new(namespaces);
    let names: Vec<_> = (1..=namespaces).map(|number| format!("/n{number}")).collect();
    let mut own = Vec::new();
    for name in &names {
        own.extend(server.clients(1, std::slice::from_ref(name)).await);
    }
    let everywhere = server.clients(1, &names).await;
    let mut costs = vec![server.echo(own.last().expect("a namespace"), &names[namespaces - 1]).await];
    for name in [&names[0], &names[namespaces - 1]] {
        costs.push(server.echo(&everywhere[0], name).await);
    }
    costs
}

/// The processor time of one thread, in nanoseconds, and how often it has slept. A thread that finds a lock in use for long sleeps.
fn thread_usage() -> (u64, u64) {
    let read =
        |file| std::fs::read_to_string(format!("/proc/thread-self/{file}")).expect("Linux describes its threads");
    let (time, status) = (read("schedstat"), read("status"));
    let number = |text: &str| text.trim().parse::<u64>().expect("a number");
    let sleeps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).expect("a counter");
    (number(time.split(' ').next().expect("a field")), number(sleeps))
}

/// How many operations a thread performs before it sleeps, so that the drivers of the recipients run, and Linux brings its processor time up to
/// date.
const BURST: usize = 1000;

const BURSTS: usize = 50;

/// The numbers of threads that work at the same time.
const THREADS: [usize; 4] = [1, 2, 4, 8];

/// Performs an operation in several threads at the same time. Returns its processor time in nanoseconds, and how often a thread slept in a
/// thousand of them. `operation` takes the number of the thread.
fn together(threads: usize, operation: &(dyn Fn(usize) + Sync)) -> (f64, f64) {
    let barrier = Barrier::new(threads);
    let perform = |number| {
        barrier.wait();
        let (mut time, mut sleeps) = (0, 0);
        for _ in 0..BURSTS {
            let before = thread_usage();
            (0..BURST).for_each(|_| operation(number));
            thread::sleep(Duration::from_millis(1));
            let after = thread_usage();
            time += after.0 - before.0;
            sleeps += (after.1 - before.1).saturating_sub(1);
        }
        (time, sleeps)
    };
    let usage: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|number| scope.spawn(move || perform(number))).collect();
        running.into_iter().map(|thread| thread.join().expect("a thread does not panic")).collect()
    });
    let operations = (threads * BURSTS * BURST) as f64;
    let sum = |pick: fn(&(u64, u64)) -> u64| usage.iter().map(pick).sum::<u64>() as f64;
    (sum(|usage| usage.0) / operations, sum(|usage| usage.1) / operations * 1000.0)
}

/// Measures threads that emit, and that join and leave rooms. Calls `add` with each result, when all clients have what was emitted.
fn workloads(threads: usize, mut add: impl FnMut(&'static str, (f64, f64))) {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("a runtime can be made");
    let server = Server::new(0);
    let sockets = runtime.block_on(server.sockets(threads * 11));
    let own: Vec<_> = (0..threads).map(|thread| format!("own {thread}")).collect();
    for (place, socket) in sockets.iter().enumerate().skip(threads) {
        socket.join(own[place % threads].clone());
        if place % threads == 0 {
            socket.join("one");
        }
    }
    let mut measure = |name, recipients, operation: &(dyn Fn(usize) + Sync)| {
        let mut usage = (0.0, 0.0);
        let emitted = threads * BURSTS * BURST * recipients;
        // Forgets what it took to connect.
        #[cfg(tower_socketio_locks)]
        tower_socketio::take_lock_report();
        runtime.block_on(server.after(emitted, || usage = together(threads, operation)));
        add(name, usage);
    };
    let emit = |room: &str| server.io.to(room.to_owned()).emit("news", &1).expect("a number can be encoded");
    let join = |thread: usize, room: &str| {
        sockets[thread].join(room.to_owned());
        sockets[thread].leave(room);
    };
    measure("emit to one room of 10", 10, &|_| emit("one"));
    measure("emit to rooms of their own", 10, &|thread| emit(&own[thread]));
    measure("join + leave of one room", 0, &|thread| join(thread, "one"));
    measure("join + leave of rooms of their own", 0, &|thread| join(thread, &own[thread]));
}

/// Prints what threads cost each other.
fn contention() {
    println!("\nThreads at the same time: processor time of each operation, and sleeps in a thousand\n");
    #[cfg(tower_socketio_locks)]
    let mut locks = locks::Table::default();
    for threads in THREADS {
        let (mut head, mut row) = ("| threads |".to_owned(), format!("| {threads} |"));
        workloads(threads, |workload, (time, sleeps)| {
            head += &format!(" {workload} |");
            row += &format!(" {} ns, {sleeps:.2} |", grouped(time as usize));
            #[cfg(tower_socketio_locks)]
            locks.add(workload, threads);
        });
        if threads == THREADS[0] {
            println!("{head}\n|--:|--:|--:|--:|--:|");
        }
        println!("{row}");
    }
    #[cfg(tower_socketio_locks)]
    locks.measure_again_and_print();
}

/// What the threads do with the locks of the server: `make locks`.
#[cfg(tower_socketio_locks)]
mod locks {
    use std::{
        collections::BTreeMap,
        time::{Duration, Instant},
    };

    use tower_socketio::{LockUse, take_lock_report};

    use super::{BURST, BURSTS, ROUNDS, THREADS, grouped, workloads};

    /// For each workload and lock, what happened with each number of threads.
    #[derive(Default)]
    pub(super) struct Table(BTreeMap<(&'static str, String), [LockUse; THREADS.len()]>);

    impl Table {
        /// Adds what has happened in one round.
        pub(super) fn add(&mut self, workload: &'static str, threads: usize) {
            let column = THREADS.iter().position(|known| *known == threads).expect("a known number");
            for (lock, lock_use) in take_lock_report() {
                self.0.entry((workload, lock)).or_default()[column].add(&lock_use);
            }
        }

        /// Measures further rounds, because threads rarely find locks in use.
        pub(super) fn measure_again_and_print(mut self) {
            for _ in 1..ROUNDS {
                for threads in THREADS {
                    workloads(threads, |workload, _| self.add(workload, threads));
                }
            }
            self.print();
        }

        /// Prints the locks that are acquired in a tenth of the operations at least.
        fn print(&self) {
            println!("\nLocks: contended acquisitions, and the time held, the mean without the longest hundredth\n");
            let columns = THREADS.map(|threads| format!(" {threads} |")).concat();
            println!("| workload | lock | for each operation |{columns} 99.9 % | longest |");
            println!("|---|---|--:|{}--:|--:|", "--:|".repeat(THREADS.len()));
            let operations = ROUNDS * THREADS.iter().sum::<usize>() * BURSTS * BURST;
            for ((workload, lock), uses) in &self.0 {
                let mut total = LockUse::default();
                uses.iter().for_each(|lock_use| total.add(lock_use));
                let each = total.acquisitions as f64 / operations as f64;
                if each < 0.1 {
                    continue;
                }
                let cell = |used: &LockUse| {
                    let contended = used.contended as f64 / used.acquisitions.max(1) as f64 * 100.0;
                    format!(" {contended:.2} %, {} |", nanos(used.shortest(0.99).0))
                };
                let cells: String = uses.iter().map(cell).collect();
                let (long, longest) = (nanos(total.shortest(0.999).1), nanos(total.longest));
                println!("| {workload} | `{lock}` | {each:.2} |{cells} {long} | {longest} |");
            }
            let mut clock: Vec<_> = (0..100_000).map(|_| Instant::now().elapsed()).collect();
            clock.sort_unstable();
            let mean = clock[..99_000].iter().sum::<Duration>() / 99_000;
            println!("\n{} of each time are for reading the clock.", nanos(mean));
        }
    }

    fn nanos(time: Duration) -> String {
        match time.as_nanos() as usize {
            nanos @ 0..10_000 => format!("{} ns", grouped(nanos)),
            nanos => format!("{} µs", grouped(nanos / 1000)),
        }
    }
}

/// Prints how costs grow.
fn growth() {
    let echo_connect = &["event with ack", "connect + disconnect"];
    let cast_join = &["broadcast, per member", "join + leave"];
    let mut tables = [
        Table::new("Other connections are open, and idle", "open", echo_connect, &[1000, 10_000, 20_000]),
        Table::new(
            "A room has members, of 10,000 connections",
            "members",
            &["broadcast, per member", "to all such rooms in turn", "join + leave"],
            &[10, 100, 1000, 10_000],
        ),
        Table::new(
            "A room has 100 members, and there are other rooms",
            "other rooms",
            &["broadcast, per member", "join + leave", "join + leave of a new room"],
            &[0, 1000, 10_000],
        ),
        Table::new(
            "A room has 100 members, and each of them, and who joins, is in other rooms too",
            "rooms of each",
            cast_join,
            &[1, 10, 100],
        ),
        Table::new(
            "Namespaces are joined",
            "namespaces",
            &["event with ack, of a connection in one", "of one in all, to the first", "to the last"],
            &[1, 10, 100],
        ),
    ];
    for _ in 0..ROUNDS {
        let [open, room, others, each, joined] = &mut tables;
        open.round(connections);
        room.round(members);
        others.round(other_rooms);
        each.round(rooms_each);
        joined.round(namespaces);
    }
    tables.iter().for_each(Table::print);
}

fn main() {
    // Locks that measure would distort it.
    if !cfg!(tower_socketio_locks) {
        growth();
    }
    contention();
}
