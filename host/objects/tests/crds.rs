//! The CRDs in `deploy/crds` are what the types say. `UPDATE=1 cargo test -p objects --test crds` writes them.

use std::fs;
use std::path::Path;

#[test]
fn the_files_in_deploy_are_what_the_types_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/crds");
    let generated = objects::api::crd_files().unwrap();
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in &generated {
            fs::write(folder.join(name), text).unwrap();
        }
    }
    for (name, text) in &generated {
        let kept = fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(kept == *text, "deploy/crds/{name} differs; run UPDATE=1 cargo test -p objects --test crds");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), generated.len(), "a file too many in deploy/crds");
}
