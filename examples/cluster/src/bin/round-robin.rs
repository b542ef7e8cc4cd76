//! A load balancer that gives each connection to the next node: `cargo run -p example-cluster --bin round-robin -- ADDRESS NODE NODE..`.

use std::{env, error::Error};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let address = args.next().ok_or("the address is missing")?;
    let nodes: Vec<String> = args.collect();
    if nodes.is_empty() {
        return Err("the addresses of the nodes are missing".into());
    }
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    for node in nodes.iter().cycle() {
        let (mut client, _) = listener.accept().await?;
        let node = node.clone();
        tokio::spawn(async move {
            // A node that is down, or a lost connection, only concerns this client, which tries again.
            if let Ok(mut server) = TcpStream::connect(node).await {
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
    Ok(())
}
