"""What Python's drivers and SQLAlchemy say of a database, one line for each question. Run by python.rs against the warehouse itself and
through the proxy, which must come to the same. The environment says which driver (CLIENT) and where (URL)."""

import asyncio
import datetime
import decimal
import json
import os
import threading
import urllib.parse
import uuid

URL, CLIENT = os.environ["URL"], os.environ["CLIENT"]

# Every type, in every driver's own way of asking.
STATEMENTS = [
    "SELECT * FROM region ORDER BY id",
    "SELECT id, name, balance, born, tags, feels, floor, token, seen, photo FROM customer WHERE id < 3 ORDER BY id",
    "SELECT doc, span, home FROM customer ORDER BY id",
    "SELECT count(*), min(sold), max(amount) FROM sale",
    "SELECT c.name, sum(s.amount) FROM customer c JOIN sale s ON s.customer_id = c.id GROUP BY c.name ORDER BY 1",
    "SELECT * FROM rich",
    "SELECT region_id, customers FROM totals ORDER BY 1",
    'SELECT "a b", "select" FROM more."Odd Name"',
    "SELECT array_agg(id ORDER BY id), ARRAY[[1,2],[3,4]], int4range(1, 3), '{[1,3)}'::int4multirange, interval '1 day 2 hours', "
    "1.5::float4, 'NaN'::float8, 12::numeric(10,2), time '04:05', 'x'::char(3), inet '10.0.0.1/8', B'101', '(1,2)'::point, "
    "'sad'::mood, row(1, 'x'), NULL::int, xmlparse(content '<a/>') FROM customer",
    "SELECT 1/0",
    "SELECT * FROM nowhere",
    "SELECT nothing FROM customer",
    "SELECT 'x'::int",
    "SELEC 1",
    "SELECT name FROM customer WHERE id = 'x'",
    "VALUES (1, 'a'), (2, NULL)",
    "TABLE region",
    "SHOW server_version",
    "SELECT version()",
    "SELECT pg_catalog.current_setting('TimeZone')",
]


def plain(value):
    if isinstance(value, (list, tuple)) or type(value).__name__ == "Record":
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).hex()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return f"{type(value).__name__} {value}"


def say(what, answer):
    print(f"{what}\t{json.dumps(plain(answer), ensure_ascii=False, default=str)}")


def psycopg2():
    import psycopg2 as driver
    import psycopg2.extras

    conn = driver.connect(URL)
    conn.autocommit = True
    psycopg2.extras.register_composite("place", conn)
    for sql in STATEMENTS:
        with conn.cursor() as cursor:
            try:
                cursor.execute(sql)
                columns = [(c.name, c.type_code, c.internal_size) for c in cursor.description]
                say(sql, [columns, cursor.fetchall(), cursor.statusmessage])
            except driver.Error as error:
                say(sql, [error.pgcode, error.diag.message_primary, error.diag.statement_position, error.diag.message_hint])
    conn.autocommit = False
    with conn.cursor("held", withhold=True) as cursor:
        cursor.itersize = 100
        cursor.execute("SELECT id FROM sale ORDER BY id")
        conn.commit()
        say("named cursor", sum(id for (id,) in cursor))
    with conn.cursor() as cursor:
        cursor.execute("SELECT name FROM customer WHERE id = ANY(%s) AND born < %s", ([1, 2], datetime.date(2000, 1, 1)))
        say("parameters", cursor.fetchall())
        cursor.execute("SELECT %s, %s, %s", (decimal.Decimal("1.20"), b"\x00\xff", "it's"))
        say("adapted", cursor.fetchall())
        out = []
        cursor.copy_expert("COPY (SELECT * FROM region ORDER BY id) TO STDOUT WITH CSV HEADER", Sink(out))
        say("copy", out)
    conn.reset()
    conn.set_session(isolation_level="SERIALIZABLE", readonly=True)
    with conn.cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        say("isolation", cursor.fetchall())
    conn.rollback()
    with conn:
        with conn.cursor() as cursor:
            psycopg2.extras.execute_values(cursor, "SELECT * FROM (VALUES %s) v (a, b)", [(1, "a"), (2, "b")], fetch=True)
    say("parameters of the session", [conn.get_parameter_status(p) for p in ("server_encoding", "DateStyle", "integer_datetimes")])
    conn.close()


