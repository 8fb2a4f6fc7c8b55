//! The virtual catalog of each version, whole: every relation of `pg_catalog` and `information_schema` is read by a restricted caller in two
//! databases that differ in what is hidden. And the functions of each version, held against its list.

use crate::support::server_of;
use crate::world::{login, look, runtime, twins};
use sqlveil::catalog::{Catalog, FunctionClass};

pub fn whole(major: u32) {
    let running = twins(major);
    let names: Vec<(String, Vec<String>, bool)> = runtime().block_on(async {
        let list = "SELECT c.oid::regclass::text, array_agg(a.attname::text ORDER BY a.attnum), has_table_privilege('service_twin_tame', c.oid, 'SELECT') FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
            WHERE c.relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) AND c.relkind IN ('r', 'v') AND a.attnum > 0 \
            AND NOT a.attisdropped GROUP BY c.oid ORDER BY 1";
        let admin = running[0].admin();
        admin.query(list, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
    });
    assert!(names.len() > 180, "{}", names.len());
    let mut wires = [login(&running[0], "ana"), login(&running[1], "ana")];
    let mut found = Vec::new();
    let mut shown = 0;
    for (name, columns, readable) in &names {
        let sql = format!("SELECT * FROM {name}");
        let [tame, wild] = [0, 1].map(|at| {
            let wire = &mut wires[at];
            let answer = wire.simple(&sql);
            look(wire, &sql);
            // What an ordinary login does not read directly: passwords, some tables that the standard's views are made of.
            if !readable && answer.code() == "42501" {
                return Vec::new();
            }
            assert_eq!(answer.message(), "", "{sql}");
            let described: Vec<String> = answer.columns().into_iter().map(|c| c.name).collect();
            assert_eq!(&described, columns, "{sql}");
            let database = running[at].database();
            let mut rows: Vec<String> = answer.rows().iter().map(|row| row.replace(database, "DATABASE")).collect();
            // The database itself has a number of its own.
            if name == "pg_database" {
                rows.iter_mut().for_each(|row| *row = row.split_once('|').unwrap().1.to_owned());
            }
            rows.sort();
            rows
        });
        shown += usize::from(!tame.is_empty());
        if tame != wild {
            let at = tame.iter().zip(&wild).position(|(t, w)| t != w).unwrap_or(tame.len().min(wild.len()));
            found.push(format!("{name}\n  tame: {:?}\n  wild: {:?}", tame.get(at), wild.get(at)));
        }
    }
    assert!(found.is_empty(), "{} differences\n{}", found.len(), found.join("\n"));
    assert!(shown > 50, "only {shown} relations show anything");
    // To a caller from whom nothing is hidden the two are different.
    let mut direct = [0, 1].map(|at| login(&running[at], "max"));
    let counts = direct.each_mut().map(|wire| wire.simple("SELECT count(*) FROM person").rows());
    assert_ne!(counts[0], counts[1]);
}

pub fn functions(major: u32) {
    runtime().block_on(async {
        let server = server_of(major);
        let root = sqlveil::cli::demo::warehouse::admin(server, "postgres").await.unwrap();
        let catalog = Catalog::load(&root).await.unwrap();
        assert_eq!(catalog.server_version / 10_000, major);
        assert!(catalog.unclassified.is_empty(), "{:#?}", catalog.unclassified);
        let mut here: Vec<String> = catalog
            .functions
            .iter()
            .flat_map(|(name, overloads)| {
                let class = match catalog.function_class(name) {
                    FunctionClass::Allowed => "allowed".to_owned(),
                    FunctionClass::Guarded => "guarded".to_owned(),
                    FunctionClass::Denied => "denied".to_owned(),
                    FunctionClass::Identity(i) => format!("identity {i:?}"),
                };
                let signature = |f| format!("{}  {class}", catalog.signature(name, f));
                overloads.iter().filter(|f| f.oid.0 < 16384).map(signature).collect::<Vec<_>>()
            })
            .collect();
        here.sort();
        let path = format!("{}/src/catalog/manifest/pg{major}.txt", env!("CARGO_MANIFEST_DIR"));
        let listed = std::fs::read_to_string(path).unwrap();
        let listed: Vec<String> = listed.lines().map(str::to_owned).collect();
        let added: Vec<_> = here.iter().filter(|line| !listed.contains(line)).collect();
        // A server built without something (LLVM, XML) may lack functions; one of a later minor release has none that is not listed.
        assert!(added.is_empty(), "{added:#?}");
        assert!(here.len() * 100 > listed.len() * 99, "{} of {}", here.len(), listed.len());
    });
    // What is on no list is denied, all functions of the name together.
    let changed = "SET allow_system_table_mods = on; UPDATE pg_proc SET provolatile = 'v' WHERE oid = 'pg_catalog.initcap(text)'::regprocedure";
    let running = runtime().block_on(async {
        let stage = crate::world::filled(server_of(major), "changed", crate::world::TAME).await;
        stage.sql(changed).await.start().await
    });
    let mut ana = login(&running, "ana");
    assert_eq!(ana.simple("SELECT initcap('a')").code(), "42501");
    assert_eq!(ana.simple("SELECT upper('a')").rows(), ["A"]);
}
