//! What the body of an error says of its cause: finds it, and leaves out what may be a secret.

use reqwest::StatusCode;
use serde_json::Value;

/// A longer word is a key or a signature, and no word.
const LONGEST_WORD: usize = 40;

/// A word of letters and digits that is as long as this may be a key.
const SHORTEST_KEY: usize = 16;

/// What stands in place of what is not shown.
const HIDDEN: &str = "…";

/// What the body of an error says, without what may be a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Explanation {
    /// One word for programs, such as `ExpiredToken`.
    pub(super) code: Option<String>,
    /// One line for people.
    pub(super) text: Option<String>,
}

impl Explanation {
    /// What a body of this media type says, without these secrets and what is known by the status.
    pub(super) fn of(
        status: StatusCode,
        media: Option<&str>,
        body: &str,
        secrets: &[String],
    ) -> Self {
        parse(media, body).without(secrets).unless_known(status)
    }

    fn of_text(text: Option<&str>) -> Self {
        Self {
            code: None,
            text: text.map(str::to_owned),
        }
    }

    fn without(self, secrets: &[String]) -> Self {
        let is_word = |code: &String| code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let is_secret = |code: &String| secrets.iter().any(|secret| code.contains(secret));
        let code = self.code.filter(is_word);
        Self {
            code: code.filter(|code| code.len() <= LONGEST_WORD && !is_secret(code)),
            text: self.text.map(|text| redact(&text, secrets)),
        }
    }

    /// Drops a text that says no more than the status does.
    fn unless_known(self, status: StatusCode) -> Self {
        let reason = status.canonical_reason().unwrap_or_default();
        let known = [reason.to_owned(), format!("{} {reason}", status.as_str())];
        let is_new = |text: &String| {
            let text = text.trim_end_matches('.');
            !text.is_empty() && !known.iter().any(|known| known.eq_ignore_ascii_case(text))
        };
        Self {
            text: self.text.filter(is_new),
            ..self
        }
    }

    /// Code and text as one line.
    pub(super) fn line(&self) -> Option<String> {
        match (&self.code, &self.text) {
            (Some(code), Some(text)) => Some(format!("{code}: {text}")),
            (one, other) => one.as_ref().or(other.as_ref()).cloned(),
        }
    }
}

fn parse(media: Option<&str>, body: &str) -> Explanation {
    let body = body.trim_start_matches('\u{feff}').trim_start();
    let lower = body.get(..64).unwrap_or(body).to_ascii_lowercase();
    if body.starts_with(['{', '[']) {
        return serde_json::from_str(body).map_or_else(|_| Explanation::default(), of_json);
    }
    let is_page = media.is_some_and(|media| media.contains("html"));
    if is_page || lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        let title = element(body, "title").or_else(|| element(body, "TITLE"));
        return Explanation::of_text(title.as_deref());
    }
    if body.starts_with('<') {
        return Explanation {
            code: element(body, "Code"),
            text: element(body, "Message"),
        };
    }
    match media {
        None | Some("text/plain") => Explanation::of_text(first_line(body)),
        Some(_) => Explanation::default(),
    }
}

/// The first line in an element of XML or HTML.
fn element(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let line = first_line(text)?;
    let plain = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ];
    let unescaped = plain
        .iter()
        .fold(line.to_owned(), |line, (from, to)| line.replace(from, to));
    Some(unescaped)
}

fn first_line(text: &str) -> Option<&str> {
    text.lines().map(str::trim).find(|line| !line.is_empty())
}

/// The members in which JSON names the cause.
fn of_json(body: Value) -> Explanation {
    let inner = body.get("error").filter(|error| error.is_object());
    let first = |list: &Value| list.as_array().and_then(|list| list.first()).cloned();
    let error = inner
        .cloned()
        .or_else(|| body.get("errors").and_then(first))
        .unwrap_or(body);
    let member = |names: &[&str]| {
        let mut values = names.iter().filter_map(|name| error.get(name));
        values.find_map(|value| first_line(value.as_str()?).map(str::to_owned))
    };
    Explanation {
        code: member(&["code", "Code", "status", "reason"]),
        text: member(&[
            "message",
            "Message",
            "error_description",
            "detail",
            "error",
            "title",
        ]),
    }
}

