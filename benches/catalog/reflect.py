"""Times SQLAlchemy's reflection on every way in turn. Arguments: how often, then pairs of a way's name and its URL."""

import sys
import time

import sqlalchemy
from sqlalchemy.engine.reflection import ObjectKind

SCHEMA = "s3"


def names(engine):
    return len(sqlalchemy.inspect(engine).get_table_names(SCHEMA))


def columns(engine):
    found = sqlalchemy.inspect(engine).get_multi_columns(schema=SCHEMA, kind=ObjectKind.ANY)
    return sum(len(of) for of in found.values())


def reflect(engine):
    metadata = sqlalchemy.MetaData()
    metadata.reflect(engine, schema=SCHEMA)
    return len(metadata.tables)


def main():
    rounds, *rest = sys.argv[1:]
    ways = [(way, sqlalchemy.create_engine(url)) for way, url in zip(rest[::2], rest[1::2])]
    for _, engine in ways:
        engine.connect().close()
    for what, ask in [("get_table_names", names), ("get_multi_columns", columns), ("reflect", reflect)]:
        for _ in range(int(rounds)):
            for way, engine in ways:
                begin = time.monotonic()
                count = ask(engine)
                print(f"SQLAlchemy {what}", way, (time.monotonic() - begin) * 1000, count, sep="\t", flush=True)


main()
