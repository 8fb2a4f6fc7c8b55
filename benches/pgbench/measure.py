"""One measurement: a way, what is done, and the figures that come of it.

Figures: `tps`, `p50` and `p99` in milliseconds, `cpu` (processor seconds of the proxy for 1,000 statements), `rss` and `peak` in MB; of results
`rate` in MB/s, `seconds`, and `cpu` for a gigabyte. What does not apply to a way is left out.
"""

import math
import os
import re
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from servers import DATABASE, Program, fail
from wire import Refused, Session

# Statements of one transaction of pgbench's scripts (manual, pgbench: select-only, tpcb-like).
SCRIPTS = {"select": ("select-only", 1), "tpcb": ("tpcb-like", 7)}
MB, GB = 1 << 20, 1 << 30


@dataclass
class Way:
    """How a client gets to the warehouse."""

    name: str
    port: int
    user: str
    password: str
    program: Program | None  # None: there is nothing in between
    prepared: bool = True  # knows its clients' prepared statements


class Watch:
    """Looks at a program while something runs."""

    def __init__(self, program):
        self.program, self.seen, self.ended = program, [], threading.Event()

    def __enter__(self):
        if self.program:
            self.program.forget_peak()
            self.thread = threading.Thread(target=self.look)
            self.thread.start()
        return self

    def look(self):
        while True:
            self.seen.append((time.monotonic(), self.program.cpu(), self.program.memory()[0]))
            if self.ended.wait(0.02):
                return

    def __exit__(self, *_):
        self.ended.set()
        if self.program:
            self.thread.join()
            self.seen.append((time.monotonic(), self.program.cpu(), self.program.memory()[0]))

    def figures(self, since, units):
        """From a moment on, the processor's time for each unit of what was done."""
        if not self.program:
            return {}
        before = [cpu for at, cpu, _ in self.seen if at <= since] or [self.seen[0][1]]
        return {
            "cpu": (self.seen[-1][1] - before[-1]) / units,
            "rss": statistics.median(rss for _, _, rss in self.seen),
            "peak": self.program.memory()[1],
        }


def latencies(folder):
    """Of pgbench's logs: the time of each transaction (third field, microseconds), in milliseconds."""
    found = []
    for log in folder.glob("log.*"):
        found += [int(fields[2]) / 1000 for fields in map(str.split, log.open()) if fields[2].isdigit()]
        log.unlink()
    return sorted(found)


def pgbench_once(command, environment, way):
    """What one run says of itself: transactions a second, how many, and how long it took to open the sessions."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    count = re.search(r"^number of transactions actually processed: ([0-9]+)", done.stdout, re.M)
    failed = re.search(r"^number of failed transactions: ([0-9]+)", done.stdout, re.M)
    opened = re.search(r"^initial connection time = ([0-9.]+) ms", done.stdout, re.M)
    tps = re.search(r"^tps = ([0-9.]+)", done.stdout, re.M)
    # With no transaction at all it fails, and says so.
    nothing = count and count[1] == "0"
    wrong = done.returncode != 0 or not tps or "aborted" in done.stderr or (failed and failed[1] != "0")
    if not count or (wrong and not nothing):
        fail(f"{way.name}: {' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return float(tps[1]) if tps else 0, int(count[1]), float(opened[1]) / 1000 if opened else 0


# Seconds that it takes to open so many sessions of a way: pgbench's time runs meanwhile.
opening = {}


def pgbench(warehouse, way, script, mode, clients, seconds, tls, connect, folder):
    """pgbench's own figures; with `connect` every transaction has a session of its own."""
    name, statements = SCRIPTS[script]
    # Every transaction of the slower scripts is logged, of the others every fifth: the same for all ways.
    rate = "1" if script == "tpcb" or connect else "0.2"
    command = [str(warehouse.bin / "pgbench"), "-n", "-b", name, "-M", mode, "-c", str(clients)]
    command += ["-j", str(min(clients, os.cpu_count() or 1)), "-h", "127.0.0.1", "-p", str(way.port)]
    command += ["-U", way.user, DATABASE] + (["-C"] if connect else [])
    logged = ["-l", f"--log-prefix={folder}/log", f"--sampling-rate={rate}"]
    environment = {**os.environ, "PGPASSWORD": way.password, "PGSSLMODE": "require" if tls else "disable", "LC_ALL": "C"}
    if script == "tpcb":
        warehouse.tidy()
    key = (way.name, clients, tls)
    if key not in opening:
        opening[key] = 0 if connect or clients <= 8 else math.ceil(pgbench_once([*command, "-t", "1"], environment, way)[2])
    for _ in range(4):
        started = time.monotonic()
        with Watch(way.program) as watch:
            timed = [*command, "-T", str(seconds + opening[key]), *logged]
            tps, count, opened = pgbench_once(timed, environment, way)
        times = latencies(folder)
        if count >= clients and len(times) >= 10:
            break
        opening[key] += seconds  # a busy machine: give it longer
    else:
        fail(f"{way.name}: too few transactions to tell their times; more --seconds")
    # What pgbench logs of a transaction begins after its login.
    percentiles = {} if connect else {"p50": statistics.median(times), "p99": times[len(times) * 99 // 100]}
    # Sessions are opened once and not counted, but where they are what is measured.
    since = started + (0 if connect else opened)
    return {"tps": tps, **percentiles, **watch.figures(since, count * statements / 1000)}


def result_sql(form, megabytes):
    rows = f"SELECT r.* FROM bench_result r, generate_series(1, {megabytes}) n"
    return f"COPY ({rows}) TO STDOUT" if form == "copy" else rows


def result(way, form, megabytes, tls):
    """A large result, or a smaller one a hundred times over."""
    sql, times = result_sql(form, megabytes), 100 if megabytes < 16 else 1
    session = Session(way.port, way.user, way.password, DATABASE, tls)
    try:
        session.query(result_sql(form, 1))
        started = time.monotonic()
        with Watch(way.program) as watch:
            answers = [session.query(sql) for _ in range(times)]
    except (Refused, OSError) as error:
        fail(f"{way.name}: {sql} failed: {error}")
    finally:
        session.close()
    size = sum(size for _, size in answers)
    seconds = [seconds for seconds, _ in answers]
    return {
        "rate": size / MB / sum(seconds),
        "seconds": statistics.median(seconds),
        **watch.figures(started, size / GB),
    }


def idle(way, sessions, tls):
    """Memory with sessions that do nothing."""
    held = []
    try:
        with Watch(way.program) as watch:
            for _ in range(sessions):
                held.append(Session(way.port, way.user, way.password, DATABASE, tls))
            time.sleep(0.5)
        return {"rss": watch.seen[-1][2], "peak": way.program.memory()[1]}
    except (Refused, OSError) as error:
        return fail(f"{way.name}: {sessions} sessions: {error}")
    finally:
        for session in held:
            session.close()


def log_folder(folder):
    path = Path(folder) / "logs"
    path.mkdir()
    return path
