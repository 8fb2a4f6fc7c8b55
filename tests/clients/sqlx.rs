//! sqlx: prepared statements with binary values, arrays, transactions, streams, what it asks of statements (`describe`), and pools.

use crate::stage::{both, differences};
use futures_util::TryStreamExt;
use sqlx::postgres::{PgPoolOptions, PgRow};
use sqlx::{Column, Connection, Executor, PgConnection, Row, TypeInfo};

fn text(row: &PgRow) -> String {
    let value = |i: usize| -> String {
        let name = row.column(i).type_info().name().to_owned();
        let shown = match name.as_str() {
            "INT4" => row.get::<Option<i32>, _>(i).map(|v| v.to_string()),
            "INT8" => row.get::<Option<i64>, _>(i).map(|v| v.to_string()),
            "BOOL" => row.get::<Option<bool>, _>(i).map(|v| v.to_string()),
            "TEXT[]" => row.get::<Option<Vec<Option<String>>>, _>(i).map(|v| format!("{v:?}")),
            "INT4[]" => row.get::<Option<Vec<Option<i32>>>, _>(i).map(|v| format!("{v:?}")),
            "BYTEA" => row.get::<Option<Vec<u8>>, _>(i).map(|v| format!("{v:?}")),
            "TEXT" | "VARCHAR" | "NAME" => row.get::<Option<String>, _>(i),
            other => Some(format!("of type {other}")),
        };
        format!("{} {name} {shown:?}", row.column(i).name())
    };
    (0..row.columns().len()).map(value).collect::<Vec<_>>().join(", ")
}

async fn asked(url: &str) -> Result<Vec<String>, sqlx::Error> {
    let mut said = Vec::new();
    let mut connection = PgConnection::connect(url).await?;
    for sql in [
        "SELECT id, name, region_id, tags, photo, balance, doc, feels, home, floor, span FROM customer ORDER BY id",
        "SELECT * FROM region ORDER BY id",
        "SELECT count(*), array_agg(id ORDER BY id) FROM customer",
        "SELECT 1/0",
        "SELECT * FROM nowhere",
    ] {
        match sqlx::query(sql).fetch_all(&mut connection).await {
            Ok(rows) => said.extend(rows.iter().map(text)),
            Err(error) => {
                let error = error.into_database_error().map(|e| (e.code().map(|c| c.into_owned()), e.to_string()));
                said.push(format!("{sql}: {error:?}"));
            }
        }
        let described = (&mut connection).describe(sql).await;
        said.push(format!(
            "{:?}",
            described
                .map(|d| {
                    let columns =
                        d.columns.iter().map(|c| format!("{} {}", c.name(), c.type_info())).collect::<Vec<_>>();
                    (columns, d.nullable)
                })
                .map_err(|e| e.to_string())
        ));
    }
    let found = sqlx::query(
        "SELECT id, name FROM customer WHERE name = ANY($1) AND region_id < $2 AND born IS NOT NULL ORDER BY id",
    )
    .bind(vec!["Ann".to_owned(), "Bob".to_owned()])
    .bind(2)
    .fetch_all(&mut connection)
    .await?;
    said.extend(found.iter().map(text));
    // More statements than its cache holds, so that some are closed.
    for n in 0..120 {
        let row = sqlx::query(&format!("SELECT {n} + id FROM region WHERE id = $1"))
            .bind(1)
            .fetch_one(&mut connection)
            .await?;
        said.push(text(&row));
    }
    let mut transaction = connection.begin().await?;
    let sum = sqlx::query_scalar::<_, i64>("SELECT id FROM sale ORDER BY id")
        .fetch(&mut *transaction)
        .try_fold(0, |sum, id| async move { Ok(sum + id) })
        .await?;
    said.push(format!("sum {sum}"));
    let mut inner = transaction.begin().await?;
    said.push(format!("{:?}", sqlx::query("SELECT 1/0").execute(&mut *inner).await.map_err(|e| e.to_string())));
    inner.rollback().await?;
    said.push(text(&sqlx::query("SELECT 1 AS one").fetch_one(&mut *transaction).await?));
    transaction.commit().await?;
    let copied =
        connection.copy_out_raw("COPY (SELECT id, name FROM region ORDER BY id) TO STDOUT (FORMAT csv)").await?;
    said.push(format!("{:?}", copied.try_collect::<Vec<_>>().await?.concat()));
    connection.close().await?;
    let pool = PgPoolOptions::new().max_connections(3).connect(url).await?;
    let many = (0..12).map(|n| {
        let pool = pool.clone();
        tokio::spawn(async move {
            sqlx::query_scalar::<_, i32>("SELECT $1 + id FROM region WHERE id = 2").bind(n).fetch_one(&pool).await
        })
    });
    for one in many {
        said.push(format!("{:?}", one.await.map(|r| r.map_err(|e| e.to_string())).map_err(|e| e.to_string())));
    }
    pool.close().await;
    Ok(said)
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlx() {
    let both = both().await;
    let [direct, proxied] = both.urls();
    let (direct, proxied) = (asked(&direct).await.unwrap(), asked(&proxied).await.unwrap());
    assert!(direct.len() > 140, "{direct:#?}");
    let wrong = differences(&[direct, proxied], &[]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
