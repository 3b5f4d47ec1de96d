//! What was done, row by row, in one SQLite file that survives whatever ends the process.
//!
//! It knows no task, no model and no wire format: a row is a number, JSON and a reason.
#![forbid(unsafe_code)]
