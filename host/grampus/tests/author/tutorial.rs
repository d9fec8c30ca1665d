//! The tutorial, followed to the letter: its commands are run, its changes made, and what it shows is looked for.
//!
//! Blocks of `sh` are run one after another, each beginning where the one before ended; `sh exit=1` has to fail.
//! A block of `text` after one has to be part of what that printed. A block of `diff` is a change to the file in its
//! first line. What needs a cluster begins with the heading [`CLUSTER`] and is left out here.

use std::path::{Path, PathBuf};

use crate::program::{Ended, GRAMPUS, PACKED_BYTES, ended, grampus, offline, root};

/// From here on a cluster is needed.
const CLUSTER: &str = "## Bring it in";

/// A fenced block: what is written after the fence, and its lines.
struct Block {
    kind: String,
    lines: Vec<String>,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("```") {
            inside = !inside;
            if inside {
                blocks.push(Block { kind: kind.to_owned(), lines: Vec::new() });
            }
        } else if let Some(block) = blocks.last_mut().filter(|_| inside) {
            block.lines.push(line.to_owned());
        }
    }
    blocks
}

/// Runs commands and gives the directory they ended in.
fn run(directory: &Path, lines: &[String], path: &str) -> (Ended, PathBuf) {
    let note = tempfile::NamedTempFile::new().unwrap();
    let script = format!("trap 'pwd > {}' EXIT\n{}\n", note.path().display(), lines.join("\n"));
    let mut shell = offline("bash", directory);
    shell.args(["-euc", &script]).env("PATH", path);
    let ended = ended(shell);
    let stopped = std::fs::read_to_string(note.path()).unwrap();
    (ended, PathBuf::from(stopped.trim()))
}

/// Makes a change: what is written with `-` becomes what is written with `+`.
fn change(directory: &Path, lines: &[String]) {
    let file = directory.join(lines[0].strip_prefix("--- ").unwrap());
    let with = |sign: char| {
        let lines = lines[1..].iter().filter_map(|line| line.strip_prefix(sign));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.matches(&with('-')).count(), 1, "{} has not once: {}", file.display(), with('-'));
    std::fs::write(&file, text.replace(&with('-'), &with('+'))).unwrap();
}

#[test]
fn the_tutorial_works_as_it_is_written() {
    let text = std::fs::read_to_string(root().join("docs/policy-tutorial.md")).unwrap();
    let (here, _) = text.split_once(CLUSTER).expect("the tutorial says from where on it needs a cluster");
    let home = tempfile::tempdir().unwrap();
    let programs = home.path().join("bin");
    std::fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink(GRAMPUS, programs.join("grampus")).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut directory = home.path().to_owned();
    let mut printed = String::new();
    let mut commands = 0;
    for Block { kind, lines } in blocks(here) {
        match kind.as_str() {
            "sh" | "sh exit=1" => {
                let (ended, stopped) = run(&directory, &lines, &path);
                let wanted = if kind == "sh" { 0 } else { 1 };
                assert_eq!(ended.code, Some(wanted), "{}\n{}", lines.join("\n"), ended.text);
                (printed, directory) = (ended.text, stopped);
                commands += lines.len();
            }
            "text" => {
                for line in lines {
                    assert!(printed.contains(line.trim()), "the tutorial shows `{line}`, but there was: {printed}");
                }
            }
            "diff" => change(&directory, &lines),
            other => panic!("what is a block of `{other}`?"),
        }
    }
    assert!(commands >= 6, "the tutorial lost its commands");
    let module = std::fs::read(directory.join("avoid-zone.wasm")).unwrap();
    let packed = engine::build::pack(&module).unwrap().len();
    assert!(packed <= PACKED_BYTES, "a new policy has {packed} bytes when packed");
    let refused =
        grampus(&directory, &["policy", "inspect", "avoid-zone.wasm", "--settings", r#"{"avoidZones": [7]}"#]);
    assert!(refused.text.contains("settings.avoidZones[0]: invalid type: integer `7`"), "{}", refused.text);
}
