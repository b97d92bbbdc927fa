//! Spot checks of mirrors: blocks of each are compared with those of the source before a mirror
//! brings a byte.
//!
//! A tag or a date proves nothing under another URL. nginx makes its tags of size and date, so two
//! objects may well have the same.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::{StreamExt, TryStreamExt, stream};

use super::http::HttpRemote;
use super::pool::{Server, ServerPool};
use super::{BLOCK, FetchError, collect};
use crate::engine::context::Context;
use crate::object::ByteRange;
use crate::options::Connections;

/// The blocks of one server.
type Blocks = Vec<Vec<u8>>;

/// The mirrors of which three blocks are the same as those of the source. Warns of the others. No
/// server may take longer than `timeout`.
pub(super) async fn same_as(
    context: &Context<'_>,
    source: Server,
    mirrors: Vec<Server>,
    timeout: Duration,
) -> Vec<Server> {
    if mirrors.is_empty() {
        return mirrors;
    }
    let ranges = ranges(source.pinned.length);
    let expected = match fetch(context, source, &ranges, timeout).await {
        Ok((_, blocks)) => blocks,
        Err(why) => {
            context.events().warn(format!(
                "the mirrors are left out: the object has no blocks to compare them with: {why}"
            ));
            return Vec::new();
        }
    };
    let shown: Vec<String> = mirrors.iter().map(|mirror| mirror.source.shown()).collect();
    let fetching: Vec<_> = mirrors
        .into_iter()
        .map(|mirror| fetch(context, mirror, &ranges, timeout))
        .collect();
    let mut same = Vec::new();
    for (shown, fetched) in shown.iter().zip(join_all(fetching).await) {
        let why = match fetched {
            Ok((mirror, blocks)) if blocks == expected => {
                ranges.iter().for_each(|_| context.metrics.spot_checked());
                same.push(mirror);
                continue;
            }
            Ok(_) => "some of its bytes are not those of the object".to_owned(),
            Err(why) => why,
        };
        context
            .events()
            .warn(format!("the mirror {shown} is left out: {why}"));
    }
    same
}

/// The first block of an object of `length` bytes, the last one, and one by chance.
fn ranges(length: u64) -> Vec<ByteRange> {
    let size = length.min(BLOCK);
    let last = length - size;
    let mut starts = vec![0, fastrand::u64(0..=last), last];
    starts.sort_unstable();
    starts.dedup();
    let block = |start| ByteRange::at(start, size).filter(|range| !range.is_empty());
    starts.into_iter().filter_map(block).collect()
}

/// Fetches these ranges from one server, and gives the server back.
async fn fetch(
    context: &Context<'_>,
    server: Server,
    ranges: &[ByteRange],
    timeout: Duration,
) -> Result<(Server, Blocks), String> {
    // The blocks are not among the bytes that it is going to bring.
    let asked = Server::new(server.source.clone(), server.pinned.anew());
    let pinned = asked.pinned.clone();
    let pool = ServerPool::new(asked, Vec::new(), Arc::clone(context.events()));
    let remote = HttpRemote::new(context.job.client.clone(), pool);
    let at_once = match context.job.connections {
        Connections::Fixed(connections) => usize::try_from(connections.get()).unwrap_or(1),
        Connections::Auto => ranges.len(),
    };
    let fetching: Vec<_> = ranges
        .iter()
        .map(|range| fetch_block(context, &remote, *range))
        .collect();
    let fetching = stream::iter(fetching)
        .buffered(at_once.max(1))
        .try_collect::<Blocks>();
    match tokio::time::timeout(timeout, fetching).await {
        Ok(Ok(blocks)) => {
            server.pinned.learn(&pinned.identity());
            Ok((server, blocks))
        }
        Ok(Err(FetchError::RangesIgnored)) => Err("it has no byte ranges".to_owned()),
        Ok(Err(FetchError::Http(error))) => Err(error.to_string()),
        Err(_) => Err(format!("it sent no blocks for {} s", timeout.as_secs())),
    }
}

async fn fetch_block(
    context: &Context<'_>,
    remote: &HttpRemote,
    range: ByteRange,
) -> Result<Vec<u8>, FetchError> {
    context.metrics.attempted();
    let bytes = collect(remote, range).await?;
    context.metrics.fetched(bytes.len() as u64);
    Ok(bytes)
}
