"""What Python programs do with a connection, through psycopg 3: run by psycopg.rs, which says in the environment how to connect and what
the user sees. Every statement here is an ordinary one; nothing knows of the proxy. Says "done" when all was as it should be."""

import asyncio
import os
import threading
import time
import uuid
from datetime import date, datetime, timezone
from decimal import Decimal

import psycopg
from psycopg import errors
from psycopg.rows import dict_row, namedtuple_row
from psycopg.types import TypeInfo
from psycopg.types.enum import EnumInfo, register_enum
from psycopg.types.json import Jsonb

CONNINFO = os.environ["CONNINFO"]


def connect(**more):
    return psycopg.connect(CONNINFO, **more)


def same(got, wanted):
    assert got == wanted, f"{got!r} is not {wanted!r}"


def refused():
    try:
        connect().close()
    except psycopg.OperationalError as error:
        assert os.environ["WHY"] in str(error), error
        return
    raise AssertionError("it got in")


def login():
    with connect() as conn:
        assert conn.pgconn.ssl_in_use
        same(conn.execute("SELECT current_user, session_user").fetchone(), (conn.info.user,) * 2)
        names = conn.execute("SELECT name FROM emp ORDER BY id").fetchall()
        same([name for (name,) in names], os.environ["NAMES"].split())
        same(conn.execute("SELECT DISTINCT city, ssn FROM emp").fetchall(), [(os.environ["CITY"], "masked")])
        try:
            conn.execute("SELECT * FROM hidden")
        except errors.UndefinedTable as error:
            same(error.diag.message_primary, 'relation "hidden" does not exist')
            same(error.diag.statement_position, "15")
        else:
            raise AssertionError("what is hidden was found")


