//! The rules, held against small crates that break them.

use std::path::Path;

use super::circles::circles;
use super::imports::House;
use super::source::{Sources, bare};
use super::{forbidden_imports, upward_imports};

/// A crate of files below `src`.
fn house(files: &[(&str, &str)]) -> House {
    let read = |(file, code): &(&str, &str)| (Path::new("src").join(file), bare(code));
    House::read(&files.iter().map(read).collect::<Sources>())
}

/// The line, the name and the defining file of everything that `file` imports from other files.
fn imported(house: &House, file: &str) -> Vec<(usize, String, String)> {
    let imports = house.between_files();
    let own = imports.filter(|(import, _)| import.from.ends_with(file));
    let told = own.map(|(import, file)| {
        let file = file.strip_prefix("src").unwrap().display().to_string();
        (import.line, import.name.clone(), file)
    });
    told.collect()
}

#[track_caller]
fn assert_imports(files: &[(&str, &str)], file: &str, expected: &[(usize, &str, &str)]) {
    let house = house(files);
    let expected = expected.iter();
    let expected = expected.map(|(line, name, file)| (*line, (*name).into(), (*file).into()));
    assert_eq!(imported(&house, file), expected.collect::<Vec<_>>());
    assert_eq!(house.lost, [""; 0]);
}

