//! The tree of modules that the sources make, and what each module declares, names and brings into
//! scope.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::source::{Sources, Token, tokens};

/// The index of a module in its `Tree`.
pub(super) type Id = usize;

/// One crate's modules; the root is the first.
pub(super) struct Tree {
    pub(super) modules: Vec<Module>,
}

#[derive(Default)]
pub(super) struct Module {
    /// The names that lead here from the crate's root.
    pub(super) path: Vec<String>,
    pub(super) file: PathBuf,
    pub(super) parent: Option<Id>,
    pub(super) children: BTreeMap<String, Id>,
    /// What the items that stand in the module are called.
    pub(super) defined: BTreeSet<String>,
    /// The paths that `use` gives a name to.
    pub(super) bound: BTreeMap<String, Vec<String>>,
    /// The paths that `use` ends with a star.
    pub(super) globs: Vec<Vec<String>>,
    pub(super) mentions: Vec<Mention>,
    /// Words of the code that are no part of a path, and the first line of each; without tests.
    pub(super) words: BTreeMap<String, usize>,
}

/// A path in the code.
#[derive(Clone, Default)]
pub(super) struct Mention {
    pub(super) path: Vec<String>,
    pub(super) line: usize,
    /// `pub use a::b;`
    pub(super) is_handed_on: bool,
    /// `use a::*;`
    pub(super) takes_all: bool,
    pub(super) in_test: bool,
}

impl Tree {
    /// The crate whose root is the file `root`; `None` where the sources don't have it.
    pub(super) fn read(sources: &Sources, root: &Path) -> Option<Self> {
        let mut tree = Self {
            modules: Vec::new(),
        };
        sources.contains_key(root).then(|| {
            let module = Module {
                file: root.to_owned(),
                ..Module::default()
            };
            tree.read_file(sources, module, false);
            tree
        })
    }

    fn read_file(&mut self, sources: &Sources, module: Module, in_test: bool) -> Id {
        let mut tokens = tokens(&sources[&module.file]);
        tokens.iter_mut().for_each(|token| token.in_test |= in_test);
        self.read_module(sources, module, &tokens)
    }

