//! The first rungs: from bytes in a ConfigMap to bytes of a component.
//!
//! Bytes come from anybody who may write a ConfigMap. Nothing here may allocate in proportion to what they claim.

use std::borrow::Cow;
use std::io::Read;

use crate::call::clean;
use crate::error::LoadError;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// A frame may ask for a window of 128 MiB. This is 8 MiB, what levels up to 19 ask for.
const ZSTD_WINDOW_LOG: u32 = 23;
const WASM: &[u8] = b"\0asm";
/// Version 1, layer 0, as the core specification writes it.
const CORE: &[u8] = &[0x01, 0x00, 0x00, 0x00];

/// Unpacks gzip and zstd by their first bytes; anything else is passed on.
pub fn unpack(bytes: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, LoadError> {
    if bytes.len() > limit {
        return Err(LoadError::TooLarge { limit, when: "as given" });
    }
    if bytes.starts_with(GZIP) {
        return read("gzip", flate2::read::MultiGzDecoder::new(bytes), limit).map(Cow::Owned);
    }
    if bytes.starts_with(ZSTD) {
        let failed = |error: std::io::Error| LoadError::Unpack { format: "zstd", why: error.to_string() };
        let mut decoder = zstd::stream::read::Decoder::new(bytes).map_err(failed)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(failed)?;
        return read("zstd", decoder, limit).map(Cow::Owned);
    }
    Ok(Cow::Borrowed(bytes))
}

/// A module without its packing, within the usual limit.
///
/// # Errors
/// It does not unpack, or is too large.
pub fn unpacked(bytes: &[u8]) -> Result<Cow<'_, [u8]>, LoadError> {
    unpack(bytes, crate::limits::Limits::default().component_bytes)
}

fn read(format: &'static str, decoder: impl Read, limit: usize) -> Result<Vec<u8>, LoadError> {
    let mut out = Vec::new();
    let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder
        .take(one_more)
        .read_to_end(&mut out)
        .map_err(|error| LoadError::Unpack { format, why: error.to_string() })?;
    if out.len() > limit {
        return Err(LoadError::TooLarge { limit, when: "unpacked" });
    }
    Ok(out)
}

/// Tells a component from what people give instead of one.
pub fn expect_component(bytes: &[u8]) -> Result<(), LoadError> {
    let Some(version) = bytes.strip_prefix(WASM) else { return Err(LoadError::NotWasm { found: looks_like(bytes) }) };
    if version.starts_with(CORE) {
        return Err(LoadError::CoreModule);
    }
    Ok(())
}

fn looks_like(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(512)];
    if start.is_empty() {
        return "nothing: it is empty".to_owned();
    }
    if start.starts_with(b"\x7fELF") {
        return "a native program (ELF)".to_owned();
    }
    if start.starts_with(GZIP) || start.starts_with(ZSTD) {
        return "gzip or zstd once more; it was packed twice".to_owned();
    }
    let text = String::from_utf8_lossy(start);
    let text = text.trim_start();
    if text.starts_with("(module") || text.starts_with("(component") {
        return "WebAssembly text; translate it with `wasm-tools parse`".to_owned();
    }
    if text.starts_with("AGFzbQ") {
        return "base64 of WebAssembly; it was encoded twice, or put under data".to_owned();
    }
    if text.starts_with("version https://git-lfs") {
        return "a Git LFS pointer; fetch the file itself".to_owned();
    }
    if !text.contains('\u{fffd}') && !text.contains('\0') {
        return format!("text beginning with \"{}\"", clean(text, 40));
    }
    format!("bytes beginning with {}", hex::encode(&start[..start.len().min(8)]))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const SMALL: &[u8] = b"\0asm\x0d\x00\x01\x00";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    #[test]
    fn every_packing_unpacks_to_the_same_bytes() {
        let zstd = zstd::encode_all(SMALL, 19).unwrap();
        for packed in [SMALL, &gzip(SMALL), &zstd] {
            assert_eq!(unpack(packed, 64).unwrap().as_ref(), SMALL);
        }
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let zeros = vec![0; 4 << 20];
        for packed in [gzip(&zeros), zstd::encode_all(zeros.as_slice(), 19).unwrap()] {
            assert!(packed.len() < 1 << 13, "the bomb itself must be small");
            assert_eq!(unpack(&packed, 1 << 13).unwrap_err(), LoadError::TooLarge { limit: 1 << 13, when: "unpacked" });
        }
        assert_eq!(unpack(SMALL, 7).unwrap_err(), LoadError::TooLarge { limit: 7, when: "as given" });
    }

    #[test]
    fn damaged_packings_are_told() {
        for (mut packed, format) in [(gzip(SMALL), "gzip"), (zstd::encode_all(SMALL, 3).unwrap(), "zstd")] {
            packed.truncate(packed.len() - 3);
            assert!(matches!(unpack(&packed, 64), Err(LoadError::Unpack { format: told, .. }) if told == format));
        }
    }

    #[test]
    fn what_is_no_component_is_named() {
        assert_eq!(expect_component(SMALL), Ok(()));
        assert_eq!(expect_component(b"\0asm\x01\x00\x00\x00"), Err(LoadError::CoreModule));
        for (bytes, told) in [
            (&b""[..], "nothing: it is empty"),
            (b"\x7fELF\x02", "a native program (ELF)"),
            (b"AGFzbQ0AAQA=", "base64 of WebAssembly; it was encoded twice, or put under data"),
            (b"apiVersion: v1", "text beginning with \"apiVersion: v1\""),
            (b"\xff\x00\x01", "bytes beginning with ff0001"),
        ] {
            assert_eq!(expect_component(bytes), Err(LoadError::NotWasm { found: told.to_owned() }));
        }
    }
}
