//! grampus-policy.
