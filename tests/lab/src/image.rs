//! Packs an image without Docker and without a base: a docker-archive of one layer. It must stay
//! reproducible, because an image that did not change is not loaded again.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// One file of an image: where it is now, where it will be, and its mode.
pub type Entry<'a> = (&'a Path, &'a str, u32);

/// Writes an image with these files to `output`; processes start as `entrypoint`, as user 1001.
pub fn pack(tag: &str, files: &[Entry<'_>], entrypoint: &[&str], output: &Path) -> Result<()> {
    let directory = output.parent().context("an image needs a file to be written to")?;
    fs::create_dir_all(directory)?;
    let layer = layer(files, directory)?;
    let diff = digest(layer.path())?;
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": entrypoint, "User": "1001:1001", "Env": ["PATH=/usr/bin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff}")]},
        "history": [{"created_by": "lab image pack"}],
    })
    .to_string();
    let config_name = format!("{}.json", hex::encode(Sha256::digest(&config)));
    let manifest = json!([{"Config": config_name, "RepoTags": [tag], "Layers": ["layer.tar"]}]).to_string();
    let part = tempfile::NamedTempFile::new_in(directory)?;
    let mut archive = Builder::new(part.as_file());
    append(&mut archive, "manifest.json", 0o644, manifest.len() as u64, manifest.as_bytes())?;
    append(&mut archive, &config_name, 0o644, config.len() as u64, config.as_bytes())?;
    let size = layer.as_file().metadata()?.len();
    append(&mut archive, "layer.tar", 0o644, size, File::open(layer.path())?)?;
    archive.finish()?;
    drop(archive);
    part.persist(output).with_context(|| format!("cannot write {}", output.display()))?;
    Ok(())
}

/// What an archive contains: its tag, and the digest of its configuration, which covers all of it.
pub fn identify(archive: &Path) -> Result<(String, String)> {
    let manifest = read_member(archive, "manifest.json")?;
    let manifest: serde_json::Value =
        serde_json::from_slice(&manifest).with_context(|| format!("{} has no readable manifest", archive.display()))?;
    let field = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let tag = field(&manifest[0]["RepoTags"][0])
        .with_context(|| format!("{} names no tag in its manifest", archive.display()))?;
    let config =
        field(&manifest[0]["Config"]).with_context(|| format!("{} names no configuration", archive.display()))?;
    let config = read_member(archive, &config)?;
    Ok((tag, hex::encode(Sha256::digest(&config))))
}

fn layer(files: &[Entry<'_>], directory: &Path) -> Result<tempfile::NamedTempFile> {
    let part = tempfile::NamedTempFile::new_in(directory)?;
    let mut archive = Builder::new(part.as_file());
    let mut made = BTreeSet::new();
    for (source, target, mode) in files {
        let target = target.trim_start_matches('/');
        for parent in parents(target) {
            if made.insert(parent.clone()) {
                append_directory(&mut archive, &parent, 0o755)?;
            }
        }
        let file = File::open(source).with_context(|| format!("cannot read {} for the image", source.display()))?;
        let size = file.metadata()?.len();
        append(&mut archive, target, *mode, size, file)?;
    }
    if made.insert(PathBuf::from("tmp")) {
        append_directory(&mut archive, Path::new("tmp"), 0o1777)?;
    }
    archive.finish()?;
    drop(archive);
    Ok(part)
}

fn parents(target: &str) -> Vec<PathBuf> {
    let mut parents: Vec<PathBuf> = Path::new(target).ancestors().skip(1).map(Into::into).collect();
    parents.retain(|parent| !parent.as_os_str().is_empty());
    parents.reverse();
    parents
}

fn header(mode: u32, size: u64, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn append<W: io::Write>(archive: &mut Builder<W>, name: &str, mode: u32, size: u64, data: impl Read) -> Result<()> {
    archive
        .append_data(&mut header(mode, size, EntryType::Regular), name, data)
        .with_context(|| format!("cannot add {name} to the image"))
}

fn append_directory<W: io::Write>(archive: &mut Builder<W>, path: &Path, mode: u32) -> Result<()> {
    archive
        .append_data(&mut header(mode, 0, EntryType::Directory), path, io::empty())
        .with_context(|| format!("cannot add {} to the image", path.display()))
}

fn read_member(archive: &Path, name: &str) -> Result<Vec<u8>> {
    let file = File::open(archive).with_context(|| format!("cannot read the image {}", archive.display()))?;
    for entry in tar::Archive::new(file).entries_with_seek()? {
        let mut entry = entry?;
        // Some packers write "./manifest.json".
        let path = entry.path()?;
        if path.strip_prefix("./").unwrap_or(&path) == Path::new(name) {
            drop(path);
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            return Ok(content);
        }
    }
    anyhow::bail!("{} has no {name}: expected a docker-archive", archive.display())
}

fn digest(path: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hash.finalize())),
            length => hash.update(&buffer[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_says_who_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let (source, archive) = (directory.path().join("p"), directory.path().join("image.tar"));
        fs::write(&source, "#!/bin/sh\n").unwrap();
        let files: [Entry<'_>; 1] = [(&source, "/usr/bin/p", 0o755)];
        pack("example/p:1", &files, &["/usr/bin/p"], &archive).unwrap();
        let (tag, first) = identify(&archive).unwrap();
        assert_eq!(tag, "example/p:1");
        fs::write(&source, "#!/bin/sh\ntrue\n").unwrap();
        pack("example/p:1", &files, &["/usr/bin/p"], &archive).unwrap();
        assert_ne!(first, identify(&archive).unwrap().1, "another content, the same digest");
    }

    #[test]
    fn what_is_no_image_is_said_to_be_none() {
        let directory = tempfile::tempdir().unwrap();
        let archive = directory.path().join("image.tar");
        Builder::new(File::create(&archive).unwrap()).finish().unwrap();
        let error = identify(&archive).unwrap_err().to_string();
        assert!(error.contains("expected a docker-archive"), "{error}");
    }
}
