//! A PostgreSQL server of a test's own, which it may crash: it keeps what it has promised to keep, as a real one does.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tokio_postgres::{Client, NoTls, Row};

/// How long it may take to start: it may have to go through its log first.
const START: Duration = Duration::from_secs(60);

/// How many connections it takes: those of four nodes, and the test's.
const CONNECTIONS: usize = 140;

/// How often a port is tried that somebody else has.
const PORTS: usize = 20;

/// How often something is looked at again.
const LOOK: Duration = Duration::from_millis(20);

/// Gone when this is, also where the test does not end as it should: it ends with the thread that started it.
pub struct Postgres {
    postmaster: Option<Child>,
    programs: Programs,
    port: u16,
    password: String,
    runtime: Runtime,
    /// Kept until then.
    home: TempDir,
}

/// PostgreSQL's programs, and who runs them: it refuses to run as root.
struct Programs {
    folder: PathBuf,
    user: Option<String>,
}

/// What `scripts/postgres` says.
fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: this test needs scripts/postgres run cargo nextest run --workspace --all-features"))
}

impl Programs {
    fn run(&self, name: &str, home: &TempDir) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "QUIT"]);
        if let Some(user) = &self.user {
            command.arg(format!("--reuid={user}")).arg(format!("--regid={user}")).arg("--init-groups");
        }
        command.arg(self.folder.join(name)).current_dir(home.path()).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        command
    }

    fn own(&self, home: &TempDir) {
        if let Some(user) = &self.user {
            let owned = Command::new("chown").args(["-R", user.as_str()]).arg(home.path()).status().expect("chown runs");
            assert!(owned.success(), "{owned}");
        }
    }
}

impl Postgres {
    /// A new one, that runs.
    pub fn start() -> Postgres {
        let user = Some(variable("POSTRIDER_TEST_POSTGRES_USER")).filter(|user| !user.is_empty());
        let programs = Programs { folder: PathBuf::from(variable("POSTRIDER_TEST_POSTGRES_BIN")), user };
        let home = tempfile::tempdir_in(variable("POSTRIDER_TEST_POSTGRES_DIR")).expect("a directory");
        let password = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        std::fs::write(home.path().join("password"), &password).expect("a file");
        programs.own(&home);
        let how = ["--pgdata=data", "--username=postgres", "--auth=scram-sha-256", "--pwfile=password", "--encoding=UTF8"];
        let made = programs.run("initdb", &home).args(how).args(["--locale=C.UTF-8", "--no-sync"]).output().expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = {CONNECTIONS}\nshared_buffers = 32MB\n\
             wal_level = minimal\nmax_wal_senders = 0\nmin_wal_size = 64MB\nmax_wal_size = 512MB\ntimezone = UTC\n"
        );
        let mut file = File::options().append(true).open(home.path().join("data/postgresql.conf")).expect("the settings");
        file.write_all(settings.as_bytes()).expect("settings are written");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let mut server = Postgres { postmaster: None, programs, port: 0, password, runtime, home };
        for n in 0..PORTS {
            // Outside of where the system picks ports for clients: nobody takes it while the server is away.
            let offset = RandomState::new().hash_one(n) % 12_000;
            server.port = 20_000 + u16::try_from(offset).expect("a small number");
            if server.begin() {
                return server;
            }
        }
        panic!("there is no free port: {}", server.log());
    }

    /// For those who come straight to it.
    pub fn url(&self) -> String {
        self.url_by(self.port)
    }

    /// By the way of something that listens on this port.
    pub fn url_by(&self, port: u16) -> String {
        format!("postgres://postgres:{}@127.0.0.1:{port}/postgres", self.password)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it and waits until it answers; `false` where it ends instead, because somebody else has the port.
    fn begin(&mut self) -> bool {
        let log = File::options().create(true).append(true).open(self.home.path().join("log")).expect("a log");
        let mut command = self.programs.run("postgres", &self.home);
        command.args(["-D", "data", "-p", &self.port.to_string()]);
        self.postmaster = Some(command.stdout(log.try_clone().expect("a handle")).stderr(log).spawn().expect("postgres runs"));
        let begun = Instant::now();
        loop {
            let ended = self.postmaster.as_mut().and_then(|postmaster| postmaster.try_wait().expect("it can be asked"));
            if let Some(status) = ended {
                self.postmaster = None;
                assert!(self.log().contains("Address already in use"), "PostgreSQL ended with {status}: {}", self.log());
                return false;
            }
            if self.try_connect().is_ok() {
                return true;
            }
            assert!(begun.elapsed() < START, "PostgreSQL does not start: {}", self.log());
            std::thread::park_timeout(LOOK);
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// Ends it as a fault of its own does: nothing is written back, nobody is told. Starts it again after so long on the same port.
    pub fn crash(&mut self, away: Duration) {
        self.end();
        std::thread::park_timeout(away);
        assert!(self.begin(), "somebody else took the port: {}", self.log());
    }

    fn end(&mut self) {
        if let Some(mut postmaster) = self.postmaster.take() {
            // It may have ended already.
            let _ = kill_process(Pid::from_child(&postmaster), Signal::QUIT);
            let _ = postmaster.wait();
        }
    }

    // ---- what is done past the nodes ------------------------------------------------------------------------------

    /// Whatever comes first: a connection, or why there is none.
    pub fn try_connect(&self) -> Result<Client, tokio_postgres::Error> {
        let url = self.url();
        self.runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
            tokio::spawn(connection);
            Ok(client)
        })
    }

    pub fn query_on(&self, client: &Client, sql: &str) -> Vec<Row> {
        self.runtime.block_on(client.query(sql, &[])).unwrap_or_else(|e| panic!("{sql}: {e:?}"))
    }

    pub fn query(&self, sql: &str) -> Vec<Row> {
        self.query_on(&self.try_connect().expect("PostgreSQL answers"), sql)
    }

    pub fn number(&self, sql: &str) -> i64 {
        self.query(sql).first().unwrap_or_else(|| panic!("{sql}: no row")).get(0)
    }

    /// Ends all connections for which this holds in `pg_stat_activity`, but this one; answers how many there were.
    pub fn terminate(&self, client: &Client, which: &str) -> i64 {
        let sql = format!(
            "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND {which}"
        );
        self.query_on(client, &sql)[0].get(0)
    }

    /// Where the ways of nodes to it are looked after.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.end();
    }
}
