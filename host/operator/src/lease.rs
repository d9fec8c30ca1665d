//! Which operator acts, and whether this one could: whether the API server answers it at all. The Lease only spares the
//! others the work: safety rests on the record's compare-and-swap, so nothing here may be relied upon to keep two
//! operators from acting at once.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How long a leader may be silent before another takes over: about as long as it takes to be sure that a node is
/// gone (1.5 s measured), because leader and primary may have been on the same one. A change that was not needed
/// costs little: the others watch all along, and the record keeps them apart.
const LASTS: Duration = Duration::from_millis(1_500);

/// How often the leader says that it is there: three times within [`LASTS`].
const RENEW_EVERY: Duration = Duration::from_millis(500);

/// For how long the API server may not have answered before it counts as out of reach: some times what it takes an API
/// server that is only busy, or that hands over to another one. Until then a primary beside an operator that is cut off
/// together with it believes that somebody sees to it.
const OUT_OF_REACH: Duration = Duration::from_secs(5);

/// The Lease's name in the operator's namespace.
const NAME: &str = "grampus-operator";

/// How long an operator must have held the Lease before it can be asked to give it up: a record that the leader before
/// it wrote may arrive late.
const SETTLED: Duration = Duration::from_secs(5);

/// What a campaign tells the rest of the operator.
pub struct Standing {
    /// Whether this operator acts.
    pub leads: watch::Sender<bool>,
    /// Whether the API server has answered lately. Without it this operator can record nothing, and so see to nothing.
    pub in_reach: watch::Sender<bool>,
}

/// Campaigns until told to stop, and keeps `standing` true. When `resign` is notified, the others are given the chance
/// to act.
pub async fn campaign(
    client: Client,
    namespace: &str,
    identity: String,
    standing: Standing,
    resign: &Notify,
    stop: CancellationToken,
) {
    let leases: Api<Lease> = Api::namespaced(client, namespace);
    let mut tick = interval(RENEW_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let began = Instant::now();
    let mut watched = Watched { renewed: None, since: began, held_until: began, led_since: None, answered: began };
    loop {
        tokio::select! {
            _ = tick.tick() => renew(&leases, &identity, &mut watched).await,
            () = resign.notified() => {
                if watched.led_since.is_some_and(|since| since.elapsed() >= SETTLED) {
                    tracing::warn!("another operator saw to what this one did not: it gives the Lease up");
                    release(&leases, &identity).await;
                    watched.held_until = Instant::now();
                    // Whoever wants it has it by then.
                    tick.reset_after(LASTS);
                }
            }
            () = stop.cancelled() => break,
        }
        // Without an API server nobody can take the Lease away, and nothing can be recorded either.
        let holds = Instant::now() < watched.held_until;
        watched.led_since = watched.led_since.filter(|_| holds).or(holds.then(Instant::now));
        if standing.leads.send_if_modified(|now| std::mem::replace(now, holds) != holds) {
            tracing::info!(leader = holds, "leadership changed");
        }
        let in_reach = watched.answered.elapsed() < OUT_OF_REACH;
        if standing.in_reach.send_if_modified(|now| std::mem::replace(now, in_reach) != in_reach) {
            tracing::warn!(in_reach, "the API server");
        }
    }
    release(&leases, &identity).await;
}

async fn renew(leases: &Api<Lease>, identity: &str, watched: &mut Watched) {
    match tokio::time::timeout(LASTS, attempt(leases, identity, watched)).await {
        Ok(Ok(holds)) => {
            watched.answered = Instant::now();
            watched.held_until = watched.answered + if holds { LASTS } else { Duration::ZERO };
        }
        Ok(Err(error)) => tracing::debug!(%error, "the Lease could not be read or renewed"),
        Err(_) => tracing::debug!("the API server did not answer about the Lease"),
    }
}

/// What this operator saw of the Lease on its own clock; clocks of others are not compared.
struct Watched {
    renewed: Option<(Option<String>, Option<MicroTime>)>,
    since: Instant,
    held_until: Instant,
    led_since: Option<Instant>,
    answered: Instant,
}

async fn attempt(leases: &Api<Lease>, identity: &str, watched: &mut Watched) -> kube::Result<bool> {
    let Some(mut lease) = leases.get_opt(NAME).await? else {
        let lease = Lease {
            metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
            spec: Some(spec(identity, 0)),
        };
        return created(leases.create(&PostParams::default(), &lease).await);
    };
    let current = lease.spec.clone().unwrap_or_default();
    let ours = current.holder_identity.as_deref() == Some(identity);
    let renewed = Some((current.holder_identity.clone(), current.renew_time.clone()));
    if watched.renewed != renewed {
        watched.renewed = renewed;
        watched.since = Instant::now();
    }
    let free = current.holder_identity.as_deref().is_none_or(str::is_empty);
    if !ours && !free && watched.since.elapsed() < LASTS {
        return Ok(false);
    }
    let transitions = current.lease_transitions.unwrap_or(0) + i32::from(!ours);
    lease.spec = Some(spec(identity, transitions));
    // The resourceVersion that was read goes along: of two that try at once, one fails.
    created(leases.replace(NAME, &PostParams::default(), &lease).await)
}

fn created(result: kube::Result<Lease>) -> kube::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

fn spec(identity: &str, transitions: i32) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: Some(LASTS.as_secs_f64().ceil() as i32),
        lease_transitions: Some(transitions),
        renew_time: Some(MicroTime(Timestamp::now())),
        ..LeaseSpec::default()
    }
}

/// Gives the Lease up, so that a planned restart costs no time. If it fails the Lease merely runs out.
async fn release(leases: &Api<Lease>, identity: &str) {
    let given = tokio::time::timeout(LASTS, async {
        let Some(mut lease) = leases.get_opt(NAME).await? else { return Ok(()) };
        if let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(identity)) {
            spec.holder_identity = Some(String::new());
            leases.replace(NAME, &PostParams::default(), &lease).await?;
        }
        Ok::<_, kube::Error>(())
    });
    match given.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the Lease was not given back; it runs out by itself"),
        Err(_) => tracing::debug!("the API server did not take the Lease back; it runs out by itself"),
    }
}
