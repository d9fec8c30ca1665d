//! What a spec says to policies that scale and tune, in their words.
//!
//! Pure and total. What does not parse is no bound, so that a policy may change less and never more.

use jiff::Timestamp;
use topology::advice::Wanted;
use topology::measured::Resources;
use topology::scaling::{Bounds, Range};

use crate::api::{AmountRange, CountRange, MysqlClusterSpec, ScalingPolicy};
use crate::{mysqld_options, quantity, validate};

/// How many read replicas may come or go at once: each of them copies a whole data directory first.
const READ_REPLICAS_STEP: u32 = 1;

/// What servers there should be. `now` is where the pauses between backups are looked at from.
pub fn wanted(spec: &MysqlClusterSpec, now: Timestamp) -> Wanted {
    let limits = spec.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    let limit = |name: &str| limits.and_then(|limits| limits.get(name)).map(|amount| amount.0.as_str());
    Wanted {
        resources: Resources {
            cpu_millicores: limit("cpu").and_then(millis),
            memory_bytes: limit("memory").and_then(quantity::units),
        },
        volume_bytes: quantity::units(&spec.storage.size).unwrap_or(0),
        read_replicas: validate::read_replicas(&spec.read_replicas).count,
        backup_every_s: backup_every_s(spec, now),
        by_person: spec.config.keys().flat_map(|written| mysqld_options::meant(written)).collect(),
    }
}

/// Seconds between two backups that are due, where the pauses differ those of the longest.
fn backup_every_s(spec: &MysqlClusterSpec, now: Timestamp) -> Option<u64> {
    let schedule = validate::backup_schedule(spec.backup.as_ref()?)?.ok()?;
    u64::try_from(schedule.longest_pause(now)?.as_secs()).ok()
}

/// What a policy that scales may ask for.
pub fn bounds(policy: &ScalingPolicy) -> Bounds {
    let given = policy.bounds.clone().unwrap_or_default();
    Bounds {
        read_replicas: given.read_replicas.and_then(count),
        read_replicas_step: READ_REPLICAS_STEP,
        cpu_millicores: given.cpu.as_ref().and_then(|range| amount(range, millis)),
        memory_bytes: given.memory.as_ref().and_then(|range| amount(range, quantity::units)),
        volume_most_bytes: given.max_storage.as_deref().and_then(quantity::units),
        // Nothing is changed by a policy yet, so there is nothing to wait for.
        cooldown_s: 0,
    }
}

fn count(range: CountRange) -> Option<Range> {
    ordered(u64::try_from(range.min).ok()?, u64::try_from(range.max).ok()?)
}

fn amount(range: &AmountRange, number: impl Fn(&str) -> Option<u64>) -> Option<Range> {
    ordered(number(&range.min)?, number(&range.max)?)
}

fn ordered(least: u64, most: u64) -> Option<Range> {
    (least <= most).then_some(Range { least, most })
}

fn millis(amount: &str) -> Option<u64> {
    quantity::millis(amount).and_then(|millis| u64::try_from(millis).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> MysqlClusterSpec {
        serde_saphyr::from_str(text).unwrap()
    }

    #[test]
    fn bounds_are_what_was_written_and_what_makes_no_sense_is_none() {
        let spec = spec(
            "{storage: {size: 10Gi}, resources: {limits: {cpu: 500m, memory: 1Gi}}, readReplicas: {count: 2}, \
             config: {max-connections: 300}, policies: {scaling: {module: {configMap: {name: reads}}, mode: Shadow, \
             bounds: {readReplicas: {min: 1, max: 5}, cpu: {min: 500m, max: '2'}, memory: {min: 2Gi, max: 1Gi}, maxStorage: lots}}}}",
        );
        let wanted = super::wanted(&spec, Timestamp::UNIX_EPOCH);
        assert_eq!(wanted.resources, Resources { cpu_millicores: Some(500), memory_bytes: Some(1 << 30) });
        assert_eq!((wanted.volume_bytes, wanted.read_replicas), (10 << 30, 2));
        assert!(wanted.by_person.contains("max_connections"));
        assert_eq!(wanted.backup_every_s, None, "nobody asks for any");
        let bounds = bounds(&spec.policies.unwrap().scaling.unwrap());
        assert_eq!(bounds.read_replicas, Some(Range { least: 1, most: 5 }));
        assert_eq!(bounds.cpu_millicores, Some(Range { least: 500, most: 2_000 }));
        assert_eq!((bounds.memory_bytes, bounds.volume_most_bytes), (None, None));
    }

    #[test]
    fn backups_are_as_far_apart_as_the_schedule_lets_them_be() {
        let spec = spec(
            "{storage: {size: 10Gi}, backup: {store: {gcs: {bucket: b, credentialsSecret: c}}, schedule: '0 2 * * 1-5'}}",
        );
        let three_days = 3 * 86_400;
        assert_eq!(super::wanted(&spec, Timestamp::UNIX_EPOCH).backup_every_s, Some(three_days));
    }
}
