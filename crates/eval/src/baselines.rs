//! What needs no language model: each learns from the examples and answers like a task with a model.
//!
//! A candidate that does not beat them is not worth its cost.
