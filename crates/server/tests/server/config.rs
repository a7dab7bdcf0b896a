//! Where settings come from, and what is refused.

use crate::common;

use crate::common::{Server, run};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

fn shown(directory: &Path, flags: &[&str], environment: &[(&str, &str)]) -> toml::Table {
    let arguments: Vec<&str> = ["serve", "--check-config"].iter().chain(flags).copied().collect();
    let (status, out, talk) = run(&arguments, directory, environment);
    assert!(status.success(), "{talk}");
    out.parse().unwrap_or_else(|e| panic!("{e}: {out}"))
}

fn refused(directory: &Path, flags: &[&str], environment: &[(&str, &str)]) -> String {
    let arguments: Vec<&str> = std::iter::once("serve").chain(flags.iter().copied()).collect();
    let (status, out, talk) = run(&arguments, directory, environment);
    assert!(!status.success() && out.is_empty(), "{out}");
    talk
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    let listen = |flags: &[&str], environment: &[(&str, &str)]| shown(at, flags, environment)["listen"].as_str().expect("text").to_owned();
    assert_eq!(listen(&[], &[]), "127.0.0.1:8080");
    // 72 hours, as the Tasks contract says of logs.
    let defaults = shown(at, &[], &[]);
    assert_eq!((defaults["retention"]["logs"].as_str(), defaults["retention"]["events"].as_str()), (Some("3d"), Some("30d")));
    assert_eq!((defaults["retention"]["bodies"].as_str(), defaults.get("max_store_bytes")), (Some("30d"), None));
    std::fs::write(at.join("postrider.toml"), "listen = '127.0.0.1:1001'\n[retention]\nlogs = '2h'\n").expect("a file");
    assert_eq!(listen(&[], &[]), "127.0.0.1:1001");
    let environment = [("POSTRIDER_LISTEN", "127.0.0.1:1002"), ("POSTRIDER_ALLOW_NETWORKS", "10.0.0.0/8,fd00::/8")];
    assert_eq!(listen(&[], &environment), "127.0.0.1:1002");
    assert_eq!(listen(&["--listen", "127.0.0.1:1003"], &environment), "127.0.0.1:1003");
    let all = shown(at, &[], &environment);
    assert_eq!(all["retention"]["logs"].as_str(), Some("2h"));
    assert_eq!(all["retention"]["events"].as_str(), Some("30d"));
    assert_eq!(all["retention"].get("rows"), None, "items are kept");
    assert_eq!(shown(at, &["--retain-rows", "90d"], &[])["retention"]["rows"].as_str(), Some("90d"));
    let bounded = [("POSTRIDER_MAX_STORE_BYTES", "1073741824"), ("POSTRIDER_RETAIN_BODIES", "12h")];
    let bounded = shown(at, &[], &bounded);
    assert_eq!((bounded["max_store_bytes"].as_str(), bounded["retention"]["bodies"].as_str()), (Some("1GiB"), Some("12h")));
    assert_eq!(all.get("grpc_listen"), None);
    let grpc = shown(at, &[], &[("POSTRIDER_GRPC_LISTEN", "127.0.0.1:50051")]);
    assert_eq!(grpc["grpc_listen"].as_str(), Some("127.0.0.1:50051"));
    let networks: Vec<_> = all["allow_networks"].as_array().expect("a list").iter().filter_map(|n| n.as_str()).collect();
    assert_eq!(networks, ["10.0.0.0/8", "fd00::/8"]);
    // What is shown is itself a file that says the same.
    let copy = at.join("copy.toml");
    std::fs::write(&copy, all.to_string()).expect("a file");
    assert_eq!(shown(at, &["--config", copy.to_str().expect("a path")], &[]), all);
}

#[test]
fn secrets_are_masked() {
    let directory = tempfile::tempdir().expect("a directory");
    let url = "postgres://u:super-secret@db.example/d?sslmode=require";
    let keys = "ab".repeat(32);
    let environment =
        [("POSTRIDER_BOOTSTRAP_KEY", "super-secret-bootstrap"), ("POSTRIDER_SECRETS_KEY", &keys), ("POSTRIDER_DATABASE_URL", url)];
    let (status, out, _) = run(&["serve", "--check-config"], directory.path(), &environment);
    assert!(status.success() && out.contains("POSTRIDER_BOOTSTRAP_KEY = ********"), "{out}");
    assert!(!out.contains("super-secret") && !out.contains("abab"), "{out}");
    assert!(out.contains("database_url = \"postgres://u:********@db.example/d?sslmode=require\""), "{out}");
    for (url, shown) in [
        ("postgres://127.0.0.1:1/d?user=u&password=super-secret", "postgres://127.0.0.1:1/d?user=u&password=********"),
        ("postgres://u@127.0.0.1:1/d?password=super-&secret", "postgres://u@127.0.0.1:1/d?password=********"),
    ] {
        let (_, out, talk) = run(&["serve", "--check-config"], directory.path(), &[environment[1], ("POSTRIDER_DATABASE_URL", url)]);
        assert!(!out.contains("super-") && !talk.contains("super-"), "{out}{talk}");
        assert!(out.is_empty() || out.contains(shown), "{out}");
        let (_, out, talk) = run(&["keys", "list"], directory.path(), &[("POSTRIDER_DATABASE_URL", url)]);
        assert!(!out.contains("super-") && !talk.contains("super-"), "{out}{talk}");
    }
    for command in ["serve", "keys", "doctor"] {
        let (status, help, _) = run(&[command, "--help"], directory.path(), &environment);
        assert!(status.success() && help.contains("POSTRIDER_DATABASE_URL") && !help.contains("super-secret"), "{help}");
    }
}

