//! A PostgreSQL server of a test's own, which it may crash. It keeps what it has promised to keep, as a real one does.

use crate::pg;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_postgres::NoTls;

/// How long it may take to start: it may have to go through its log first.
const START: Duration = Duration::from_secs(60);

/// How often a port is tried that somebody else has.
const PORTS: u16 = 20;

/// How often something is looked at again.
const LOOK: Duration = Duration::from_millis(20);

/// Who comes in by the network: everybody who has the password, encrypted or not.
const ANYBODY: &str = "host all all 127.0.0.1/32 scram-sha-256";

/// What `scripts/postgres` says.
fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: this test needs scripts/postgres run cargo nextest run --workspace --all-features"))
}

/// Gone when this is, also where the test does not end as it should: it ends with the thread that started it.
pub struct Own {
    postmaster: Option<Child>,
    folder: PathBuf,
    /// It refuses to run as root.
    user: Option<String>,
    password: String,
    port: u16,
    /// Kept until then.
    home: TempDir,
}

impl Own {
    /// A new one, that runs.
    pub async fn start() -> Self {
        Self::start_with(&[], "", ANYBODY).await
    }

    /// A new one with these files beside the folder of its data, these settings besides its own, and these lines of `pg_hba.conf`, by which
    /// it is said who comes in by the network.
    pub async fn start_with(files: &[(&str, &str)], settings: &str, rules: &str) -> Self {
        let user = Some(variable("POSTRIDER_TEST_POSTGRES_USER")).filter(|user| !user.is_empty());
        let folder = PathBuf::from(variable("POSTRIDER_TEST_POSTGRES_BIN"));
        // The names of sockets are short.
        let home = tempfile::Builder::new().prefix("").tempdir_in(variable("POSTRIDER_TEST_POSTGRES_DIR")).expect("a directory");
        let mut own = Own { postmaster: None, folder, user, password: pg::unique("p"), port: 0, home };
        own.put("password", &own.password);
        for (name, text) in files {
            own.put(name, text);
        }
        if let Some(user) = &own.user {
            let owned = Command::new("chown").args(["-R", user.as_str()]).arg(own.home.path()).status().expect("chown runs");
            assert!(owned.success(), "{owned}");
        }
        let how = ["--pgdata=data", "--username=postgres", "--auth=scram-sha-256", "--pwfile=password", "--encoding=UTF8"];
        let made = own.run("initdb").args(how).args(["--locale=C.UTF-8", "--no-sync"]).output().expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        own.configure(settings, rules);
        // Outside of where the system picks ports for clients: nobody takes it while the server is away.
        let first = u16::try_from(std::process::id() % 11_000).expect("a small number");
        for n in 0..PORTS {
            own.port = 20_000 + first + n * 47;
            if own.begin().await {
                return own;
            }
        }
        panic!("there is no free port: {}", own.log());
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres:{}@127.0.0.1:{}/postgres", self.password, self.port)
    }

    /// The way to it past the network, which is open whatever the rules are.
    pub fn inside(&self) -> String {
        let home = self.home.path().display().to_string().replace('/', "%2F");
        format!("postgres://postgres:{}@{home}:{}/postgres", self.password, self.port)
    }

    /// Ends it as a fault of its own does: nothing is written back, nobody is told. Starts it again at once.
    pub async fn crash(&mut self) {
        self.end();
        assert!(self.begin().await, "somebody else took the port: {}", self.log());
    }

    /// Writes a file that nobody reads but its owner: a server refuses a key that others could read.
    fn put(&self, name: &str, text: &str) {
        let path = self.home.path().join(name);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).expect("a file");
        file.write_all(text.as_bytes()).expect("it is written");
    }

    fn configure(&self, settings: &str, rules: &str) {
        let home = self.home.path();
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nshared_buffers = 32MB\nwal_level = minimal\n\
             max_wal_senders = 0\nmin_wal_size = 64MB\nmax_wal_size = 512MB\ntimezone = UTC\n{settings}\n",
            home.display()
        );
        let mut file = File::options().append(true).open(home.join("data/postgresql.conf")).expect("the settings");
        file.write_all(settings.as_bytes()).expect("settings are written");
        std::fs::write(home.join("data/pg_hba.conf"), format!("local all all scram-sha-256\n{rules}\n")).expect("rules are written");
    }

    fn run(&self, name: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "QUIT"]);
        if let Some(user) = &self.user {
            command.arg(format!("--reuid={user}")).arg(format!("--regid={user}")).arg("--init-groups");
        }
        command.arg(self.folder.join(name)).current_dir(self.home.path()).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        command
    }

    /// Starts it and waits until it answers; `false` where it ends instead, because somebody else has the port.
    async fn begin(&mut self) -> bool {
        let log = File::options().create(true).append(true).open(self.home.path().join("log")).expect("a log");
        let mut command = self.run("postgres");
        command.args(["-D", "data", "-p", &self.port.to_string()]);
        let mut postmaster = command.stdout(log.try_clone().expect("a handle")).stderr(log).spawn().expect("postgres runs");
        // By its own socket: behind the port somebody else may answer, and who comes in there is for the rules to say.
        let (begun, inside) = (Instant::now(), self.inside());
        while tokio_postgres::connect(&inside, NoTls).await.is_err() {
            if let Some(status) = postmaster.try_wait().expect("it can be asked") {
                assert!(self.log().contains("Address already in use"), "PostgreSQL ended with {status}: {}", self.log());
                return false;
            }
            assert!(begun.elapsed() < START, "PostgreSQL does not start: {}", self.log());
            tokio::time::sleep(LOOK).await;
        }
        self.postmaster = Some(postmaster);
        true
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    fn end(&mut self) {
        if let Some(mut postmaster) = self.postmaster.take() {
            // It may have ended already.
            let _ = kill_process(Pid::from_child(&postmaster), Signal::QUIT);
            let _ = postmaster.wait();
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.end();
    }
}
