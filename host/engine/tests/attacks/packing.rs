//! Attacks by how a module is packed: bombs, and packings that are damaged, nested, joined or strange.

use std::io::Write;

use crate::arena::{attack, turn};
use crate::guest::Guest;

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 19).unwrap()
}

/// A frame that asks for a window of two to this power.
fn with_window(bytes: &[u8], log: u32) -> Vec<u8> {
    let mut out = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    out.window_log(log).unwrap();
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// A frame that claims to hold a number of bytes and holds none.
fn claiming(size: u64) -> Vec<u8> {
    // A content size of eight bytes in one segment, then one last raw block of nothing.
    [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &size.to_le_bytes(), &[1, 0, 0]].concat()
}

#[test]
fn packings_are_no_bombs() {
    let _turn = turn();
    let good = Guest::default().component();
    let zeros = vec![0; 64 << 20];
    let halves = good.split_at(good.len() / 2);
    let cut = |packed: Vec<u8>| packed[..packed.len() - packed.len() / 3].to_vec();
    let trailing = |packed: Vec<u8>| [packed.as_slice(), b"and some more"].concat();
    let bomb = gzip(&zeros);
    let told = attack([
        ("64 MiB of zeros in gzip", bomb.clone()),
        ("64 MiB of zeros in zstd", zstd(&zeros)),
        ("a bomb in a bomb", gzip(&gzip(&zeros))),
        ("gzip inside of zstd", zstd(&gzip(&good))),
        ("zstd inside of zstd", zstd(&zstd(&good))),
        ("two members of gzip, each one half", [gzip(halves.0), gzip(halves.1)].concat()),
        ("two frames of zstd, each one half", [zstd(halves.0), zstd(halves.1)].concat()),
        ("two thousand members of gzip, each a bomb", vec![bomb; 100].concat()),
        ("a hundred thousand frames of nothing", vec![zstd(b""); 100_000].concat()),
        ("gzip that is cut off", cut(gzip(&good))),
        ("zstd that is cut off", cut(zstd(&good))),
        ("gzip with something behind", trailing(gzip(&good))),
        ("zstd with something behind", trailing(zstd(&good))),
        ("zstd with a window of 128 MiB", with_window(&good, 27)),
        ("zstd with a window of 8 MiB", with_window(&good, 23)),
        ("zstd that claims to hold all there is", claiming(u64::MAX - 2)),
        ("zstd that claims to hold 8 MiB", claiming(8 << 20)),
        ("gzip and nothing more than its first bytes", gzip(&good)[..2].to_vec()),
        ("zstd and nothing more than its first bytes", zstd(&good)[..4].to_vec()),
        ("eight megabytes and a byte", vec![0; (8 << 20) + 1]),
        ("bzip2", b"BZh91AY&SY\x94$|\x0e".to_vec()),
        ("xz", b"\xfd7zXZ\x00\x00\x04".to_vec()),
        ("a tar archive", {
            let mut tar = vec![0; 1024];
            tar[..11].copy_from_slice(b"policy.wasm");
            tar
        }),
        ("a core module", b"\0asm\x01\x00\x00\x00".to_vec()),
        ("the head of a component and nothing else", good[..8].to_vec()),
        ("a component of a layer that is not known", b"\0asm\x0e\x00\x01\x00".to_vec()),
        ("text that paints the terminal", "\u{1b}[2J\u{9b}31m\u{202e}apiVersion: v1".as_bytes().to_vec()),
    ]);
    insta::assert_snapshot!(told);
}
