//! The tutorial, followed to the letter. What needs a cluster begins with the heading [`CLUSTER`] and is left out here.

use crate::paper::follow;
use crate::program::{PACKED_BYTES, building, grampus, root};

/// From here on a cluster is needed.
const CLUSTER: &str = "## Bring it in";

#[test]
fn the_tutorial_works_as_it_is_written() {
    let _turn = building();
    let text = std::fs::read_to_string(root().join("docs/policy-tutorial.md")).unwrap();
    let (here, _) = text.split_once(CLUSTER).expect("the tutorial says from where on it needs a cluster");
    let home = tempfile::tempdir().unwrap();
    let (directory, commands) = follow(here, home.path());
    assert!(commands >= 6, "the tutorial lost its commands");
    let module = std::fs::read(directory.join("avoid-zone.wasm")).unwrap();
    let packed = engine::build::pack(&module).unwrap().len();
    assert!(packed <= PACKED_BYTES, "a new policy has {packed} bytes when packed");
    let refused =
        grampus(&directory, &["policy", "inspect", "avoid-zone.wasm", "--settings", r#"{"avoidZones": [7]}"#]);
    assert!(refused.text.contains("settings.avoidZones[0]: invalid type: integer `7`"), "{}", refused.text);
}
