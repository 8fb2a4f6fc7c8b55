//! tokio-postgres through the proxy.

use crate::support::{ANYONE, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_with_parameters_in_binary() {
    let stage = Stage::new()
        .await
        .sql("CREATE TABLE points (id int PRIMARY KEY, label text); INSERT INTO points SELECT i, 'p' || i FROM generate_series(1, 9) i")
        .await
        .sources(&[("points", "{}")])
        .user("ana", &[], &[])
        .policy(ANYONE)
        .start()
        .await;
    let client = stage.client("ana").await;
    let statement = client.prepare("SELECT label FROM points WHERE id = $1").await.unwrap();
    for id in [3, 5] {
        let row = client.query_one(&statement, &[&id]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), format!("p{id}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_28p01() {
    let stage = Stage::new().await.user("ana", &[], &[]).start().await;
    let database = stage.database().to_owned();
    for (user, password) in [("ana", "wrong"), ("nobody", "wrong")] {
        let error = stage.try_client(user, password, &database).await.err().unwrap();
        assert_eq!(error.code().map(|code| code.code()), Some("28P01"), "{error:?}");
    }
}
