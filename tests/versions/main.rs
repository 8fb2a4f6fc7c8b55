//! The proxy before a real server of each version that is served: what is seen, what is hidden and what is refused is the same everywhere,
//! and what a version brings of its own is enforced or refused.
//!
//! `make test-versions` runs further test programs on each of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../leak/wire.rs"]
#[allow(dead_code)]
mod wire;

mod alike;
mod catalog;
mod engines;
mod psql;
mod syntax;
mod world;

/// The tests of each version, by its name. Those in between take as long as the others and are run by `make test-versions`.
macro_rules! versions {
    ($($name:ident $major:literal $(#[$marked:meta])?),*) => {$(
        mod $name {
            #[test]
            $(#[$marked])?
            fn policies_show_what_they_show_elsewhere() {
                super::alike::reads($major);
            }
            #[test]
            $(#[$marked])?
            fn writes_do_what_they_do_elsewhere() {
                super::alike::writes($major);
            }
            #[test]
            $(#[$marked])?
            fn the_whole_virtual_catalog_is_read_and_tells_nothing() {
                super::catalog::whole($major);
            }
            #[test]
            $(#[$marked])?
            fn its_functions_are_those_of_its_list() {
                super::catalog::functions($major);
            }
            #[test]
            $(#[$marked])?
            fn one_that_was_altered_is_refused() {
                super::engines::altered($major);
                super::engines::replaced($major);
            }
            #[test]
            $(#[$marked])?
            fn psql_looks_around() {
                super::psql::looks($major);
            }
            #[test]
            $(#[$marked])?
            fn what_it_brings_of_its_own_leaks_nothing() {
                super::syntax::of($major);
            }
        }
    )*};
}

versions!(
    postgresql_13 13,
    postgresql_14 14 #[ignore = "make test-versions"],
    postgresql_15 15 #[ignore = "make test-versions"],
    postgresql_16 16 #[ignore = "make test-versions"],
    postgresql_17 17 #[ignore = "make test-versions"],
    postgresql_18 18
);

/// A version that is served and not tested would be noticed here.
#[test]
fn every_version_is_among_them() {
    assert_eq!(support::MAJORS, [13, 14, 15, 16, 17, 18]);
    let lists = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/catalog/manifest")).unwrap().count();
    assert_eq!(lists, support::MAJORS.len());
}
