//! The rules that most policies are made of: vetoes, and points for and against.
//!
//! A veto must never be silent: whoever was ruled out stands in the answer with the reason.

use std::cmp::Reverse;

use super::{Answer, Candidate, Question, Ranked, Ranking, hold};

/// The score of a candidate that the policy rules out. Tools show such a row as a veto.
pub const VETOED: i64 = i64::MIN;

/// What speaks for and against one candidate, put on rule by rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scales<'a> {
    candidate: &'a Candidate,
    points: i64,
    reasons: Vec<String>,
    vetoes: Vec<String>,
}

impl<'a> Scales<'a> {
    fn new(candidate: &'a Candidate) -> Self {
        Self { candidate, points: 0, reasons: Vec::new(), vetoes: Vec::new() }
    }

    /// Rules the candidate out, whatever its points.
    pub fn veto(&mut self, why: impl Into<String>) -> &mut Self {
        self.vetoes.push(why.into());
        self
    }

    /// Rules the candidate out if something is so.
    pub fn veto_if(&mut self, so: bool, why: impl Into<String>) -> &mut Self {
        if so { self.veto(why) } else { self }
    }

    /// Adds points, or takes some off where they are negative. Sums end at the limits of an `i64`.
    pub fn add(&mut self, points: i64, why: impl Into<String>) -> &mut Self {
        self.points = self.points.saturating_add(points);
        self.reasons.push(format!("{points:+} {}", why.into()));
        self
    }

    /// Adds points if something is so.
    pub fn add_if(&mut self, so: bool, points: i64, why: impl Into<String>) -> &mut Self {
        if so { self.add(points, why) } else { self }
    }

    /// Adds points if the candidate's pod has a label with this value.
    pub fn prefer_label(&mut self, key: &str, value: &str, points: i64) -> &mut Self {
        let has = self.candidate.label(key) == Some(value);
        self.add_if(has, points, format!("is labelled {key}={value}"))
    }

    /// The points so far.
    pub fn points(&self) -> i64 {
        self.points
    }

    /// Whether it is ruled out.
    pub fn is_vetoed(&self) -> bool {
        !self.vetoes.is_empty()
    }

    /// The sum with what it is made of, and the work that is left.
    fn in_words(&self) -> String {
        let unit = if self.points.unsigned_abs() == 1 { "point" } else { "points" };
        let parts = if self.reasons.is_empty() { String::new() } else { format!(" ({})", self.reasons.join(", ")) };
        format!("{} {unit}{parts}; {}", self.points, self.candidate.cost_in_words())
    }
}

/// The candidates with their points, best first, and those that are ruled out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighed {
    ranking: Ranking,
    vetoed: Vec<Ranked>,
}

impl Question {
    /// Weighs [`Question::choices`]: the most points win, then the least [`Candidate::cost`], then the lowest
    /// ordinal, then the name.
    pub fn weigh(&self, rules: impl Fn(&Candidate, &mut Scales<'_>)) -> Weighed {
        let weighed = self.choices().map(|candidate| {
            let mut scales = Scales::new(candidate);
            rules(candidate, &mut scales);
            scales
        });
        let (vetoed, left): (Vec<_>, Vec<_>) = weighed.partition(Scales::is_vetoed);
        let ranking = self.rank_these(left.iter().map(|scales| {
            // The lowest number means a veto and nothing else.
            let points = scales.points.max(VETOED + 1);
            (((Reverse(points), scales.candidate.cost()), points, scales.in_words()), scales.candidate)
        }));
        let vetoed = vetoed.iter().map(|scales| Ranked {
            candidate: scales.candidate.name.clone(),
            score: VETOED,
            reason: format!("vetoed: {}", scales.vetoes.join(", ")),
        });
        Weighed { ranking, vetoed: vetoed.collect() }
    }
}

impl Weighed {
    /// The candidates that are left, best first.
    pub fn ranked(&self) -> &[Ranked] {
        self.ranking.ranked()
    }

    /// Those that are ruled out, with the reasons.
    pub fn vetoed(&self) -> &[Ranked] {
        &self.vetoed
    }