class Sink:
    def __init__(self, out):
        self.out = out

    def write(self, data):
        self.out.append(data)


async def asyncpg():
    import asyncpg as driver

    conn = await driver.connect(URL)
    for sql in STATEMENTS:
        try:
            statement = await conn.prepare(sql)
            columns = [(a.name, a.type.name, a.type.schema, a.type.kind) for a in statement.get_attributes()]
            say(sql, [columns, await statement.fetch(), statement.get_statusmsg()])
        except driver.PostgresError as error:
            say(sql, [error.sqlstate, error.message, error.position, error.hint])
    values = [
        ("int4[]", [1, None, 3]), ("numeric", decimal.Decimal("12.3400")), ("text", "Zoë"), ("bytea", b"\x00\xff"),
        ("date", datetime.date(2024, 2, 29)), ("timestamptz", datetime.datetime(2001, 2, 3, tzinfo=datetime.timezone.utc)),
        ("uuid", uuid.UUID(int=42)), ("int4range", driver.Range(1, 5)), ("interval", datetime.timedelta(days=1, seconds=5)),
        ("mood", "ok"), ("place", ("Am Ring", 5)), ("positive", 3), ("mood[]", ["ok", "sad"]), ("place[]", [("a", 1), None]),
    ]
    for name, value in values:
        say(name, await conn.fetchval(f"SELECT $1::{name}", value))
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        say("cursor", sum([r["id"] async for r in conn.cursor("SELECT id FROM sale ORDER BY id", prefetch=50)]))
    try:
        async with conn.transaction():
            await conn.execute("SELECT 1/0")
    except driver.DivisionByZeroError:
        say("after an error", await conn.fetchval("SELECT 1"))
    await conn.executemany("SELECT $1::int + 1", [(n,) for n in range(10)])
    out = bytearray()

    async def keep(data):
        out.extend(data)

    await conn.copy_from_query("SELECT * FROM region ORDER BY id", output=keep, format="binary")
    say("copy", bytes(out))
    out.clear()
    await conn.copy_from_table("region", columns=["name"], output=keep, format="csv")
    say("copy of a table", bytes(out))
    await conn.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    say("codec", await conn.fetchval("SELECT doc FROM customer WHERE id = 1"))
    try:
        await conn.fetch("SELECT count(*) FROM generate_series(1, 1000000000)", timeout=0.2)
    except asyncio.TimeoutError:
        say("cancelled", await conn.fetchval("SELECT 1"))
    await conn.reset()
    await conn.close()
    pool = await driver.create_pool(URL, min_size=1, max_size=3, server_settings={"application_name": "pool"})
    say("pool", sorted(await asyncio.gather(*[pool.fetchval("SELECT $1::int", n) for n in range(20)])))
    await pool.close()


