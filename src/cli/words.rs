//! What the library says, in the command's own words: its options in place of the builder's.

use partwise::{Error, ErrorKind, Integrity, Remedy, Report};

/// Where the options are explained.
pub(super) const SEE_HELP: &str = "see 'partwise --help'";

/// The option by which a user gives a checksum.
const CHECKSUM: &str = "--checksum";

/// A report that calls the source of a digest by its option.
pub(super) fn report(mut report: Report) -> Report {
    for check in &mut report.integrity {
        if check.source == Integrity::CALLER {
            CHECKSUM.clone_into(&mut check.source);
        }
    }
    report
}

/// The text of an error, which calls the source of a digest by its option.
pub(super) fn message(error: &Error) -> String {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::Checksum => text.replace(
            &format!(" ({}), ", Integrity::CALLER),
            &format!(" ({CHECKSUM}), "),
        ),
        _ => text,
    }
}

/// The text of an error's `hint:` line, where there is one.
pub(super) fn hint(error: &Error) -> Option<String> {
    let Some(remedy) = error.remedy() else {
        return of_kind(error);
    };
    Some(match remedy {
        Remedy::StartAgain => again(error),
        Remedy::StartFresh => fresh(error).to_owned(),
        Remedy::FreeSpace => format!("make room and {}", again(error)),
        Remedy::CheckUrl => check_url(error).to_owned(),
        Remedy::RenewAccess => format!(
            "{} a fresh URL or credentials: --user, --bearer, --netrc, -H, --refresh-cmd",
            match error.checkpoint() {
                Some(_) => "resume with",
                None => "try",
            }
        ),
        _ => of_remedy(remedy)?.to_owned(),
    })
}

fn of_kind(error: &Error) -> Option<String> {
    match error.kind() {
        ErrorKind::Usage => Some(SEE_HELP.to_owned()),
        ErrorKind::File if error.checkpoint().is_some() => {
            Some(format!("once that is fixed, {}", again(error)))
        }
        _ => None,
    }
}

fn again(error: &Error) -> String {
    match error.checkpoint() {
        Some(path) => format!(
            "run the same command again to resume from {}",
            path.to_string_lossy()
        ),
        None => "run the same command again".to_owned(),
    }
}

fn fresh(error: &Error) -> &'static str {
    match error.checkpoint() {
        Some(_) => "the partial file is kept; --fresh downloads everything again",
        None => "if the checksum is right, run the same command again to download everything again",
    }
}

fn check_url(error: &Error) -> &'static str {
    match error.checkpoint() {
        Some(_) => "check the URL; what came so far is kept",
        None => "check the URL",
    }
}

fn of_remedy(remedy: &Remedy) -> Option<&'static str> {
    Some(match remedy {
        Remedy::Overwrite => {
            "--overwrite replaces it once the new one is whole; -o NAME writes another"
        }
        Remedy::ReplaceDamaged => "--overwrite downloads it again",
        Remedy::NameOutput => "name the file: -o FILE",
        Remedy::OtherOutput => "choose another file with --output",
        Remedy::AwaitOtherRun => "wait for the other run, or choose another file with --output",
        Remedy::MovePartial => {
            "move or remove that file once no program writes it, or choose another name with -o"
        }
        Remedy::LeavePage => {
            "log in to the network or the site, or try later, and run the same command again to \
             resume; --fresh throws away what came and downloads what is sent now"
        }
        Remedy::PositionalWrites => "use --writer pwrite",
        Remedy::AwaitSource => {
            "try again later; --fresh throws away what came and begins with the mirror"
        }
        Remedy::Upgrade => "resume with the newer partwise, or throw its work away with --fresh",
        Remedy::AcceptChange => {
            "run the same command again to get the new version; --on-change restart does so \
             automatically"
        }
        Remedy::OneConnection => {
            "run the same command again to get the new version; --on-change restart does so \
             automatically; if servers with entity tags of their own share the name, -c 1 fetches \
             the object in one reply"
        }
        Remedy::DropCondition => {
            "the server has another version than --if-match or --if-unmodified-since asks for; \
             leave the condition out to get that one"
        }
        Remedy::QuoteEntityTag => "an entity tag has double quotes of its own: '\"abc\"'",
        Remedy::TrustCertificate => {
            "--cacert FILE trusts a certificate of your own; -k checks none, and trusts anybody"
        }
        Remedy::ProxyCredentials => "--proxy takes user and password: http://USER:PASS@HOST:PORT",
        _ => return None,
    })
}
