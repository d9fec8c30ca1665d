//! Real members in one process: agents on addresses of the loopback network, each with a real mysqld.
//!
//! It must never shorten what is tested: members are told what to do over the wire and clients connect over TCP.
//! Only the very first data directory is made once and copied.

pub mod archive;
pub mod certificates;
pub mod cluster;
pub mod member;
pub mod mounted;
pub mod template;

pub use cluster::Cluster;
pub use member::Member;
