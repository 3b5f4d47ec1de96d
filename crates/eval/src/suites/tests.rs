//! Suites of a few rows, in the formats in which their authors publish them.

use super::*;
