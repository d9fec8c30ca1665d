//! What is wrong with a policy, as its cluster's status says, in text. Pure, as everything that is shown here.

use jiff::Timestamp;
use objects::api::{OutOfUseStatus, PolicyStatus};

use crate::status::ago;
use crate::style::Tone;

/// Each thing that is wrong, the one that matters most first. Nothing if all is well.
pub fn troubles(policy: &PolicyStatus, now: Timestamp) -> Vec<(String, Tone)> {
    let mut lines = Vec::new();
    if let Some(why) = &policy.breaker {
        let since =
            policy.out_of_use.as_ref().map_or_else(String::new, |out| format!(" since {}", ago(now, out.since.0)));
        lines.push((format!("out of use{since}: {why}"), Tone::Bad));
    }
    if let Some(OutOfUseStatus { until, instead, .. }) = &policy.out_of_use {
        let left = until.0.duration_since(now).as_secs();
        let next = match left {
            ..=0 => "the next question is put to it again, as a trial".to_owned(),
            _ => format!("the first question after {} (in {left} s) is put to it again, as a trial", until.0),
        };
        lines.push((format!("meanwhile {instead} decides; {next}"), Tone::Doubtful));
    }
    if let Some(problem) = &policy.problem {
        lines.push((format!("not as the spec names it: {problem}"), Tone::Bad));
    }
    if let Some(failed) = &policy.failed {
        lines.push((format!("when it was last asked: {failed}"), Tone::Bad));
    }
    lines
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn out_of_use() -> PolicyStatus {
        PolicyStatus {
            breaker: Some("hostile 0.1.0: it failed 3 times in a row".to_owned()),
            out_of_use: Some(OutOfUseStatus {
                since: Time(at(1_000)),
                until: Time(at(1_060)),
                instead: "most-advanced 0.1.0, the embedded default".to_owned(),
            }),
            ..PolicyStatus::default()
        }
    }

    fn told(policy: &PolicyStatus, now: i64) -> String {
        troubles(policy, at(now)).into_iter().map(|(line, _)| line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_module_that_is_out_of_use_says_since_when_why_until_when_and_who_decides() {
        insta::assert_snapshot!(told(&out_of_use(), 1_040), @r"
        out of use since 40 s ago: hostile 0.1.0: it failed 3 times in a row
        meanwhile most-advanced 0.1.0, the embedded default decides; the first question after 1970-01-01T00:17:40Z (in 20 s) is put to it again, as a trial
        ");
        assert!(told(&out_of_use(), 1_060).ends_with("the next question is put to it again, as a trial"));
    }

    #[test]
    fn a_policy_that_does_as_it_should_has_no_trouble() {
        assert_eq!(troubles(&PolicyStatus::default(), at(0)), []);
    }
}
