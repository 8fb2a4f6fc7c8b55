//! Names that would be more than names, or somebody else's.

use crate::papers::Papers;
use crate::stage::{BY_MEMBER, BY_MEMBER_OF, Database, database_port, ldap, ldap_directory, nothing, people, sees};
use crate::support::PASSWORD;

/// All of them are users here and can log in; none of them is anybody in the directories.
const NAMES: [&str; 24] = [
    "*",
    "an*",
    "ana)(uid=*",
    "*)(uid=ana",
    "x)(|(uid=ana",
    "ana)(|(uid=*",
    "\\61na",
    "ana\\",
    "{user}",
    "{dn}",
    "ana,ou=people",
    "cn=reader",
    // LDAP finds these to be ana: the case, blanks, forms of letters.
    "ANA",
    "Ana",
    " ana",
    "ana ",
    "\u{ff41}na",
    "an\u{aa}",
    // SQL.
    "ana' OR '1'='1",
    "ana'; DROP TABLE hr.staff; --",
    "' UNION SELECT 'Staff",
    "$1",
    "ana\\' OR 1=1 --",
    "%",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_a_value_and_nobody_elses() {
    let (papers, hr) = (Papers::new(), Database::new().await);
    let slapd = ldap(&papers, "");
    for how in [BY_MEMBER, BY_MEMBER_OF] {
        let hr = hr.directory(&papers, "hr", database_port(), "    iam: corp\n");
        let config = format!("{}{hr}", ldap_directory(&papers, slapd.port, how));
        let running = people(&NAMES).await.raw_user(&crate::stage::person("ana", "corp")).config(&config).start().await;
        for name in NAMES {
            let client = running.try_client(name, PASSWORD, running.database()).await;
            let client = client.unwrap_or_else(|error| panic!("{name}: {error:?}"));
            assert_eq!(sees(&client).await, nothing(), "{name} by {how}");
        }
        assert_eq!(sees(&running.client("ana").await).await.unwrap(), "ana: Bonn Oslo");
    }
    let staff: i64 = hr.admin.query_one("SELECT count(*) FROM hr.staff", &[]).await.unwrap().get(0);
    assert_eq!(staff, 3);
}

/// A database that finds names alike (`citext`, `lower`) makes nobody somebody else where it says who there is.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_finds_names_alike_is_held_to_the_letter() {
    let (papers, hr) = (Papers::new(), Database::new().await);
    let rest = "user: SELECT login FROM hr.staff WHERE lower(login) = lower($1)\n    \
                groups: SELECT team FROM hr.membership WHERE lower(login) = lower($1)\n    iam: corp\n";
    let directory = hr.directory(&papers, "hr", database_port(), rest);
    let running = people(&["ana", "ANA"]).await.config(&format!("directories:\n{directory}")).start().await;
    assert_eq!(sees(&running.client("ana").await).await.unwrap(), "ana: Bonn");
    assert_eq!(sees(&running.client("ANA").await).await, nothing());
}
