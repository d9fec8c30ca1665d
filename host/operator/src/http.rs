//! Health and metrics of the operator, over plain HTTP. Nothing here changes anything.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use crate::Context;

/// Serves until told to stop.
///
/// # Errors
/// The address could not be listened on.
pub async fn serve(listen: SocketAddr, context: Arc<Context>, stop: CancellationToken) -> anyhow::Result<()> {
    let app = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(context);
    let listener = tokio::net::TcpListener::bind(listen).await?;
    axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await?;
    Ok(())
}

/// Ready once the caches are filled: a standby is as ready as the leader.
async fn ready(State(context): State<Arc<Context>>) -> impl IntoResponse {
    let filled = tokio::time::timeout(std::time::Duration::from_millis(100), context.cache.ready()).await.is_ok();
    if filled { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "the caches are being filled\n") }
}

async fn metrics(State(context): State<Arc<Context>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], context.metrics.text(*context.leads.borrow()))
}
