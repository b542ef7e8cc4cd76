//! The files of the JavaScript client.

use hyper::Method;
use tower_socketio::SocketIoConfig;

use crate::support::*;

const SCRIPTS: [&str; 4] = ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"];

async fn fetch(server: &TestServer, file: &str, headers: &[(&str, &str)]) -> Reply {
    send(server.address, Method::GET, &format!("/socket.io/{file}"), headers, "").await
}

#[tokio::test]
async fn every_file_and_its_map_is_served() {
    let server = serve_config(SocketIoConfig::new()).await;
    for script in SCRIPTS {
        let reply = fetch(&server, script, &[]).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/javascript; charset=utf-8"));
        assert_eq!(reply.header("cache-control"), Some("public, max-age=0"));
        assert!(reply.text().contains("engine.io"));
        assert!(reply.text().trim_end().ends_with(&format!("//# sourceMappingURL={script}.map")));
        let reply = fetch(&server, &format!("{script}.map?x=1"), &[]).await;
        if cfg!(not(feature = "client-source-maps")) {
            reply.refused(400, 0, "Transport unknown");
            continue;
        }
        assert_eq!(reply.header("content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(json(reply.text())["version"], 3);
    }
}

#[tokio::test]
async fn a_file_that_the_browser_has_is_not_sent_again() {
    let server = serve_config(SocketIoConfig::new()).await;
    let etag = fetch(&server, "socket.io.js", &[]).await.header("etag").unwrap().to_owned();
    assert!(etag.starts_with('"'));
    for value in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}")] {
        let reply = fetch(&server, "socket.io.js", &[("if-none-match", &value)]).await;
        reply.is(304, "");
    }
    assert_eq!(fetch(&server, "socket.io.js", &[("if-none-match", "\"other\"")]).await.status, 200);
    assert_ne!(fetch(&server, "socket.io.min.js", &[]).await.header("etag").unwrap(), etag);
}

#[tokio::test]
async fn files_are_sent_compressed_or_in_part() {
    let server = serve_config(SocketIoConfig::new()).await;
    let plain = fetch(&server, "socket.io.js", &[]).await;
    assert_eq!(plain.header("content-encoding"), None);
    for (accepted, encoding, magic) in [("gzip", "gzip", &[0x1f, 0x8b][..]), ("br", "br", &[]), ("gzip, br", "br", &[])]
    {
        let reply = fetch(&server, "socket.io.js", &[("accept-encoding", accepted)]).await;
        assert_eq!(reply.header("content-encoding"), Some(encoding));
        assert_eq!(reply.header("content-type"), Some("application/javascript; charset=utf-8"));
        assert!(reply.body.starts_with(magic) && reply.body.len() < plain.body.len() / 2);
    }
    let reply = fetch(&server, "socket.io.js", &[("range", "bytes=2-5")]).await;
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (206, &plain.body[2..6]));
    let head = send(server.address, Method::HEAD, "/socket.io/socket.io.js", &[], "").await;
    head.is(200, "");
    assert_eq!(head.header("content-length"), Some(&*plain.body.len().to_string()));
    post(server.address, "/socket.io/socket.io.js", "").await.refused(405, 2, "Method not allowed");
    fetch(&server, "socket.io.js", &[("range", "bytes=9999999-")]).await.refused(416, 3, "Range Not Satisfiable");
}

#[tokio::test]
async fn other_files_are_not_served() {
    let server = serve_config(SocketIoConfig::new()).await;
    for file in ["", "socket.io.js.gz", "socket.io.esm.js", "../Cargo.toml", "%2e%2e/Cargo.toml", "socket.io.js/"] {
        fetch(&server, file, &[]).await.refused(400, 0, "Transport unknown");
    }
    let server = serve_config(SocketIoConfig::new().serve_client(false)).await;
    fetch(&server, "socket.io.js", &[]).await.refused(400, 0, "Transport unknown");
}

#[cfg(feature = "client-directory")]
#[tokio::test]
async fn files_can_come_from_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("socket.io.js"), "my own engine.io").unwrap();
    std::fs::write(directory.path().join("secret.txt"), "secret").unwrap();
    let server = serve_config(SocketIoConfig::new().client_directory(directory.path())).await;
    fetch(&server, "socket.io.js", &[]).await.is(200, "my own engine.io");
    fetch(&server, "socket.io.min.js", &[]).await.refused(404, 3, "The file is not in the directory");
    fetch(&server, "secret.txt", &[]).await.refused(400, 0, "Transport unknown");
}
