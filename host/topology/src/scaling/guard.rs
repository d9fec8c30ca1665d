//! The only door between a wish to scale and an action.
//!
//! Nothing but [`guard`] makes a [`Granted`]. It is given what there is at that moment and not what the question once
//! said. It must never let a wish through that costs an acknowledgement, a byte of data or more than the user allows.

use std::fmt;

use super::{Answer, Bounds, Present, Range, Resources};

/// By how much resources may change at once: to the double, or to half. What a server needs at twice its size is
/// known from what it did at its size; beyond that it is a guess.
const FACTOR: u64 = 2;

/// Wishes that were found safe.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Granted {
    read_replicas: Option<u32>,
    resources: Option<Resources>,
    volume_bytes: Option<u64>,
}

impl Granted {
    /// How many read replicas there shall be.
    pub fn read_replicas(&self) -> Option<u32> {
        self.read_replicas
    }

    /// What each server shall have. What is None in it stays as it is.
    pub fn resources(&self) -> Option<Resources> {
        self.resources
    }

    /// Bytes that each volume shall have.
    pub fn volume_bytes(&self) -> Option<u64> {
        self.volume_bytes
    }

    /// Whether there is nothing to do.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// What the guard made of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// What shall be done.
    pub granted: Granted,
    /// Every wish that is not fulfilled.
    pub refused: Vec<Refused>,
}

/// A wish that is not fulfilled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What was wanted, as in `4 read replicas`.
    pub wish: String,
    /// Why it is not done.
    pub because: Because,
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.wish, self.because)
    }
}

/// Why a wish is not fulfilled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// The user gives no bounds.
    NotAllowed,
    /// It is beyond the bounds.
    OutOfBounds(Range),
    /// A volume cannot become smaller.
    Shrinks {
        /// Bytes it has.
        now: u64,
    },
    /// The same was changed a short while ago.
    TooSoon {
        /// Seconds that have yet to pass.
        left_s: u64,
    },
    /// It is too much at once.
    TooFar {
        /// What could be had now.
        reach: Range,
    },
    /// What there is now is not known, so nothing can be said of how far that is.
    PresentUnknown,
    /// The cluster is not as it should be.
    Unsettled(String),
    /// Each server restarts for it, and while one does, too few acknowledge.
    StopsWrites {
        /// Replicas that have to acknowledge.
        acks: u32,
        /// Replicas that would be left to.
        left: u32,
    },
}

impl fmt::Display for Because {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed => out.write_str("the spec gives no bounds for it, so it is not a policy's to change"),
            Self::OutOfBounds(Range { least, most }) => {
                write!(out, "the spec allows {least} to {most}")
            }
            Self::Shrinks { now } => write!(out, "a volume never shrinks, and it has {now} bytes"),
            Self::TooSoon { left_s } => {
                write!(out, "it was changed a short while ago; the next change may come in {left_s} s")
            }
            Self::TooFar { reach: Range { least, most } } => {
                write!(out, "that is too far for one step, which ends between {least} and {most}")
            }
            Self::PresentUnknown => out.write_str("what there is now is not known, so nobody can tell how far that is"),
            Self::Unsettled(why) => write!(out, "the cluster is not as it should be: {why}"),
            Self::StopsWrites { acks, left } if left >= acks => {
                out.write_str("the only member would restart for it, and nobody could write meanwhile")
            }
            Self::StopsWrites { acks, left } => write!(
                out,
                "servers restart for it, one after another, and then {left} replicas are left to acknowledge where {acks} have to"
            ),
        }
    }
}

/// Checks an answer against what there is now. A wish for what there is already is neither granted nor refused.
pub fn guard(present: &Present, bounds: &Bounds, answer: &Answer) -> Verdict {
    let mut verdict = Verdict::default();
    let mut refuse = |wish: String, because| verdict.refused.push(Refused { wish, because });
    if let Some(count) =
        answer.read_replicas.as_ref().map(|wish| wish.value).filter(|count| *count != present.read_replicas)
    {
        match read_replicas(present, bounds, count) {
            Ok(()) => verdict.granted.read_replicas = Some(count),
            Err(because) => refuse(format!("{count} read replicas"), because),
        }
    }
    if let Some(wanted) = answer
        .resources
        .as_ref()
        .map(|wish| difference(wish.value, present.resources))
        .filter(|wanted| *wanted != Resources::default())
    {
        match resources(present, bounds, wanted) {
            Ok(()) => verdict.granted.resources = Some(wanted),
            Err(because) => refuse(in_words(wanted), because),
        }
    }
    if let Some(bytes) =
        answer.volume_bytes.as_ref().map(|wish| wish.value).filter(|bytes| *bytes != present.volume_bytes)
    {
        match volume(present, bounds, bytes) {
            Ok(()) => verdict.granted.volume_bytes = Some(bytes),
            Err(because) => refuse(format!("volumes of {bytes} bytes"), because),
        }
    }
    verdict
}

