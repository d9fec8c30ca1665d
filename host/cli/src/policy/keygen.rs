//! `policy keygen`: a pair of keys, in the files that other tools read and write too.
//!
//! Nothing that is there is ever overwritten: a lost key cannot be made again.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use engine::SecretKey;

/// Where to put the keys.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The files are called NAME.key, which is to be kept secret, and NAME.pub.
    #[arg(value_name = "NAME", default_value = "policy")]
    name: PathBuf,
}

/// Makes a pair of keys.
///
/// # Errors
/// A file is there already, or could not be written.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let with = |extension: &str| {
        let mut name = arguments.name.clone().into_os_string();
        name.push(extension);
        PathBuf::from(name)
    };
    let (secret, public) = (with(".key"), with(".pub"));
    anyhow::ensure!(!public.exists(), "{} is there already; choose another name", public.display());
    let key = SecretKey::generate()?;
    // Readable by nobody else from its first moment on.
    write_new(&secret, &key.to_pem(), 0o600)?;
    write_new(&public, &key.public().to_pem(), 0o644)?;
    println!("key {}: {} (secret), {}", key.public().id(), secret.display(), public.display());
    println!("The operator verifies with it once {} is among its --policy-key.", public.display());
    Ok(ExitCode::SUCCESS)
}

fn write_new(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let made = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = made.with_context(|| format!("{} could not be made; nothing is overwritten", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("writing {}", path.display()))
}
