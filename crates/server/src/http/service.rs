//! One connection's requests: the hot path straight to its handler, everything else through the router.

use super::App;
use super::activity::{Activity, InStream};
use crate::tasks::ingest;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::EXPECT;
use http::{Method, Request, Version};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
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
        let (version, expects) = (request.version(), request.headers().contains_key(EXPECT));
        let under_way = self.activity.request(version == Version::HTTP_2);
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
        let app = Arc::clone(&self.app);
        let (parts, body) = request.into_parts();
        let body = Shared(Arc::new(Mutex::new(body)));
        let answer = self.router.clone().call(Request::from_parts(parts, Body::new(body.clone())));
        Box::pin(async move {
            let mut response = answer.await?;
            if response.status().is_client_error() || response.status().is_server_error() {
                response = app.bodies.leave(version, expects, pin!(body), response).await;
            }
            if response.extensions_mut().remove::<GoesOn>().is_some() {
                let stream = under_way.goes_on();
                response = response.map(|body| Body::new(Going { body, _stream: stream }));
            }
            line.end(&response);
            drop(under_way);
            Ok(response)
        })
    }
}

/// Marks an answer, among its extensions, that goes on for as long as its client likes and says something at least once a minute: its connection
/// is not taken for idle in between.
#[derive(Clone, Copy, Debug)]
pub struct GoesOn;

/// The body of such an answer.
struct Going {
    body: Body,
    _stream: InStream,
}

impl http_body::Body for Going {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request's body that can still be looked at when its handler is through with it.
#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<Incoming>>);

impl http_body::Body for Shared {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut *self.0.lock()).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().size_hint()
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
