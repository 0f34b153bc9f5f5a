//! Each kernel on one thread, at every level of this machine: `cargo bench -p r2former-kernels`.
//!
//! criterion reports elements per second. An element is an operation for products, attention and correlation (`peak` and
//! `int8 peak` are the machine's limits), and a value for activations.

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use r2former_kernels::Level;
use r2former_kernels::probe::{Activation, Correlation, Int8Peak, Map, Peak, Product, SmallHeads};
use std::hint::black_box;
use std::time::Duration;

/// Name, rows, depth, tokens, GELU.
const PRODUCTS: [(&str, usize, usize, usize, bool); 6] = [
    ("DeiT-S keys and values", 768, 384, 96, false),
    ("DeiT-S first of the MLP, GELU", 1536, 384, 96, true),
    ("DeiT-S second of the MLP", 384, 1536, 96, false),
    ("DeiT-S scores of a head", 1202, 64, 96, false),
    ("DeiT-S values of a head", 64, 1202, 96, false),
    ("reranker's MLP", 128, 32, 96, false),
];

fn kernels(criterion: &mut Criterion) {
    for level in Level::available() {
        let mut group = criterion.benchmark_group(level.name());
        group
            .sample_size(100)
            .sampling_mode(SamplingMode::Flat)
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1));
        let peak = Peak(level);
        group.throughput(Throughput::Elements(peak.operations()));
        group.bench_function("peak", |b| b.iter(|| black_box(peak.run())));
        for (name, rows, depth, tokens, gelu) in PRODUCTS {
            let mut product = Product::new(level, rows, depth, tokens, gelu);
            group.throughput(Throughput::Elements(product.operations()));
            group.bench_function(BenchmarkId::new("product", name), |b| b.iter(|| product.run()));
        }
        if let Some(peak) = Int8Peak::new(level) {
            group.throughput(Throughput::Elements(peak.operations()));
            group.bench_function("int8 peak", |b| b.iter(|| black_box(peak.run())));
        }
        for (name, rows, depth, tokens, gelu) in PRODUCTS {
            let Some(mut product) = Product::int8(level, rows, depth, tokens, gelu) else { continue };
            group.throughput(Throughput::Elements(product.operations()));
            group.bench_function(BenchmarkId::new("int8 product", name), |b| b.iter(|| product.run()));
        }
        let mut heads = SmallHeads::new(level, 1001);
        group.throughput(Throughput::Elements(heads.operations()));
        group.bench_function("attention of a head of 8, 1001 tokens", |b| b.iter(|| heads.run()));
        let mut correlation = Correlation::new(level, 500);
        group.throughput(Throughput::Elements(correlation.operations()));
        group.bench_function("correlation 500 x 500, best 5 of both", |b| b.iter(|| correlation.run()));
        for (name, activation) in [
            ("2^x", Activation::Exp2),
            ("GELU", Activation::Gelu),
            ("layer norm", Activation::Norm),
            ("to 8 bits", Activation::Quantise),
        ] {
            let mut map = Map::new(level, activation);
            group.throughput(Throughput::Elements(map.elements()));
            group.bench_function(BenchmarkId::new("map", name), |b| b.iter(|| map.run()));
        }
        group.finish();
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
