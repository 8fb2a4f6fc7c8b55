"""What takes part in a comparison: a warehouse of its own, PgBouncer in two modes, the bare relay and sqlveil, on loopback.

Each is a process that is started here, and stopped; what it has used is read from /proc (proc(5)).
"""

import glob
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from wire import verifier

DATABASE = "bench"
LOGIN = "sqlveil_service"
CLOCK = os.sysconf("SC_CLK_TCK")


def fail(message):
    sys.exit(f"benches/pgbench/run: {message}")


def find(program, places):
    found = shutil.which(program)
    for pattern in places if not found else []:
        matches = sorted(glob.glob(pattern))
        found = found or (matches[-1] if matches else None)
    return found or fail(f"{program} is not there; run .ci/setup --bench")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def unprivileged():
    """Arguments of Popen that step down from root: neither PostgreSQL nor PgBouncer runs as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        except KeyError:
            continue
    return fail("running as root and neither postgres nor nobody exists")


def private(path, text, account=None):
    """A file for one account's eyes."""
    path.write_text(text)
    path.chmod(0o600)
    if account:
        os.chown(path, account["user"], account["group"])
    return path


def certificate(folder):
    """A key and a certificate for loopback that certifies itself."""
    key, cert = folder / "tls.key", folder / "tls.crt"
    command = [find("openssl", []), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "30", "-subj", "/CN=127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return key.read_text(), cert.read_text()


class Program:
    """A process that listens."""

    def __init__(self, name, command, port, log, **more):
        self.name, self.port, self.log = name, port, log
        with open(log, "ab") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **more)
        for _ in range(600):
            if self.process.poll() is not None:
                break
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        self.stop()
        fail(f"{name} does not listen:\n{Path(log).read_text(errors='replace')[-3000:]}")

    def cpu(self):
        """Seconds of the processor so far."""
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK

    def memory(self):
        """Resident memory in MB: now, and at most since `forget_peak`."""
        with open(f"/proc/{self.process.pid}/status") as file:
            text = file.read()
        return tuple(int(re.search(rf"^{word}:\s+(\d+) kB", text, re.M)[1]) / 1024 for word in ("VmRSS", "VmHWM"))

    def forget_peak(self):
        try:
            Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        except OSError:
            pass  # then it is the peak since the start

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Warehouse(Program):
    """A private PostgreSQL that is bound neither by disk nor by the number of sessions."""

    def __init__(self, folder, tls, scale, row_bytes):
        self.bin = Path(find("postgres", ["/usr/lib/postgresql/*/bin/postgres"])).resolve().parent
        self.password, self.service_password = secrets.token_hex(12), secrets.token_hex(12)
        account, port = unprivileged(), free_port()
        home = folder / "warehouse"
        home.mkdir()
        if account:
            os.chown(home, account["user"], account["group"])
        data = home / "data"
        secret = private(home / "password", self.password, account)
        command = [self.bin / "initdb", "-D", data, "-U", "postgres", "-A", "scram-sha-256", f"--pwfile={secret}"]
        environment = {**os.environ, "LC_ALL": "C"}
        self.run([*command, "--no-sync", "-E", "UTF8", "--locale=C"], cwd=home, env=environment, **account)
        for name, text in zip(("server.key", "server.crt"), tls):
            private(data / name, text, account)
        private(
            data / "postgresql.auto.conf",
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 900\nshared_buffers = 256MB\n"
            "fsync = off\nfull_page_writes = off\nsynchronous_commit = off\nwal_level = minimal\nmax_wal_senders = 0\n"
            "max_wal_size = 1GB\njit = off\nmax_parallel_workers_per_gather = 0\nautovacuum_naptime = 1h\n"
            "ssl = on\nlogging_collector = off\n",
            account,
        )
        command = [self.bin / "postgres", "-D", data, "-p", str(port)]
        super().__init__("postgres", command, port, folder / "warehouse.log", cwd=home, **account)
        try:
            self.fill(scale, row_bytes)
        except BaseException:
            self.stop()
            raise

    @staticmethod
    def run(command, **more):
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **more)
        if done.returncode != 0:
            fail(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def ask(self, sql, database=DATABASE):
        """As the superuser; every statement by itself."""
        command = [self.bin / "psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", self.port]
        statements = [part for one in sql for part in ("-c", one)]
        return self.run([*command, "-U", "postgres", "-d", database, *statements], env=self.environment()).strip()

    def environment(self):
        return {**os.environ, "PGPASSWORD": self.password, "PGSSLMODE": "disable", "LC_ALL": "C"}

    def fill(self, scale, row_bytes):
        for _ in range(100):  # it listens before it answers
            probe = [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
            if subprocess.run(probe, check=False).returncode == 0:
                break
            time.sleep(0.1)
        self.ask([f"CREATE DATABASE {DATABASE}"], "postgres")
        command = [self.bin / "pgbench", "-i", "-q", "-s", scale, "-h", "127.0.0.1", "-p", self.port, "-U", "postgres"]
        self.run([*command, DATABASE], env=self.environment())
        # A megabyte of rows; results are made of as many of it as are asked for.
        rows = (1 << 20) // row_bytes
        self.ask(
            [
                "CREATE TABLE bench_result (id int, bid int, filler text)",
                f"INSERT INTO bench_result SELECT n, 1, repeat('x', {max(row_bytes - 10, 1)}) FROM generate_series(1, {rows}) n",
                f"CREATE ROLE {LOGIN} LOGIN NOINHERIT PASSWORD '{self.service_password}'",
                f"GRANT CONNECT, TEMPORARY ON DATABASE {DATABASE} TO {LOGIN}",
                f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {LOGIN}",
                "VACUUM ANALYZE",
            ]
        )

    def tidy(self):
        """What a round of writing left behind does not slow the next one."""
        tables = ("pgbench_branches", "pgbench_tellers")
        self.ask(["TRUNCATE pgbench_history", *(f"VACUUM {table}" for table in tables)])

    def stop(self):
        super().stop(signal.SIGINT)


def bouncer_version():
    done = subprocess.run([find("pgbouncer", ["/usr/sbin/pgbouncer"]), "--version"], capture_output=True, text=True)
    return tuple(map(int, re.search(r"PgBouncer (\d+)\.(\d+)", done.stdout).groups()))


class Bouncer(Program):
    """PgBouncer of the distribution in front of the warehouse, with few other settings than its own."""

    def __init__(self, folder, tls, warehouse, mode, pool):
        home, account, port = folder / f"pgbouncer-{mode}", unprivileged(), free_port()
        home.mkdir()
        users = private(home / "users.txt", f'"{LOGIN}" "{warehouse.service_password}"\n', account)
        key, cert = (private(home / name, text, account) for name, text in zip(("tls.key", "tls.crt"), tls))
        # From 1.21 on prepared statements follow their client in transaction mode.
        prepared = "max_prepared_statements = 100\n" if bouncer_version() >= (1, 21) else ""
        config = private(
            home / "pgbouncer.ini",
            f"[databases]\n{DATABASE} = host=127.0.0.1 port={warehouse.port} dbname={DATABASE}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {users}\npool_mode = {mode}\n"
            f"max_client_conn = 1000\ndefault_pool_size = {pool}\nserver_idle_timeout = 5\nserver_tls_sslmode = disable\n"
            f"client_tls_sslmode = allow\nclient_tls_key_file = {key}\nclient_tls_cert_file = {cert}\n{prepared}"
            f"log_connections = 0\nlog_disconnections = 0\n",
            account,
        )
        if account:
            os.chown(home, account["user"], account["group"])
        command = [find("pgbouncer", ["/usr/sbin/pgbouncer"]), "-q", str(config)]
        super().__init__(f"pgbouncer-{mode}", command, port, folder / f"pgbouncer-{mode}.log", cwd=home, **account)


class Relay(Program):
    """The bare relay (relay.rs)."""

    def __init__(self, folder, tls, warehouse, binary):
        home, port = folder / "relay", free_port()
        home.mkdir()
        key, cert = (private(home / name, text) for name, text in zip(("tls.key", "tls.crt"), tls))
        command = [binary, f"127.0.0.1:{port}", f"127.0.0.1:{warehouse.port}", str(cert), str(key)]
        super().__init__("relay", command, port, folder / "relay.log")


TABLES = ("pgbench_accounts", "pgbench_branches", "pgbench_tellers", "pgbench_history", "bench_result")

GOVERNANCE = {
    "tags/tags.yaml": "tags: [Bank.Branch, Bank.Memo]\n",
    "policies/policies.yaml": """\
policyKey: anyone
name: Everybody reads and writes
type: subscription
actions: {type: anyone, accessGrant: WRITE}
---
policyKey: rows
name: Rows of one's own branches
type: data
actions:
  - rules:
      - type: Row Restriction By User Entitlements
        inclusions: {groups: [Held]}
        config: {operator: all, matches: [{type: attribute, attribute: branch, tag: Bank.Branch}]}
circumstances: [{type: columnTags, columnTag: Bank.Branch}]
---
policyKey: memos
name: Memos are hashed
type: data
actions:
  - rules:
      - type: Masking
        inclusions: {groups: [Held]}
        config: {fields: [{type: columnTags, columnTag: Bank.Memo}], maskingConfig: {type: Hash}}
circumstances: [{type: columnTags, columnTag: Bank.Memo}]
""",
}


class Collector:
    """What traces are sent to: takes whatever comes (OTLP over HTTP answers with an empty object), and counts the requests."""

    def __init__(self):
        collector = self
        self.requests = 0

        class Taking(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                collector.requests += 1
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        if not self.requests:
            fail("no trace came to the collector")


class Sqlveil(Program):
    """sqlveil with a configuration of its own: `open`, whom no policy binds, and `held`, whom they bind as they do the demo's analyst, but that
    every branch is his: what the warehouse does is the same for all ways."""

    def __init__(self, folder, tls, warehouse, binary, scale, log, threads, mode="session", pool=300, audited=False, collector=None, name=None):
        name = name or ("sqlveil-audited" if audited else "sqlveil-traced" if collector else f"sqlveil-{mode}")
        home, port = folder / name, free_port()
        self.password = secrets.token_hex(12)
        known = verifier(self.password)
        columns = {table: [("bid", "Bank.Branch")] for table in TABLES}
        columns["pgbench_accounts"].append(("filler", "Bank.Memo"))
        sources = "".join(
            f"  - {{table: {table}, schema: public, tags: {{columns: ["
            + ", ".join(f"{{columnName: {column}, tags: [{tag}]}}" for column, tag in columns[table])
            + "]}}\n"
            for table in TABLES
        )
        branches = ", ".join(f'"{n}"' for n in range(1, scale + 1))
        documents = {
            **{f"governance/{path}": text for path, text in GOVERNANCE.items()},
            "governance/data/bench.yaml": f"connectionKey: bench\nnameTemplate: {{dataSourceFormat: <tablename>}}\nsources:\n{sources}",
            "identity.yaml": "groups:\n  - name: Held\nusers:\n"
            f"  - {{name: open, verifier: '{known}'}}\n"
            f"  - {{name: held, verifier: '{known}', groups: [Held], attributes: {{branch: [{branches}]}}}}\n",
            "secrets/master": secrets.token_hex(32),
            "secrets/warehouse": warehouse.service_password,
            "tls/server.key": tls[0],
            "tls/server.crt": tls[1],
            "config.yaml": f'listen: ["127.0.0.1:{port}"]\ntls: {{certificate: tls/server.crt, key: tls/server.key}}\n'
            "governance: governance\nidentity: identity.yaml\nsecret: {file: secrets/master}\n"
            f"connections:\n  bench: {{host: 127.0.0.1, port: {warehouse.port}, database: {DATABASE}, user: {LOGIN}, "
            f"password: {{file: secrets/warehouse}}, sslmode: disable, pool: {{mode: {mode}, max: {pool}}}}}\n"
            "limits: {sessions: 2000, sessions_per_user: 1000}\n" + (f"threads: {threads}\n" if threads else "")
            + ("audit: {folder: trail, mode: required}\n" if audited else "")
            + (f'telemetry: {{otlp: {{endpoint: "http://127.0.0.1:{collector.port}/v1/traces"}}}}\n' if collector else ""),
        }
        for path, text in documents.items():
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            private(home / path, text)
        config = str(home / "config.yaml")
        warehouse.run([binary, "check", "--config", config])
        environment = {**os.environ, "SQLVEIL_LOG": log}
        super().__init__("sqlveil", [binary, "serve", "--config", config], port, folder / f"{name}.log", env=environment)
        # What is measured is enforced for the one and not for the other.
        shown = {user: self.memo(warehouse, user) for user in ("open", "held")}
        if shown["open"] or not shown["held"]:
            self.stop()
            fail(f"memos of accounts are blank and hashed for one user alone, but are shown as {shown}")

    def memo(self, warehouse, user):
        command = [warehouse.bin / "psql", "-X", "-At", "-h", "127.0.0.1", "-p", self.port, "-U", user, "-d", DATABASE]
        environment = {**warehouse.environment(), "PGPASSWORD": self.password}
        return warehouse.run([*command, "-c", "SELECT filler FROM pgbench_accounts WHERE aid = 1"], env=environment).strip()
