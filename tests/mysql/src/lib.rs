//! mysql-tests.
