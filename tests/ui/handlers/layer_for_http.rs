use axum::{
    extract::Request,
    middleware::{Next, from_fn},
    response::Response,
};
use tower_socketio::Namespace;

async fn log(request: Request, next: Next) -> Response {
    next.run(request).await
}

fn main() {
    let _ = Namespace::<()>::new().event_layer(from_fn(log));
}
