//! One connection's requests: the hot path straight to its handler, everything else through the router.

use super::App;
use super::activity::Activity;
use crate::tasks::ingest;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::{Method, Request};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::time::Instant;
use tower_service::Service as _;

/// Answers the requests of one connection.
#[derive(Clone, Debug)]
pub(super) struct Service {
    app: Arc<App>,
    router: Router,
    activity: Arc<Activity>,
}

impl Service {
    pub(super) fn new(app: Arc<App>, router: Router, activity: Arc<Activity>) -> Self {
        Service { app, router, activity }
    }
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let under_way = self.activity.request();
        let line = AccessLine::begin(&request);
        if request.method() == Method::POST && request.uri().path().starts_with(ingest::PREFIX) {
            let app = Arc::clone(&self.app);
            return Box::pin(async move {
                let response = ingest::ingest(&app, request).await;
                line.end(&response);
                drop(under_way);
                Ok(response)
            });
        }
        let answer = self.router.clone().call(request.map(Body::new));
        Box::pin(async move {
            let response = answer.await?;
            line.end(&response);
            drop(under_way);
            Ok(response)
        })
    }
}

/// A line in the log per request, for those who ask for the level debug. The query is left out: it may hold what is nobody's business.
struct AccessLine(Option<(Method, String, Instant)>);

impl AccessLine {
    fn begin(request: &Request<Incoming>) -> Self {
        AccessLine(
            tracing::enabled!(tracing::Level::DEBUG).then(|| (request.method().clone(), request.uri().path().to_owned(), Instant::now())),
        )
    }

    fn end(self, response: &Response) {
        if let Some((method, path, begun)) = self.0 {
            tracing::debug!(%method, path, status = response.status().as_u16(), micros = begun.elapsed().as_micros() as u64, "request");
        }
    }
}
