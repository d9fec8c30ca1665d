//! Transactions: the name MySQL gives them, and what they did. The second is what a real server does not tell, and
//! what shows that one name was given twice.

use std::fmt::Write;

use topology::gtid::GtidSet;
use uuid::Uuid;

/// A server_uuid, as a small number.
pub type ServerId = u32;

/// The name of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gtid {
    /// Who committed it first.
    pub server: ServerId,
    /// Its number there, from 1 on.
    pub number: u32,
}

/// A transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transaction {
    /// Its name.
    pub gtid: Gtid,
    /// What it did: no two clients ever do the same.
    pub content: u32,
}

/// The server_uuid behind a number.
pub fn uuid(server: ServerId) -> Uuid {
    Uuid::from_u128(0x5e2e_0000_0000_0000_0000_0000_0000_0000 + u128::from(server))
}

/// The names of transactions as the product knows them.
pub fn names(transactions: &[Transaction]) -> GtidSet {
    let mut gtids: Vec<Gtid> = transactions.iter().map(|transaction| transaction.gtid).collect();
    gtids.sort_unstable();
    gtids.dedup();
    let mut text = String::new();
    let mut rest = gtids.as_slice();
    let mut server = None;
    while let Some(first) = rest.first() {
        let run = rest
            .iter()
            .zip(first.number..)
            .take_while(|(gtid, number)| gtid.server == first.server && gtid.number == *number);
        let length = run.count();
        if server != Some(first.server) {
            let comma = if server.is_some() { "," } else { "" };
            write!(text, "{comma}{}", uuid(first.server)).unwrap();
            server = Some(first.server);
        }
        write!(text, ":{}-{}", first.number, first.number + length as u32 - 1).unwrap();
        rest = &rest[length..];
    }
    text.parse().unwrap()
}
