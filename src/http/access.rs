//! Whether a refusal tells of the link, of the number of connections, or of the request.

use reqwest::StatusCode;

use super::error::HttpError;
use super::retry::{Verdict, verdict};

/// What some file hosts answer where too much is transferred already. No standard has it.
const BANDWIDTH_LIMIT_EXCEEDED: u16 = 509;

/// Whether the server refused this request perhaps because of those under way: a link that may be
/// used a few times, a file host that allows few connections, a server that is overloaded.
pub(crate) fn may_be_crowded(error: &HttpError) -> bool {
    matches!(verdict(error), Verdict::Throttled { .. })
        || may_have_expired(error, true)
        || error.status().map(|status| status.as_u16()) == Some(BANDWIDTH_LIMIT_EXCEEDED)
}

/// Whether access under this URL may have run out, so that another URL or a new resolving of the
/// redirects may help. After a success under the URL, any error of the client may say so.
pub(crate) fn may_have_expired(error: &HttpError, has_succeeded: bool) -> bool {
    let Some(status) = error.status() else {
        return false;
    };
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::GONE => true,
        _ if error.code().is_some_and(is_of_expiry) => true,
        // What is to be tried again as it is has another cause.
        _ => has_succeeded && is_for_the_link(status) && verdict(error) == Verdict::Fatal,
    }
}

/// Whether this status may be due to the URL, and not to what was asked of it.
pub(super) fn is_for_the_link(status: StatusCode) -> bool {
    let is_of_request = matches!(
        status,
        StatusCode::PROXY_AUTHENTICATION_REQUIRED
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::RANGE_NOT_SATISFIABLE
            | StatusCode::TOO_EARLY
            | StatusCode::TOO_MANY_REQUESTS
    );
    status.is_client_error() && !is_of_request
}

/// The codes of object stores for a signature or a token that is no longer valid.
fn is_of_expiry(code: &str) -> bool {
    matches!(
        code,
        "ExpiredToken" | "RequestTimeTooSkewed" | "TokenRefreshRequired" | "AuthenticationFailed"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HttpErrorKind;
    use crate::http::explanation::Explanation;

    #[test]
    fn refusals_may_be_the_limit_of_the_server() {
        let is_one = |status| {
            let status = StatusCode::from_u16(status).unwrap();
            may_be_crowded(&HttpError::status_of(status, None))
        };
        for status in [401, 403, 404, 409, 410, 420, 421, 423, 429, 456, 503, 509] {
            assert!(is_one(status), "{status}");
        }
        for status in [407, 408, 412, 416, 500, 502] {
            assert!(!is_one(status), "{status}");
        }
        assert!(may_be_crowded(&HttpError::new(HttpErrorKind::Connect, "")));
        assert!(!may_be_crowded(&HttpError::protocol("x")));
    }

    #[test]
    fn access_may_have_run_out() {
        let error = |status| HttpError::status_of(StatusCode::from_u16(status).unwrap(), None);
        for (status, at_once, after_success) in [
            (400, false, true),
            (401, true, true),
            (403, true, true),
            (404, false, true),
            (407, false, false),
            (408, false, false),
            (410, true, true),
            (412, false, false),
            (416, false, false),
            (429, false, false),
            (500, false, false),
        ] {
            let error = error(status);
            assert_eq!(may_have_expired(&error, false), at_once, "{status}");
            assert_eq!(may_have_expired(&error, true), after_success, "{status}");
        }
        assert!(!may_have_expired(&HttpError::protocol("x"), true));
        let said = |code: &str| {
            error(400).explained(&Explanation {
                code: Some(code.to_owned()),
                text: None,
            })
        };
        assert!(may_have_expired(&said("ExpiredToken"), false));
        assert!(!may_have_expired(&said("RequestTimeout"), true));
    }
}
