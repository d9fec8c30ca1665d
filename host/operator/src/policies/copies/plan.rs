//! Which copies there have to be: pure.

use jiff::Timestamp;

/// How many pairs of a cluster and decision are kept: the one in force, the one before, and one more for whoever notices
/// late.
const KEEP: usize = 3;

/// A copy that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Seen {
    /// The ConfigMap.
    pub(in super::super) name: String,
    /// Which of that name.
    pub(in super::super) uid: String,
    /// When its pair last came into force. One that does not say is older than all others.
    pub(in super::super) since: Option<Timestamp>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The copy has to be made.
    pub(super) create: bool,
    /// The copy is there, and another one says that it is newer.
    pub(super) touch: bool,
    /// Too old.
    pub(super) remove: Vec<Seen>,
}

pub(super) fn newest_first(seen: &mut [Seen]) {
    seen.sort_by(|left, right| (right.since, &right.name).cmp(&(left.since, &left.name)));
}

/// What is to be done once the pair of that name is in force. What the spec names stays.
pub(super) fn plan(there: &[Seen], name: &str, named: Option<&str>) -> Plan {
    let mut others = there.to_vec();
    newest_first(&mut others);
    let newest = others.first().is_some_and(|newest| newest.name == name);
    let known = others.iter().any(|copy| copy.name == name);
    others.retain(|copy| copy.name != name);
    let surplus = others.split_off(others.len().min(KEEP - 1));
    let remove = surplus.into_iter().filter(|copy| named != Some(copy.name.as_str())).collect();
    Plan { create: !known, touch: known && !newest, remove }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(name: &str, second: i64) -> Seen {
        let since = (second > 0).then(|| Timestamp::from_second(second).unwrap());
        Seen { name: name.to_owned(), uid: format!("uid-{name}"), since }
    }

    fn names(plan: &Plan) -> Vec<&str> {
        plan.remove.iter().map(|copy| copy.name.as_str()).collect()
    }

    #[test]
    fn the_last_three_stay_and_nothing_is_written_twice() {
        assert_eq!(plan(&[], "a", None), Plan { create: true, touch: false, remove: Vec::new() });
        assert_eq!(plan(&[seen("a", 1)], "a", None), Plan { create: false, touch: false, remove: Vec::new() });
        let four = [seen("b", 2), seen("d", 4), seen("a", 1), seen("c", 3)];
        let next = plan(&four, "e", None);
        assert!(next.create && names(&next) == ["b", "a"], "{next:?}");
        let back = plan(&four[..2], "b", None);
        assert_eq!((back.create, back.touch, names(&back).len()), (false, true, 0), "an old pair came back");
        assert_eq!(names(&plan(&four, "e", Some("a"))), ["b"], "what the spec names stays");
        assert_eq!(names(&plan(&[seen("x", 0), seen("b", 2), seen("c", 3)], "c", None)), [""; 0]);
        assert_eq!(names(&plan(&[seen("x", 0), seen("b", 2), seen("c", 3), seen("d", 4)], "d", None)), ["x"]);
    }

    proptest! {
        /// Two operators that keep different pairs come to rest as soon as both keep the same one.
        #[test]
        fn whoever_keeps_what_it_kept_before_writes_nothing(kept in prop::collection::vec(0_u8..6, 1..30)) {
            let (mut there, mut now) = (Vec::new(), 0);
            for pair in kept {
                now += 1;
                let name = format!("pair-{pair}");
                let Plan { create, touch, remove } = plan(&there, &name, None);
                there.retain(|copy: &Seen| !remove.contains(copy));
                if create || touch {
                    there.retain(|copy| copy.name != name);
                    there.push(seen(&name, now));
                }
                prop_assert!(there.len() <= KEEP && there.iter().any(|copy| copy.name == name));
                let again = plan(&there, &name, None);
                prop_assert_eq!(again, Plan { create: false, touch: false, remove: Vec::new() });
            }
        }
    }
}
