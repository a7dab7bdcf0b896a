//! Nodes that share a database: what they must have in common, what each has of its own, and what a start does where the database is away.

use crate::common::{Nobody, PATIENCE, Receiver, Server, postrider, run};
use crate::database::{Database, PASSWORD};
use crate::gate::Gate;
use crate::proxy::{Cut, Proxy};
use crate::{MASTER, SECRETS, command, directory, start};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;
use tokio::time::Instant;

/// Host and port of the database's server.
fn place(database: &Database) -> &str {
    let (_, place) = database.url.rsplit_once('@').expect("a URL with a user");
    place.split_once('/').expect("a URL with a database").0
}

/// The database's URL by another way to it.
fn by(database: &Database, address: &str) -> String {
    database.url.replace(&format!("@{}/", place(database)), &format!("@{address}/"))
}

/// Waits until the database says so.
fn until(database: &Database, sql: &str, wanted: impl Fn(i64) -> bool) {
    let begun = Instant::now();
    while !wanted(database.number(sql)) {
        assert!(begun.elapsed() < PATIENCE, "{sql} stays {}", database.number(sql));
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Keeps everybody from changing the configuration while `work` is done, which ends once the number that the database answers is at least this.
fn while_nobody_changes_anything<T>(database: &Database, (sql, least): (&str, i64), work: impl FnOnce() -> T + Send) -> T
where
    T: Send,
{
    let (locked, is_locked) = mpsc::channel();
    let (release, is_released) = mpsc::channel::<()>();
    let url = database.url.clone();
    std::thread::scope(|threads| {
        threads.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("PostgreSQL answers");
                tokio::spawn(connection);
                let lock = "BEGIN; SELECT value FROM postrider.meta WHERE key = 'config_version' FOR UPDATE";
                client.batch_execute(lock).await.expect("the lock");
                locked.send(()).expect("the test waits");
                // Nothing else is to be done on this thread.
                let _ = is_released.recv();
                client.batch_execute("COMMIT").await.expect("an end");
            });
        });
        is_locked.recv_timeout(PATIENCE).expect("it is locked");
        let working = threads.spawn(work);
        until(database, sql, |count| count >= least);
        drop(release);
        working.join().expect("it ends well")
    })
}

const BOOTSTRAP_KEYS: &str = "SELECT count(*) FROM postrider.config WHERE kind = 2 AND doc::json ->> 'name' = 'bootstrap' \
     AND doc::json ->> 'revoked_at' IS NULL";

#[test]
fn two_nodes_that_start_at_once_install_one_bootstrap_key() {
    let (database, place) = (Database::new(), directory());
    assert!(command(&database, place.path(), &["migrate"], &[]).0);
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let [one, two] = while_nobody_changes_anything(&database, (waiting, 2), || {
        std::thread::scope(|threads| {
            let starting = [(); 2].map(|()| threads.spawn(|| start(&database, directory(), &[])));
            starting.map(|thread| thread.join().expect("it starts"))
        })
    });
    assert_eq!(database.number(BOOTSTRAP_KEYS), 1);
    for server in [&one, &two] {
        assert_eq!(server.call("GET", "/v1/nodes", &[("x-api-key", MASTER)], b"").status, 200);
    }
}

#[test]
fn bootstrap_keys_are_changed_node_by_node() {
    const NEWER: &str = "the-newer-key-of-this-test";
    let database = Database::new();
    let with = |keys: &str| {
        let environment =
            [("POSTRIDER_DATABASE_URL", database.url.as_str()), ("POSTRIDER_SECRETS_KEY", SECRETS), ("POSTRIDER_BOOTSTRAP_KEY", keys)];
        Server::start(directory(), &[], &environment)
    };
    let status = |server: &Server, key: &str| server.call("GET", "/v1/nodes", &[("x-api-key", key)], b"").status;
    let old = with(MASTER);
    let both = with(&format!("{NEWER},{MASTER}"));
    assert_eq!([MASTER, NEWER].map(|key| status(&both, key)), [200, 200]);
    assert!(old.stop().0.success());
    let old = with(MASTER);
    assert_eq!([MASTER, NEWER].map(|key| status(&old, key)), [200, 200]);
    let new = with(NEWER);
    assert_eq!([MASTER, NEWER].map(|key| status(&new, key)), [401, 200]);
    // One that still has the setting of before starts, says so, and changes nothing.
    assert!(old.stop().0.success());
    let old = with(MASTER);
    assert!(old.heard.iter().any(|line| line.contains("was replaced by a newer one before")), "{:#?}", old.heard);
    assert_eq!([MASTER, NEWER].map(|key| status(&old, key)), [401, 200]);
}

