//! Batches: which photographs are in a step, and how they relate.

mod load;
mod pairs;
mod plan;
#[cfg(test)]
mod tests;

pub(crate) use load::{Batch, Loader, preprocessing};
pub(crate) use pairs::{PairBatch, Pairs};
pub(crate) use plan::{Plan, Planner};
