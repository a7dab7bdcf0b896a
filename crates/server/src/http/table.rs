//! Routes with their handlers, and the list of them: what answers is what is listed, so that the OpenAPI document can be held against it.

use super::App;
use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, on};
use http::Method;
use std::sync::Arc;

/// A method and a path, with `{name}` where an id goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: &'static str,
}

/// The routes of an API. `HEAD` comes with every `GET`.
#[derive(Debug, Default)]
pub struct Table {
    router: Router<Arc<App>>,
    routes: Vec<Route>,
}

impl Table {
    /// `GET`.
    pub fn get<T: 'static>(self, path: &'static str, handler: impl Handler<T, Arc<App>>) -> Self {
        self.route(Method::GET, MethodFilter::GET, path, handler)
    }

    /// `POST`.
    pub fn post<T: 'static>(self, path: &'static str, handler: impl Handler<T, Arc<App>>) -> Self {
        self.route(Method::POST, MethodFilter::POST, path, handler)
    }

    /// `PUT`.
    pub fn put<T: 'static>(self, path: &'static str, handler: impl Handler<T, Arc<App>>) -> Self {
        self.route(Method::PUT, MethodFilter::PUT, path, handler)
    }

    /// `DELETE`.
    pub fn delete<T: 'static>(self, path: &'static str, handler: impl Handler<T, Arc<App>>) -> Self {
        self.route(Method::DELETE, MethodFilter::DELETE, path, handler)
    }

    fn route<T: 'static>(mut self, method: Method, filter: MethodFilter, path: &'static str, handler: impl Handler<T, Arc<App>>) -> Self {
        self.router = self.router.route(path, on(filter, handler));
        self.routes.push(Route { method, path });
        self
    }

    /// A page for people, which no client calls: it is not listed.
    pub fn page<T: 'static>(mut self, path: &'static str, handler: impl Handler<T, Arc<App>>) -> Self {
        self.router = self.router.route(path, on(MethodFilter::GET, handler));
        self
    }

    /// What is listed.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// What answers.
    pub fn into_router(self) -> Router<Arc<App>> {
        self.router
    }
}
