//! prefer-zone.
