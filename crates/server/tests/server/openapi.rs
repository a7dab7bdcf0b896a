//! The document of the REST APIs, as the server serves it, held against what the server does.

use crate::common;

use crate::common::Server;
use serde_json::Value;

const ID: &str = "00000000-0000-4000-8000-000000000000";
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

#[test]
fn every_path_takes_the_documented_methods_and_no_other() {
    let server = Server::guarded("a-master-key-of-this-test");
    let document = server.get("/openapi.json").json();
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() > 25, "{paths:?}");
    for (path, operations) in paths {
        let concrete: Vec<&str> = path.split('/').map(|part| if part.starts_with('{') { ID } else { part }).collect();
        for method in METHODS {
            let answer = server.call(&method.to_uppercase(), &concrete.join("/"), &[], b"");
            let Some(operation) = operations.get(method) else {
                assert_eq!(answer.status, 405, "{method} {path} is not documented: {}", answer.text());
                continue;
            };
            // Nobody shows a key here.
            let is_open = operation["security"].as_array().expect("who may").is_empty();
            let expected = if is_open {
                200
            } else if path.starts_with("/ingest/") {
                404
            } else {
                401
            };
            assert_eq!(answer.status, expected, "{method} {path}: {}", answer.text());
            assert_ne!(operation["responses"][expected.to_string()], Value::Null, "{method} {path}");
        }
    }
}

#[test]
fn the_command_and_the_server_give_the_same_document() {
    let server = Server::dev(&[]);
    let served = server.get("/openapi.json");
    let (status, printed, talk) = common::run(&["openapi"], server.directory.path(), &[]);
    assert!(status.success() && talk.is_empty(), "{talk}");
    assert_eq!((served.status, served.header("content-type"), served.text()), (200, Some("application/json"), printed));
    assert!(served.header("x-request-id").is_none() && served.header("cache-control") == Some("no-cache"));
    let tag = served.header("etag").expect("a tag").to_owned();
    let again = server.call("GET", "/openapi.json", &[("if-none-match", &tag)], b"");
    assert_eq!((again.status, again.header("etag"), again.body.len()), (304, Some(&*tag), 0));
    assert_eq!(server.call("GET", "/openapi.json", &[("if-none-match", "\"other\"")], b"").status, 200);
}
