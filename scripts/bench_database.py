"""A PostgreSQL of the benchmarks' own, what it has used, and nodes over it; bench_postgres.py and bench_outbox.py measure with it.

It keeps what it acknowledges (fsync, full pages, synchronous commits), on the disk of the temporary directory, where the stores of nodes
without a database lie too. Its settings are PostgreSQL's own but for the number of connections.
"""

import contextlib
import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import tempfile
import time

SCHEMA = "postrider"
# Nodes over one database have one key of secrets.
SECRETS_KEY = f"k1={secrets.token_hex(32)}"
START_S = 60
STOP_S = 60
# A run of `postrider bench` takes no longer.
LOAD_S = 3_600
# A session says what it has done once it has been idle for ten seconds.
STATISTICS_S = 11
# How often PostgreSQL looks for tables to vacuum is a minute; what was left then is done the next time, and a vacuum takes its time.
VACUUMED_S = 300
SHOWN_LOG_BYTES = 2_000
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = '{sockets}'
max_connections = 200
shared_buffers = 128MB
fsync = on
full_page_writes = on
synchronous_commit = on
timezone = UTC
"""


def setting(name: str, default: int) -> int:
    """A size that the environment may change: a short run shows whether all works, and measures nothing."""
    return int(os.environ.get(name, default))


def wait_until(what: str, seconds: float, is_true) -> None:
    ends = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > ends:
            raise RuntimeError(f"within {seconds:.0f} s it did not come to that: {what}")
        time.sleep(0.1)


@contextlib.contextmanager
def directory():
    """A temporary directory that the user of a server may look into."""
    path = tempfile.mkdtemp(prefix="postrider-bench-")
    os.chmod(path, 0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


# ---- the server ------------------------------------------------------------------------------------------------------


def programs() -> str:
    """Where PostgreSQL's programs are, as scripts/bench has found them."""
    found = os.environ.get("POSTGRES_BIN")
    if not found:
        raise RuntimeError("this scenario needs PostgreSQL: run it with scripts/bench, which finds or installs it")
    return found


