//! Reads every row of every table within one transaction, and makes a checksum of each table.
//!
//! Rows are taken as mysqld hands them to any client that reads them, in its binary protocol: numbers as they are, and
//! the length of everything that has one. The checksums of rows are added up, so that their order is no matter and rows
//! that are there twice count twice. `CHECKSUM TABLE` runs the columns of a row together: `'on', 'euno'` is to it what
//! `'one', 'uno'` is (measured on 9.7.4), and it counts no rows. It must never keep a table from being changed for longer than it is read.

use std::sync::atomic::Ordering;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Value};
use sha2::{Digest, Sha256};
use wire::TableSum;

use super::{Count, Trouble};
use crate::sql::quote_name;

/// How many tables there may be: what they hold has to fit into one message.
const MOST_TABLES: usize = 20_000;

/// How many rows are read before it is told.
const TELL: u64 = 1_000;

/// The tables that applications made. Those of other engines are in no backup, and what Grampus keeps is each cluster's
/// own.
const TABLES: &str = "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' \
    AND ENGINE = 'InnoDB' AND TABLE_SCHEMA NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema', 'grampus') \
    ORDER BY TABLE_SCHEMA, TABLE_NAME";

/// Invisible columns are named too, which `*` would leave out.
const COLUMNS: &str = "SELECT COLUMN_NAME, COLUMN_TYPE FROM information_schema.COLUMNS \
    WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION";

/// Reads everything.
pub async fn read(conn: &mut Conn, count: &Count) -> Result<Vec<TableSum>, Trouble> {
    let whole = |why: mysql_async::Error| Trouble { table: None, error: why.to_string() };
    let names: Vec<(String, String)> = conn.query(TABLES).await.map_err(whole)?;
    if names.len() > MOST_TABLES {
        let error = format!("there are {} tables, and at most {MOST_TABLES} are compared", names.len());
        return Err(Trouble { table: None, error });
    }
    count.tables_total.store(names.len() as u64, Ordering::Relaxed);
    conn.query_drop("SAVEPOINT grampus").await.map_err(whole)?;
    let mut tables = Vec::with_capacity(names.len());
    for (schema, name) in names {
        let table = format!("{schema}.{name}");
        let named = |why: mysql_async::Error| Trouble { table: Some(table.clone()), error: why.to_string() };
        let (rows, sum) = one(conn, &schema, &name, count).await.map_err(named)?;
        // The transaction goes on seeing the same, and lets go of the table.
        conn.query_drop("ROLLBACK TO SAVEPOINT grampus").await.map_err(named)?;
        count.tables_done.fetch_add(1, Ordering::Relaxed);
        tables.push(TableSum { table, rows, sum: format!("{sum:032x}") });
    }
    Ok(tables)
}

async fn one(conn: &mut Conn, schema: &str, name: &str, count: &Count) -> Result<(u64, u128), mysql_async::Error> {
    let columns: Vec<(String, String)> = conn.exec(COLUMNS, (schema, name)).await?;
    let mut sum = of_columns(&columns);
    let listed: Vec<_> = columns.iter().map(|(column, _)| quote_name(column)).collect();
    let query = format!("SELECT {} FROM {}.{}", listed.join(", "), quote_name(schema), quote_name(name));
    let mut result = conn.exec_iter(query, ()).await?;
    let mut rows = 0;
    while let Some(row) = result.next().await? {
        sum = sum.wrapping_add(of_row(&row.unwrap()));
        rows += 1;
        if rows % TELL == 0 {
            count.rows.fetch_add(TELL, Ordering::Relaxed);
        }
    }
    count.rows.fetch_add(rows % TELL, Ordering::Relaxed);
    result.drop_result().await?;
    Ok((rows, sum))
}

fn of_columns(columns: &[(String, String)]) -> u128 {
    let mut hash = Sha256::new();
    for text in columns.iter().flat_map(|(name, kind)| [name, kind]) {
        sized(&mut hash, text.as_bytes());
    }
    first_half(hash)
}

fn of_row(values: &[Value]) -> u128 {
    let mut hash = Sha256::new();
    for value in values {
        match value {
            Value::NULL => hash.update([0]),
            Value::Bytes(bytes) => {
                hash.update([1]);
                sized(&mut hash, bytes);
            }
            Value::Int(number) => {
                hash.update([2]);
                hash.update(number.to_le_bytes());
            }
            Value::UInt(number) => {
                hash.update([3]);
                hash.update(number.to_le_bytes());
            }
            Value::Float(number) => {
                hash.update([4]);
                hash.update(number.to_bits().to_le_bytes());
            }
            Value::Double(number) => {
                hash.update([5]);
                hash.update(number.to_bits().to_le_bytes());
            }
            Value::Date(year, month, day, hour, minute, second, micros) => {
                hash.update([6]);
                hash.update(year.to_le_bytes());
                hash.update([*month, *day, *hour, *minute, *second]);
                hash.update(micros.to_le_bytes());
            }
            Value::Time(negative, days, hours, minutes, seconds, micros) => {
                hash.update([7, u8::from(*negative)]);
                hash.update(days.to_le_bytes());
                hash.update([*hours, *minutes, *seconds]);
                hash.update(micros.to_le_bytes());
            }
        }
    }
    first_half(hash)
}

fn sized(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

fn first_half(hash: Sha256) -> u128 {
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    u128::from_le_bytes(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_a_row_differs_in_its_sum() {
        let bytes = |text: &str| Value::Bytes(text.as_bytes().to_vec());
        let rows = [
            vec![bytes("a"), bytes("bc")],
            vec![bytes("ab"), bytes("c")],
            vec![bytes("bc"), bytes("a")],
            vec![bytes(""), bytes("abc")],
            vec![Value::NULL, bytes("abc")],
            vec![Value::NULL, Value::NULL],
            vec![bytes(""), bytes("")],
            vec![Value::Int(1), Value::NULL],
            vec![Value::UInt(1), Value::NULL],
            vec![Value::Float(0.1), Value::NULL],
            vec![Value::Double(0.1), Value::NULL],
            vec![Value::Date(2026, 11, 27, 1, 2, 3, 4), Value::NULL],
            vec![Value::Time(false, 1, 2, 3, 4, 5), Value::NULL],
            vec![Value::Time(true, 1, 2, 3, 4, 5), Value::NULL],
        ];
        let sums: std::collections::BTreeSet<_> = rows.iter().map(|row| of_row(row)).collect();
        assert_eq!(sums.len(), rows.len());
    }

    #[test]
    fn columns_are_told_apart_by_name_and_type() {
        let of = |name: &str, kind: &str| of_columns(&[(name.to_owned(), kind.to_owned())]);
        assert_ne!(of("a", "int"), of("a", "bigint"));
        assert_ne!(of("a", "int"), of("b", "int"));
    }
}
