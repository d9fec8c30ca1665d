//! most-advanced.
