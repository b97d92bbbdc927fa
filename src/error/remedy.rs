//! What a caller can do about a failure.

use std::fmt;

use serde::Serialize;

/// What a caller can do about a failed download. [`Error::remedy`](crate::Error::remedy) returns
/// it.
///
/// `Display` says it in the words of the library: the options of
/// [`DownloadBuilder`](crate::DownloadBuilder). A program with options of its own words each remedy
/// by those, as the command does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Remedy {
    /// The same download can be started again. It resumes where the error has a
    /// [`checkpoint`](crate::Error::checkpoint).
    StartAgain,
    /// The file at the final name can be replaced with
    /// [`overwrite`](crate::DownloadBuilder::overwrite), or another name be chosen with
    /// [`output`](crate::DownloadBuilder::output).
    Overwrite,
    /// The file at the final name lost bytes in a crash;
    /// [`overwrite`](crate::DownloadBuilder::overwrite) downloads it again.
    ReplaceDamaged,
    /// The URL gives no file name; [`output`](crate::DownloadBuilder::output) does.
    NameOutput,
    /// The final name can't be replaced; [`output`](crate::DownloadBuilder::output) chooses another
    /// one.
    OtherOutput,
    /// Another run holds the partial file: wait for it, or choose another
    /// [`output`](crate::DownloadBuilder::output).
    AwaitOtherRun,
    /// The partial file's name is taken by another program. Move or remove that file, or choose
    /// another [`output`](crate::DownloadBuilder::output).
    MovePartial,
    /// Something between here and the object answers in its place: log in to the network or to the
    /// site, or try later; [`fresh`](crate::DownloadBuilder::fresh) discards what came and
    /// downloads what is sent now.
    LeavePage,
    /// The disk, a quota or the process's file size limit is exhausted. With more room the download
    /// can be started again.
    FreeSpace,
    /// The file system can't be mapped safely; [`Writer::Pwrite`](crate::Writer::Pwrite) needs no
    /// map.
    PositionalWrites,
    /// The bytes are wrong, or can't be told from wrong ones;
    /// [`fresh`](crate::DownloadBuilder::fresh) downloads all of them again.
    StartFresh,
    /// There is no checkpoint to resume from; without
    /// [`resume_from`](crate::DownloadBuilder::resume_from) the download begins with nothing.
    StartWithoutCheckpoint,
    /// The source does not answer, and its mirror has another version. Trying later resumes;
    /// [`fresh`](crate::DownloadBuilder::fresh) discards what came and begins with the mirror.
    AwaitSource,
    /// A newer version of partwise wrote the checkpoint. That version resumes;
    /// [`fresh`](crate::DownloadBuilder::fresh) discards its work.
    Upgrade,
    /// [`OnChange::Restart`](crate::OnChange::Restart) starts over by itself where the object
    /// changes; [`fresh`](crate::DownloadBuilder::fresh) starts over now.
    AcceptChange,
    /// The object changed before any part of it came, or servers that share its name have entity
    /// tags of their own: one [connection](crate::DownloadBuilder::connections) fetches the object
    /// in a single reply, which is one version by itself.
    /// [`OnChange::Restart`](crate::OnChange::Restart) starts over where it changed.
    OneConnection,
    /// The server has another version than [`if_match`](crate::DownloadBuilder::if_match) or
    /// [`if_unmodified_since`](crate::DownloadBuilder::if_unmodified_since) asks for. Without the
    /// condition, that version is downloaded.
    DropCondition,
    /// An entity tag includes its double quotes: `"abc"`.
    QuoteEntityTag,
    /// The URL may be wrong.
    CheckUrl,
    /// The server refuses access: give a fresh URL or credentials with
    /// [`user`](crate::DownloadBuilder::user), [`bearer`](crate::DownloadBuilder::bearer),
    /// [`header`](crate::DownloadBuilder::header) or
    /// [`refresh_with`](crate::DownloadBuilder::refresh_with).
    RenewAccess,
    /// [`ca_certificate`](crate::DownloadBuilder::ca_certificate) trusts a certificate of the
    /// caller's own; [`insecure`](crate::DownloadBuilder::insecure) checks none.
    TrustCertificate,
    /// The proxy wants a user and a password: `http://USER:PASS@HOST:PORT` for
    /// [`proxy`](crate::DownloadBuilder::proxy).
    ProxyCredentials,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StartAgain => "start the download again; it resumes where there is a checkpoint",
            Self::Overwrite => {
                "replace the file with `overwrite(true)`, or choose another one with `output`"
            }
            Self::ReplaceDamaged => "download the file again with `overwrite(true)`",
            Self::NameOutput => "name the file with `output`",
            Self::OtherOutput => "choose another file with `output`",
            Self::AwaitOtherRun => {
                "wait for the other run, or choose another file with `output`"
            }
            Self::MovePartial => {
                "move or remove that file once no program writes it, or choose another one with `output`"
            }
            Self::LeavePage => {
                "log in to the network or the site, or try later; `fresh(true)` discards what came"
            }
            Self::FreeSpace => "make room and start the download again",
            Self::PositionalWrites => "use `Writer::Pwrite`",
            Self::StartFresh => "download every byte again with `fresh(true)`",
            Self::StartWithoutCheckpoint => {
                "leave `resume_from` out to download from the beginning"
            }
            Self::AwaitSource => {
                "try again later; `fresh(true)` discards what came and begins with the mirror"
            }
            Self::Upgrade => {
                "resume with the newer version of partwise, or discard its work with `fresh(true)`"
            }
            Self::AcceptChange => {
                "`OnChange::Restart` starts over by itself, `fresh(true)` starts over now"
            }
            Self::OneConnection => {
                "`OnChange::Restart` starts over by itself; if servers with entity tags of their own \
                 share the name, `connections(1)` fetches the object in one reply"
            }
            Self::DropCondition => {
                "leave `if_match` and `if_unmodified_since` out to get the server's version"
            }
            Self::QuoteEntityTag => "an entity tag includes its double quotes: `\"abc\"`",
            Self::CheckUrl => "check the URL",
            Self::RenewAccess => {
                "start again with a fresh URL or credentials: `user`, `bearer`, `netrc`, `header`, `refresh_with`"
            }
            Self::TrustCertificate => {
                "trust a certificate of your own with `ca_certificate`; `insecure(true)` checks none"
            }
            Self::ProxyCredentials => {
                "give `proxy` a user and a password: `http://USER:PASS@HOST:PORT`"
            }
        })
    }
}
