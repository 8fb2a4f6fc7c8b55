//! An OpenLDAP server: entries, groups, groups in groups.

use crate::gate::Gate;
use crate::papers::Papers;
use crate::stage::{BY_MEMBER, BY_MEMBER_OF, ldap, ldap_directory, ldap_with, nothing, people, refused, sees};

const EVERYBODY: [&str; 5] = ["ana", "bob", "tom", "cyc", "kim"];

/// Staff of the identity file has the city Bonn, which members inherit whoever says that they are members.
#[tokio::test(flavor = "multi_thread")]
async fn groups_in_groups_and_attributes_decide_and_circles_end() {
    let papers = Papers::new();
    let slapd = ldap(&papers, "");
    for how in [BY_MEMBER, BY_MEMBER_OF] {
        let running = people(&EVERYBODY).await.config(&ldap_directory(&papers, slapd.port, how)).start().await;
        for (user, cities) in [
            ("ana", Some("ana: Bonn Oslo")),
            ("bob", Some("bob: Bonn Rome")),
            ("tom", Some("tom: Bonn Rome")),
            ("cyc", Some("cyc: Bonn Oslo")),
            ("kim", None),
        ] {
            let client = running.client(user).await;
            let wanted = cities.map_or_else(nothing, |cities| Ok(cities.to_owned()));
            assert_eq!(sees(&client).await, wanted, "{user} by {how}");
            assert_eq!(client.simple_query("SELECT * FROM pay").await.is_ok(), user == "bob", "{user} by {how}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_in_groups_count_only_where_they_are_to() {
    let papers = Papers::new();
    let slapd = ldap(&papers, "");
    for how in ["search: {base: \"ou=groups,dc=example,dc=org\"}", "member_of: memberOf"] {
        let how = format!("groups: {{{how}, nested: false}}");
        let running = people(&EVERYBODY).await.config(&ldap_directory(&papers, slapd.port, &how)).start().await;
        assert_eq!(sees(&running.client("ana").await).await.unwrap(), "ana: Bonn");
        for user in ["tom", "cyc", "kim"] {
            assert_eq!(sees(&running.client(user).await).await, nothing(), "{user} by {how}");
        }
    }
}

/// Over TLS, with the certificate checked; the entry named by the server's `bind_dn`; groups by login name, as POSIX groups have it.
#[tokio::test(flavor = "multi_thread")]
async fn over_tls_by_the_entrys_name_and_by_posix_groups() {
    let papers = Papers::new();
    let posix = "\ndn: cn=Staff,ou=people,dc=example,dc=org\nobjectClass: posixGroup\ncn: Staff\ngidNumber: 1\nmemberUid: kim\n";
    let slapd = ldap(&papers, posix);
    let password = papers.write("reader", "reader's password").display().to_string();
    let config = |host: &str| {
        format!(
            "ldap:\n  corp: {{url: \"ldaps://{host}:{}\", ca: {}, bind_dn: \"uid={{user}},ou=people,dc=example,dc=org\"}}\n\
             directories:\n  corp:\n    kind: ldap\n    server: corp\n    bind_dn: cn=reader,dc=example,dc=org\n    \
             password: {{file: {password}}}\n    \
             groups: {{search: {{base: \"ou=people,dc=example,dc=org\", filter: \"(memberUid={{user}})\"}}}}\n    \
             attributes: {{city: l}}\n",
            slapd.tls_port,
            papers.folder().join("ca.crt").display()
        )
    };
    let running = people(&["ana", "kim"]).await.config(&config("localhost")).start().await;
    assert_eq!(sees(&running.client("kim").await).await.unwrap(), "kim: Bonn Oslo");
    assert_eq!(sees(&running.client("ana").await).await, nothing());
    // The certificate is for localhost and 127.0.0.1 only.
    let elsewhere = people(&["kim"]).await.config(&config("127.0.0.2")).start().await;
    assert_eq!(refused(&elsewhere, "kim").await.0, "57P03");
}

/// OpenLDAP gives 500 entries, where it is not told otherwise, and says that it is a part.
#[tokio::test(flavor = "multi_thread")]
async fn long_answers_come_in_pages_and_cut_ones_are_refused() {
    let papers = Papers::new();
    let group = |name: &str, folder: &str| {
        format!(
            "\ndn: cn={name},ou={folder},dc=example,dc=org\nobjectClass: groupOfNames\ncn: {name}\n\
             member: uid=kim,ou=people,dc=example,dc=org\n"
        )
    };
    // The last of them matters.
    let mut more: String = (0..700).map(|n| group(&format!("g{n}"), "groups")).collect();
    more.push_str(&group("Staff", "people"));
    let how = "groups: {search: {base: \"dc=example,dc=org\"}, nested: false}";
    let cut = ldap(&papers, &more);
    let running = people(&["kim", "ana"]).await.config(&ldap_directory(&papers, cut.port, how)).start().await;
    assert_eq!(refused(&running, "kim").await.0, "57P03");
    // That is about him and nobody else.
    assert_eq!(sees(&running.client("ana").await).await.unwrap(), "ana: Bonn");
    let limits = "limits dn.exact=\"cn=reader,dc=example,dc=org\" size.soft=500 size.hard=500 size.prtotal=unlimited\n";
    let whole = ldap_with(&papers, &more, limits);
    let running = people(&["kim"]).await.config(&ldap_directory(&papers, whole.port, how)).start().await;
    assert_eq!(sees(&running.client("kim").await).await.unwrap(), "kim: Bonn");
}

/// Deeper than anybody means, or a chain somebody made to keep the proxy busy.
#[tokio::test(flavor = "multi_thread")]
async fn groups_nested_too_deeply_are_refused_and_deeply_nested_ones_are_not() {
    let papers = Papers::new();
    let chain = |name: &str, user: &str, length: usize| -> String {
        let member = |n: usize| match n {
            0 => format!("uid={user},ou=people"),
            n => format!("cn={name}{},ou=groups", n - 1),
        };
        let group = |n: usize| {
            let called = if n + 1 == length { "Staff" } else { "Link" };
            format!(
                "\ndn: cn={name}{n},ou=groups,dc=example,dc=org\nobjectClass: groupOfNames\ncn: {name}{n}\nou: {called}\n\
                 member: {},dc=example,dc=org\n",
                member(n)
            )
        };
        (0..length).map(group).collect()
    };
    let slapd = ldap(&papers, &format!("{}{}", chain("a", "kim", 16), chain("b", "tom", 18)));
    let how = "groups: {search: {base: \"ou=groups,dc=example,dc=org\", filter: \"(&(ou=*)(member={dn}))\"}, name: ou}";
    let running = people(&["kim", "tom"]).await.config(&ldap_directory(&papers, slapd.port, how)).start().await;
    assert_eq!(sees(&running.client("kim").await).await.unwrap(), "kim: Bonn");
    assert_eq!(refused(&running, "tom").await.0, "57P03");
}

/// What he may not see of a group keeps the proxy from knowing its name: that is about its members and nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_cannot_be_read_concerns_its_members() {
    let papers = Papers::new();
    let hidden = "cn=Hidden,ou=groups,dc=example,dc=org";
    let more = format!(
        "\ndn: {hidden}\nobjectClass: groupOfNames\ncn: Hidden\nmember: uid=zoe,ou=people,dc=example,dc=org\n\n\
         dn: uid=zoe,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: zoe\ncn: zoe\nsn: zoe\nmemberOf: {hidden}\n"
    );
    for rule in ["by * none", "by * disclose"] {
        let slapd = ldap_with(&papers, &more, &format!("access to dn.exact=\"{hidden}\" {rule}\n"));
        let config = ldap_directory(&papers, slapd.port, BY_MEMBER_OF);
        let running = people(&["zoe", "ana", "bob"]).await.config(&config).start().await;
        let ana = running.client("ana").await;
        assert_eq!(refused(&running, "zoe").await.0, "57P03", "{rule}");
        assert_eq!(sees(&running.client("bob").await).await.unwrap(), "bob: Bonn Rome", "{rule}");
        assert_eq!(sees(&ana).await.unwrap(), "ana: Bonn Oslo", "{rule}");
    }
}

/// A reference leads nowhere: neither is it followed, nor does it spoil the rest of the answer.
#[tokio::test(flavor = "multi_thread")]
async fn references_are_not_followed() {
    let papers = Papers::new();
    let elsewhere = Gate::to(1).await;
    let more = format!(
        "\ndn: ou=Elsewhere,ou=groups,dc=example,dc=org\nobjectClass: referral\nobjectClass: extensibleObject\nou: Elsewhere\n\
         ref: ldap://127.0.0.1:{}/ou=groups,dc=example,dc=org\n",
        elsewhere.port
    );
    let slapd = ldap(&papers, &more);
    let running = people(&["ana", "tom"]).await.config(&ldap_directory(&papers, slapd.port, BY_MEMBER)).start().await;
    assert_eq!(sees(&running.client("ana").await).await.unwrap(), "ana: Bonn Oslo");
    assert_eq!(sees(&running.client("tom").await).await.unwrap(), "tom: Bonn Rome");
    assert_eq!(elsewhere.passed(), 0);
}

/// By entry or by login name, in one filter.
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_may_name_both_the_entry_and_the_login() {
    let papers = Papers::new();
    let posix = "\ndn: gidNumber=1,ou=groups,dc=example,dc=org\nobjectClass: posixGroup\ncn: Staff\ngidNumber: 1\nmemberUid: kim\n";
    let slapd = ldap(&papers, posix);
    let how =
        "groups: {search: {base: \"ou=groups,dc=example,dc=org\", filter: \"(|(member={dn})(memberUid={user}))\"}}";
    let running = people(&["kim", "tom"]).await.config(&ldap_directory(&papers, slapd.port, how)).start().await;
    assert_eq!(sees(&running.client("kim").await).await.unwrap(), "kim: Bonn");
    assert_eq!(sees(&running.client("tom").await).await.unwrap(), "tom: Bonn");
}