def psycopg():
    import psycopg as driver

    conn = driver.connect(URL, autocommit=True)
    for binary in (False, True):
        for sql in STATEMENTS:
            try:
                cursor = conn.cursor(binary=binary)
                cursor.execute(sql)
                say(f"{binary} {sql}", [[(c.name, c.type_code, c.fsize if hasattr(c, "fsize") else 0) for c in cursor.description], cursor.fetchall(), cursor.statusmessage])
            except driver.Error as error:
                say(f"{binary} {sql}", [error.sqlstate, error.diag.message_primary, error.diag.statement_position])
        rows = conn.execute("SELECT id, name FROM customer WHERE born < %b AND balance >= %b AND name = ANY(%b) ORDER BY id", [datetime.date(2000, 1, 1), decimal.Decimal("0.01"), ["Ann", "Bob"]], binary=binary)
        say(f"{binary} parameters", rows.fetchall())
    for prepared in range(8):
        say("prepared", conn.execute("SELECT count(*) FROM sale WHERE id > %s", [prepared * 10], prepare=True).fetchall())
    with conn.pipeline() as pipe:
        results = [conn.execute("SELECT name FROM customer WHERE id = %s", [n]) for n in range(1, 30)]
        pipe.sync()
        say("pipeline", [c.fetchall() for c in results])
    try:
        with conn.pipeline():
            good = conn.execute("SELECT 1")
            conn.execute("SELECT 1/0")
            conn.execute("SELECT 2")
    except driver.Error as error:
        say("pipeline with an error", [error.sqlstate, str(conn.info.transaction_status)])
    say("after the pipeline", conn.execute("SELECT 3").fetchall())
    with conn.transaction():
        with conn.cursor("by_parts") as cursor:
            cursor.itersize = 7
            cursor.execute("SELECT id FROM sale ORDER BY id")
            say("cursor", [cursor.fetchmany(5), sum(r[0] for r in cursor), cursor.fetchone()])
        with conn.cursor("scrolls", scrollable=True, withhold=True) as cursor:
            cursor.execute("SELECT id FROM sale ORDER BY id")
            cursor.scroll(100)
            say("scrolled", cursor.fetchone())
            cursor.scroll(-50)
            say("scrolled back", cursor.fetchone())
    held = conn.cursor("held", withhold=True)
    held.execute("SELECT id FROM sale ORDER BY id")
    say("held", [held.fetchmany(3), conn.execute("SELECT 1").fetchone(), held.fetchmany(3)])
    held.close()
    for form in ("text", "binary", "csv"):
        with conn.cursor().copy(f"COPY (SELECT id, name, balance, tags FROM customer ORDER BY id) TO STDOUT (FORMAT {form})") as copy:
            say(f"copy {form}", b"".join(bytes(part) for part in copy))
    with conn.cursor().copy("COPY region TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(["int4", "text"])
        say("copied rows", sorted(copy.rows()))
    conn.execute("SET statement_timeout = '200ms'")
    try:
        conn.execute("SELECT count(*) FROM generate_series(1, 1000000000)")
    except driver.Error as error:
        say("timeout", [error.sqlstate, error.diag.message_primary])
    conn.execute("SET statement_timeout = 0")
    timer = threading.Timer(0.3, conn.cancel)
    timer.start()
    try:
        conn.execute("SELECT count(*) FROM generate_series(1, 1000000000)")
    except driver.Error as error:
        say("cancelled", [error.sqlstate, error.diag.message_primary])
    timer.join()
    conn.execute("SET search_path = more, public")
    say("path", conn.execute('SELECT * FROM "Odd Name"').fetchall())
    conn.execute("SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'; SET application_name = 'named'")
    say("reported", [conn.info.parameter_status(p) for p in ("TimeZone", "DateStyle", "application_name", "server_version", "client_encoding", "standard_conforming_strings", "integer_datetimes", "IntervalStyle", "is_superuser", "in_hot_standby", "default_transaction_read_only")])
    conn.execute("RESET ALL")
    say("reset", [conn.info.parameter_status(p) for p in ("TimeZone", "DateStyle")])
    conn.execute("PREPARE p AS SELECT 1")
    conn.execute("DISCARD ALL")
    try:
        conn.execute("EXECUTE p")
    except driver.Error as error:
        say("discarded", [error.sqlstate, error.diag.message_primary])
    say("info", [conn.info.server_version, conn.info.encoding, conn.info.dbname, conn.info.user])
    conn.autocommit = False
    try:
        conn.execute("SELECT 1/0")
    except driver.Error:
        pass
    try:
        conn.execute("SELECT 1")
    except driver.Error as error:
        say("failed transaction", [error.sqlstate, error.diag.message_primary])
    conn.rollback()
    conn.execute("SAVEPOINT one")
    conn.execute("ROLLBACK TO one")
    conn.commit()
    conn.close()


def pgcli():
    """What pgcli asks for its completions, and how it runs what is typed."""
    from pgcli.pgexecute import PGExecute
    from pgspecial.main import PGSpecial

    special = PGSpecial()
    url = urllib.parse.urlsplit(URL)
    asks = PGExecute(url.path[1:], url.username, urllib.parse.unquote(url.password), url.hostname, url.port, None)
    for name in ("search_path", "schemata", "tables", "views", "table_columns", "view_columns", "foreignkeys", "datatypes"):
        found = getattr(asks, name)()
        # Views, tables and columns of the system are many, and differ in none but those of the proxy's own schema.
        say(name, sorted(str(row) for row in found if "sqlveil" not in str(row) and row != "pg_toast"))
    say("functions", sorted({str(f) for f in asks.functions()})[:200])
    say("explain", asks.explain_prefix())
    for typed in ["\\d customer", "\\dt", "\\dv", "\\di", "\\dT mood", "\\df abs", "SELECT * FROM region ORDER BY id", "SELECT 1; SELECT 2", "SELEC", "SELECT * FROM nowhere", "EXPLAIN SELECT * FROM region"]:
        for title, rows, headers, status, sql, success, _ in asks.run(typed, special, lambda error: str(error), True):
            say(typed, [str(title), [[str(v).replace("admin", "warehouse") for v in row] for row in rows or []] if typed != "EXPLAIN SELECT * FROM region" else success, headers, sorted(str(status).splitlines()), success])


async def sqlalchemy_asyncpg():
    from sqlalchemy import MetaData, inspect, select, text
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine("postgresql+asyncpg" + URL.removeprefix("postgresql"))
    async with engine.connect() as conn:
        tables = MetaData()
        await conn.run_sync(tables.reflect)
        say("reflected", sorted((t.name, sorted(f"{c.name} {c.type}" for c in t.columns), sorted(map(str, t.foreign_keys))) for t in tables.tables.values()))
        say("tables", await conn.run_sync(lambda c: sorted(inspect(c).get_table_names())))
        customer, region = tables.tables["customer"], tables.tables["region"]
        joined = select(customer.c.name, region.c.name).join(region).where(customer.c.id > 1).order_by(customer.c.id)
        say("a query", [list(row) for row in await conn.execute(joined)])
        rows = await conn.stream(text("SELECT id FROM sale ORDER BY id"))
        say("streamed", sum([row[0] async for row in rows]))
    await engine.dispose()


# What comes of the sequence of an identity column, which is not shown.
SEQUENCE = ("identity", "autoincrement")


def sqlalchemy():
    from sqlalchemy import MetaData, create_engine, inspect, select

    engine = create_engine("postgresql+psycopg2" + URL.removeprefix("postgresql"))
    look = inspect(engine)
    schemas = [s for s in look.get_schema_names() if s not in ("information_schema", "sqlveil")]
    say("schemas", schemas)
    for schema in schemas:
        say(f"{schema}: tables", sorted(look.get_table_names(schema)))
        say(f"{schema}: views", sorted(look.get_view_names(schema)))
        say(f"{schema}: sequences", sorted(look.get_sequence_names(schema)))
        say(f"{schema}: enums", look.get_enums(schema))
        for table in sorted(look.get_table_names(schema) + look.get_view_names(schema)):
            say(f"{schema}.{table}: columns", [[k, str(v)] for c in look.get_columns(table, schema) for k, v in sorted(c.items()) if k not in SEQUENCE])
            for what in ["pk_constraint", "foreign_keys", "indexes", "unique_constraints", "check_constraints", "table_comment"]:
                found = getattr(look, f"get_{what}")(table, schema)
                say(f"{schema}.{table}: {what}", sorted(map(str, found)) if isinstance(found, list) else str(found))
    tables = MetaData()
    tables.reflect(engine)
    say("reflected", sorted((t.name, sorted(c.name for c in t.columns), sorted(map(str, t.foreign_keys))) for t in tables.tables.values()))
    with engine.connect() as conn:
        customer, region = tables.tables["customer"], tables.tables["region"]
        joined = select(customer.c.name, region.c.name).join(region).order_by(customer.c.id)
        say("a query", [list(row) for row in conn.execute(joined)])


def odbc():
    """psqlodbc: the catalog functions that BI tools begin with, and rows of every type."""
    import pyodbc

    url = urllib.parse.urlsplit(URL)
    where = f"SERVER={url.hostname};PORT={url.port};DATABASE={url.path[1:]};UID={url.username};PWD={urllib.parse.unquote(url.password)}"
    for options in ("", ";UseServerSidePrepare=1;UseDeclareFetch=1;Fetch=2", ";ReadOnly=1;ByteaAsLongVarBinary=1;ShowSystemTables=0"):
        conn = pyodbc.connect("DRIVER={PostgreSQL Unicode};" + where + options, autocommit=True)
        cursor = conn.cursor()

        def rows(what, found):
            # The owner is in no column; a sequence is not shown.
            say(f"{options} {what}", [[str(v) for v in row] for row in found if "SEQUENCE" not in str(row) and "customer_id_seq" not in str(row)])

        for schema, tables in (("public", ("customer", "region", "sale", "rich", "totals")), ("more", ("Odd Name",))):
            rows("tables", cursor.tables(schema=schema).fetchall())
            for table in tables:
                rows(f"columns {table}", cursor.columns(table=table, schema=schema).fetchall())
                rows(f"primary keys {table}", cursor.primaryKeys(table=table, schema=schema).fetchall())
                rows(f"foreign keys {table}", sorted(cursor.foreignKeys(table=table, schema=schema).fetchall(), key=str))
                rows(f"statistics {table}", cursor.statistics(table=table, schema=schema).fetchall())
                rows(f"row id {table}", cursor.rowIdColumns(table=table, schema=schema).fetchall())
        rows("types", cursor.getTypeInfo().fetchall())
        rows("procedures", cursor.procedures(schema="public").fetchall())
        say("driver", [conn.getinfo(pyodbc.SQL_DBMS_NAME), conn.getinfo(pyodbc.SQL_DBMS_VER), conn.getinfo(pyodbc.SQL_DATABASE_NAME), conn.getinfo(pyodbc.SQL_USER_NAME)])
        for sql in STATEMENTS:
            try:
                rows(sql, cursor.execute(sql).fetchall())
            except pyodbc.Error as error:
                say(f"{options} {sql}", [str(part) for part in error.args])
        rows("parameters", cursor.execute("SELECT id, name FROM customer WHERE born < ? AND name <> ? AND id = ? ORDER BY id", datetime.date(2000, 1, 1), "x", 1).fetchall())
        conn.autocommit = False
        rows("in a transaction", cursor.execute("SELECT id FROM sale ORDER BY id LIMIT 9").fetchall())
        conn.commit()
        conn.close()


async def replanned():
    """asyncpg prepares again when a policy has changed what a statement gives; the test writes a line when it has."""
    import asyncpg as driver

    conn = await driver.connect(URL)
    sql = "SELECT * FROM customer WHERE id = $1"
    for _ in range(7):
        first = await conn.fetchrow(sql, 1)
    print("\t".join(first.keys()), flush=True)
    input()
    again = await conn.fetchrow(sql, 1)
    print("\t".join(again.keys()), flush=True)
    await conn.close()


def timeouts():
    """What the server ends by its own clock."""
    import time

    import psycopg as driver

    for setting in ("idle_session_timeout", "idle_in_transaction_session_timeout"):
        conn = driver.connect(URL, autocommit=True)
        conn.execute(f"SET {setting} = 100")
        if setting != "idle_session_timeout":
            conn.execute("BEGIN")
            conn.execute("SELECT 1")
        time.sleep(0.5)
        try:
            conn.execute("SELECT 1")
        except driver.Error as error:
            say(setting, [error.sqlstate, error.diag.message_primary, conn.closed])
    conn = driver.connect(URL, options="-c statement_timeout=150 -c work_mem=8MB -c DateStyle=German", application_name="optional")
    say("options", [conn.execute(f"SHOW {name}").fetchone() for name in ("statement_timeout", "work_mem", "DateStyle", "application_name")])


def metadata():
    """Every column that SQLAlchemy finds."""
    from sqlalchemy import create_engine, inspect

    look = inspect(create_engine("postgresql+psycopg2" + URL.removeprefix("postgresql")))
    for schema in look.get_schema_names():
        if schema not in ("information_schema", "sqlveil"):
            for table in look.get_table_names(schema) + look.get_view_names(schema):
                for column in look.get_columns(table, schema):
                    print(f"{schema}.{table}.{column['name']}")


CLIENTS = {
    "asyncpg": lambda: asyncio.run(asyncpg()),
    "metadata": metadata,
    "odbc": odbc,
    "pgcli": pgcli,
    "psycopg": psycopg,
    "psycopg2": psycopg2,
    "replanned": lambda: asyncio.run(replanned()),
    "sqlalchemy": sqlalchemy,
    "sqlalchemy+asyncpg": lambda: asyncio.run(sqlalchemy_asyncpg()),
    "timeouts": timeouts,
}
CLIENTS[CLIENT]()
print("done")
