//! A table with a column of each common type: ordinary values, extreme ones, NULLs.

/// Makes and fills `kinds`; its key is `i4` = 1, 2, 3.
pub const KINDS: &str = r#"
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
    CREATE TABLE kinds (b bool, i2 int2, i4 int4 PRIMARY KEY, i8 int8, f4 float4, f8 float8, n numeric(12,4), t text, v varchar(7),
        c char(5), y bytea, d date, ti time(2), tz timetz, ts timestamp(3), tstz timestamptz, iv interval, u uuid, j json, jb jsonb,
        ip inet, cd cidr, mac macaddr, ia int4[], ta text[], r int4range, tr tstzrange, p point, m mood, ma mood[], bi bit(3),
        vb varbit(9), mo money, tsv tsvector, o oid, na name, ch "char", na2 numeric[], da date[], nr numrange, mr int4multirange);
    INSERT INTO kinds VALUES
        (true, -7, 1, 9007199254740993, 1.5, -0.1, 12345.6789, 'Zoë ß', 'seven', 'abc', '\x00ff10', '2024-02-29', '12:34:56.78',
         '12:34:56+02', '2001-02-03 04:05:06.789', '2001-02-03 04:05:06+00', '1 mon 2 days 03:04:05.6',
         'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": [1, 2.50]}', '{"b": null, "a": 1}', '10.1.2.3/24', '10.1.0.0/16',
         '08:00:2b:01:02:03', '{1,NULL,3}', '{"a b",NULL,"c\"d"}', '[2,7)', '[2001-01-01 00:00+00,)', '(1.5,-2)', 'ok',
         '{sad,happy}', '101', '10101', 12.34, 'fat:2 cat:1', 42, 'a name', 'x', '{1.50,NaN}', '{2020-01-01,infinity}',
         '(0.5,1e10]', '{[1,3),[7,9)}'),
        (false, 32767, 2, -1, 'NaN', 'Infinity', 'NaN', '', '', '', '', 'infinity', '00:00', '00:00-11', '-infinity', 'infinity',
         '-1 year', '00000000-0000-0000-0000-000000000000', 'null', '[]', '::1', '::/0', 'ff:ff:ff:ff:ff:ff', '{}', '{}', 'empty',
         '(,)', '(0,0)', 'sad', '{}', '000', '', -1, '', 0, '', '', '{}', '{}', 'empty', '{}');
    INSERT INTO kinds (i4) VALUES (3);
"#;
