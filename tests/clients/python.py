"""What Python's drivers and SQLAlchemy say of a database, one line for each question. Run by python.rs against the warehouse itself and
through the proxy, which must come to the same. The environment says which driver (CLIENT) and where (URL)."""

import asyncio
import datetime
import decimal
import json
import os
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
            say(f"{schema}.{table}: columns", [[k, str(v)] for c in look.get_columns(table, schema) for k, v in sorted(c.items())])
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


{"psycopg2": psycopg2, "asyncpg": lambda: asyncio.run(asyncpg()), "sqlalchemy": sqlalchemy}[CLIENT]()
print("done")
