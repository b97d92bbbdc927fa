//! Which file imports which name from which file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::modules::{Id, Mention, Module, Tree};
use super::source::Sources;

/// All that the sources import from each other.
#[derive(Default)]
pub(super) struct House {
    pub(super) imports: Vec<Import>,
    /// The files that belong to a crate.
    pub(super) files: BTreeSet<PathBuf>,
    /// Paths that begin in the crate and lead to no item: gaps in the reading of the source.
    pub(super) lost: Vec<String>,
}

/// A path in one file that leads to another place of the crate.
#[derive(Clone, Debug)]
pub(super) struct Import {
    pub(super) from: PathBuf,
    pub(super) line: usize,
    /// The path's first name below the crate's root, as the code has it.
    pub(super) head: String,
    /// What the path leads to.
    pub(super) name: String,
    /// The file that defines the name; `None` for a module: only paths through it take something.
    pub(super) file: Option<PathBuf>,
    pub(super) in_test: bool,
}

/// Where a path leads.
enum Target {
    Module(Id),
    Item(Id, String),
    /// Another crate, the prelude, a type parameter.
    Elsewhere,
    /// A module without that name.
    Lost,
}

/// More re-exports than any path leads through; the bound on a path that leads to itself.
const MOST_STEPS: u32 = 32;

impl House {
    pub(super) fn read(sources: &Sources) -> Self {
        let mut house = Self::default();
        for root in ["src/lib.rs", "src/main.rs"] {
            if let Some(tree) = Tree::read(sources, Path::new(root)) {
                house.add(&tree);
            }
        }
        house
    }

    fn add(&mut self, tree: &Tree) {
        for (id, module) in tree.modules.iter().enumerate() {
            self.files.insert(module.file.clone());
            for mention in &module.mentions {
                self.add_mention(tree, id, mention);
            }
        }
    }

    fn add_mention(&mut self, tree: &Tree, id: Id, mention: &Mention) {
        let module = &tree.modules[id];
        let (target, name) = match tree.resolve(id, &mention.path, MOST_STEPS) {
            Target::Elsewhere => return,
            Target::Lost => {
                let (file, path) = (module.file.display(), mention.path.join("::"));
                self.lost.push(format!("{file}:{}: `{path}`", mention.line));
                return;
            }
            Target::Module(target) => (target, None),
            Target::Item(target, name) => (target, Some(name)),
        };
        let target = &tree.modules[target];
        let mut line = mention.line;
        if mention.is_handed_on && target.path.starts_with(&module.path) {
            // What a module hands on from below is no import, unless its own code uses it.
            match name.as_ref().and_then(|name| module.words.get(name)) {
                Some(used) => line = *used,
                None => return,
            }
        }
        let file = (name.is_some() || mention.takes_all).then(|| target.file.clone());
        let head = tree.absolute(id, &mention.path, MOST_STEPS);
        self.imports.push(Import {
            from: module.file.clone(),
            line,
            head: head.into_iter().flatten().next().unwrap_or_default(),
            name: name.unwrap_or_else(|| target.path.join("::")),
            file,
            in_test: mention.in_test,
        });
    }

    /// The imports from one file to another, without tests.
    pub(super) fn between_files(&self) -> impl Iterator<Item = (&Import, &Path)> {
        let imports = self.imports.iter().filter(|import| !import.in_test);
        imports.filter_map(|import| {
            let file = import.file.as_deref()?;
            (file != import.from).then_some((import, file))
        })
    }
}

impl Tree {
    /// Follows the path to the item or the module that it names, through re-exports and imports.
    fn resolve(&self, from: Id, path: &[String], steps: u32) -> Target {
        let Some((base, rest)) = self.base(from, path) else {
            return Target::Elsewhere;
        };
        match self.walk(base, rest, steps) {
            // The path's first name is none of the module's own.
            Target::Lost if rest.len() == path.len() => Target::Elsewhere,
            target => target,
        }
    }

    /// The module that the path starts at, and the names below it.
    fn base<'p>(&self, from: Id, path: &'p [String]) -> Option<(Id, &'p [String])> {
        let (mut base, mut rest) = (from, path);
        while let Some((first, after)) = rest.split_first() {
            base = match first.as_str() {
                "crate" => 0,
                "self" => base,
                "super" => self.modules[base].parent?,
                _ => break,
            };
            rest = after;
        }
        Some((base, rest))
    }

    fn walk(&self, base: Id, path: &[String], steps: u32) -> Target {
        let Some((name, rest)) = path.split_first() else {
            return Target::Module(base);
        };
        if steps == 0 {
            return Target::Elsewhere;
        }
        let module = &self.modules[base];
        let child = module.children.get(name).copied();
        // A module and a function may share a name: `publish::Published`, but `publish()`.
        if let Some(child) = child.filter(|_| !rest.is_empty()) {
            return self.walk(child, rest, steps - 1);
        }
        if let Some(bound) = module.bound.get(name) {
            return self.resolve(base, &[bound, rest].concat(), steps - 1);
        }
        if module.defined.contains(name) {
            return Target::Item(base, name.clone());
        }
        if let Some(child) = child {
            return Target::Module(child);
        }
        for glob in &module.globs {
            if let Target::Module(found) = self.resolve(base, glob, steps - 1) {
                match self.walk(found, path, steps - 1) {
                    Target::Lost => {}
                    target => return target,
                }
            }
        }
        Target::Lost
    }

    /// The path from the crate's root. It follows what the module itself imports, but no other
    /// module's re-exports.
    fn absolute(&self, from: Id, path: &[String], steps: u32) -> Option<Vec<String>> {
        let (base, rest) = self.base(from, path)?;
        let module = &self.modules[base];
        let below = |module: &Module| [&module.path, rest].concat();
        let starts_elsewhere = rest.len() < path.len();
        let (Some(first), false, true) = (rest.first(), starts_elsewhere, steps > 0) else {
            return Some(below(module));
        };
        if module.children.contains_key(first) || module.defined.contains(first) {
            return Some(below(module));
        }
        if let Some(bound) = module.bound.get(first) {
            let mut found = self.absolute(base, bound, steps - 1)?;
            found.extend_from_slice(&rest[1..]);
            return Some(found);
        }
        module.globs.iter().find_map(|glob| {
            let Target::Module(found) = self.resolve(base, glob, steps - 1) else {
                return None;
            };
            self.absolute(found, rest, steps - 1)
        })
    }
}
