//! A policy that misbehaves as told: what the engine's and the lab's tests load when things shall go wrong.
//!
//! With `afterRehearsal` it behaves until it is asked for real, as a module with a bad day would. This must never
//! be shipped.

use grampus_policy::SettingsError;
use grampus_policy::primary_selection::{Answer, Question, Ranked, Scored, hold, promote};
use serde::Deserialize;

/// What it shall do.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Settings {
    /// In what way to misbehave.
    #[serde(rename = "do")]
    pub mischief: Mischief,
    /// Whether to behave in rehearsals.
    #[serde(default)]
    pub after_rehearsal: bool,
    /// The name to answer with [`Mischief::Name`].
    #[serde(default)]
    pub name: String,
}

/// A way to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mischief {
    /// Be good.
    Nothing,
    /// Panic.
    Trap,
    /// Never come back.
    Loop,
    /// Recurse without end.
    Recurse,
    /// Eat memory.
    Memory,
    /// Say far too much in an answer.
    Flood,
    /// Write far too many lines.
    Chatter,
    /// Name nobody who exists.
    Unknown,
    /// Name somebody who may not lead.
    Ineligible,
    /// Never name anybody.
    Hold,
    /// Answer with the name from the settings.
    Name,
    /// Panic while checking these very settings.
    TrapInSettings,
}

/// Panics where that was asked for.
///
/// # Errors
/// Never.
pub fn check(settings: &Settings) -> Result<(), SettingsError> {
    assert!(settings.mischief != Mischief::TrapInSettings, "told to panic over settings");
    Ok(())
}

/// Chooses, in its way.
pub fn decide(question: &Question, settings: &Settings) -> Answer {
    let rehearsal = question.namespace.starts_with('(');
    let mischief = if settings.after_rehearsal && rehearsal { Mischief::Nothing } else { settings.mischief };
    match mischief {
        Mischief::Nothing | Mischief::TrapInSettings => {}
        Mischief::Trap => panic!("told to panic"),
        Mischief::Loop => loop {
            std::hint::spin_loop();
        },
        Mischief::Recurse => return hold(format!("{}", recurse(question.seed))),
        Mischief::Memory => {
            let mut hoard: Vec<Vec<u8>> = Vec::new();
            loop {
                hoard.push(vec![0; 1 << 20]);
            }
        }
        Mischief::Flood => return hold("x".repeat(4 << 20)),
        Mischief::Chatter => (0..10_000).for_each(|line| grampus_policy::log::warn(&format!("line {line}"))),
        Mischief::Unknown => return promote("shop-99", "nobody else would do it"),
        Mischief::Ineligible => {
            if let Some(worst) = question.candidates.iter().find(|candidate| !candidate.is_eligible()) {
                return promote(&worst.name, "against all reason");
            }
        }
        Mischief::Hold => return hold("let us wait a little longer"),
        Mischief::Name => {
            let mut answer = promote(&settings.name, format!("because\n\x1b[31mof {}", "x".repeat(5_000)));
            if let Answer::Promote(promotion) = &mut answer {
                let row = || Ranked { candidate: settings.name.clone(), score: i64::MAX, reason: String::new() };
                promotion.ranking = vec![row(), row()];
            }
            return answer;
        }
    }
    question.rank(|candidate| Scored::new(candidate.cost_score(), candidate.cost_in_words())).into_answer()
}

/// Goes deeper with every call, in a way the compiler cannot turn into a loop.
#[allow(unconditional_recursion, reason = "that is the point")]
fn recurse(depth: u64) -> u64 {
    let mut frame = [depth; 64];
    std::hint::black_box(&mut frame);
    recurse(depth.wrapping_add(1)).wrapping_add(std::hint::black_box(frame)[3])
}

grampus_policy::primary_selection! {
    summary: "misbehaves as told, for tests",
    // It does not check this itself.
    settings_schema: r#"{"type": "object", "properties": {"name": {"type": "string", "maxLength": 5000}}}"#,
    settings: Settings,
    check: check,
    decide: decide,
}
