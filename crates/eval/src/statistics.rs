//! How sure a figure is: intervals, comparisons, and when enough is known.
//!
//! Numbers in, numbers out: it knows no task, no model and no text.
