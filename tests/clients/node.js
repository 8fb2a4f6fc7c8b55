// What node-postgres says of a database, one line for each question: run by node.rs, on the bare warehouse and through the proxy.
'use strict';
const { Client, Pool } = require('pg');

const url = process.env.URL;
const STATEMENTS = [
  ['SELECT * FROM region ORDER BY id'],
  ['SELECT id, name, balance, born, tags, doc, feels, floor, token, seen, span, photo, home FROM customer ORDER BY id'],
  ['SELECT count(*), max(amount) FROM sale WHERE sold > $1', ['2024-06-01']],
  ['SELECT name FROM customer WHERE id = ANY($1) AND born < $2', [[1, 2], new Date(Date.UTC(2000, 0, 1))]],
  ['SELECT $1::jsonb AS j, $2::text[] AS t, $3::bytea AS b, $4::int AS n', [{ a: 1 }, ['x', null, 'y "z"'], Buffer.from([0, 255]), null]],
  ['SELECT * FROM rich'],
  ['SELECT region_id, customers FROM totals ORDER BY 1'],
  ['SELECT "a b" FROM more."Odd Name"'],
  ['SELECT 1/0'],
  ['SELECT * FROM nowhere'],
  ['SELECT $1::int', ['x']],
  ['SELECT 1 AS a; SELECT 2 AS b, 3 AS c'],
  [''],
];

function say(what, answer) {
  console.log(`${what}\t${JSON.stringify(answer)}`);
}

function told(result) {
  return [].concat(result).map((r) => ({ command: r.command, count: r.rowCount, rows: r.rows, types: r.fields.map((f) => [f.name, f.dataTypeID, f.dataTypeSize, f.format]) }));
}

async function main() {
  const client = new Client({ connectionString: url, application_name: 'node', statement_timeout: 10000 });
  const notices = [];
  client.on('notice', (notice) => notices.push(notice.message));
  await client.connect();
  for (const [text, values] of STATEMENTS) {
    try {
      say(text, told(await client.query(text, values)));
      if (values) {
        const named = { name: `n${text.length}`, text, values };
        await client.query(named);
        say(`${text} (named)`, told(await client.query(named)));
      }
    } catch (error) {
      say(text, [error.code, error.message, error.position, error.hint, error.severity]);
    }
  }
  say('arrays', (await client.query({ text: 'SELECT id, name FROM region ORDER BY 1', rowMode: 'array' })).rows);
  const waiting = [1, 2, 3, 4, 5].map((n) => client.query('SELECT $1::int AS n', [n]));
  say('queued', (await Promise.all(waiting)).map((r) => r.rows));
  await client.query('BEGIN');
  await client.query("SET LOCAL TimeZone = 'Asia/Tokyo'");
  say('in a transaction', (await client.query("SELECT current_setting('TimeZone')")).rows);
  await client.query('ROLLBACK');
  say('notices', notices);
  await client.end();
  const pool = new Pool({ connectionString: url, max: 3 });
  const all = await Promise.all([...Array(20).keys()].map((n) => pool.query('SELECT $1::int AS n', [n])));
  say('pool', all.map((r) => r.rows[0].n));
  await pool.end();
  console.log('done');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
