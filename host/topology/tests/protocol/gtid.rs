//! The algebra of GTID sets, against plain sets of numbers.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rstest::rstest;
use topology::gtid::{GtidSet, ParseGtidError};

type Model = BTreeSet<(u8, u8, u64)>;

const TAGS: [&str; 3] = ["", "audit", "_b2"];

fn model() -> impl Strategy<Value = Model> {
    proptest::collection::btree_set((0..3_u8, 0..3_u8, 1..40_u64), 0..60)
}

fn server(index: u8) -> String {
    format!("00000000-0000-0000-0000-00000000000{index}")
}

fn text(model: &Model) -> String {
    let each = model.iter().map(|(from, tag, number)| match TAGS[*tag as usize] {
        "" => format!("{}:{number}", server(*from)),
        tag => format!("{}:{tag}:{number}", server(*from)),
    });
    each.collect::<Vec<_>>().join(",")
}

fn set(model: &Model) -> GtidSet {
    text(model).parse().unwrap()
}

proptest! {
    #[test]
    fn operations_are_those_of_sets(left in model(), right in model()) {
        let (a, b) = (set(&left), set(&right));
        prop_assert_eq!(a.union(&b), set(&left.union(&right).copied().collect()));
        prop_assert_eq!(a.subtract(&b), set(&left.difference(&right).copied().collect()));
        prop_assert_eq!(a.intersect(&b), set(&left.intersection(&right).copied().collect()));
        prop_assert_eq!(a.is_subset_of(&b), left.is_subset(&right));
        prop_assert_eq!(a.count(), left.len() as u64);
        prop_assert_eq!(a == b, left == right);
    }

    #[test]
    fn what_is_written_is_read_back(left in model()) {
        let a = set(&left);
        prop_assert_eq!(a.to_string().parse::<GtidSet>().unwrap(), a.clone());
        prop_assert_eq!(serde_json::from_str::<GtidSet>(&serde_json::to_string(&a).unwrap()).unwrap(), a);
    }

    #[test]
    fn parts_by_server_make_the_whole(left in model()) {
        let a = set(&left);
        let whole = a.servers().fold(GtidSet::new(), |whole, server| whole.union(&a.of_server(server)));
        prop_assert_eq!(whole, a);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[0-9a-f:,\\- _g]{0,60}") {
        let _ = text.parse::<GtidSet>();
    }
}

#[rstest]
#[case::as_a_server_writes_it(
    "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-3:11:47-49",
    "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-3:11:47-49"
)]
#[case::joined("3E11FA47-71CA-11E1-9E33-C80AA9429562:1-3:4:6", "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-4:6")]
#[case::tags_follow_intervals(
    "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-3:Audit:5-7:b:1",
    "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-3:audit:5-7:b:1"
)]
#[case::lines(
    "3e11fa47-71ca-11e1-9e33-c80aa9429562:1,\n4e11fa47-71ca-11e1-9e33-c80aa9429562:2",
    "3e11fa47-71ca-11e1-9e33-c80aa9429562:1,4e11fa47-71ca-11e1-9e33-c80aa9429562:2"
)]
#[case::nothing("", "")]
fn texts_of_servers_are_understood(#[case] text: &str, #[case] normal: &str) {
    assert_eq!(text.parse::<GtidSet>().unwrap().to_string(), normal);
}

#[rstest]
#[case::no_uuid("abc:1", ParseGtidError::Server("abc".into()))]
#[case::backwards("3e11fa47-71ca-11e1-9e33-c80aa9429562:5-3", ParseGtidError::Interval("5-3".into()))]
#[case::zero("3e11fa47-71ca-11e1-9e33-c80aa9429562:0", ParseGtidError::Interval("0".into()))]
#[case::too_large("3e11fa47-71ca-11e1-9e33-c80aa9429562:9223372036854775807", ParseGtidError::Interval("9223372036854775807".into()))]
#[case::bad_tag("3e11fa47-71ca-11e1-9e33-c80aa9429562:a-b:1", ParseGtidError::Tag("a-b".into()))]
#[case::no_interval("3e11fa47-71ca-11e1-9e33-c80aa9429562", ParseGtidError::Empty("3e11fa47-71ca-11e1-9e33-c80aa9429562".into()))]
#[case::tag_alone("3e11fa47-71ca-11e1-9e33-c80aa9429562:tag", ParseGtidError::Empty("3e11fa47-71ca-11e1-9e33-c80aa9429562:tag".into()))]
fn anything_else_is_refused(#[case] text: &str, #[case] error: ParseGtidError) {
    assert_eq!(text.parse::<GtidSet>(), Err(error));
}
