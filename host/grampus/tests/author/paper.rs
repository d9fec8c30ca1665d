//! Following a paper to the letter: its commands are run, its changes made, and what it shows is looked for.
//!
//! Blocks of `sh` are run one after another, each beginning where the one before ended; `sh exit=1` has to fail.
//! A block of `text` after one has to be part of what that printed. A block of `diff` is a change to the file in its
//! first line. Blocks of other languages are for reading.

use std::path::{Path, PathBuf};

use crate::program::{Ended, GRAMPUS, ended, offline, tools};

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

/// Does what a text says, beginning in a directory, with this program as `grampus`. Gives the directory it ended in and
/// how many commands there were.
pub fn follow(text: &str, home: &Path) -> (PathBuf, usize) {
    let programs = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(GRAMPUS, programs.path().join("grampus")).unwrap();
    let path = format!("{}:{}:{}", programs.path().display(), tools().display(), std::env::var("PATH").unwrap());
    let mut directory = home.to_owned();
    let mut printed = String::new();
    let mut commands = 0;
    for Block { kind, lines } in blocks(text) {
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
                    assert!(printed.contains(line.trim()), "the paper shows `{line}`, but there was: {printed}");
                }
            }
            "diff" => change(&directory, &lines),
            "c" => {}
            other => panic!("what is a block of `{other}`?"),
        }
    }
    (directory, commands)
}
