//! Measures the building blocks one by one: `cargo bench --features internals --bench micro`.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use partwise::internals::{HalfDone, combine, crc64, write};

/// A gibibyte, in bytes.
const GIB: u64 = 1 << 30;
/// A tebibyte, in bytes.
const TIB: u64 = 1 << 40;

fn plan_and_bitmap(criterion: &mut Criterion) {
    let half = HalfDone::of_parts(1 << 20);
    let mut group = criterion.benchmark_group("a million parts");
    group.throughput(Throughput::Elements(half.parts().into()));
    group.bench_function("look up", |b| {
        b.iter(|| black_box(&half).look_up());
    });
    group.bench_function("missing runs", |b| {
        b.iter(|| black_box(&half).missing_runs());
    });
    group.sample_size(10);
    for connections in [1, 32] {
        let name = format!("schedule on {connections} connections");
        group.bench_function(name, |b| {
            b.iter(|| black_box(&half).schedule(connections));
        });
    }
    group.finish();

    let tebibyte = HalfDone::of(TIB);
    let mut group = criterion.benchmark_group("1 TiB");
    group.throughput(Throughput::Elements(tebibyte.parts().into()));
    group.sample_size(10);
    group.bench_function("assemble", |b| {
        b.iter(|| black_box(&tebibyte).assemble());
    });
    group.finish();
}

fn checkpoint(criterion: &mut Criterion) {
    let folder = tempfile::tempdir_in(".").expect("a folder on the measured disk");
    for (name, length) in [("1 GiB", GIB), ("1 TiB", TIB)] {
        let checkpoint = HalfDone::of(length).checkpoint();
        let bytes = checkpoint
            .encode()
            .expect("the checkpoint is well formed")
            .len();
        let mut group = criterion.benchmark_group(format!("checkpoint of {name}, {bytes} bytes"));
        group.bench_function("encode", |b| {
            b.iter(|| black_box(&checkpoint).encode().map_err(drop));
        });
        group.sample_size(20);
        group.bench_function("commit with every sync", |b| {
            b.iter(|| checkpoint.commit(folder.path()).expect("a disk that works"));
        });
        group.finish();
    }
}

fn crc(criterion: &mut Criterion) {
    let bytes = vec![7; 64 << 10];
    let mut group = criterion.benchmark_group("crc64");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("64 KiB", |b| {
        b.iter(|| crc64(black_box(&bytes)));
    });
    group.throughput(Throughput::Elements(4096));
    group.bench_function("combine 4096 parts", |b| {
        b.iter(|| combine(black_box(4096)));
    });
    group.finish();
}

fn sink(criterion: &mut Criterion) {
    /// Length of the written file, in bytes.
    const LENGTH: u64 = 64 << 20;
    let folder = tempfile::tempdir_in(".").expect("a folder on the measured disk");
    let mut group = criterion.benchmark_group("write 64 MiB");
    group.throughput(Throughput::Bytes(LENGTH));
    group.sample_size(10);
    for (name, mapped) in [("mmap", true), ("pwrite", false)] {
        for buffer in [16 << 10, 256 << 10] {
            let name = format!("{name}, buffers of {} KiB", buffer >> 10);
            group.bench_function(name, |b| {
                b.iter_batched(
                    || vec![7; buffer],
                    |bytes| {
                        write(folder.path(), mapped, &bytes, LENGTH).expect("a disk that works");
                    },
                    BatchSize::LargeInput,
                );
            });
        }
    }
    group.finish();
}

criterion_group!(benches, plan_and_bitmap, checkpoint, crc, sink);
criterion_main!(benches);