#[test]
fn paths_are_seen_wherever_they_stand() {
    let root = "
mod download; mod cli { mod args {} } mod engine {} mod event {}
mod error { fn x() {} struct Error; } use error::Error;
mod http { struct Body; } mod object { struct Plan; }
mod report { struct Report; } mod storage { struct Sink; struct Window; }
";
    let code = r##"
// use crate::cli::args;
use crate::http::{self, Body};
use crate::{Error, storage::{Sink, Window}, engine};
fn f<'a>(x: &'a crate::object::Plan) { let _ = "crate::report::Report"; let _ = r#"crate::event"#; }
let (a, b) = ('"', '\''); crate::error::x();
"##;
    let house = house(&[("lib.rs", root), ("download.rs", code)]);
    let own = house.imports.iter();
    let own = own.filter(|import| import.from.ends_with("download.rs"));
    let mut found = own
        .map(|it| (it.line, it.head.as_str()))
        .collect::<Vec<_>>();
    found.dedup();
    let expected = [
        (3, "http"),
        (4, "Error"),
        (4, "storage"),
        (4, "engine"),
        (5, "object"),
        (6, "error"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_way_out_by_super_is_seen() {
    let ways_out = |code: &str| {
        let root = "mod engine; mod http {} mod storage { struct Sink; }";
        let code = format!("{code} struct Client;");
        let house = house(&[
            ("lib.rs", root),
            ("engine/mod.rs", "mod client;"),
            ("engine/client.rs", &code),
        ]);
        assert_eq!(house.lost, [""; 0]);
        let heads = house.imports.into_iter().map(|import| import.head);
        heads.filter(|head| head != "engine").collect::<Vec<_>>()
    };
    assert_eq!(ways_out("use super::super::storage::Sink;"), ["storage"]);
    assert_eq!(ways_out("use super::client::Client;"), [""; 0]);
    assert_eq!(
        ways_out("fn f() {} mod tests { use super::super::client; }"),
        [""; 0]
    );
    assert_eq!(
        ways_out("mod tests { use super::super::super::http; }"),
        ["http"]
    );
}

#[test]
fn every_kind_of_file_knows_its_depth() {
    let house = house(&[
        ("lib.rs", "mod http; struct A0; fn f(_: self::A0) {}"),
        ("http/mod.rs", "mod client; use super::A0; struct A1;"),
        (
            "http/client.rs",
            "mod tests; use super::super::A0; use super::A1;",
        ),
        (
            "http/client/tests.rs",
            "use super::super::super::A0; use super::super::A1;",
        ),
    ]);
    assert_eq!(house.lost, [""; 0]);
    assert_eq!(house.files.len(), 4);
}

#[test]
fn a_re_export_leads_to_the_file_that_defines_the_name() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; pub use b::Deep as Public;"),
        (
            "a.rs",
            "use crate::b::Deep;
use crate::Public;
use crate::b::{All, own};
use crate::c::private;",
        ),
        (
            "b/mod.rs",
            "mod d; mod e; pub(crate) use d::Deep; pub use self::e::*; pub fn own() {}",
        ),
        ("b/d.rs", "pub struct Deep;"),
        ("b/e.rs", "pub enum All {}"),
        ("c.rs", "use crate::b::own as private;"),
    ];
    let expected = [
        (1, "Deep", "b/d.rs"),
        (2, "Deep", "b/d.rs"),
        (3, "All", "b/e.rs"),
        (3, "own", "b/mod.rs"),
        (4, "own", "b/mod.rs"),
    ];
    assert_imports(&files, "a.rs", &expected);
    assert_imports(&files, "c.rs", &[(1, "own", "b/mod.rs")]);
    assert_imports(&files, "b/mod.rs", &[]);
}

#[test]
fn a_path_through_a_module_leads_to_the_file_that_defines_the_name() {
    let files = [
        ("lib.rs", "mod a; mod b; mod http {}"),
        (
            "a.rs",
            "use crate::b; use tokio::sync;
fn f() { b::load(); sync::load(); x.b::<u8>(); }
fn g(x: A) -> b::d::Deep { A::b; http::Uri; }",
        ),
        (
            "b.rs",
            "mod d; pub use d::load;\nfn f() { d::load(); }\nfn g() -> [u8; 2] { [..d::END] }",
        ),
        (
            "b/d.rs",
            "pub fn load() {} pub struct Deep; const END: u8 = 1;",
        ),
    ];
    let expected = [(2, "load", "b/d.rs"), (3, "Deep", "b/d.rs")];
    assert_imports(&files, "a.rs", &expected);
    let expected = [(2, "load", "b/d.rs"), (3, "END", "b/d.rs")];
    assert_imports(&files, "b.rs", &expected);
}

#[test]
fn a_module_and_a_function_may_share_a_name() {
    let files = [
        (
            "lib.rs",
            "mod a; mod publish; pub use publish::{publish, Published};",
        ),
        (
            "a.rs",
            "use crate::publish::{self, Published};
use tempfile::tempfile;
fn f() { publish::sweep(); tempfile(); }",
        ),
        (
            "publish.rs",
            "pub fn publish() {} pub fn sweep() {} pub struct Published;",
        ),
    ];
    let expected = [
        (1, "publish", "publish.rs"),
        (1, "Published", "publish.rs"),
        (3, "sweep", "publish.rs"),
    ];
    assert_imports(&files, "a.rs", &expected);
}

#[test]
fn what_a_module_hands_on_is_an_import_when_it_uses_the_name() {
    let parent = "mod child; pub use child::Name;";
    let files = [("lib.rs", parent), ("child.rs", "pub struct Name;")];
    assert_imports(&files, "lib.rs", &[]);
    let parent = "mod child; pub use child::Name;\nfn f(_: Name) {}";
    let files = [("lib.rs", parent), ("child.rs", "pub struct Name;")];
    assert_imports(&files, "lib.rs", &[(2, "Name", "child.rs")]);
}

#[test]
fn a_path_that_leads_nowhere_is_told() {
    let house = house(&[("lib.rs", "mod a;"), ("a.rs", "\nuse crate::b::Gone;")]);
    assert_eq!(house.lost, ["src/a.rs:2: `crate::b::Gone`"]);
}

#[test]
fn a_circle_is_found() {
    let house = house(&[
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::B;\npub struct A;"),
        ("b.rs", "pub struct B(super::a::A);"),
        ("c.rs", "use crate::a::A;"),
    ]);
    let expected = "\
2 files import each other in a circle:
  src/a.rs:1 imports `B` from src/b.rs
  src/b.rs:1 imports `A` from src/a.rs
";
    assert_eq!(circles(&house), expected);
}

#[test]
fn a_circle_through_re_exports_and_a_third_file_is_found() {
    let house = house(&[
        ("lib.rs", "mod room; mod c; pub use room::A;"),
        ("room/mod.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
        ("room/a.rs", "use super::B;\npub struct A;"),
        (
            "room/b.rs",
            "\nuse crate::c;\npub struct B;\nfn f() { c::f() }",
        ),
        ("c.rs", "use crate::A;\npub fn f() {}"),
    ]);
    let expected = "\
3 files import each other in a circle:
  src/room/a.rs:1 imports `B` from src/room/b.rs
  src/room/b.rs:4 imports `f` from src/c.rs
  src/c.rs:1 imports `A` from src/room/a.rs
";
    assert_eq!(circles(&house), expected);
}

#[test]
fn tests_tie_no_circle() {
    let house = house(&[
        ("lib.rs", "mod a; mod b; #[cfg(test)] mod fake;"),
        (
            "a.rs",
            "pub struct A; #[cfg(test)] mod tests; #[cfg(test)] use crate::b::B;",
        ),
        ("a/tests.rs", "use super::*; use crate::b::B;"),
        (
            "b.rs",
            "use crate::a::A; pub struct B; #[cfg(test)] mod tests { use crate::fake::Fake; }",
        ),
        ("fake.rs", "use crate::b::B; pub struct Fake;"),
    ]);
    assert_eq!(house.lost, [""; 0]);
    assert_eq!(circles(&house), "");
}

#[test]
fn a_circle_among_fakes_is_found() {
    let house = house(&[
        ("lib.rs", "#[cfg(test)] mod fake;"),
        ("fake.rs", "mod file; pub struct Disk(file::File);"),
        ("fake/file.rs", "pub struct File; fn f(_: super::Disk) {}"),
    ]);
    assert!(circles(&house).starts_with("2 files"));
}

/// An engine whose schedule holds the code given.
fn engine(schedule: &str) -> House {
    house(&[
        ("lib.rs", "mod engine; mod http { pub struct Client; }"),
        (
            "engine/mod.rs",
            "mod job; mod patience; mod schedule; pub(crate) use patience::Patience;",
        ),
        ("engine/job.rs", "pub struct Job;"),
        (
            "engine/patience.rs",
            "use super::schedule::Schedule; pub struct Patience;",
        ),
        ("engine/schedule/mod.rs", schedule),
    ])
}

#[test]
fn an_upward_import_in_the_engine_is_found() {
    let house = engine("pub struct Schedule;\nuse crate::engine::Patience;\nuse super::job::Job;");
    let expected = "src/engine/schedule/mod.rs:2: `schedule` may not import `Patience` from `patience`, \
                    not below it in `engine`\n";
    assert_eq!(upward_imports(&house), expected);
    assert_eq!(upward_imports(&engine("pub struct Schedule;")), "");
}

#[test]
fn a_file_without_a_row_is_found() {
    let house = house(&[
        ("lib.rs", "mod engine;"),
        ("engine/mod.rs", "mod attic;"),
        ("engine/attic.rs", ""),
    ]);
    let expected = "`engine` has no row for `attic` in TOP_TO_BOTTOM\n";
    assert_eq!(upward_imports(&house), expected);
}

#[test]
fn the_longest_row_that_fits_applies() {
    let house = engine("pub struct Schedule;\nuse crate::http::Client;");
    let expected = "src/engine/schedule/mod.rs:2: `engine/schedule` may not import `http`; \
                    it may import [\"integrity\", \"object\", \"report\"]\n";
    assert_eq!(forbidden_imports(&house), expected);
}