fn read_replicas(present: &Present, bounds: &Bounds, wanted: u32) -> Result<(), Because> {
    let range = bounds.read_replicas.ok_or(Because::NotAllowed)?;
    within(range, wanted.into())?;
    if let Some(why) = present.unsettled.as_ref().filter(|_| wanted > present.read_replicas) {
        // A new reader copies from a member that votes, which has something better to do.
        return Err(Because::Unsettled(why.clone()));
    }
    rested(present.read_replicas_changed_s, bounds)?;
    let step = bounds.read_replicas_step.max(1);
    let (least, most) = (present.read_replicas.saturating_sub(step), present.read_replicas.saturating_add(step));
    reached(Range { least: least.into(), most: most.into() }, wanted.into(), range)
}

fn resources(present: &Present, bounds: &Bounds, wanted: Resources) -> Result<(), Because> {
    if let Some(cpu) = wanted.cpu_millicores {
        resource(bounds.cpu_millicores, present.resources.cpu_millicores, cpu)?;
    }
    if let Some(memory) = wanted.memory_bytes {
        resource(bounds.memory_bytes, present.resources.memory_bytes, memory)?;
    }
    if let Some(why) = &present.unsettled {
        return Err(Because::Unsettled(why.clone()));
    }
    let left = present.members.saturating_sub(2);
    if present.members < 2 || left < present.acks {
        return Err(Because::StopsWrites { acks: present.acks, left });
    }
    rested(present.resources_changed_s, bounds)
}

fn resource(range: Option<Range>, now: Option<u64>, wanted: u64) -> Result<(), Because> {
    let range = range.ok_or(Because::NotAllowed)?;
    within(range, wanted)?;
    let now = now.ok_or(Because::PresentUnknown)?;
    reached(Range { least: now.div_ceil(FACTOR), most: now.saturating_mul(FACTOR) }, wanted, range)
}

fn volume(present: &Present, bounds: &Bounds, wanted: u64) -> Result<(), Because> {
    let most = bounds.volume_most_bytes.ok_or(Because::NotAllowed)?;
    if wanted < present.volume_bytes {
        return Err(Because::Shrinks { now: present.volume_bytes });
    }
    within(Range { least: present.volume_bytes, most }, wanted)?;
    rested(present.volume_changed_s, bounds)?;
    let most_at_once = present.volume_bytes.saturating_mul(FACTOR);
    reached(Range { least: present.volume_bytes, most: most_at_once }, wanted, Range { least: 0, most })
}

fn within(range: Range, wanted: u64) -> Result<(), Because> {
    if range.holds(wanted) { Ok(()) } else { Err(Because::OutOfBounds(range)) }
}

fn rested(changed_s: Option<u64>, bounds: &Bounds) -> Result<(), Because> {
    match changed_s.and_then(|ago| bounds.cooldown_s.checked_sub(ago)).filter(|left| *left > 0) {
        Some(left_s) => Err(Because::TooSoon { left_s }),
        None => Ok(()),
    }
}

/// Whether one step goes as far. Who is beyond the bounds may come back to them at once.
fn reached(reach: Range, wanted: u64, bounds: Range) -> Result<(), Because> {
    let back = |edge: u64| wanted == edge && !bounds.holds(reach.least) && !bounds.holds(reach.most);
    if reach.holds(wanted) || back(bounds.least) || back(bounds.most) {
        return Ok(());
    }
    Err(Because::TooFar { reach })
}

/// What of a wish is not so already.
fn difference(wanted: Resources, now: Resources) -> Resources {
    let other = |wanted: Option<u64>, now: Option<u64>| wanted.filter(|_| wanted != now);
    Resources {
        cpu_millicores: other(wanted.cpu_millicores, now.cpu_millicores),
        memory_bytes: other(wanted.memory_bytes, now.memory_bytes),
    }
}

fn in_words(Resources { cpu_millicores, memory_bytes }: Resources) -> String {
    let cpu = cpu_millicores.map(|cpu| format!("{cpu} thousandths of a processor"));
    let memory = memory_bytes.map(|memory| format!("{memory} bytes of memory"));
    cpu.into_iter().chain(memory).collect::<Vec<_>>().join(" and ")
}
