//! Polling by script elements and forms, in both protocol versions.

use tower_socketio::{Args, Namespace, SocketIoConfig, SocketRef, extract::Data};

use crate::support::*;

async fn server() -> TestServer {
    let namespace = Namespace::new()
        .on("echo", |socket: SocketRef, Data(args): Data<Args>| async move { socket.emit("echo", &args).unwrap() });
    serve_config(SocketIoConfig::new().allow_eio3(true).namespace("/", namespace)).await
}

/// Returns the argument that a script passes to its function.
fn payload(reply: &Reply, index: &str) -> String {
    assert_eq!(reply.header("content-type"), Some("text/javascript; charset=UTF-8"));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    let call = format!("___eio[{index}](");
    let argument = reply.text().strip_prefix(&call).and_then(|rest| rest.strip_suffix(");"));
    serde_json::from_str(argument.unwrap_or_else(|| panic!("no call of {call}: {}", reply.text()))).expect("a string")
}

async fn form(server: &TestServer, target: &str, body: &str) -> Reply {
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    send(server.address, Method::POST, target, &headers, body.to_owned()).await
}

#[tokio::test]
async fn revision_4() {
    let server = server().await;
    let target = "/socket.io/?EIO=4&transport=polling&j=0";
    let open = payload(&get(server.address, target).await, "0");
    let sid = json(open.strip_prefix('0').unwrap())["sid"].as_str().unwrap().to_owned();
    let target = format!("{target}&sid={sid}");
    form(&server, &target, "d=40").await.is(200, "ok");
    assert!(payload(&get(server.address, &target).await, "0").starts_with("40{"));
    // A space, a newline as the client escapes it, two characters that look like one, and line separators.
    form(&server, &target, r#"d=42["echo","a+b%5C%5Cn%E2%80%A8é"]"#).await.is(200, "ok");
    let reply = get(server.address, &target).await;
    assert!(reply.text().contains(r"\u2028") && !reply.text().contains('\u{2028}'));
    assert_eq!(payload(&reply, "0"), "42[\"echo\",\"a b\\n\u{2028}é\"]");
    form(&server, &target, "d=451-[\"echo\",{\"_placeholder\":true,\"num\":0}]\x1ebAQIDBA==").await.is(200, "ok");
    let reply = payload(&get(server.address, &target).await, "0");
    assert_eq!(reply, "451-[\"echo\",{\"_placeholder\":true,\"num\":0}]\x1ebAQIDBA==");
}

#[tokio::test]
async fn revision_3() {
    let server = server().await;
    // The function is the one of the handshake, and its name is reduced to digits.
    let target = "/socket.io/?EIO=3&transport=polling&b64=1&j=1a2";
    let open = payload(&get(server.address, target).await, "12");
    let (_, open) = open.split_once(":0").unwrap();
    let target = format!("/socket.io/?EIO=3&transport=polling&b64=1&j=3&sid={}", json(open)["sid"].as_str().unwrap());
    assert_eq!(payload(&get(server.address, &target).await, "12"), "2:40");
    form(&server, &target, "d=14%3A42%5B%22echo%22%2C%22%C3%A9%22%5D").await.is(200, "ok");
    assert_eq!(payload(&get(server.address, &target).await, "12"), r#"19:42["echo","\u00e9"]"#);
}

#[tokio::test]
async fn a_form_without_its_field_is_an_empty_payload() {
    let server = server().await;
    let target = "/socket.io/?EIO=3&transport=polling&j=0";
    let open = payload(&get(server.address, target).await, "0");
    let target = format!("{target}&sid={}", json(open.split_once(":0").unwrap().1)["sid"].as_str().unwrap());
    for body in ["", "x=1", "d=1:2&d=1:2"] {
        form(&server, &target, body).await.is(200, "ok");
    }
    assert_eq!(payload(&get(server.address, &target).await, "0"), "2:40");
    form(&server, &target, "d=nonsense").await.refused(400, 3, "Bad request");
    server.is_empty().await;
}

#[tokio::test]
async fn the_limit_counts_the_form_as_it_is_sent() {
    let server = serve_config(SocketIoConfig::new().max_payload(100)).await;
    let target = "/socket.io/?EIO=4&transport=polling&j=0";
    let open = payload(&get(server.address, target).await, "0");
    let target = format!("{target}&sid={}", json(&open)["sid"].as_str().unwrap());
    form(&server, &target, &format!("d={}", "%34".repeat(33))).await.refused(413, 3, "The payload exceeds max_payload");
    form(&server, &target, "d=40").await.is(200, "ok");
}

#[tokio::test]
async fn responses_to_script_elements_must_not_be_sniffed() {
    let server = serve_config(SocketIoConfig::new().origins("https://good.example").max_payload(1000)).await;
    let nosniff = |reply: &Reply| assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{reply:?}");
    let target = "/socket.io/?EIO=4&transport=polling&j=0";
    let referer = [("referer", "https://good.example/page")];
    let reply = send(server.address, Method::GET, target, &referer, "").await;
    let sid = json(&payload(&reply, "0"))["sid"].as_str().unwrap().to_owned();
    // With and without the parameter, because the session was opened by a script element.
    for session in [format!("{target}&sid={sid}"), format!("/socket.io/?EIO=4&transport=polling&sid={sid}")] {
        let posted = form(&server, &session, "d=6").await;
        posted.is(200, "ok");
        nosniff(&posted);
    }
    let session = format!("{target}&sid={sid}");
    for (method, target, headers, body, status) in [
        (Method::GET, target, &[][..], "", 403),
        (Method::GET, "/socket.io/?EIO=4&transport=polling&j=0&sid=none", &[], "", 400),
        (Method::GET, "/socket.io/?EIO=5&transport=polling&j=0", &referer, "", 400),
        (Method::GET, "/socket.io/?EIO=4&transport=none&j=0", &[], "", 400),
        (Method::PUT, &session, &[], "", 405),
        (Method::POST, &session, &[], &*"d=4".repeat(1000), 413),
        (Method::POST, &session, &[], "d=nonsense", 400),
    ] {
        let reply = send(server.address, method, target, headers, body.to_owned()).await;
        assert_eq!(reply.status, status, "{target}");
        nosniff(&reply);
    }
    // Other responses do not have the header.
    let reply = get(server.address, "/socket.io/?EIO=4&transport=polling").await;
    assert_eq!((reply.status.as_u16(), reply.header("x-content-type-options")), (200, None));
}