def as_server(command: list) -> list:
    """PostgreSQL refuses to run as root; and it ends with the benchmark, however that ends."""
    user = ["--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []
    return ["setpriv", "--pdeathsig", "QUIT", *user, *command]


def tail(path: str) -> str:
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read()[-SHOWN_LOG_BYTES:].decode(errors="replace")
    return ""


class Server:
    """A running server. Its socket is open to this user alone, its port asks for a password."""

    def __init__(self, home: str, preload: str = ""):
        self.data, self.log = os.path.join(home, "postgres", "data"), os.path.join(home, "postgres", "log")
        # The names of sockets are short.
        self.sockets = tempfile.mkdtemp(prefix="postrider-bench-", dir="/tmp")
        self.password, self.process, self.port = secrets.token_hex(16), None, 0
        self.preload = preload
        os.mkdir(os.path.dirname(self.data), 0o700)
        if os.geteuid() == 0:
            for path in (os.path.dirname(self.data), self.sockets):
                shutil.chown(path, "postgres", "postgres")

    def __enter__(self):
        try:
            self._make()
            for _ in range(20):
                # Outside of where the system picks ports for clients: nothing else takes it in passing.
                if self._start(random.randrange(20_000, 32_000)):
                    return self
            raise RuntimeError("PostgreSQL found no free port")
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait()
        shutil.rmtree(os.path.dirname(self.data), ignore_errors=True)
        shutil.rmtree(self.sockets, ignore_errors=True)

    def _make(self) -> None:
        secret = os.path.join(self.sockets, "secret")
        with open(os.open(secret, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            file.write(f"{self.password}\n")
        if os.geteuid() == 0:
            shutil.chown(secret, "postgres", "postgres")
        initdb = [os.path.join(programs(), "initdb"), f"--pgdata={self.data}", "--username=postgres", "--encoding=UTF8"]
        initdb += ["--locale=C.UTF-8", "--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={secret}"]
        made = subprocess.run(as_server(initdb), cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        os.remove(secret)
        if made.returncode != 0:
            raise RuntimeError(f"initdb failed; is {os.path.dirname(self.data)} within reach of the user postgres?\n{made.stdout}")
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as file:
            file.write(SETTINGS.format(sockets=self.sockets))
            if self.preload:
                file.write(f"shared_preload_libraries = '{self.preload}'\n")

    def _start(self, port: int) -> bool:
        """False where somebody else has the port."""
        command = as_server([os.path.join(programs(), "postgres"), "-D", self.data, "-p", str(port)])
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.port, ends = port, time.monotonic() + START_S
        ready = [os.path.join(programs(), "pg_isready"), "--quiet", f"--host={self.sockets}", f"--port={port}"]
        while subprocess.run(ready, check=False).returncode != 0:
            if self.process.poll() is not None and "Address already in use" in tail(self.log):
                return False
            if self.process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"PostgreSQL does not start\n{tail(self.log)}")
            time.sleep(0.05)
        return True

    def client(self, program: str, *arguments: str) -> list:
        """The command that runs one of its programs by the socket, as its superuser."""
        return [os.path.join(programs(), program), f"--host={self.sockets}", f"--port={self.port}", "--username=postgres", *arguments]

    def ask(self, database: str, sql: str) -> str:
        """What a statement says."""
        command = self.client("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{sql}: {done.stderr.strip()}")
        return done.stdout.strip()

    def make(self, database: str) -> dict:
        """Makes a database; answers the environment of its nodes."""
        self.ask("postgres", f"CREATE DATABASE {database}")
        url = f"postgres://postgres:{self.password}@127.0.0.1:{self.port}/{database}?sslmode=disable"
        return {"POSTRIDER_DATABASE_URL": url, "POSTRIDER_SECRETS_KEY": SECRETS_KEY}

    def drop(self, database: str) -> None:
        """Removes a database, and lets the disk come to rest, so that the next turn has it to itself."""
        self.ask("postgres", f"DROP DATABASE {database} WITH (FORCE)")
        self.ask("postgres", "CHECKPOINT")

    def cpu_s(self) -> float:
        """CPU seconds of all its processes since its start, also of those that have ended: the first one has waited for them."""
        total = 0
        for name in filter(str.isdigit, os.listdir("/proc")):
            fields = stat_of(int(name))
            if int(name) == self.process.pid:
                total += sum(fields[11:15])
            elif fields and fields[1] == self.process.pid:
                total += sum(fields[11:13])
        return total / CLOCK_TICKS

    def log_position(self) -> int:
        """How many bytes of WAL there ever were."""
        return int(self.ask("postgres", "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::int8"))

    def counters(self, database: str) -> dict:
        """What its statistics say, which are complete once sessions were idle for `STATISTICS_S`."""
        sql = (
            "SELECT json_build_object('database', to_json(d), 'wal', to_json(w)) FROM pg_stat_database d, pg_stat_wal w "
            "WHERE d.datname = current_database()"
        )
        return json.loads(self.ask(database, sql))

    def sizes(self, database: str) -> dict:
        """By table, its partitions together: bytes of rows, of indexes and of all, rows that are and rows that are gone."""
        sql = f"""
            SELECT json_object_agg(name, of) FROM (
              SELECT coalesce(parent.relname, c.relname) AS name, json_build_object(
                'rows_bytes', sum(pg_relation_size(c.oid)), 'indexes_bytes', sum(pg_indexes_size(c.oid)),
                'bytes', sum(pg_total_relation_size(c.oid)),
                'live', sum(coalesce(s.n_live_tup, 0)), 'dead', sum(coalesce(s.n_dead_tup, 0)),
                'vacuums', sum(coalesce(s.autovacuum_count, 0))) AS of
              FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid LEFT JOIN pg_class parent ON parent.oid = i.inhparent
              LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
              WHERE c.relkind = 'r' AND c.relnamespace = '{SCHEMA}'::regnamespace GROUP BY 1) AS t"""
        return json.loads(self.ask(database, sql))


class Session:
    """A psql that is kept: what it is given is done at once."""

    MARK = "--done--"

    def __init__(self, server: Server, database: str):
        command = server.client("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # It may have ended with an error, which was said then.
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.wait(timeout=STOP_S)
        self.process.stdout.close()

    def do(self, sql: str) -> list:
        """Does statements, each ending with a semicolon; answers the lines that they say, once the server has answered the last."""
        self.process.stdin.write(f"{sql}\n\\echo {self.MARK}\n")
        self.process.stdin.flush()
        said = []
        for line in self.process.stdout:
            if line.rstrip("\n") == self.MARK:
                return said
            said.append(line.rstrip("\n"))
        raise RuntimeError(f"psql has ended: {sql}")


# ---- nodes -----------------------------------------------------------------------------------------------------------


def stat_of(pid: int) -> list:
    """The numbers of a process from its parent's on, in the order of proc(5) with the state first; nothing once it has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            state, *numbers = file.read().rpartition(")")[2].split()
    except OSError:
        return []
    return [state, *map(int, numbers)]


class Node:
    """A running server of ours."""

    def __init__(self, process, address: str, key: str):
        self.process, self.address, self.key = process, address, key

    def cpu_s(self) -> float:
        return sum(stat_of(self.process.pid)[11:13]) / CLOCK_TICKS


def clean(environment: dict) -> dict:
    """This environment without settings that are meant for other servers."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith("POSTRIDER_")}, **environment}


def make_key(binary: str, home: str, environment: dict) -> str:
    command = [binary, "keys", "create", "--namespace", "default", "--scopes", "read,write"]
    where = [] if "POSTRIDER_DATABASE_URL" in environment else ["--data-dir", os.path.join(home, "data")]
    made = subprocess.run([*command, *where], env=clean(environment), cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if made.returncode != 0:
        raise RuntimeError(f"no key could be made: {made.stderr.strip()}")
    return made.stdout.strip()


@contextlib.contextmanager
def node(binary: str, home: str, environment: dict, key: str | None = None):
    """A node whose files lie in this directory: over the database of its environment, or over one of its own in the directory."""
    os.makedirs(home, exist_ok=True)
    key = key or make_key(binary, home, environment)
    port_file, log_file = os.path.join(home, "port"), os.path.join(home, "log")
    with contextlib.suppress(FileNotFoundError):
        os.remove(port_file)
    command = [binary, "serve", "--listen", "127.0.0.1:0", "--port-file", port_file, "--allow-network", "127.0.0.0/8"]
    command += ["--data-dir", os.path.join(home, "data")]
    given = clean({"POSTRIDER_LOG": "warn", **environment})
    with open(log_file, "wb") as log:
        process = subprocess.Popen(command, cwd=home, env=given, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        ends = time.monotonic() + START_S
        # The line is complete once it ends.
        while not tail(port_file).endswith("\n"):
            if process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"a node did not start\n{tail(log_file)}")
            time.sleep(0.01)
        yield Node(process, tail(port_file).strip(), key)
        if process.poll() is not None:
            raise RuntimeError(f"a node has ended ({process.returncode})\n{tail(log_file)}")
    finally:
        process.terminate()
        try:
            process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def load(binary: str, at: Node, arguments: list) -> dict:
    """What `postrider bench` reports of the node, which is loaded by it. Whether all was well is for bars to judge."""
    command = [binary, "bench", "--url", f"http://{at.address}", "--server-pid", str(at.process.pid), "--warmup", "0s"]
    command += ["--skip-direct", "--json", "--quiet", *arguments]
    environment = clean({"POSTRIDER_API_KEY": at.key})
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=LOAD_S, check=False)
    try:
        return json.loads(done.stdout)["server"]
    except ValueError as error:
        raise RuntimeError(f"postrider bench made no report, exit status {done.returncode}") from error