    /// Promotes the best; holds when nobody is left, and says who was ruled out and why.
    ///
    /// A hold ends with the patience of whoever operates the cluster (`maxHold`), and then the default decides,
    /// which knows of no veto.
    pub fn into_answer(self) -> Answer {
        if self.ranked().is_empty() && !self.vetoed.is_empty() {
            let told: Vec<String> =
                self.vetoed.iter().map(|row| format!("{}: {}", row.candidate, row.reason)).collect();
            return hold(format!("every member that could lead is ruled out ({})", told.join("; ")));
        }
        let mut answer = self.ranking.into_answer();
        if let Answer::Promote(promotion) = &mut answer {
            promotion.ranking.extend(self.vetoed);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primary_selection::scenario::{failover, member};

    fn rows(answer: &Answer) -> Vec<(&str, i64, &str)> {
        let Answer::Promote(promotion) = answer else { return Vec::new() };
        promotion.ranking.iter().map(|row| (row.candidate.as_str(), row.score, row.reason.as_str())).collect()
    }

    #[test]
    fn points_are_summed_and_told() {
        let question = failover([
            member("shop-0").unreachable(),
            member("shop-1").labelled("disk", "slow"),
            member("shop-2").labelled("disk", "fast").zone("b"),
        ]);
        let answer = question
            .weigh(|candidate, scales| {
                scales.prefer_label("disk", "fast", 10).add_if(candidate.zone == "b", -1, "is far away");
            })
            .into_answer();
        assert_eq!(
            rows(&answer),
            [
                (
                    "shop-2",
                    9,
                    "9 points (+10 is labelled disk=fast, -1 is far away); has every transaction; 0 left to apply"
                ),
                ("shop-1", 0, "0 points; has every transaction; 0 left to apply"),
            ]
        );
    }

    #[test]
    fn between_equal_points_the_least_work_wins_then_the_ordinal() {
        let question = failover([
            member("shop-0").unreachable(),
            member("shop-1").has_to_apply(3),
            member("shop-10"),
            member("shop-9"),
        ]);
        let answer = question.weigh(|_, _| {}).into_answer();
        assert_eq!(answer.chosen(), Some("shop-9"));
        assert!(answer.reason().ends_with("; lowest ordinal among equals"), "{}", answer.reason());
    }

    #[test]
    fn who_is_vetoed_stands_last_with_the_reason_and_is_never_chosen() {
        let question = failover([member("shop-0").unreachable(), member("shop-1"), member("shop-2").lacks(900)]);
        let answer = question
            .weigh(|candidate, scales| {
                scales.add(i64::MAX, "is wonderful").add(i64::MAX, "twice");
                scales.veto_if(candidate.name == "shop-1", "is on loan").veto_if(candidate.name == "shop-1", "is old");
            })
            .into_answer();
        assert_eq!(answer.chosen(), Some("shop-2"));
        assert_eq!(rows(&answer)[1], ("shop-1", VETOED, "vetoed: is on loan, is old"));
    }

    #[test]
    fn points_alone_never_look_like_a_veto() {
        let question = failover([member("shop-0")]);
        let answer = question
            .weigh(|_, scales| {
                scales.add(i64::MIN, "hopeless");
            })
            .into_answer();
        assert_eq!(rows(&answer)[0].1, VETOED + 1);
    }

    #[test]
    fn it_holds_when_everybody_is_vetoed_and_says_of_whom_and_why() {
        let question = failover([member("shop-0").unreachable(), member("shop-1"), member("shop-2")]);
        let answer = question
            .weigh(|_, scales| {
                scales.veto("is on loan");
            })
            .into_answer();
        assert_eq!(
            answer.reason(),
            "every member that could lead is ruled out (shop-1: vetoed: is on loan; shop-2: vetoed: is on loan)"
        );
        let nobody = failover([member("shop-0").unreachable()]).weigh(|_, _| {}).into_answer();
        assert_eq!(nobody.reason(), "no member is eligible (shop-0: its agent does not answer)");
    }
}
