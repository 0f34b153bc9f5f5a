//! Batches: which photographs a step sees, and how they relate.

mod load;
mod plan;
#[cfg(test)]
mod tests;

pub(crate) use load::{Batch, Loader};
pub(crate) use plan::{Plan, Planner};