def parameters(conn):
    values = [
        7, 2**40, 1.5, Decimal("12.3400"), "Zoë ' \\ ß", True, None, b"\x00\xff'", date(2024, 2, 29),
        datetime(2001, 2, 3, 4, 5, 6, 789000, timezone.utc), uuid.UUID(int=42), [1, None, 3],
    ]
    for binary in (False, True):
        cursor = conn.cursor(binary=binary)
        for value in values:
            row = cursor.execute("SELECT %s, %b, %t", (value, value, value)).fetchone()
            same([row[0], row[2]], [value, value])
        words = ["a b", 'c"d', None]
        same(cursor.execute("SELECT %s::text[]", (words,)).fetchone()[0], words)
        same(cursor.execute("SELECT %s", (Jsonb({"a": [1, 2.5, None]}),)).fetchone()[0], {"a": [1, 2.5, None]})
        same(cursor.execute("SELECT count(*) FROM emp WHERE city = ANY(%s)", (["Bonn", "Köln"],)).fetchone()[0], shown())
        # A condition on what is masked meets the mask.
        same(cursor.execute("SELECT count(*) FROM emp WHERE ssn = %s", ("number 1",)).fetchone()[0], 0)
        same(cursor.execute("SELECT count(*) FROM emp WHERE ssn = %(s)s", {"s": "masked"}).fetchone()[0], shown())
        row = cursor.execute("SELECT born, pay, tags, photo, doc, token, seen FROM emp WHERE id = 1").fetchone()
        if row:
            same(row[:4], (date(1980, 2, 29), Decimal("1234.50"), ["a", "b c"], b"\x00\xff\x10"))
            same(row[4:6], ({"a": [1, 2.5]}, uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")))
    same([c.name for c in conn.execute("SELECT * FROM emp").description][:4], ["id", "name", "ssn", "city"])
    cursor = conn.cursor(row_factory=dict_row)
    same(cursor.execute("SELECT n, label FROM ticks WHERE n = %s", (3,)).fetchone(), {"n": 3, "label": "tick 3"})
    cursor = conn.cursor(row_factory=namedtuple_row)
    same(cursor.execute("SELECT label FROM ticks WHERE n = 4").fetchone().label, "tick 4")
    conn.commit()


def shown():
    return len(os.environ["NAMES"].split())


def prepared(conn):
    for n in range(1, 12):
        same(conn.execute("SELECT label FROM ticks WHERE n = %s", (n,)).fetchone()[0], f"tick {n}")
        same(conn.execute("SELECT count(*) FROM emp WHERE id > %s", (0,), prepare=True).fetchone()[0], shown())
    assert len(conn._prepared._names) >= 2, "none was prepared on the server"
    conn.execute("PREPARE mine (int) AS SELECT label FROM ticks WHERE n = $1")
    same(conn.execute("EXECUTE mine(5)").fetchone()[0], "tick 5")
    conn.commit()


def cursors(conn):
    with conn.cursor(name="all ticks") as cursor:
        cursor.itersize = 100
        cursor.execute("SELECT n FROM ticks WHERE n <= %s ORDER BY n", (350,))
        same([n for (n,) in cursor], list(range(1, 351)))
    with conn.cursor(name="scrolling", scrollable=True) as cursor:
        cursor.execute("SELECT n FROM ticks ORDER BY n")
        cursor.scroll(500)
        same(cursor.fetchone(), (501,))
        cursor.scroll(-2)
        same(cursor.fetchmany(2), [(500,), (501,)])
        cursor.scroll(0, mode="absolute")
        same(cursor.fetchone(), (1,))
    with conn.cursor(name="people", binary=True) as cursor:
        cursor.execute("SELECT name, ssn FROM emp ORDER BY id")
        same(cursor.fetchall(), [(name, "masked") for name in os.environ["NAMES"].split()])
    held = conn.cursor(name="held", withhold=True)
    held.execute("SELECT n FROM ticks ORDER BY n")
    conn.commit()
    same(held.fetchmany(3), [(1,), (2,), (3,)])
    held.close()
    conn.commit()


def pipeline(conn):
    with conn.pipeline() as line:
        answers = [conn.execute("SELECT label FROM ticks WHERE n = %s", (n,)) for n in (1, 2, 3)]
        line.sync()
        people = conn.execute("SELECT count(*) FROM emp")
        same([a.fetchone()[0] for a in answers], ["tick 1", "tick 2", "tick 3"])
        same(people.fetchone()[0], shown())
    conn.commit()
    try:
        with conn.pipeline():
            conn.execute("SELECT 1")
            conn.execute("SELECT * FROM hidden")
            conn.execute("SELECT 2")
    except errors.UndefinedTable:
        conn.rollback()
    else:
        raise AssertionError("what is hidden was found")
    same(conn.execute("SELECT 3").fetchone(), (3,))
    conn.commit()


def copy(conn, writes):
    cursor = conn.cursor()
    with cursor.copy("COPY (SELECT id, name, ssn FROM emp ORDER BY id) TO STDOUT") as out:
        rows = list(out.rows())
    same([row[1] for row in rows], os.environ["NAMES"].split())
    same({row[2] for row in rows}, {"masked"})
    with cursor.copy("COPY ticks (n) TO STDOUT (FORMAT binary)") as out:
        out.set_types(["int4"])
        same(sorted(n for (n,) in out.rows()), list(range(1, 1001)))
    with cursor.copy("COPY (SELECT n FROM ticks WHERE n < %s) TO STDOUT (FORMAT csv, HEADER)", (3,)) as out:
        same(bytes(b"".join(out)), b"n\n1\n2\n")
    if writes:
        with cursor.copy("COPY notes (author, body) FROM STDIN") as into:
            for n in range(200):
                into.write_row(("ana", f"copied\t{n}"))
        same(conn.execute("SELECT count(*) FROM notes WHERE body LIKE 'copied%'").fetchone()[0], 200)
        conn.rollback()
    else:
        try:
            with cursor.copy("COPY notes (author, body) FROM STDIN") as into:
                into.write_row(("eve", "x"))
        except errors.InsufficientPrivilege:
            conn.rollback()
        else:
            raise AssertionError("it was written")
    conn.commit()


def writing(conn):
    with conn.transaction():
        cursor = conn.cursor()
        cursor.executemany("INSERT INTO notes (author, body) VALUES (%s, %s) RETURNING id", [("ana", str(n)) for n in range(50)], returning=True)
        ids = {cursor.fetchone()[0]}
        while cursor.nextset():
            ids.add(cursor.fetchone()[0])
        same(len(ids), 50)
        try:
            with conn.transaction():
                conn.execute("UPDATE notes SET body = 'changed'")
                raise psycopg.Rollback()
        finally:
            same(conn.execute("SELECT count(*) FROM notes WHERE body = 'changed'").fetchone()[0], 0)
        same(conn.execute("DELETE FROM notes WHERE author = %s", ("ana",)).rowcount, 50)


def notices(conn):
    heard = []
    conn.add_notice_handler(lambda diag: heard.append((diag.severity_nonlocalized, diag.sqlstate)))
    conn.execute("CREATE TEMP TABLE IF NOT EXISTS own (x int)")
    conn.execute("CREATE TEMP TABLE IF NOT EXISTS own (x int)")
    conn.execute("DROP TABLE own")
    conn.commit()
    assert ("NOTICE", "42P07") in heard, heard


def cancelling(conn):
    began = time.monotonic()
    threading.Timer(0.3, conn.cancel).start()
    try:
        conn.execute("SELECT count(*) FROM generate_series(1, 100000000000)")
    except errors.QueryCanceled:
        conn.rollback()
    else:
        raise AssertionError("it was not cancelled")
    assert time.monotonic() - began < 20
    same(conn.execute("SELECT 1").fetchone(), (1,))
    conn.commit()


def types(conn):
    info = EnumInfo.fetch(conn, "mood")
    same(info.labels, ["sad", "ok", "happy"])
    register_enum(info, conn)
    row = conn.execute("SELECT feels FROM emp WHERE id = 1").fetchone()
    assert row is None or row[0].name == "ok", row
    same(TypeInfo.fetch(conn, "hidden"), None)
    same(TypeInfo.fetch(conn, "ticks").name, "ticks")
    conn.commit()


def settings(conn):
    same(conn.info.encoding, "utf-8")
    assert conn.info.server_version >= 150000
    conn.autocommit = True
    conn.execute("SET TimeZone = 'Asia/Tokyo'")
    same(str(conn.info.timezone), "Asia/Tokyo")
    conn.autocommit = False
    conn.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    conn.read_only = True
    same(conn.execute("SHOW transaction_isolation").fetchone()[0], "serializable")
    try:
        conn.execute("CREATE TEMP TABLE t AS SELECT 1"), conn.execute("INSERT INTO notes (author) VALUES ('ana')")
    except (errors.ReadOnlySqlTransaction, errors.InsufficientPrivilege):
        conn.rollback()
    else:
        raise AssertionError("written in a read-only transaction")
    conn.isolation_level, conn.read_only = None, None


async def asynchronous():
    async def ask(n):
        async with await psycopg.AsyncConnection.connect(CONNINFO) as conn:
            for _ in range(5):
                cursor = await conn.execute("SELECT string_agg(name, ' ' ORDER BY id), %s::int FROM emp", (n,))
                same(await cursor.fetchone(), (os.environ["NAMES"], n))

    await asyncio.gather(*(ask(n) for n in range(5)))


part = os.environ["PEER"]
if part == "refused":
    refused()
else:
    login()
if part == "all":
    with connect() as conn:
        writes = conn.info.user == "ana"
        parameters(conn)
        prepared(conn)
        cursors(conn)
        pipeline(conn)
        copy(conn, writes)
        if writes:
            writing(conn)
        notices(conn)
        cancelling(conn)
        types(conn)
        settings(conn)
    asyncio.run(asynchronous())
print("done")
