//! Finds the files that import each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use super::imports::House;

/// What each file imports from.
type Imported<'a> = BTreeMap<&'a Path, BTreeSet<&'a Path>>;

/// Names each circle with the files, lines and names that tie it; empty where there is none.
pub(super) fn circles(house: &House) -> String {
    let mut imported = Imported::new();
    for (import, file) in house.between_files() {
        imported.entry(&import.from).or_default().insert(file);
    }
    let reached = imported
        .keys()
        .map(|file| (*file, all_below(&imported, file)));
    let reached = reached.collect::<Imported<'_>>();
    let circles = reached.iter().map(|(file, below)| {
        let leads_back = |other: &&Path| reached.get(other).is_some_and(|it| it.contains(file));
        below.iter().copied().filter(leads_back).collect()
    });
    let circles = circles.collect::<BTreeSet<BTreeSet<&Path>>>();
    let circles = circles.iter().filter(|circle| !circle.is_empty());
    circles.map(|circle| describe(house, circle)).collect()
}

/// Every file that `file` imports from, directly or through others.
fn all_below<'a>(imported: &Imported<'a>, file: &Path) -> BTreeSet<&'a Path> {
    let mut below = BTreeSet::new();
    let mut left = vec![file];
    while let Some(next) = left.pop() {
        for direct in imported.get(next).into_iter().flatten() {
            if below.insert(*direct) {
                left.push(direct);
            }
        }
    }
    below
}

fn describe(house: &House, circle: &BTreeSet<&Path>) -> String {
    let mut text = format!("{} files import each other in a circle:\n", circle.len());
    let mut told = BTreeSet::new();
    for (import, file) in house.between_files() {
        let is_inside = circle.contains(import.from.as_path()) && circle.contains(file);
        if is_inside && told.insert((&import.from, file, &import.name)) {
            let _ = writeln!(
                text,
                "  {}:{} imports `{}` from {}",
                import.from.display(),
                import.line,
                import.name,
                file.display()
            );
        }
    }
    text
}