#[test]
fn each_node_in_development_mode_has_a_key_of_its_own() {
    let database = Database::new();
    let (one, two) = (start(&database, directory(), &["--dev"]), start(&database, directory(), &["--dev"]));
    let works = |server: &Server, key: &str| server.call("GET", "/subscriptions", &[("x-api-key", key)], b"").status == 200;
    let [first, second] = [&one, &two].map(|server| server.dev_key.clone().expect("a key"));
    assert!(works(&one, &first) && works(&one, &second) && works(&two, &first) && works(&two, &second));
    assert!(one.stop().0.success());
    let begun = Instant::now();
    while works(&two, &first) {
        assert!(begun.elapsed() < PATIENCE, "the key of a node goes on when that has stopped");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert!(works(&two, &second));
    let three = start(&database, directory(), &["--dev"]);
    let third = three.dev_key.clone().expect("a key");
    drop(three.crash());
    until(&database, "SELECT count(*) FROM postrider.nodes WHERE ended_at IS NULL", |alive| alive == 1);
    assert!(works(&two, &third), "nobody was there to end it");
    let four = start(&database, directory(), &["--dev"]);
    assert!(!works(&four, &third) && works(&four, &second), "the next start ends it");
}

/// A proxy in front of them sends each request to another one.
#[test]
fn what_was_configured_through_one_node_is_there_on_the_other_at_once() {
    let database = Database::new();
    let (one, two) = (start(&database, directory(), &["--dev"]), start(&database, directory(), &["--dev"]));
    for n in 0..50 {
        let (here, there) = if n % 2 == 0 { (&one, &two) } else { (&two, &one) };
        let id = here.subscribe_to(&format!("http://127.0.0.1:9/{n}"));
        let path = format!("/subscriptions/{id}");
        let shown = there.get(&path);
        assert_eq!(shown.status, 200, "{n}: {}", shown.text());
        assert!(there.get("/subscriptions").text().contains(&id), "{n}");
        let moved = format!("http://127.0.0.1:9/moved/{n}");
        let put = there.send_json("PUT", &path, &json!({ "target_url": moved }));
        assert_eq!(put.status, 204, "{n}: {}", put.text());
        assert_eq!(here.get(&path).json()["target_url"], moved.as_str(), "{n}");
        assert!(here.delete(&path).status < 300, "{n}");
        assert_eq!(there.get(&path).status, 404, "{n}");
    }
    // Who publishes is told nothing wrong either: what was made a moment ago is there.
    for (here, there) in [(&one, &two), (&two, &one)].repeat(5) {
        let id = here.subscribe_to("http://127.0.0.1:9/");
        let accepted = there.send_json("POST", &format!("/ingest/{id}?event_type=a.b"), &json!({}));
        assert_eq!(accepted.status, 202, "{}", accepted.text());
    }
    // The Items API shows the same, behind its gate.
    let [mine, theirs] = [&one, &two].map(crate::common::items::Api::of);
    for n in 0..25 {
        let id = mine.make("destinations", &crate::common::items::destination(&format!("http://127.0.0.1:9/{n}")));
        assert_eq!(theirs.get(&format!("/v1/delivery/destinations/{id}")).status, 200, "{n}");
        theirs.make("bindings", &crate::common::items::binding(&id, "a.b", json!({})));
    }
}

#[test]
fn nodes_with_other_keys_of_secrets_do_not_start() {
    let (database, here) = (Database::new(), directory());
    let server = start(&database, directory(), &["--dev"]);
    let strange = SECRETS.replace("ab", "cd");
    let refused = |keys: &[(&str, &str)], flags: &[&str]| {
        let flags = [&["serve", "--listen", "127.0.0.1:0", "--database-url", database.url.as_str()][..], flags].concat();
        let (status, _, talk) = run(&flags, here.path(), keys);
        assert_eq!(status.code(), Some(1), "{talk}");
        assert!(talk.contains("POSTRIDER_SECRETS_KEY must be the same on all of them") && !talk.contains("cdcd"), "{talk}");
        talk
    };
    refused(&[("POSTRIDER_SECRETS_KEY", &strange)], &[]);
    // The development mode would take a key of its own. It makes none that the others could not read; of one that is there it says where it lies.
    refused(&[], &["--dev"]);
    let file = here.path().join("postrider-data/secrets.key");
    assert!(!file.exists(), "the next start would find it");
    std::fs::create_dir_all(here.path().join("postrider-data")).expect("a directory");
    std::fs::write(&file, format!("{strange}\n")).expect("a file");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("chmod");
    assert!(refused(&[], &["--dev"]).contains("come from ./postrider-data/secrets.key"));
    std::fs::remove_file(&file).expect("it goes");
    let (done, _, talk) = command(&database, here.path(), &["secrets", "rotate"], &[("POSTRIDER_SECRETS_KEY", &strange)]);
    assert!(!done && talk.contains("must be the same on all of them") && talk.contains("--key-lost"), "{talk}");
    // Who has both may come, before and after the rotation.
    let both = format!("k2={},{SECRETS}", "cd".repeat(32));
    let other = [("POSTRIDER_DATABASE_URL", database.url.as_str()), ("POSTRIDER_SECRETS_KEY", both.as_str())];
    let second = Server::start(directory(), &[], &other);
    assert!(command(&database, here.path(), &["secrets", "rotate"], &other[1..]).0);
    assert!(second.stop().0.success() && server.stop().0.success());
    refused(&[("POSTRIDER_SECRETS_KEY", SECRETS)], &[]);
    let new = format!("k2={}", "cd".repeat(32));
    let (done, _, talk) = command(&database, here.path(), &["secrets", "rotate", "--key-lost"], &[("POSTRIDER_SECRETS_KEY", &strange)]);
    assert!(done, "{talk}");
    refused(&[("POSTRIDER_SECRETS_KEY", &new)], &[]);
}

#[test]
fn a_key_file_that_lies_here_by_chance_is_not_the_servers() {
    let (database, here) = (Database::new(), directory());
    let server = start(&database, directory(), &["--dev"]);
    let mut body = crate::common::items::destination("http://127.0.0.1:9/");
    body["signing_secret"] = json!("s3cret-of-signing");
    crate::common::items::Api::of(&server).make("destinations", &body);
    let file = here.path().join("postrider-data/secrets.key");
    std::fs::create_dir(here.path().join("postrider-data")).expect("a directory");
    std::fs::write(&file, format!("k1={}\n", "cd".repeat(32))).expect("a file");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("chmod");
    let before = database.text("SELECT doc FROM postrider.config WHERE kind = 0");
    for (flags, words) in [(&[][..], "POSTRIDER_SECRETS_KEY, and there are none"), (&["--dev"], "must be the same on all of them")] {
        let (done, _, talk) = command(&database, here.path(), &[&["secrets", "rotate"][..], flags].concat(), &[]);
        assert!(!done && talk.contains(words), "{talk}");
    }
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), format!("k1={}\n", "cd".repeat(32)));
    assert_eq!(database.text("SELECT doc FROM postrider.config WHERE kind = 0"), before);
    let (done, out, talk) = command(&database, here.path(), &["secrets", "list"], &[]);
    assert!(done && out.contains("1  not known: give the servers' POSTRIDER_SECRETS_KEY"), "{out}{talk}");
    let (_, out, _) = command(&database, here.path(), &["doctor"], &[]);
    let wrong = |line: &str| line.starts_with("WRONG") && line.contains(" secrets ") && line.contains("there is no key");
    assert!(out.lines().any(wrong), "{out}");
    let (done, _, talk) = command(&database, here.path(), &["keys", "list", "--data-dir", "postrider-data"], &[]);
    assert!(!done && talk.contains("--data-dir postrider-data has no say where a database is set"), "{talk}");
}

