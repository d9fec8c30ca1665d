//! How long writes stop under each kind of loss, with the operator that acts on the primary's node and elsewhere.

use std::time::Duration;

use anyhow::Result;
use kit::{Cluster, Load, Operator, Scenario, Steps, survive};

use crate::figures::{Amount, Report};

/// What is measured, and whether it matters where the operator is.
const KINDS: [(Scenario, bool); 6] = [
    (Scenario::PrimaryContainerKilled, false),
    (Scenario::PrimaryHangs, false),
    (Scenario::PrimaryNodeCrashes, true),
    (Scenario::PrimaryNodeHangs, true),
    (Scenario::PrimaryCutOff, true),
    (Scenario::PrimaryCutFromReplicas, true),
];

/// How long what lasts is left so: longer than any of them took to be got over.
const HOLD: Duration = Duration::from_secs(6);

/// The load of these figures.
const WRITERS: u64 = 16;

/// Where the operator that acts is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Place {
    /// On another node.
    Elsewhere,
    /// On the primary's node.
    Beside,
}

/// What is measured of all there is.
#[derive(Debug, Clone, Copy)]
pub struct Chosen<'a> {
    /// Kinds whose names have these words in them.
    pub words: &'a str,
    /// Only with the operator there.
    pub place: Option<Place>,
}

/// Strikes each kind so many times in each place.
pub async fn measure(
    steps: &Steps,
    cluster: &Cluster,
    chosen: Chosen<'_>,
    times: usize,
    report: &mut Report,
) -> Result<()> {
    if times == 0 {
        return Ok(());
    }
    let operator = Operator::of(cluster.env());
    let (mut faults, mut acknowledged) = (0, 0);
    for (kind, placed) in KINDS.into_iter().filter(|(kind, _)| kind.to_string().contains(chosen.words)) {
        let places = if placed { vec![Some(Place::Elsewhere), Some(Place::Beside)] } else { vec![None] };
        let wanted = |at: &Option<Place>| at.is_none() || chosen.place.is_none() || *at == chosen.place;
        for at in places.into_iter().filter(wanted) {
            let place = match at {
                None => "",
                Some(Place::Elsewhere) => ", the acting operator elsewhere",
                Some(Place::Beside) => ", the acting operator beside it",
            };
            let step = steps.begin(&format!("{kind}{place}"));
            let (mut gaps, mut whole) = (Vec::new(), Vec::new());
            for number in 1..=times {
                step.tell(&format!("{number} of {times}"));
                if let Some(at) = at {
                    operator.place_primary(cluster, at == Place::Beside).await?;
                }
                let run = survive(cluster, kind, HOLD, Load { writers: WRITERS, ..Load::default() }).await?;
                run.hold()?;
                faults += 1;
                acknowledged += run.verdict.acknowledged;
                gaps.push(run.gap);
                whole.push(run.whole);
            }
            step.done();
            report.add(&format!("{kind}{place}: gap between acknowledged writes"), gaps);
            report.add("  from its end until every member is in good standing", whole);
        }
    }
    // Each held, or it would not be counted.
    report.amount(Amount {
        what: format!("{faults} further faults under {WRITERS} writers"),
        value: format!("{acknowledged} rows acknowledged, 0 lost"),
    });
    Ok(())
}
