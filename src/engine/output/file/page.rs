//! A page in place of the object: of a captive portal, a login, or an error that is sent with 200.

use crate::checkpoint::Checkpoint;
use crate::engine::context::Context;
use crate::error::{Error, ErrorKind, Remedy};
use crate::http::{Metadata, RangeSupport, is_html};

/// A new version may be shorter, but one that is shorter than this share of the old one must look
/// like it otherwise.
const SAME_ORDER: u64 = 16;

/// Refuses to throw away what an earlier run fetched, where what the server sends now looks like a
/// page in place of the object. `length` is what it sends now, in bytes.
///
/// # Errors
///
/// `Network` for such a page.
pub(crate) fn refuse(
    context: &Context<'_>,
    checkpoint: &Checkpoint,
    length: Option<u64>,
    metadata: &Metadata,
) -> Result<(), Error> {
    if checkpoint.completed.is_empty() || is_plausible(checkpoint, length, metadata) {
        return Ok(());
    }
    let of_type = |media: Option<&str>| media.unwrap_or("no media type").to_owned();
    let size = length.map_or("unknown length".to_owned(), |length| {
        format!("{length} bytes")
    });
    Err(Error::new(
        ErrorKind::Network,
        context.subject(),
        format_args!(
            "the server sends a page in place of the object: expected {} bytes ({}), found {size} \
             ({}); what came so far is kept",
            checkpoint.length,
            of_type(checkpoint.media.as_deref()),
            of_type(metadata.media.as_deref()),
        ),
    )
    .with_remedy(Remedy::LeavePage))
}

/// Whether a server may have replaced the object of this checkpoint by what it sends now.
fn is_plausible(checkpoint: &Checkpoint, length: Option<u64>, metadata: &Metadata) -> bool {
    let is_other_type = checkpoint.media != metadata.media;
    if is_other_type && is_html(metadata.media.as_deref()) {
        return false;
    }
    match length {
        Some(0) => false,
        Some(length) if length >= checkpoint.length / SAME_ORDER => true,
        Some(_) => !is_other_type && metadata.ranges == RangeSupport::Yes,
        None => !is_other_type,
    }
}

/// Warns of a page that comes under the name of something else.
pub(crate) fn warn(context: &Context<'_>, metadata: &Metadata) {
    const PAGES: [&str; 8] = ["html", "htm", "xhtml", "xht", "php", "asp", "aspx", "jsp"];
    let extension = context
        .output
        .extension()
        .and_then(|extension| extension.to_str());
    let Some(extension) = extension.map(str::to_ascii_lowercase) else {
        return;
    };
    if is_html(metadata.media.as_deref()) && !PAGES.contains(&extension.as_str()) {
        context.events().warn(format!(
            "the server sends a page of HTML, though the name ends in .{extension}: \
             it may be a login or an error in place of the object"
        ));
    }
}
