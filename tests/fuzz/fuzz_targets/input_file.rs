#![no_main]

use libfuzzer_sys::fuzz_target;
use partwise_fuzz::within;

// The parser belongs to the command, which has no library target. This target compiles the file
// itself and replaces the modules that it imports.
#[path = "../../../src/cli/input_file.rs"]
#[expect(dead_code, reason = "only `parse` is fuzzed")]
mod input_file;

mod exit {
    #[derive(Debug)]
    pub(crate) struct Failure(pub(crate) String);

    pub(crate) struct Exit;

    impl Exit {
        pub(crate) const FILE: Self = Self;
    }

    impl Failure {
        pub(crate) fn new(_: Exit, what: impl AsRef<str>, why: impl std::fmt::Display) -> Self {
            Self::usage(what, why)
        }

        pub(crate) fn usage(what: impl AsRef<str>, why: impl std::fmt::Display) -> Self {
            Self(format!("{}: {why}", what.as_ref()))
        }
    }
}

mod text {
    pub(crate) fn path(path: &std::path::Path) -> String {
        path.display().to_string()
    }
}

fuzz_target!(|content: &[u8]| {
    // The shortest entry has two bytes, and a vector may reserve twice what it needs.
    let entries = match within(512 * content.len() + 4096, || {
        input_file::parse("list", content)
    }) {
        Ok(entries) => entries,
        Err(failure) => {
            assert!(failure.0.starts_with("list:"), "{}", failure.0);
            return;
        }
    };
    // White space came before it. Written again without that, it is a comment.
    if entries.iter().any(|entry| entry.url.starts_with('#')) {
        return;
    }
    // The parser skips one byte order mark, and the first URL may begin with another.
    let mut again = "\u{feff}".to_owned();
    for entry in &entries {
        assert!(!entry.url.is_empty() && entry.mirrors.iter().all(|url| !url.is_empty()));
        again += &entry.url;
        for mirror in &entry.mirrors {
            again += &format!("\t{mirror}");
        }
        let files = [("out", &entry.out), ("dir", &entry.dir)];
        for (name, file) in files
            .iter()
            .filter_map(|(name, file)| Some((name, file.as_ref()?)))
        {
            again += &format!("\n {name}={}", file.to_str().expect("the input is UTF-8"));
        }
        for checksum in &entry.checksums {
            again += &format!("\n checksum={checksum}");
        }
        again.push('\n');
    }
    let mut reread = input_file::parse("list", again.as_bytes()).expect("written entries parse");
    assert_eq!(reread.len(), entries.len(), "{again:?}");
    for (reread, entry) in reread.iter_mut().zip(&entries) {
        reread.place.clone_from(&entry.place);
    }
    assert_eq!(reread, entries, "{again:?}");
});