#[test]
fn what_serve_refuses_is_not_approved() {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, value) in [("POSTRIDER_BOOTSTRAP_KEY", "short"), ("POSTRIDER_SECRETS_KEY", "abcdef")] {
        for flags in [&["--check-config"][..], &[]] {
            let talk = refused(directory.path(), flags, &[(name, value)]);
            assert!(talk.contains(name) && !talk.contains(value), "{flags:?}: {talk}");
        }
    }
    let talk = refused(directory.path(), &["--max-store-bytes", "8MiB"], &[]);
    assert!(talk.contains("max_store_bytes must be between 16MiB"), "{talk}");
    assert!(!directory.path().join("postrider-data").exists(), "a refused start leaves nothing behind");
}

#[test]
fn what_is_not_understood_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    for (flags, words) in [
        (&["--retain-logs", "soon"][..], "not a duration"),
        (&["--max-body", "lots"], "not a size"),
        (&["--allow-network", "10.0.0.0/99"], "not a network"),
        (&["--tasks-max-attempts", "0"], "between 1 and 100"),
        (&["--items-jitter", "0.6"], "between 0 and 0.5"),
        (&["--items-jitter", "10%"], "not a share"),
        (&["--retain-events", "1h"], "at least as long as its logs"),
        (&["--log", "=!"], "not a log filter"),
        (&["--dev", "--listen", "0.0.0.0:0"], "loopback"),
        (&["--listen", "0.0.0.0:0"], "keys create"),
        (&["--dev", "--grpc-listen", "0.0.0.0:0"], "loopback"),
        (&["--grpc-listen", "0.0.0.0:0"], "keys create"),
        (&["--config", "missing.toml"], "missing.toml"),
        (&["--databse-url", "postgres://x"], "--databse-url"),
        (&["--database-url", "postgres://u:s3cret@x/d"], "POSTRIDER_SECRETS_KEY"),
        (&["--database-url", "mysql://u:s3cret@x/d"], "does not begin with postgres://"),
        (&["--database-url", "postgres://u:s3cret@x/d?sslmode=no"], "sslmode is one of"),
        (&["--database-url", "postgres://x/d?user=u&password=s3@cret"], "written as %40"),
        (&["--database-url", "postgres://u:s3cret@x/d?connect_timeout=3"], "--database-wait"),
        (&["--database-url", "postgres://u:s3cret@x/d?target_session_attrs=any"], "read-write"),
        (&["--database-schema", "x"], "there is no database_url"),
        (&["--database-wait", "5m"], "there is no database_url"),
        (&["--node-address", "10.0.0.1:80"], "node_address"),
    ] {
        let talk = refused(at, flags, &[]);
        assert!(talk.contains(words) && !talk.contains("s3cret"), "{flags:?}: {talk}");
    }
    assert!(refused(at, &[], &[("POSTRIDER_BOOTSTRAP_KEY", "short")]).contains("at least 16"));
    std::fs::write(at.join("postrider.toml"), "[retention]\nlog = '1h'\n").expect("a file");
    let talk = refused(at, &[], &[]);
    assert!(talk.contains("unknown key \"retention.log\"; did you mean \"retention.logs\"?"), "{talk}");
}

#[test]
fn a_misspelt_variable_is_pointed_out() {
    let server = Server::start(tempfile::tempdir().expect("a directory"), &["--dev", "--port-file", "port"], &[("POSTRIDER_LISTN", "x")]);
    let hint = "POSTRIDER_LISTN is no setting; did you mean POSTRIDER_LISTEN?";
    assert!(server.heard.iter().any(|line| line.contains(hint)), "{:#?}", server.heard);
    let port_file = server.directory.path().join("port");
    assert_eq!(std::fs::read_to_string(port_file).expect("the file"), format!("{}\n", server.address));
}

#[test]
fn the_log_can_be_json() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = common::postrider();
    command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--log-format", "json"]).current_dir(directory.path());
    let mut server = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut log = BufReader::new(server.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    let parse = |line: String| -> Value { serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}")) };
    let started = log.by_ref().map(parse).find(|entry| entry["message"] == "started").expect("it starts");
    assert_eq!((&started["level"], &started["dev"]), (&json!("INFO"), &json!(true)));
    assert!(started["address"].as_str().is_some_and(|a| a.starts_with("127.0.0.1:")), "{started}");
    // The development key is a secret: the log gets no more of it than what the list of keys shows.
    assert_eq!(started["dev_key_prefix"].as_str().map(str::len), Some(11), "{started}");
    kill_process(Pid::from_child(&server), Signal::TERM).expect("it is there");
    let rest: Vec<Value> = log.map(parse).collect();
    assert!(rest.iter().any(|entry| entry["message"] == "stopping"), "{rest:#?}");
    assert!(server.wait().expect("it ends").success());
}

#[test]
fn a_port_file_that_cannot_be_written_ends_the_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let flags = ["--dev", "--listen", "127.0.0.1:0", "--data-dir", "data", "--port-file", "missing/port"];
    assert!(refused(directory.path(), &flags, &[]).contains("cannot write missing/port"));
    // Nothing is left half done: the next start finds everything in order.
    let server = Server::start(directory, &["--dev"], &[]);
    assert_eq!(server.get("/subscriptions").status, 200);
}

#[test]
fn two_servers_do_not_share_a_directory() {
    let server = Server::dev(&[]);
    let data = server.data_dir();
    let flags = ["--dev", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().expect("a path")];
    let talk = refused(server.directory.path(), &flags, &[]);
    assert!(talk.contains("another postrider is using"), "{talk}");
}
