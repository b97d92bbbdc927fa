use super::*;
use crate::http::HttpErrorKind;
use proptest::prelude::*;

fn source(url: &str) -> Source {
    Source::new(url, None).unwrap()
}

#[test]
fn what_is_no_url_is_refused_without_being_repeated() {
    for url in [
        "",
        "example.com/x",
        "/etc/passwd",
        "ftp://h/x",
        "file:///etc/passwd",
        "http:h/x",
        "http://",
        "http:///x",
        "https://?secret",
        "http://h:99999/secret",
        "http://h/\u{202e}secret",
        " http://h/x",
        "http://h\r\nX: y/",
        "http://[::1/x",
        "http://a b/secret",
    ] {
        let error = Source::new(url, None).unwrap_err();
        assert_eq!(error.kind(), &HttpErrorKind::Configuration, "{url:?}");
        let text = error.to_string();
        assert!(text.contains("expected http://host/path"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
    assert!(Source::new("http://h/x", Some("gopher://h/x")).is_err());
}

#[test]
fn nothing_secret_is_shown() {
    let source = source("HTTPS://user:pass@Example.COM:443/a/v%1b.mp4?sig=1#frag");
    assert_eq!(source.shown(), "https://example.com/a/v%1b.mp4");
    assert_eq!(source.origin(), "https://example.com");
    assert_eq!(source.path(), "/a/v%1b.mp4");
    assert_eq!(source.key_text(), "https://example.com:443/a/v%1b.mp4");
    let debug = format!(
        "{source:?} {:?}",
        source.start(Endpoint::Object).given.user()
    );
    assert!(!debug.contains("pass") && !debug.contains("sig"), "{debug}");
}

#[test]
fn user_information_is_taken_out_and_decoded() {
    let start = source("http://us%40er:p%3a@h/x").start(Endpoint::Object);
    assert_eq!(start.given.url().as_str(), "http://h/x");
    let user = start.given.user().unwrap();
    assert_eq!(
        (user.name.as_str(), user.password.as_deref()),
        ("us@er", Some("p:"))
    );
}

#[test]
fn file_name_table() {
    let long = format!("http://h/{}", "x".repeat(300));
    let wide = format!("http://h/{}", "ü".repeat(300));
    let cases = [
        ("http://h/a/v.mp4?x#y", Some("v.mp4")),
        ("http://h/a%20b.bin", Some("a b.bin")),
        ("http://h/", None),
        ("http://h", None),
        ("http://h/a/", None),
        ("http://h/a/..", None),
        ("http://h/%2e%2e%2f", None),
        ("http://h/%2e%2e%2fetc%2fpasswd", Some("passwd")),
        ("http://h/..%5c..%5cboot.ini", Some("boot.ini")),
        ("http://h/a%5C", None),
        ("http://h/C:", Some("C_")),
        ("http://h/C:%5cx", Some("x")),
        ("http://h/a%00b", Some("a_b")),
        ("http://h/a%1b%5bb", Some("a_[b")),
        ("http://h/%e2%80%aegpj.exe", Some("_gpj.exe")),
        ("http://h/.bashrc", Some("_bashrc")),
        ("http://h/...", None),
        ("http://h/%20", None),
        ("http://h/%ff", Some("\u{fffd}")),
        (long.as_str(), Some(&long[9..249])),
    ];
    for (url, expected) in cases {
        assert_eq!(source(url).file_name().as_deref(), expected, "{url}");
    }
    assert_eq!(source(&wide).file_name().unwrap(), "ü".repeat(120));
}

#[test]
fn a_target_belongs_to_the_url_it_came_from() {
    let source = source("http://h/x");
    let (old, target) = (
        source.start(Endpoint::Object).given,
        Location::parse("http://cdn/x?sig").unwrap(),
    );
    source.remember_target(&old, target.clone());
    assert_eq!(
        source.clone().start(Endpoint::Object).target,
        Some(target.clone())
    );
    source.forget_this_target(&Location::parse("http://cdn/other").unwrap());
    assert!(source.start(Endpoint::Object).target.is_some());
    let fresh = source.refreshed("http://h/x?fresh").unwrap();
    assert!(fresh.start(Endpoint::Object).target.is_none());
    fresh.remember_target(&old, target);
    assert!(fresh.start(Endpoint::Object).target.is_none());
    assert!(source.refreshed("junk").is_err());
    source.take_url_of(&fresh);
    let clone = source.clone();
    assert!(clone.start(Endpoint::Object).target.is_none());
    assert_eq!(clone.given_url(), "http://h/x?fresh");
    let any = |query: &str| clone.any_query(|found| found == query);
    assert!(any("fresh") && any("") && !any("other"));
    assert_eq!(
        fresh.start(Endpoint::Object).given.url().as_str(),
        "http://h/x?fresh"
    );
}

#[test]
fn secrets_stay_with_the_first_origin() {
    let source = source("https://h/x");
    let home = source.start(Endpoint::Object).home;
    let source = source.refreshed("https://other/x").unwrap();
    assert_eq!(source.start(Endpoint::Object).home, home);
    let mirror = source.mirror("https://mirror/x").unwrap();
    assert_eq!(mirror.start(Endpoint::Object).home, home);
}

proptest! {
    #[test]
    fn a_file_name_leads_nowhere_else(segment in "([a-z.:]|%[0-9a-f]{2}|\\PC){0,300}") {
        if let Some(name) = safe_name(&segment) {
            prop_assert!(!name.is_empty() && name.len() <= LONGEST_NAME);
            prop_assert!(!name.starts_with('.'));
            prop_assert!(!name.contains(['/', '\\', ':']) && !name.chars().any(is_hidden));
        }
    }
}
