//! The only door between a wish for another setting and an action.
//!
//! Nothing but [`guard`] makes a [`Granted`]. It is given what there is at that moment and not what the question once
//! said. It must never let a setting through that a promise rests on, that could take more memory than there is, or
//! that goes far from what is known to work.

use std::fmt;

use super::tunable::{Kind, parse, tunable};
use super::{Answer, Change, Present};

/// The most that the buffer pool may have of the memory limit, in hundredths. The rest is for connections, temporary
/// tables, performance_schema and the agent.
const POOL_PERCENT: u64 = 80;

/// How far a number may move at once, in hundredths of what it is.
const STEP_PERCENT: u64 = 25;

/// What a session takes besides the buffers that can be set: `thread_stack`, which is 1 MiB on every series, and two
/// buffers of the network of 16 KiB.
const SESSION_BYTES: u64 = (1 << 20) + 2 * (16 << 10);

/// The buffers of a session that can be set, with mysqld's own defaults, which are the same on 8.0, 8.4 and 9.7.
const SESSION_BUFFERS: [(&str, u64); 5] = [
    ("binlog_cache_size", 32 << 10),
    ("join_buffer_size", 256 << 10),
    ("read_buffer_size", 128 << 10),
    ("read_rnd_buffer_size", 256 << 10),
    ("sort_buffer_size", 256 << 10),
];

/// mysqld's own defaults of what else has a part in its memory.
const POOL_BYTES: u64 = 128 << 20;
const CONNECTIONS: u64 = 151;

/// A change that was found safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    name: &'static str,
    value: String,
    while_running: bool,
}

impl Granted {
    /// The setting.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The value it shall have: a whole number, or `ON` or `OFF`.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether mysqld takes it while it runs. Otherwise it wants a restart.
    pub fn while_running(&self) -> bool {
        self.while_running
    }
}

/// What the guard made of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// The change that shall be made: at most one at a time, so that what comes of it is known to come of it.
    pub granted: Option<Granted>,
    /// Every wish that is not fulfilled.
    pub refused: Vec<Refused>,
}

/// A wish that is not fulfilled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The setting.
    pub name: String,
    /// The value it should have had.
    pub value: String,
    /// Why it is not done.
    pub because: Because,
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} = {}: {}", self.name, self.value, self.because)
    }
}

/// Why a wish is not fulfilled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// No policy may set it.
    NotTunable,
    /// A person set it.
    ByPerson,
    /// It is not in force at the primary, or its value there is not known.
    PresentUnknown,
    /// The value is none.
    NoValue {
        /// What a value is.
        expected: &'static str,
    },
    /// It is beyond what is sensible.
    OutOfBounds {
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// The memory limit is not known, and this takes memory.
    MemoryUnknown,
    /// The buffer pool would have too much of the memory.
    PoolTooLarge {
        /// Bytes that it may have.
        most: u64,
    },
    /// With every connection in use, mysqld could want more memory than there is.
    MemoryTooSmall {
        /// Bytes that it could want.
        wants: u64,
        /// Bytes that there are.
        limit: u64,
    },
    /// Binary logs have to be there until the next backup, and for the same time again.
    BackupTooSeldom {
        /// Seconds.
        least: u64,
    },
    /// It is too much at once.
    TooFar {
        /// What could be had now.
        least: u64,
        /// What could be had now.
        most: u64,
    },
    /// A setting was changed a short while ago.
    TooSoon {
        /// Seconds that have yet to pass.
        left_s: u64,
    },
    /// The cluster is not as it should be.
    Unsettled(String),
    /// Another change of the same answer comes first.
    OneAtATime {
        /// Which.
        first: &'static str,
    },
}

impl fmt::Display for Because {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTunable => out.write_str("no policy may set it"),
            Self::ByPerson => out.write_str("a person set it in spec.config, and that stands"),
            Self::PresentUnknown => out.write_str("its value at the primary is not known"),
            Self::NoValue { expected } => write!(out, "that is no value; expected {expected}"),
            Self::OutOfBounds { least, most } => write!(out, "expected {least} to {most}"),
            Self::MemoryUnknown => {
                out.write_str("it takes memory, and the container has no memory limit to hold it against")
            }
            Self::PoolTooLarge { most } => {
                write!(out, "the buffer pool may have {POOL_PERCENT} % of the memory, which is {most} bytes")
            }
            Self::MemoryTooSmall { wants, limit } => {
                write!(out, "with every connection in use mysqld could want {wants} bytes, and there are {limit}")
            }
            Self::BackupTooSeldom { least } => {
                write!(out, "binary logs have to outlive two backups, which takes {least} s")
            }
            Self::TooFar { least, most } => {
                write!(out, "that is too far for one step, which ends between {least} and {most}")
            }
            Self::TooSoon { left_s } => {
                write!(out, "a setting was changed a short while ago; the next change may come in {left_s} s")
            }
            Self::Unsettled(why) => write!(out, "the cluster is not as it should be: {why}"),
            Self::OneAtATime { first } => write!(out, "one change at a time, and {first} comes first"),
        }
    }
}

