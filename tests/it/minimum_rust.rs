//! No dependency that a user builds asks for a newer Rust than we say that we need.

use std::collections::{BTreeSet, HashMap};
use std::process::Command;

use serde_json::Value;

#[test]
fn no_dependency_needs_a_newer_rust() {
    let ours = version(env!("CARGO_PKG_RUST_VERSION"));
    let metadata = metadata();
    let packages: HashMap<&str, &Value> = array(&metadata["packages"])
        .map(|package| (text(&package["id"]), package))
        .collect();
    let built = built(&metadata["resolve"]);
    assert!(built.len() > 50, "only {} packages were found", built.len());
    let too_new: Vec<_> = built
        .iter()
        .map(|id| packages[id])
        .filter(|package| {
            let needed = package["rust_version"].as_str();
            needed.is_some_and(|needed| version(needed) > ours)
        })
        .map(|package| {
            format!(
                "{} {} needs Rust {}",
                text(&package["name"]),
                text(&package["version"]),
                text(&package["rust_version"])
            )
        })
        .collect();
    assert!(
        too_new.is_empty(),
        "Cargo.toml says {}, but {too_new:#?}",
        env!("CARGO_PKG_RUST_VERSION")
    );
}

/// The packages that `cargo install` builds here: from the root over every dependency but those of
/// tests.
fn built(resolve: &Value) -> BTreeSet<&str> {
    let nodes: HashMap<&str, &Value> = array(&resolve["nodes"])
        .map(|node| (text(&node["id"]), node))
        .collect();
    let mut open = vec![text(&resolve["root"])];
    let mut built = BTreeSet::new();
    while let Some(id) = open.pop() {
        if built.insert(id) {
            let is_built = |dependency: &&Value| {
                array(&dependency["dep_kinds"]).any(|kind| kind["kind"] != "dev")
            };
            let dependencies = array(&nodes[id]["deps"]).filter(is_built);
            open.extend(dependencies.map(|dependency| text(&dependency["pkg"])));
        }
    }
    built
}

/// The graph for this platform. Everything in it was fetched to build this very test, so no network
/// is needed.
fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline"])
        .args(["--filter-platform", &platform])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().unwrap().iter()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// `1.89` is 1.89.0.
fn version(text: &str) -> (u32, u32, u32) {
    let mut numbers = text.split('.').map(|number| number.parse().unwrap());
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}
