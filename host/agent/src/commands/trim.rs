//! Bringing back a member that led last: what nobody acknowledged is cut off while mysqld is stopped, because its
//! start would commit that.
//!
//! What cannot be cut is left alone: the server is started with it, and seen to need a rebuild. This must never cut
//! from a server that runs, nor under a claim that is no longer stored.

use std::sync::Arc;

use topology::facts::Trimmed;
use topology::gtid::GtidSet;
use topology::record::{Phase, Record};
use wire::Outcome;

use super::{failed, refused, superseded};
use crate::member::Member;
use crate::trim::Excess;
use crate::{data, my_cnf, trim};

/// Cuts what `keep` lacks, where that is possible, and starts mysqld closed.
pub async fn trim(member: &Arc<Member>, record: &Record, keep: &GtidSet) -> Outcome {
    if record.primary == member.name() {
        return refused("this member is the record's primary: what it holds is what counts");
    }
    if record.phase != Phase::Serving {
        return refused("what nobody acknowledged is known once a primary is open; expected Serving");
    }
    let led_last = member.state.get().led_last(member.incarnation());
    if led_last
        && member.supervisor.now().running().is_none()
        && let Err(why) = cut_excess(member, record, keep).await
    {
        tracing::warn!(why = format!("{why:#}"), "the end of the binary log is not cut: this member needs a rebuild");
    }
    if member.state.claim() != Some(record.claim()) {
        return superseded(member, record.claim());
    }
    match member.ensure_started().await {
        Ok(_) => Outcome::Done,
        Err(why) => failed(format!("{why:#}")),
    }
}

async fn cut_excess(member: &Arc<Member>, record: &Record, keep: &GtidSet) -> anyhow::Result<()> {
    let own = member.state.get().opened_as(member.incarnation());
    if own.iter().any(|server| record.gave_up(*server)) {
        anyhow::bail!("what it committed last may have been acknowledged before it was given up");
    }
    let config = Arc::clone(&member.config);
    let keep = keep.clone();
    let look = move || trim::excess(&config.datadir(), my_cnf::BINLOG, &keep, &own);
    let tail = match tokio::task::spawn_blocking(look).await?? {
        Excess::None => return Ok(()),
        Excess::Unfit(why) => anyhow::bail!(why),
        Excess::Tail(tail) => tail,
    };
    if member.state.claim() != Some(record.claim()) {
        return Ok(());
    }
    let transactions = tail.transactions.clone();
    let config = Arc::clone(&member.config);
    let saved_as = tokio::task::spawn_blocking(move || {
        // First, because after a crash in between nothing would be left to cut, and the old name would stay.
        data::forget_server_uuid(&config.datadir())?;
        trim::cut(&tail, &config.trimmed_dir())
    });
    let saved_as = saved_as.await??.display().to_string();
    tracing::warn!(%transactions, saved_as, "transactions that nobody acknowledged were cut off the binary log");
    member.forget_logs();
    let trimmed = Trimmed { epoch: record.epoch, transactions, saved_as };
    member.state.change_own(|remembered| remembered.trimmed = Some(trimmed)).await?;
    Ok(())
}