/// Checks an answer against what there is now: the first change that is safe is granted. A wish for the value that is in
/// force already is neither granted nor refused.
pub fn guard(present: &Present, answer: &Answer) -> Verdict {
    let mut verdict = Verdict::default();
    for change in &answer.changes {
        let because = match judge(present, change) {
            Ok(None) => continue,
            Ok(Some(granted)) => match &verdict.granted {
                None => {
                    verdict.granted = Some(granted);
                    continue;
                }
                Some(first) => Because::OneAtATime { first: first.name },
            },
            Err(because) => because,
        };
        let Change { name, value, .. } = change.clone();
        verdict.refused.push(Refused { name, value, because });
    }
    verdict
}

/// None where it is so already.
fn judge(present: &Present, change: &Change) -> Result<Option<Granted>, Because> {
    let tunable = tunable(&change.name).ok_or(Because::NotTunable)?;
    let expected = match tunable.kind {
        Kind::Number { .. } => "a whole number, as in 500, 64M or 2G",
        Kind::Flag => "ON or OFF",
    };
    let wanted = parse(tunable.kind, &change.value).ok_or(Because::NoValue { expected })?;
    let setting = present.setting(tunable.name).ok_or(Because::PresentUnknown)?;
    let now = parse(tunable.kind, &setting.value).ok_or(Because::PresentUnknown)?;
    if wanted == now {
        return Ok(None);
    }
    if setting.by_person {
        return Err(Because::ByPerson);
    }
    let value = match tunable.kind {
        Kind::Flag => if wanted == 0 { "OFF" } else { "ON" }.to_owned(),
        Kind::Number { least, most } => {
            // Who is beyond the bounds may come back to them step by step.
            let comes_back = (most < wanted && wanted < now) || (now < wanted && wanted < least);
            if !(least..=most).contains(&wanted) && !comes_back {
                return Err(Because::OutOfBounds { least, most });
            }
            step(now, wanted)?;
            wanted.to_string()
        }
    };
    memory(present, tunable.name, now, wanted)?;
    binary_logs(present, tunable.name, wanted)?;
    if let Some(why) = &present.unsettled {
        return Err(Because::Unsettled(why.clone()));
    }
    let left = present.changed_s.and_then(|ago| present.cooldown_s.checked_sub(ago));
    if let Some(left_s) = left.filter(|left| *left > 0) {
        return Err(Because::TooSoon { left_s });
    }
    Ok(Some(Granted { name: tunable.name, value, while_running: tunable.while_running }))
}

/// A number may move by a quarter, and always by one.
fn step(now: u64, wanted: u64) -> Result<(), Because> {
    let far = (now / 100).saturating_mul(STEP_PERCENT).saturating_add(now % 100 * STEP_PERCENT / 100).max(1);
    let (least, most) = (now.saturating_sub(far), now.saturating_add(far));
    if (least..=most).contains(&wanted) { Ok(()) } else { Err(Because::TooFar { least, most }) }
}

/// What takes memory must fit it. What takes less than before is always better than what there is.
fn memory(present: &Present, name: &str, now: u64, wanted: u64) -> Result<(), Because> {
    let takes = ["innodb_buffer_pool_size", "max_connections", "innodb_log_buffer_size", "temptable_max_ram"];
    let takes = takes.contains(&name) || SESSION_BUFFERS.iter().any(|(buffer, _)| *buffer == name);
    if !takes || wanted <= now {
        return Ok(());
    }
    let limit = present.resources.memory_bytes.ok_or(Because::MemoryUnknown)?;
    let most = limit / 100 * POOL_PERCENT;
    if name == "innodb_buffer_pool_size" && wanted > most {
        return Err(Because::PoolTooLarge { most });
    }
    let value = |other: &str, default: u64| {
        if other == name {
            return wanted;
        }
        let setting = present.setting(other).and_then(|setting| parse(tunable(other)?.kind, &setting.value));
        setting.unwrap_or(default)
    };
    let session = session_bytes(value);
    let wants = value("innodb_buffer_pool_size", POOL_BYTES)
        .saturating_add(value("innodb_log_buffer_size", 0))
        .saturating_add(value("temptable_max_ram", 0))
        .saturating_add(value("max_connections", CONNECTIONS).saturating_mul(session))
        .saturating_add(present.agent_bytes);
    if wants > limit {
        return Err(Because::MemoryTooSmall { wants, limit });
    }
    Ok(())
}

/// Bytes that one session can take, given the value of a setting by its name and mysqld's default.
pub fn session_bytes(value: impl Fn(&str, u64) -> u64) -> u64 {
    SESSION_BUFFERS.iter().fold(SESSION_BYTES, |sum, (name, default)| sum.saturating_add(value(name, *default)))
}

/// What is needed to roll a backup forward, or to let a member catch up, must not be purged before the next one.
fn binary_logs(present: &Present, name: &str, wanted: u64) -> Result<(), Because> {
    let Some(every) = present.backup_every_s.filter(|_| name == "binlog_expire_logs_seconds") else { return Ok(()) };
    let least = every.saturating_mul(2);
    if wanted < least { Err(Because::BackupTooSeldom { least }) } else { Ok(()) }
}
