//! The people's part of my.cnf: what may be set, what follows from the size of the pod, and how it is written.
//!
//! The agent puts its own fixed options behind this part, so nothing here can win against them; refusing is for
//! the person, who would otherwise believe that an option is in force. An option that mysqld does not know is
//! refused too, because mysqld would not start with it.

mod rules;
mod sizing;

use std::collections::BTreeMap;

use rules::{Rule, rule_for};
pub use sizing::{Sizing, defaults};

use crate::api::OptionValue;
use crate::problem::Problem;
use crate::quantity;

const KNOWN: &str = include_str!("mysqld_options/known.txt");
const FIELD: &str = "spec.config";

/// Prefixes by which mysqld changes the meaning of what follows.
const MODIFIERS: [&str; 5] = ["loose_", "skip_", "enable_", "disable_", "maximum_"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Flag,
    Number,
    Text,
}

/// Checks what a person set and returns it under plain names, without what Grampus sets to the same value anyway.
///
/// # Errors
/// One [`Problem`] for every option that is refused.
pub fn check(
    config: &BTreeMap<String, OptionValue>,
    sizing: &Sizing,
) -> Result<BTreeMap<String, String>, Vec<Problem>> {
    let mut accepted = BTreeMap::new();
    let mut problems = Vec::new();
    for (written, value) in config {
        let value = value.to_string();
        match check_one(written, &value, sizing) {
            Ok(Some(name)) => {
                if accepted.insert(name.clone(), value).is_some() {
                    let message = format!("sets {name} a second time, under another spelling");
                    problems.push(Problem::new(path(written), message, "leave one of them out"));
                }
            }
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(accepted) } else { Err(problems) }
}

/// The option's plain name if it is to be written, nothing if Grampus sets it so anyway.
fn check_one(written: &str, value: &str, sizing: &Sizing) -> Result<Option<String>, Problem> {
    let refuse = |message: String, remedy: &str| Err(Problem::new(path(written), message, remedy));
    let name = written.to_ascii_lowercase().replace('-', "_");
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.') {
        return refuse("is not the name of an option".to_owned(), "write it as in my.cnf, without leading dashes");
    }
    let plain = plain_names(&name);
    for candidate in &plain {
        match rule_for(candidate) {
            Some(Rule::Refuse(why, remedy)) => return refuse(format!("is not for you to set: {why}"), remedy),
            Some(Rule::Only(values, why)) if *candidate == name => {
                return if values.iter().any(|allowed| allowed.eq_ignore_ascii_case(value)) {
                    Ok(None)
                } else {
                    refuse(format!("is {} and cannot be {value}: {why}", values[0]), "leave it out")
                };
            }
            Some(Rule::Only(_, why)) => return refuse(format!("is not for you to set: {why}"), "leave it out"),
            None => {}
        }
    }
    check_text(written, value)?;
    if let Some(loose) = name.strip_prefix("loose_") {
        return check_loose(written, loose).map(|()| Some(name.clone()));
    }
    let Some(kind) = kind_of(&name) else { return Err(unknown(written, &plain)) };
    check_kind(written, kind, value)?;
    check_bounds(written, &name, value, sizing)?;
    Ok(Some(name))
}

fn path(written: &str) -> String {
    format!("{FIELD}.{written}")
}

/// Every setting that an option can mean, as a person wrote it: with dashes, or with prefixes that modify it.
pub fn meant(written: &str) -> Vec<String> {
    plain_names(&written.to_ascii_lowercase().replace('-', "_"))
}

/// The name itself and what is left of it without the prefixes that modify it.
fn plain_names(name: &str) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    let mut rest = name;
    while let Some(inner) = MODIFIERS.iter().find_map(|modifier| rest.strip_prefix(modifier)) {
        names.push(inner.to_owned());
        rest = inner;
    }
    names
}

/// `loose_` is the way to name an option of a plugin or of another build; it must not hide a refused one, and some
/// builds take abbreviations for the whole.
fn check_loose(written: &str, name: &str) -> Result<(), Problem> {
    let hidden = rules::BY_NAME.iter().find(|(blocked, _)| blocked.starts_with(name) && kind_of(name).is_none());
    match hidden {
        Some((blocked, _)) => {
            let message = format!("could be read as {blocked}, which is not for you to set");
            Err(Problem::new(path(written), message, "write the option's full name"))
        }
        None => Ok(()),
    }
}

fn kind_of(name: &str) -> Option<Kind> {
    let line = KNOWN.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(match line {
        "flag" => Kind::Flag,
        "number" => Kind::Number,
        _ => Kind::Text,
    })
}

fn unknown(written: &str, plain: &[String]) -> Problem {
    if let Some(base) = plain[1..].iter().find(|name| kind_of(name).is_some()) {
        let message = "uses a prefix of the command line".to_owned();
        return Problem::new(path(written), message, format!("set {base} to ON, OFF or a value instead"));
    }
    let remedy = match nearest(&plain[0]) {
        Some(name) => format!("did you mean {name}? An option of a plugin takes the prefix loose_"),
        None => "check the spelling; an option of a plugin takes the prefix loose_".to_owned(),
    };
    Problem::new(path(written), "mysqld knows no such option and would not start", remedy)
}

