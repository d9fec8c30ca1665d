//! `policy sign`: vouches for a module and a decision.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use engine::{Module, SecretKey};

use super::snippet::Snippet;

/// What to sign with what.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The component, plain or packed.
    file: PathBuf,
    /// The secret key in PEM, as `policy keygen` makes it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Print the signature alone.
    #[arg(long)]
    only: bool,
}

/// Signs a module for what it decides. One that the operator would not load is not worth a signature.
///
/// # Errors
/// The key is none, or the module is none.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { file, key, only } = arguments;
    let bytes = std::fs::read(&file).with_context(|| format!("{} could not be read", file.display()))?;
    let (_, module) = super::load(bytes).await.with_context(|| file.display().to_string())?;
    let Signed { digest, signature, key } = sign(&key, &module)?;
    if only {
        println!("{signature}");
    } else {
        println!("{} ({digest}) signed for {} by key {key}", file.display(), module.kind());
        let snippet = Snippet { digest: Some(&digest), signature: Some(&signature), ..Snippet::default() };
        print!("{}", snippet.in_words(module.kind().name()));
    }
    Ok(ExitCode::SUCCESS)
}

/// A signature, and what it is of.
pub struct Signed {
    /// Of the module.
    pub digest: String,
    /// In base64.
    pub signature: String,
    /// The identifier of the key.
    pub key: String,
}

/// Signs a module for what it decides.
///
/// # Errors
/// The file holds no key.
pub fn sign(key: &Path, module: &Module) -> anyhow::Result<Signed> {
    let secret = SecretKey::read(&super::read_text(key)?).with_context(|| key.display().to_string())?;
    let digest = module.digest().to_owned();
    let signature = secret.sign(module.kind().name(), &digest);
    Ok(Signed { digest, signature, key: secret.public().id() })
}
