//! The server, in a separate process. It prints its address to its standard output, and exits when its standard input is
//! closed.
//!
//! It uses only API that the first version of the crate has, so that older versions can be measured with it.

use std::{io::Read, time::Duration};

use bytes::Bytes;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    runtime::Handle,
};
use tower_socketio::{
    Ack, Args, Namespace, RecoveryConfig, SocketIo, SocketIoConfig, SocketIoService, SocketRef, extract::Data,
};

/// How long the handler of `wait` takes.
const WAITING: Duration = Duration::from_secs(20);

pub fn run(arguments: &[String]) {
    std::thread::spawn(|| {
        std::io::stdin().read_to_end(&mut Vec::new()).ok();
        // This ends the process while its runtime is running.
        #[allow(clippy::exit)]
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(serve(arguments));
}

async fn serve(arguments: &[String]) {
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let mut config = SocketIoConfig::new();
    if has("eio3") {
        config = config.allow_eio3(true);
    }
    #[cfg(feature = "msgpack")]
    if has("msgpack") {
        config = config.parser(tower_socketio::parser::MsgpackParser);
    }
    if has("soak") {
        config = config.allow_eio3(true).recovery(RecoveryConfig::new().max_disconnection(Duration::from_secs(20)));
        config = config.ping_interval(Duration::from_secs(1)).ping_timeout(Duration::from_secs(2));
        config = crate::soaked::namespaces(config);
    } else {
        config = attacked(config);
    }
    let service = SocketIoService::new(config);
    let (listener, control) = (listen().await, listen().await);
    println!("{} {}", listener.local_addr().unwrap(), control.local_addr().unwrap());
    tokio::spawn(tell(control, service.io()));
    if has("soak") {
        tokio::spawn(crate::soaked::speak(service.io()));
    }
    service.serve(listener).await.unwrap();
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Answers commands, one per line, on each connection.
async fn tell(listener: TcpListener, io: SocketIo) {
    loop {
        let (connection, _) = listener.accept().await.unwrap();
        let mut connection = BufReader::new(connection);
        let mut question = String::new();
        connection.read_line(&mut question).await.ok();
        let answer = match question.trim_end() {
            "account" => crate::soaked::account(),
            "sockets" => io.sockets().len().into(),
            "begin" => {
                crate::soaked::begin();
                Value::Null
            }
            "end" => {
                crate::soaked::end();
                Value::Null
            }
            _ => figures(&io),
        };
        connection.write_all(answer.to_string().as_bytes()).await.ok();
    }
}

fn figures(io: &SocketIo) -> Value {
    let (stats, namespaces) = (io.stats(), io.namespaces());
    let rooms: usize = namespaces.iter().map(|namespace| namespace.rooms().len()).sum();
    serde_json::json!({
        "connections": stats.connections,
        "sockets": stats.sockets,
        "panics": stats.panics,
        "slow_clients": stats.slow_clients,
        "namespaces": namespaces.len(),
        "rooms": rooms,
        "tasks": Handle::current().metrics().num_alive_tasks(),
    })
}

/// The handlers for the attacks: some like those of any server, and some that do what the attacker asks for.
fn attacked(config: SocketIoConfig) -> SocketIoConfig {
    let mut config = config.namespace("/", namespace()).namespace("/dynamic/{name}", Namespace::new());
    for number in 0..40 {
        config = config.namespace(&format!("/{number}"), Namespace::new());
    }
    config
}

fn namespace() -> Namespace {
    Namespace::new()
        .on("echo", |Data(arguments): Data<Args>| async move { Ack(arguments) })
        .on("reflect", |socket: SocketRef, Data(arguments): Data<Args>| async move {
            socket.emit("reflected", &arguments).ok();
        })
        .on("wait", |Data(arguments): Data<Args>| async move {
            tokio::time::sleep(WAITING).await;
            drop(arguments);
        })
        .on("join", |socket: SocketRef, Data(room): Data<String>| async move {
            socket.join(room);
            Ack(())
        })
        .on("broadcast", |io: SocketIo, Data((room, bytes)): Data<(String, usize)>| async move {
            io.to(room).emit("said", &Bytes::from(vec![0; bytes.min(1 << 20)])).ok();
        })
        .on("burst", |socket: SocketRef, Data((count, bytes)): Data<(u32, usize)>| async move {
            let text = "x".repeat(bytes);
            for _ in 0..count {
                socket.emit("n", &text).ok();
            }
        })
        .with_state(())
}
