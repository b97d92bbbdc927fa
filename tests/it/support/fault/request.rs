//! What a client asks, and what an honest server answers.

use partwise::origin::Object;

use super::Reply;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// How many requests came before it, on whichever connection.
    pub(crate) nth: usize,
    /// How many connections are open, its own among them.
    pub(crate) open: usize,
    pub(crate) method: String,
    /// The path with the query, or whatever else stood in the request line.
    pub(crate) target: String,
    /// Names in lower case, in the order in which they came.
    pub(crate) headers: Vec<(String, String)>,
}

impl Request {
    /// The first header of this name, which is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// The single range that it asks for, half open and cut to the length of the object.
    pub(crate) fn range(&self, length: u64) -> Option<(u64, u64)> {
        let (first, last) = self
            .header("range")?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        let end = match last {
            "" => length,
            last => length.min(last.parse::<u64>().ok()? + 1),
        };
        Some((first.parse().ok()?, end))
    }

    pub(super) fn parse(head: &str, nth: usize, open: usize) -> Self {
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let headers = lines.filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        });
        Self {
            nth,
            open,
            method: words.next().unwrap_or_default().to_owned(),
            target: words.next().unwrap_or_default().to_owned(),
            headers: headers.collect(),
        }
    }
}

/// The strong entity tag that [`honest`] sends for an object.
pub(crate) fn etag(object: &Object) -> String {
    format!("\"{}-{}\"", object.seed(), object.length())
}

/// What a correct server answers: 200, 206, 412 or 416, with a strong entity tag.
pub(crate) fn honest(object: &Object, request: &Request) -> Reply {
    let (length, etag) = (object.length(), etag(object));
    if request
        .header("if-match")
        .is_some_and(|wanted| wanted != etag)
    {
        return Reply::status(412);
    }
    let reply = match request.range(length).filter(|_| !request.is_head()) {
        Some((start, end)) if start >= end => {
            return Reply::status(416).header("Content-Range", format!("bytes */{length}"));
        }
        Some((start, end)) => Reply::status(206)
            .header(
                "Content-Range",
                format!("bytes {start}-{}/{length}", end - 1),
            )
            .body(object, start..end),
        None => Reply::status(200).body(object, 0..length),
    };
    let reply = reply.header("ETag", etag).header("Accept-Ranges", "bytes");
    if request.is_head() {
        reply.head_only()
    } else {
        reply
    }
}
