//! The examples run as they are, on the rendered town.

#![allow(dead_code, reason = "their `main` reads the command line")]

#[path = "../examples/extract_to_safetensors.rs"]
mod extract_to_safetensors;
#[path = "../examples/index_and_query.rs"]
mod index_and_query;
#[path = "../examples/rerank_pair.rs"]
mod rerank_pair;
#[path = "../examples/stream_folder.rs"]
mod stream_folder;

#[test]
fn every_example_runs_without_arguments() {
    index_and_query::run(&[]).expect("index_and_query");
    rerank_pair::run(&[]).expect("rerank_pair");
    extract_to_safetensors::run(&[]).expect("extract_to_safetensors");
    stream_folder::run(&[]).expect("stream_folder");
}
