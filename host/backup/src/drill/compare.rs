//! What tables hold, held against each other. Pure.

use std::collections::BTreeMap;

use wire::TableSum;

/// How many differences are named.
const NAMED: usize = 3;

/// What was proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// With whom it was compared; None where every row was only read.
    pub with: Option<String>,
    /// How many tables there are.
    pub tables: u64,
    /// How many rows they have.
    pub rows: u64,
}

impl Proof {
    /// Every row of these was read.
    pub fn read(tables: &[TableSum]) -> Self {
        Self { with: None, tables: tables.len() as u64, rows: tables.iter().map(|table| table.rows).sum() }
    }
}

/// Compares what a member of the cluster holds with what was restored, after the same transactions.
///
/// # Errors
/// Which tables differ, with both values.
pub fn compare(member: &str, source: &[TableSum], restored: &[TableSum]) -> Result<Proof, String> {
    let by_name = |tables: &'_ [TableSum]| -> BTreeMap<String, (u64, String)> {
        tables.iter().map(|table| (table.table.clone(), (table.rows, table.sum.clone()))).collect()
    };
    let (there, here) = (by_name(source), by_name(restored));
    let names = there.keys().chain(here.keys().filter(|name| !there.contains_key(*name)));
    let differ: Vec<_> = names.filter(|name| there.get(*name) != here.get(*name)).collect();
    if differ.is_empty() {
        return Ok(Proof { with: Some(member.to_owned()), ..Proof::read(restored) });
    }
    let value = |of: Option<&(u64, String)>| match of {
        Some((rows, sum)) => format!("{rows} rows with checksum {sum}"),
        None => "no such table".to_owned(),
    };
    let said = differ
        .iter()
        .take(NAMED)
        .map(|name| format!("{name}: {} on {member}, {} restored", value(there.get(*name)), value(here.get(*name))));
    let said = said.collect::<Vec<_>>().join("; ");
    let more = differ.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!("; and {more} tables more") };
    Err(format!("what was restored differs: {said}{more}"))
}