#[test]
fn a_node_that_runs_takes_over_what_a_dead_one_had() {
    const ENDPOINTS: usize = 24;
    let (database, receiver) = (Database::new(), Receiver::answering(200));
    let (one, two) = (start(&database, directory(), &["--dev"]), start(&database, directory(), &["--dev"]));
    let ids: Vec<String> = (0..ENDPOINTS).map(|n| two.subscribe_to(&format!("{}/{n}", receiver.url))).collect();
    // Both have a share of them.
    until(&database, "SELECT count(*) FROM (SELECT FROM postrider.slots WHERE owner <> 0 GROUP BY owner HAVING count(*) > 64) AS s", |n| {
        n == 2
    });
    one.value_when("/subscriptions", |listed| listed.to_string().matches("/hook/").count() >= ENDPOINTS);
    let mut tasks: Vec<String> = ids.iter().map(|id| one.accepted(id, b"{}")).collect();
    let died = Instant::now();
    one.crash();
    tasks.extend(ids.iter().map(|id| two.accepted(id, b"{}")));
    // What counts is when the other one had everything, and not how soon a busy machine shows all that came of it.
    let taken = "SELECT count(*) FROM postrider.slots s JOIN postrider.nodes n ON n.incarnation = s.owner WHERE n.ended_at IS NULL";
    until(&database, taken, |slots| slots == 256);
    assert!(died.elapsed() < Duration::from_secs(6), "it took {:?}", died.elapsed());
    for task in &tasks {
        two.task_with_status(task, "delivered");
    }
}

