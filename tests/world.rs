//! Loading, publishing and reloading against a private PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sqlveil::cli::check;
use sqlveil::cli::demo::private_postgres::PrivatePostgres;
use sqlveil::config::Config;
use sqlveil::types::QualifiedName;
use sqlveil::world::{Outcome, Reloader, World, WorldHandle};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

static SERVER: LazyLock<PrivatePostgres> = LazyLock::new(|| PrivatePostgres::start().unwrap());

const OPEN: &str = "policyKey: open\nname: n\ntype: subscription\nactions: {type: anyone}\n";
const MASK: &str = "policyKey: mask\nname: n\ntype: data\nactions: [{rules: [{type: Masking, \
    config: {fields: [{type: allColumns}], maskingConfig: {type: Hash}}}]}]\n";
const DATA: &str = "connectionKey: main\nsources: [{table: t, schema: public}]\n";
const USERS: &str = "users:\n- name: ann\n  groups: [staff]\ngroups:\n- name: staff\n";

/// A folder with configuration and documents, and a database of its own.
struct Fixture {
    folder: tempfile::TempDir,
    admin: tokio_postgres::Client,
}

impl Fixture {
    async fn new(server: &PrivatePostgres, database: &str, refresh: &str) -> Self {
        let root = connect(server, "postgres").await;
        root.batch_execute(&format!("CREATE DATABASE {database}")).await.unwrap();
        let admin = connect(server, database).await;
        admin.batch_execute("CREATE TABLE t (id int PRIMARY KEY, name text)").await.unwrap();
        let fixture = Self { folder: tempfile::tempdir().unwrap(), admin };
        fixture.write("secret", "0123456789abcdef0123456789abcdef");
        fixture.write("password", server.password());
        for private in ["secret", "password"] {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(fixture.path(private), std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        fixture.write(
            "sqlveil.yaml",
            &format!(
                "governance: governance\nidentity: identity.yaml\nsecret: {{file: secret}}\ncatalog: {{refresh: {refresh}}}\n\
                 connections:\n  main: {{host: 127.0.0.1, port: {}, database: {database}, user: {}, password: {{file: password}}}}\n",
                server.port(),
                server.superuser(),
            ),
        );
        fixture.write("identity.yaml", USERS);
        fixture.write("governance/data/d.yaml", DATA);
        fixture.write("governance/policies/open.yaml", OPEN);
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        write(&self.path(name), text);
    }

    fn config(&self) -> Arc<Config> {
        Arc::new(Config::load(&self.path("sqlveil.yaml")).unwrap())
    }

    async fn start(&self) -> (WorldHandle, Reloader) {
        let (worlds, reloader) = Reloader::start(self.config()).await.unwrap_or_else(|p| panic!("{p:#?}"));
        (worlds.get("main").unwrap().clone(), reloader)
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

async fn connect(server: &PrivatePostgres, database: &str) -> tokio_postgres::Client {
    let (client, driver) = server.admin_config(database).connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(driver);
    client
}

/// Waits until the world in force satisfies `wanted`.
async fn until(handle: &WorldHandle, what: &str, wanted: impl Fn(&World) -> bool) -> Arc<World> {
    let end = Instant::now() + Duration::from_secs(15);
    while Instant::now() < end {
        let world = handle.load();
        if wanted(&world) {
            return world;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

/// Lets the time pass in which a wrong publish would come.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1200)).await;
}

fn columns(world: &World) -> usize {
    world.catalog.relations[&QualifiedName::new("public", "t")].columns.len()
}

fn users(world: &World) -> usize {
    world.directory.users().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_any_document_is_published_and_a_bad_one_is_not() {
    let fixture = Fixture::new(&SERVER, "documents", "1h").await;
    let (handle, reloader) = fixture.start().await;
    let first = handle.load();
    assert_eq!((first.version, columns(&first), users(&first)), (1, 2, 1));

    fixture.write("governance/policies/mask.yaml", MASK);
    let second = until(&handle, "a new policy", |w| w.version == 2).await;
    assert!(!Arc::ptr_eq(&first.ruleset, &second.ruleset));

    // A bad set: nothing of it comes into force, not even the good change beside it.
    fixture.write("identity.yaml", &USERS.replace("users:\n", "users:\n- name: bob\n"));
    fixture.write("governance/policies/mask.yaml", &MASK.replace("Hash", "Hsah"));
    let Outcome::Refused(problems) = reloader.reload_and_wait().await else { panic!("accepted") };
    assert!(problems.iter().any(|p| p.message.contains("Hsah") && p.origin.line == 4), "{problems:?}");
    settle().await;
    assert_eq!((handle.load().version, users(&handle.load())), (2, 1));

    // Mended: both changes come at once.
    fixture.write("governance/policies/mask.yaml", MASK);
    let third = until(&handle, "the mended set", |w| w.version > 2).await;
    assert_eq!((third.version, users(&third)), (3, 2));

    // Reading, touching and rewriting the same bytes changes nothing.
    std::fs::read(fixture.path("identity.yaml")).unwrap();
    fixture.write("governance/policies/mask.yaml", MASK);
    settle().await;
    assert_eq!(handle.load().version, 3);
    reloader.reload();
    until(&handle, "a reload on demand", |w| w.version == 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_files_new_folders_and_swapped_links_are_noticed() {
    let fixture = Fixture::new(&SERVER, "links", "1h").await;
    // governance → v1, as deployments do it.
    std::fs::rename(fixture.path("governance"), fixture.path("v1")).unwrap();
    std::os::unix::fs::symlink("v1", fixture.path("governance")).unwrap();
    let (handle, _reloader) = fixture.start().await;

    // An editor writes a new file and renames it over the old one.
    fixture.write("identity.tmp", &USERS.replace("users:\n", "users:\n- name: bob\n"));
    std::fs::rename(fixture.path("identity.tmp"), fixture.path("identity.yaml")).unwrap();
    until(&handle, "the renamed identity file", |w| users(w) == 2).await;

    // A folder that was not there, and a file in it, noticed in the second step too.
    let version = handle.load().version;
    fixture.write("v1/policies/more/mask.yaml", MASK);
    until(&handle, "a file in a new folder", |w| w.version > version).await;
    settle().await;
    let version = handle.load().version;
    fixture.write("v1/policies/more/mask.yaml", &MASK.replace("Hash", "\"Null\""));
    until(&handle, "a change in a new folder", |w| w.version > version).await;

    // The link is swapped for another folder, which is watched from then on.
    let version = handle.load().version;
    fixture.write("v2/data/d.yaml", DATA);
    fixture.write("v2/policies/open.yaml", OPEN);
    std::os::unix::fs::symlink("v2", fixture.path("next")).unwrap();
    std::fs::rename(fixture.path("next"), fixture.path("governance")).unwrap();
    until(&handle, "the swapped link", |w| w.version > version).await;
    settle().await;
    let version = handle.load().version;
    fixture.write("v2/policies/mask.yaml", MASK);
    until(&handle, "a change behind the new link", |w| w.version > version).await;

    // The folder of policies goes away: that is no set without policies.
    settle().await;
    let version = handle.load().version;
    std::fs::rename(fixture.path("v2/policies"), fixture.path("v2-policies")).unwrap();
    settle().await;
    assert_eq!(handle.load().version, version);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_is_followed_and_published_only_when_it_changed() {
    let fixture = Fixture::new(&SERVER, "drift", "1s").await;
    let (handle, _reloader) = fixture.start().await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(handle.load().version, 1, "nothing changed");
    fixture.admin.batch_execute("ALTER TABLE t ADD COLUMN extra int").await.unwrap();
    let world = until(&handle, "the new column", |w| columns(w) == 3).await;
    assert_eq!(world.version, 2);
    assert!(world.catalog.version > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_reloaded_while_the_warehouse_is_down_and_confirmed_when_it_is_back() {
    let server = tokio::task::spawn_blocking(|| PrivatePostgres::start().unwrap()).await.unwrap();
    let fixture = Fixture::new(&server, "down", "1h").await;
    let (handle, reloader) = fixture.start().await;
    let server = tokio::task::spawn_blocking(move || {
        server.pause().unwrap();
        server
    })
    .await
    .unwrap();
    fixture.write("identity.yaml", "users: []\n");
    let outcome = reloader.reload_and_wait().await;
    let Outcome::Published(warnings) = &outcome else { panic!("{outcome:?}") };
    assert!(warnings.iter().any(|p| p.message.contains("connection `main`")), "{warnings:?}");
    let world = handle.load();
    assert_eq!((users(&world), columns(&world)), (0, 2), "a revocation does not wait for the warehouse");
    let version = world.version;
    let _server = tokio::task::spawn_blocking(move || {
        server.resume().unwrap();
        server
    })
    .await
    .unwrap();
    until(&handle, "the confirmation", |w| w.version > version).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_set_does_not_start_and_check_tells_everything() {
    let fixture = Fixture::new(&SERVER, "bad", "1h").await;
    let verdict = |fixture: &Fixture| {
        let file = fixture.path("sqlveil.yaml");
        async move {
            let mut out = Vec::new();
            let good = check::run(&file, &mut out, false).await.unwrap();
            (good, String::from_utf8(out).unwrap())
        }
    };
    let (good, text) = verdict(&fixture).await;
    assert!(good, "{text}");
    assert!(text.trim_end().ends_with("1 policy, 1 user: 0 errors, 0 warnings"), "{text}");

    fixture.write("governance/grants/g.yaml", "{dataSource: public.t, user: nobody}\n");
    let (good, text) = verdict(&fixture).await;
    assert!(good && text.contains("the user `nobody` is not in the identity file"), "{text}");
    assert!(text.trim_end().ends_with("0 errors, 1 warning"), "{text}");

    // Mistakes of three kinds, and a warehouse that is not there, all at once.
    fixture.write("governance/policies/mask.yaml", &MASK.replace("Hash", "Hsah"));
    fixture.write("governance/data/e.yaml", "connectionKey: elsewhere\nsources: [{table: u, schema: public}]\n");
    fixture.write("identity.yaml", "users:\n- name: ann\n  age: 5\n");
    let config = std::fs::read_to_string(fixture.path("sqlveil.yaml")).unwrap();
    fixture.write("sqlveil.yaml", &config.replace(&format!("port: {}", SERVER.port()), "port: 1"));
    let (good, text) = verdict(&fixture).await;
    assert!(!good, "{text}");
    for wanted in [
        "`Hsah` is not a known masking type",
        "mask.yaml:4:",
        "did you mean `Hash`?",
        "`elsewhere` is not in the configuration",
        "age",
        "connection `main`",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    let problems = Reloader::start(fixture.config()).await.err().expect("must not start");
    assert!(problems.iter().filter(|p| p.is_error()).count() >= 4, "{problems:#?}");
}
