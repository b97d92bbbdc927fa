//! Reads Rust source as text: blanks out comments and strings, and cuts the rest into tokens.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every Rust file by its path from the package's root; the code is without comments and strings.
pub(super) type Sources = BTreeMap<PathBuf, String>;

/// Reads all of `src`.
pub(super) fn sources() -> Sources {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src")];
    let mut sources = Sources::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let code = bare(&fs::read_to_string(&path).unwrap());
                sources.insert(path.strip_prefix(root).unwrap().to_owned(), code);
            }
        }
    }
    assert!(!sources.is_empty());
    sources
}

/// A word, `::`, or one character of punctuation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) line: usize,
    /// Belongs to an item under `#[cfg(test)]`.
    pub(super) in_test: bool,
}

impl Token<'_> {
    pub(super) fn is_word(&self) -> bool {
        self.text.starts_with(is_inside_word)
    }
}

/// Cuts code that is `bare` into tokens.
pub(super) fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (code, 1);
    while let Some(first) = rest.chars().next() {
        let length = if is_inside_word(first) {
            rest.find(|next| !is_inside_word(next))
                .unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (text, after) = rest.split_at(length);
        if !first.is_whitespace() {
            tokens.push(Token {
                text,
                line,
                in_test: false,
            });
        }
        line += usize::from(first == '\n');
        rest = after;
    }
    mark_tests(&mut tokens);
    tokens
}

/// Marks every item that follows `#[cfg(test)]` or `#[cfg(all(test, …))]`.
fn mark_tests(tokens: &mut [Token<'_>]) {
    let mut at = 0;
    while at < tokens.len() {
        let mut item = at;
        let mut under_test = false;
        while let Some(length) = attribute(&tokens[item..]) {
            under_test |= is_cfg_test(&tokens[item..item + length]);
            item += length;
        }
        if under_test {
            item += item_length(&tokens[item..]);
            tokens[at..item].iter_mut().for_each(|t| t.in_test = true);
        }
        at = item.max(at + 1);
    }
}

/// The number of tokens in the attribute that begins here.
fn attribute(tokens: &[Token<'_>]) -> Option<usize> {
    let begins = tokens.len() > 1 && tokens[0].text == "#" && tokens[1].text == "[";
    begins.then(|| 1 + group_length(&tokens[1..]))
}

fn is_cfg_test(attribute: &[Token<'_>]) -> bool {
    let begins_with = |start: &[&str]| {
        let texts = attribute[2..].iter().map(|token| token.text);
        texts.take(start.len()).eq(start.iter().copied())
    };
    begins_with(&["cfg", "(", "test", ")"]) || begins_with(&["cfg", "(", "all", "(", "test"])
}

/// The number of tokens from an opening bracket to the one that closes it.
fn group_length(tokens: &[Token<'_>]) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// The number of tokens in the item, field, variant or statement that begins here.
fn item_length(tokens: &[Token<'_>]) -> usize {
    let is_field = !is_item(tokens);
    let mut at = 0;
    let mut ends_at_brace = true;
    while at < tokens.len() {
        match tokens[at].text {
            "(" | "[" => at += group_length(&tokens[at..]),
            "{" => {
                at += group_length(&tokens[at..]);
                if ends_at_brace {
                    return at;
                }
            }
            ";" => return at + 1,
            "," if is_field => return at + 1,
            ")" | "]" | "}" => return at,
            text => {
                // What a `use`, a `const` or a `let` holds in braces is followed by `;`.
                ends_at_brace &= !matches!(text, "use" | "=");
                at += 1;
            }
        }
    }
    at
}

/// Whether a keyword begins an item here, after its visibility.
fn is_item(tokens: &[Token<'_>]) -> bool {
    let mut words = tokens;
    if words.first().is_some_and(|token| token.text == "pub") {
        words = &words[1..];
        if words.first().is_some_and(|token| token.text == "(") {
            words = &words[group_length(words)..];
        }
    }
    let keywords = [
        "async", "const", "enum", "extern", "fn", "impl", "let", "mod", "static", "struct",
        "trait", "type", "unsafe", "use",
    ];
    let first = words.first();
    first.is_some_and(|token| keywords.contains(&token.text))
}

/// Identifiers and keywords, with their offsets.
pub(super) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.split(|character| !is_inside_word(character))
        .filter(|word| !word.is_empty())
        .map(move |word| (word.as_ptr().addr() - code.as_ptr().addr(), word))
}

fn is_inside_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

pub(super) fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// The code with comments, strings and characters blanked out; lines stay where they are.
pub(super) fn bare(code: &str) -> String {
    let mut bare = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let skipped = skip(rest, bare.chars().next_back());
        if skipped == 0 {
            bare.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let blank = |character| if character == '\n' { '\n' } else { ' ' };
            bare.extend(rest[..skipped].chars().map(blank));
            rest = &rest[skipped..];
        }
    }
    bare
}

/// The length of the comment, string or character that `code` begins with; 0 where it begins with
/// neither.
fn skip(code: &str, before: Option<char>) -> usize {
    let upto = |end: &str, from: usize| {
        code[from..]
            .find(end)
            .map_or(code.len(), |at| from + at + end.len())
    };
    if code.starts_with("//") {
        return code.find('\n').unwrap_or(code.len());
    }
    if code.starts_with("/*") {
        return upto("*/", 2);
    }
    let in_word = before.is_some_and(|before| before.is_alphanumeric() || before == '_');
    if let Some(raw) = code
        .strip_prefix('r')
        .filter(|_| !in_word || before == Some('b'))
    {
        let hashes = raw.chars().take_while(|c| *c == '#').count();
        if raw[hashes..].starts_with('"') {
            return upto(&format!("\"{}", "#".repeat(hashes)), hashes + 2);
        }
    }
    let quoted = |quote: char| {
        let mut escaped = false;
        for (at, character) in code.char_indices().skip(1) {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if character == quote => return at + 1,
                _ => {}
            }
        }
        code.len()
    };
    let mut characters = code.chars();
    match (characters.next(), characters.next(), characters.next()) {
        (Some('"'), ..) => quoted('"'),
        // `'a'` and `'\n'`, but no lifetime.
        (Some('\''), Some('\\'), _) | (Some('\''), Some(_), Some('\'')) => quoted('\''),
        _ => 0,
    }
}

mod tests {
    use super::*;

    #[test]
    fn words_are_whole() {
        let code = bare("let unsafe_because = 1; unsafe { x() } // unsafe\n");
        let found = words(&code).filter(|(_, word)| *word == "unsafe");
        assert_eq!(found.collect::<Vec<_>>(), [(24, "unsafe")]);
    }

    #[test]
    fn items_under_cfg_test_are_marked_to_their_end() {
        let code = "
use a::{b, c};
#[cfg(test)]
use d::{e, f};
#[cfg(test)] #[derive(Debug)]
pub(crate) fn g<H, I>(j: [u8; 3]) -> K { l() }
struct M { #[cfg(test)] n: O, p: Q }
#[cfg(all(test, unix))]
mod r { fn s() {} }
#[cfg(test)]
mod t;
#[cfg(test)]
const U: V = W { x: 1 };
#[cfg(not(test))]
fn y() {}
";
        let left = tokens(code).into_iter().filter(|token| !token.in_test);
        let words = left.filter(|token| token.is_word() && token.text.len() == 1);
        let words = words.map(|token| token.text).collect::<String>();
        assert_eq!(words, "abcMpQy");
    }
}