    fn read_module(&mut self, sources: &Sources, module: Module, tokens: &[Token<'_>]) -> Id {
        let id = self.modules.len();
        self.modules.push(module);
        let mut at = 0;
        while at < tokens.len() {
            let (before, here) = tokens.split_at(at);
            let next = |ahead: usize| here.get(ahead).map_or("", |token| token.text);
            let back = |steps: usize| before.iter().nth_back(steps).map_or("", |token| token.text);
            let is_field = back(0) == "." && back(1) != ".";
            at += match here[0].text {
                "mod" if matches!(next(2), ";" | "{") => self.read_child(sources, id, here),
                "use" if next(1) != "<" => self.read_use(id, before, here),
                _ if !here[0].is_word() || is_field || back(0) == "::" => 1,
                _ if next(1) == "::" => self.read_path(id, here),
                _ => self.read_word(id, back(0), here[0]),
            };
        }
        id
    }

    /// `mod name;` or `mod name { … }`
    fn read_child(&mut self, sources: &Sources, parent: Id, tokens: &[Token<'_>]) -> usize {
        let name = tokens[1].text;
        let mut child = Module {
            path: self.modules[parent].path.clone(),
            file: self.modules[parent].file.clone(),
            parent: Some(parent),
            ..Module::default()
        };
        child.path.push(name.to_owned());
        let (id, length) = if tokens[2].text == ";" {
            child.file = file_of(sources, &self.modules[parent], name);
            // A fake or a simulation is code that directions apply to, though only tests use it.
            let in_test = tokens[0].in_test && name == "tests";
            (self.read_file(sources, child, in_test), 3)
        } else {
            let body = body_length(&tokens[3..]);
            let inside = &tokens[3..3 + body];
            (self.read_module(sources, child, inside), 3 + body)
        };
        self.modules[parent].children.insert(name.to_owned(), id);
        length
    }

    /// `use a::{b, c as d};`
    fn read_use(&mut self, module: Id, before: &[Token<'_>], tokens: &[Token<'_>]) -> usize {
        let mut statement = before.rsplit(|token| matches!(token.text, ";" | "{" | "}" | "]"));
        let mut visibility = statement.next().unwrap_or_default().iter();
        let mention = Mention {
            is_handed_on: visibility.any(|token| token.text == "pub"),
            in_test: tokens[0].in_test,
            ..Mention::default()
        };
        1 + self.read_use_tree(module, &mention, &tokens[1..])
    }

    /// Reads one branch of a `use`, and returns the number of its tokens. `stem` has the path so
    /// far.
    fn read_use_tree(&mut self, module: Id, stem: &Mention, tokens: &[Token<'_>]) -> usize {
        let mut mention = stem.clone();
        let path = &mut mention.path;
        let mut name = None;
        let mut at = 0;
        while at < tokens.len() {
            match tokens[at].text {
                // `::a` is another crate's for certain; no name is empty.
                "::" if path.is_empty() => path.push(String::new()),
                "::" => {}
                "{" => {
                    while matches!(tokens[at].text, "{" | ",") && tokens[at + 1].text != "}" {
                        at += 1 + self.read_use_tree(module, &mention, &tokens[at + 1..]);
                    }
                    at += usize::from(tokens[at].text != "}");
                    return at + 1;
                }
                "*" => mention.takes_all = true,
                "as" => {
                    at += 1;
                    name = Some(tokens[at].text.to_owned());
                }
                "self" if !stem.path.is_empty() => {}
                word if tokens[at].is_word() => path.push(word.to_owned()),
                _ => break,
            }
            at += 1;
        }
        mention.line = tokens[at.saturating_sub(1)].line;
        let module = &mut self.modules[module];
        if mention.takes_all {
            module.globs.push(mention.path.clone());
        } else if let Some(name) = name.or_else(|| mention.path.last().cloned()) {
            module.bound.insert(name, mention.path.clone());
        }
        module.mentions.push(mention);
        at
    }

    /// `a::b::c`
    fn read_path(&mut self, module: Id, tokens: &[Token<'_>]) -> usize {
        let mut mention = Mention {
            path: vec![tokens[0].text.to_owned()],
            line: tokens[0].line,
            in_test: tokens[0].in_test,
            ..Mention::default()
        };
        let mut at = 1;
        while tokens[at..].len() > 1 && tokens[at].text == "::" && tokens[at + 1].is_word() {
            mention.path.push(tokens[at + 1].text.to_owned());
            at += 2;
        }
        self.modules[module].mentions.push(mention);
        at
    }

    fn read_word(&mut self, module: Id, previous: &str, token: Token<'_>) -> usize {
        let module = &mut self.modules[module];
        let word = token.text.to_owned();
        let keywords = [
            "const", "enum", "fn", "static", "struct", "trait", "type", "union",
        ];
        if keywords.contains(&previous) {
            module.defined.insert(word);
        } else if !token.in_test {
            module.words.entry(word).or_insert(token.line);
        }
        1
    }
}

/// The file of the child module `name` that `parent` declares.
fn file_of(sources: &Sources, parent: &Module, name: &str) -> PathBuf {
    let own = parent.file.file_name().unwrap().to_str().unwrap();
    let folder = if matches!(own, "mod.rs" | "lib.rs" | "main.rs") {
        parent.file.parent().unwrap().to_owned()
    } else {
        parent.file.with_extension("")
    };
    let files = [
        folder.join(format!("{name}.rs")),
        folder.join(name).join("mod.rs"),
    ];
    let found = files.iter().find(|file| sources.contains_key(*file));
    let missing = || panic!("{} declares `{name}`: no {files:?}", parent.file.display());
    found.cloned().unwrap_or_else(missing)
}

/// The number of tokens before the brace that closes a body.
fn body_length(tokens: &[Token<'_>]) -> usize {
    let mut depth = 0;
    let closes = |token: &Token<'_>| {
        match token.text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        depth < 0
    };
    tokens.iter().position(closes).unwrap_or(tokens.len())
}