/// It has joined, and cannot store its keys for longer than a verb tries: that is tried again, as a database that is away is.
#[test]
fn a_start_that_loses_the_database_on_the_way_is_tried_again() {
    let (database, place) = (Database::new(), directory());
    assert!(command(&database, place.path(), &["migrate"], &[]).0);
    let joined = ("SELECT count(*) FROM postrider.nodes", 2);
    let server = while_nobody_changes_anything(&database, joined, || start(&database, directory(), &[]));
    let said: Vec<&String> = server.heard.iter().filter(|line| line.contains("the database is waited for")).collect();
    assert!(said.len() == 1 && !said[0].contains(PASSWORD), "{:#?}", server.heard);
    assert_eq!(server.call("GET", "/v1/nodes", &[("x-api-key", MASTER)], b"").status, 200);
    assert_eq!(database.number("SELECT count(*) FROM postrider.nodes WHERE ended_at IS NULL"), 1, "what failed has left");
}

#[test]
fn a_start_waits_for_a_database_that_is_away() {
    let database = Database::new();
    let gate = Gate::closed(place(&database));
    let url = by(&database, &gate.address.to_string());
    let server = std::thread::scope(|threads| {
        let environment = [("POSTRIDER_DATABASE_URL", url.as_str()), ("POSTRIDER_SECRETS_KEY", SECRETS)];
        let starting = threads.spawn(move || Server::start(directory(), &[], &environment));
        gate.has_turned_away(2);
        gate.open();
        starting.join().expect("it starts")
    });
    let said: Vec<&String> = server.heard.iter().filter(|line| line.contains("the database is waited for")).collect();
    assert!(said.len() == 1 && !said[0].contains(PASSWORD), "{:#?}", server.heard);
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn a_start_that_waits_can_be_stopped_and_does_not_wait_for_ever() {
    let (database, nobody, here) = (Database::new(), Nobody::new(), directory());
    let gate = Gate::closed(place(&database));
    let mut serve = postrider();
    serve.args(["serve", "--listen", "127.0.0.1:0"]).env("POSTRIDER_SECRETS_KEY", SECRETS).current_dir(here.path());
    serve.env("POSTRIDER_DATABASE_URL", by(&database, &gate.address.to_string()));
    let mut server = serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    gate.has_turned_away(1);
    kill_process(Pid::from_child(&server), Signal::TERM).expect("it is there");
    let said: Vec<String> = BufReader::new(server.stderr.take().expect("a pipe")).lines().map_while(Result::ok).collect();
    assert!(server.wait().expect("it ends").success(), "{said:#?}");

    let url = format!("postgres://u:{PASSWORD}@{}/d", nobody.address);
    let flags = ["serve", "--listen", "127.0.0.1:0", "--database-url", &url, "--database-wait", "1s"];
    let (status, _, talk) = run(&flags, here.path(), &[("POSTRIDER_SECRETS_KEY", SECRETS)]);
    assert_eq!(status.code(), Some(1));
    assert!(
        talk.contains("no connection to PostgreSQL") && talk.contains("it was waited for for 1s") && !talk.contains(PASSWORD),
        "{talk}"
    );
}

#[test]
fn a_key_whose_commit_was_lost_is_printed_or_is_not_there() {
    let (database, here) = (Database::new(), directory());
    assert!(command(&database, here.path(), &["migrate"], &[]).0);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let proxy = runtime.block_on(Proxy::start(place(&database).to_owned()));
    let url = by(&database, &format!("127.0.0.1:{}", proxy.port())) + "?sslmode=disable";
    let create = |name: &str| run(&["keys", "create", "--name", name, "--database-url", &url], here.path(), &[]);
    let keys = "SELECT count(*) FROM postrider.config WHERE kind = 2";

    proxy.arm(Cut::AfterCommit);
    let (status, out, talk) = create("stored");
    assert!(proxy.has_cut() && status.success() && out.starts_with("pr_"), "{out}{talk}");
    assert_eq!(database.number(keys), 1);

    proxy.arm(Cut::BeforeCommit);
    let (status, out, talk) = create("lost");
    assert!(proxy.has_cut() && !status.success() && out.is_empty() && talk.contains("try again"), "{out}{talk}");
    assert_eq!(database.number(keys), 1);
    let (_, out, _) = command(&database, here.path(), &["keys", "list", "--json"], &[]);
    let listed: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(listed[0]["name"], "stored");
}
