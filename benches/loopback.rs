//! Measures whole downloads from the embedded origin, with each writer: `cargo bench --bench
//! loopback`.

use std::num::NonZeroU32;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use partwise::origin::{Object, Origin};
use partwise::{Connections, Download, Report, Writer};
use tokio::runtime::Runtime;

const LENGTH: u64 = 256 << 20;

async fn download(url: &str, folder: &std::path::Path, writer: Writer, connections: u32) -> Report {
    let connections = NonZeroU32::new(connections).map_or(Connections::Auto, Connections::Fixed);
    let download = Download::builder(url)
        .dir(folder)
        .output("x")
        .overwrite(true)
        .sync(false)
        .writer(writer)
        .connections(connections)
        .build()
        .expect("options that fit together");
    let report = download.start().finish().await;
    report.expect("the server is in this process and the disk has room")
}

fn loopback(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("threads");
    let origin = runtime.block_on(Origin::start(Object::cheap(LENGTH)));
    let origin = origin.expect("a port on the loopback interface");
    let url = origin.url("x");
    let folder = tempfile::tempdir_in(".").expect("a folder on the disk to be measured");
    let mut group = criterion.benchmark_group("256 MiB from the embedded origin, no syncs");
    group.throughput(Throughput::Bytes(LENGTH));
    group.sample_size(10);
    for (name, writer) in [("mmap", Writer::Mmap), ("pwrite", Writer::Pwrite)] {
        for (connections, count) in [("auto", 0), ("1", 1), ("8", 8)] {
            group.bench_function(format!("{name}, connections {connections}"), |b| {
                b.iter(|| {
                    let report = runtime.block_on(download(&url, folder.path(), writer, count));
                    assert_eq!(report.bytes, LENGTH);
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, loopback);
criterion_main!(benches);