/// A known option that differs by a typing error or two.
fn nearest(name: &str) -> Option<&'static str> {
    let names = KNOWN.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(' ').next());
    names.map(|known| (distance(name, known), known)).filter(|(far, _)| *far <= 2).min().map(|(_, known)| known)
}

/// Levenshtein's distance.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let next = (diagonal + usize::from(a != *b)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[right.len()]
}

/// What would break the file, whatever the option.
fn check_text(written: &str, value: &str) -> Result<(), Problem> {
    let refuse = |message: &str, remedy: &str| Err(Problem::new(path(written), message, remedy));
    if value.len() > 1024 {
        return refuse("is longer than 1024 bytes", "shorten it");
    }
    if value.chars().any(char::is_control) {
        return refuse("holds a line break or another control character", "write it on one line");
    }
    if value.contains('"') && value.contains('\'') {
        return refuse("holds both kinds of quotes, which my.cnf cannot express", "use one kind");
    }
    Ok(())
}

fn check_kind(written: &str, kind: Kind, value: &str) -> Result<(), Problem> {
    const FLAGS: [&str; 6] = ["ON", "OFF", "1", "0", "TRUE", "FALSE"];
    let (fits, expected) = match kind {
        Kind::Flag => (FLAGS.iter().any(|flag| flag.eq_ignore_ascii_case(value)), "ON or OFF, in quotes"),
        Kind::Number => (is_number(value), "a number, such as 500, 64M or 2G"),
        Kind::Text => (!value.is_empty(), "a text that is not empty"),
    };
    if fits {
        return Ok(());
    }
    Err(Problem::new(path(written), format!("cannot be {value:?}"), format!("give it {expected}")))
}

fn is_number(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    if let Some((whole, fraction)) = digits.split_once('.') {
        return [whole, fraction].iter().all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit()));
    }
    size_of(digits).is_some()
}

/// A number with one of mysqld's suffixes, which are powers of 1024 in either case.
fn size_of(value: &str) -> Option<u64> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match value[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        "e" => 60,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Values that mysqld would take and the cluster would not survive.
fn check_bounds(written: &str, name: &str, value: &str, sizing: &Sizing) -> Result<(), Problem> {
    let Some(size) = size_of(value) else { return Ok(()) };
    let refuse = |message: String, remedy: String| Err(Problem::new(path(written), message, remedy));
    match name {
        "innodb_buffer_pool_size" => {
            let Some(most) = sizing.memory.map(|memory| memory / 10 * 8) else { return Ok(()) };
            if size > most {
                let message = format!("is more than 80 % of the container's memory, {most} bytes");
                let remedy = "lower it, raise spec.resources.limits.memory, or leave it out to get a fitting size";
                return refuse(message, remedy.to_owned());
            }
        }
        "binlog_group_commit_sync_delay" if size > 1000 => {
            return refuse("is in microseconds and delays every commit".to_owned(), "use 1000 or less".to_owned());
        }
        "binlog_expire_logs_seconds" if size != 0 && size < 3600 => {
            let message = "is so short that a member which was away could only be cloned".to_owned();
            return refuse(message, "use 3600 or more".to_owned());
        }
        "max_connections" if !(10..=100_000).contains(&size) => {
            return refuse("must leave room for Grampus itself".to_owned(), "use 10 to 100000".to_owned());
        }
        "replica_parallel_workers" | "slave_parallel_workers" if !(1..=1024).contains(&size) => {
            return refuse("must be able to apply".to_owned(), "use 1 to 1024, or leave it out".to_owned());
        }
        _ => {}
    }
    Ok(())
}

/// The file, from what follows from the size of the pod and what a person set on top.
pub fn render(accepted: &BTreeMap<String, String>, sizing: &Sizing) -> String {
    let mut options = defaults(sizing, accepted);
    options.extend(accepted.iter().map(|(name, value)| (name.clone(), value.clone())));
    // A default that is written loosely must not stand beside the same option set by a person.
    options.retain(|name, _| name.strip_prefix("loose_").is_none_or(|plain| !accepted.contains_key(plain)));
    let lines: String = options.iter().map(|(name, value)| format!("{name} = {}\n", quoted(value))).collect();
    format!(
        "# From spec.config and spec.resources of the MysqlCluster. The agent adds what replication needs.\n[mysqld]\n{lines}"
    )
}

/// my.cnf reads backslashes as escapes, and `#` and outer blanks as not part of a value.
fn quoted(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\");
    if value.contains('"') {
        format!("'{escaped}'")
    } else if value.contains(['#', ';', '\'', ' ']) {
        format!("\"{escaped}\"")
    } else {
        escaped
    }
}

/// The memory and CPU that options are derived from.
pub fn sizing(memory: Option<&str>, cpu: Option<&str>, storage: &str) -> Sizing {
    Sizing {
        memory: memory.and_then(quantity::units),
        millicores: cpu.and_then(quantity::millis).and_then(|millis| u64::try_from(millis).ok()),
        storage: quantity::units(storage).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests;