/// The text without these secrets, queries, values and whatever looks like a key.
fn redact(text: &str, secrets: &[String]) -> String {
    let without = secrets
        .iter()
        .fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN));
    let mut is_after_scheme = false;
    let words = without.split_whitespace().map(|word| {
        let hides = std::mem::replace(&mut is_after_scheme, is_scheme(word));
        if hides {
            HIDDEN.to_owned()
        } else {
            shown(word)
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether the next word is a credential.
fn is_scheme(word: &str) -> bool {
    let word = word.trim_end_matches(':');
    ["bearer", "basic", "stringtosign", "awsaccesskeyid"]
        .iter()
        .any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// A word without the query of a URL and the value of a name.
fn shown(word: &str) -> String {
    let end = word.find(['?', '=']).map(|at| at + 1);
    let (name, value) = word.split_at(end.unwrap_or(word.len()));
    let bare = name.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let has = |is: fn(&u8) -> bool| bare.as_bytes().iter().any(is);
    let is_key = bare.len() >= SHORTEST_KEY
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_alphabetic)
        && !bare.contains("://");
    match (
        name.len() > LONGEST_WORD && !name.contains("://") || is_key,
        value,
    ) {
        (true, _) => HIDDEN.to_owned(),
        (false, "") => name.to_owned(),
        (false, _) => format!("{name}{HIDDEN}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn line(media: &str, body: &str) -> Option<String> {
        let media = Some(media).filter(|media| !media.is_empty());
        Explanation::of(
            StatusCode::FORBIDDEN,
            media,
            body,
            &["TOKENSECRET".to_owned()],
        )
        .line()
    }

    #[test]
    fn what_bodies_say() {
        let xml = "application/xml";
        let json = "application/json";
        let cases = [
            (
                xml,
                "<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code><Message>Request has expired</Message><Expires>2026</Expires><StringToSign>SECRET</StringToSign></Error>",
                "AccessDenied: Request has expired",
            ),
            (
                "",
                "\u{feff}<?xml version=\"1.0\"?><Error><Code>AuthenticationFailed</Code><Message>Server failed.\nRequestId:1</Message></Error>",
                "AuthenticationFailed: Server failed.",
            ),
            (
                xml,
                "<Error><Code>ExpiredToken</Code></Error>",
                "ExpiredToken",
            ),
            (xml, "<Error><Code>", ""),
            (
                json,
                "{\"message\": \"gone &\\u0007 away\"}",
                "gone &\u{7} away",
            ),
            (json, "{\"error\": \"expired\"}", "expired"),
            (
                json,
                "{\"error\": {\"code\": 403, \"status\": \"PERMISSION_DENIED\", \"message\": \"no\"}}",
                "PERMISSION_DENIED: no",
            ),
            (
                json,
                "{\"errors\": [{\"code\": \"DENIED\", \"message\": \"no pull\"}]}",
                "DENIED: no pull",
            ),
            (json, "{\"message\": \"cut o", ""),
            (
                "text/plain",
                "\n  The link is used up.\nmore",
                "The link is used up.",
            ),
            ("", "quota exceeded", "quota exceeded"),
            ("application/octet-stream", "quota", ""),
            (
                "text/html",
                "<html><head><title>Log in</title></head>",
                "Log in",
            ),
            (
                "text/html",
                "<html><head><title>403 Forbidden</title></head>",
                "",
            ),
            ("text/html", "Forbidden", ""),
            ("text/plain", "Forbidden.", ""),
        ];
        for (media, body, expected) in cases {
            assert_eq!(line(media, body).unwrap_or_default(), expected, "{body}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let cases = [
            (
                "no http://h/a?X-Amz-Signature=SECRET&b=SECRET here",
                "no http://h/a?… here",
            ),
            ("Signature=SECRET is wrong", "Signature=… is wrong"),
            (
                "AWSAccessKeyId SECRET is wrong",
                "AWSAccessKeyId … is wrong",
            ),
            (
                "the key AKIASECRET1234567 is not known",
                "the key … is not known",
            ),
            ("Authorization: Bearer SECRET", "Authorization: Bearer …"),
            ("the token 'TOKENSECRET' is old", "the token '…' is old"),
        ];
        for (text, expected) in cases {
            assert_eq!(line("text/plain", text).unwrap(), expected);
        }
        let long = format!("it is {} again", "x".repeat(LONGEST_WORD + 1));
        assert_eq!(line("text/plain", &long).unwrap(), "it is … again");
        assert_eq!(line("", "<Error><Code>TOKENSECRET</Code></Error>"), None);
    }
}
