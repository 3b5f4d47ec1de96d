//! The providers: one file and one line of the table each.
