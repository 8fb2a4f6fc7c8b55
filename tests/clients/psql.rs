//! psql: every backslash command that reads, on both ways.

use crate::stage::both;

/// Of relations and what belongs to them: the same on both ways.
const SAME: &[&str] = &[
    "\\d region",
    "\\d customer",
    "\\d+ customer",
    "\\d sale",
    "\\d+ sale",
    "\\d sale_2024",
    "\\d rich",
    "\\d totals",
    "\\d more.*",
    "\\d customer_pkey",
    "\\d customer_rich",
    "\\dt region",
    "\\dT mood",
    "\\dT+ mood",
    "\\dD",
    "\\d place",
    "\\da sum",
    "\\dA",
    "\\dAc btree int4",
    "\\dC int4",
    "\\df abs",
    "\\df+ lower",
    "\\dF english",
    "\\dFp",
    "\\dFt",
    "\\dO C",
    "\\do =",
    "\\dL",
    "\\dy",
    "\\dX",
    "\\dconfig jit",
    "\\sf abs(int)",
    "SELECT * FROM customer ORDER BY id \\gdesc",
    "SELECT * FROM region ORDER BY id \\gx",
    "\\copy region TO stdout",
    "\\encoding",
];

/// Those that name owners, databases or others of the server: they answer.
const ANSWER: &[&str] = &[
    "\\d",
    "\\d+",
    "\\dt+ *.*",
    "\\dn+",
    "\\di+",
    "\\dv",
    "\\dm",
    "\\ds",
    "\\dp",
    "\\ddp",
    "\\drds",
    "\\du+",
    "\\dg",
    "\\l+",
    "\\db",
    "\\dx",
    "\\dRp",
    "\\dRs",
    "\\des",
    "\\det",
    "\\deu",
    "\\dew",
    "\\dP",
    "\\dd",
    "\\dc",
    "\\dAf",
    "\\dAo",
    "\\dAp",
    "\\dconfig",
    "\\dl",
    "\\conninfo",
    "\\dtS",
    "\\dfS pg_get*",
    "\\z customer",
];

#[tokio::test(flavor = "multi_thread")]
async fn backslash_commands() {
    let both = both().await;
    let role = both.role();
    let mut wrong = Vec::new();
    wrong.extend(SAME.iter().filter_map(|command| both.same_psql(&["-c", command])));
    for command in ANSWER {
        let (direct, proxied) =
            (both.proxy.direct_psql(&role, &["-c", command]), both.proxy.psql(&role, &["-c", command]));
        if !(direct.ok && proxied.ok) {
            wrong.push(format!("{command}\ndirect:  {}\nproxied: {}", direct.err, proxied.err));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
