//! Models elsewhere: providers behind the same trait as the models of this machine.
//!
//! Each answers as a [`chat::ChatModel`]. It knows no file, no task and no terminal; wire formats of providers stay in
//! `providers/`, one file each.
#![forbid(unsafe_code)]

pub mod providers;
