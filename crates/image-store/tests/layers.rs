//! Tar streams to EROFS images: against GNU tar, and against what attackers send.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use bulkhead_erofs::{FileType, Image};
use bulkhead_image_store::Limits;
use bulkhead_image_store::layer::{ConvertedLayer, LayerError, convert_layer, hash_layer};
use bulkhead_oci::Digest;
use support::{Tar, create, mounted, need_root, path_text, run, stacked, survey};

struct Converted {
    directory: tempfile::TempDir,
    layer: ConvertedLayer,
    image: Image,
}

fn convert_with(bytes: &[u8], limits: &Limits) -> Result<Converted, LayerError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layer.erofs");
    let layer = convert_layer(bytes, create(&path), limits)?;
    run("fsck.erofs", &[path_text(&path)]);
    let image = Image::open(File::open(&path).unwrap()).unwrap();
    Ok(Converted { directory, layer, image })
}

fn convert(bytes: &[u8]) -> Result<Converted, LayerError> {
    convert_with(bytes, &Limits::default())
}

impl Converted {
    fn kind(&self, path: &str) -> Option<FileType> {
        self.image.lookup(path.as_bytes()).unwrap().map(|stat| stat.kind)
    }

    fn content(&self, path: &str) -> Vec<u8> {
        let stat = self.image.lookup(path.as_bytes()).unwrap().unwrap_or_else(|| panic!("{path} is missing"));
        self.image.content(&stat, 1 << 30).unwrap()
    }

    fn is_opaque(&self, path: &str) -> bool {
        let stat = self.image.lookup(path.as_bytes()).unwrap().unwrap();
        stat.metadata
            .attributes
            .iter()
            .any(|known| known.name == b"trusted.overlay.opaque" && known.value == b"y")
    }
}

/// A tree with everything that tar can carry.
fn make_tree(root: &Path) {
    let script = r#"
        set -e
        cd "$1"
        mkdir -p -m 755 etc usr/bin var/empty "name with space" $'new\nline' deep
        chmod 1777 var/empty; chmod 2751 usr
        printf hello > etc/hello; : > etc/nothing; head -c 100000 /dev/urandom > usr/bin/blob
        for size in 4095 4096 4097 8192; do head -c $size /dev/urandom > etc/$size; done
        ln etc/hello etc/second; ln etc/hello usr/third
        ln -s ../etc/hello usr/link; ln -s /nowhere usr/dangling; ln usr/link usr/link2
        mknod usr/null c 1 3; mknod usr/disk b 259 300; mkfifo usr/fifo
        chmod 4711 usr/bin/blob; chown 1000:1001 etc/nothing; chown -h 4000000000:65536 usr/dangling
        touch -h -d '1969-12-31 23:59:58.25 UTC' etc/4095; touch -h -d '2024-02-03 04:05:06.123456789 UTC' etc/hello usr/link
        touch -d '2100-01-01 UTC' usr/bin
        long=$(printf 'n%.0s' $(seq 200)); mkdir -p deep/$long/$long; echo x > deep/$long/$long/$long
        ln -s $long/$long/$long/$long deep/longlink
        truncate -s 5M etc/sparse; printf data | dd of=etc/sparse bs=1 seek=1000000 conv=notrunc status=none
        printf tail | dd of=etc/sparse bs=1 seek=4000000 conv=notrunc status=none
        truncate -s 1M etc/hole
        i=0; while [ $i -lt 300 ]; do echo $i > usr/bin/f$i; i=$((i+1)); done
    "#;
    run("bash", &["-c", script, "bash", path_text(root)]);
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    for (path, name, value) in [
        ("etc/hello", "user.note", &b"a value"[..]),
        ("usr/bin", "trusted.x", b"y"),
        ("usr/bin/blob", "security.capability", capability),
    ] {
        rustix::fs::lsetxattr(root.join(path), name, value, rustix::fs::XattrFlags::empty()).unwrap();
    }
}

#[test]
fn gnu_tar_extracts_the_same_tree() {
    need_root();
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).unwrap();
    make_tree(&tree);
    let pax: &[&str] = &["--format=pax", "--xattrs", "--xattrs-include=*"];
    let formats: [(&str, Vec<&str>); 5] = [
        ("pax", pax.to_vec()),
        ("pax-sparse-1.0", [pax, &["--sparse"]].concat()),
        ("pax-sparse-0.1", [pax, &["--sparse", "--sparse-version=0.1"]].concat()),
        ("pax-sparse-0.0", [pax, &["--sparse", "--sparse-version=0.0"]].concat()),
        ("gnu-sparse", vec!["--format=gnu", "--sparse"]),
    ];
    for (name, options) in formats {
        let tar = directory.path().join(format!("{name}.tar"));
        let arguments = [&options[..], &["-cf", path_text(&tar), "-C", path_text(&tree), "."]].concat();
        run("tar", &arguments);
        let extracted = directory.path().join(name);
        fs::create_dir(&extracted).unwrap();
        let options = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "-p", "-xf"];
        run("tar", &[&options[..], &[path_text(&tar), "-C", path_text(&extracted)]].concat());
        let converted = convert(&fs::read(&tar).unwrap()).unwrap();
        let expected = survey(&extracted);
        assert!(expected.len() > 310);
        mounted(&converted.directory.path().join("layer.erofs"), |root| {
            for (actual, expected) in survey(root).iter().zip(&expected) {
                assert_eq!(actual, expected, "{name}");
            }
            assert_eq!(survey(root).len(), expected.len());
        });
        assert_eq!(converted.layer.diff_id, Digest::of(&fs::read(&tar).unwrap()));
        assert_eq!(converted.layer.implicit_directories.len(), 0);
    }
}

#[test]
fn compression_is_found_out_and_digests_are_of_the_plain_stream() {
    let plain = Tar::default().file("a", &vec![7; 300_000]).end();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain[..100_000]).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(gzip.finish().unwrap(), flate2::Compression::best());
    gzip.write_all(&plain[100_000..]).unwrap();
    let mut zstd = b"\x50\x2a\x4d\x18\x04\0\0\0skip".to_vec();
    zstd.extend(zstd::encode_all(&plain[..1000], 3).unwrap());
    zstd.extend(zstd::encode_all(&plain[1000..], 19).unwrap());
    for bytes in [plain.clone(), gzip.finish().unwrap(), zstd] {
        let converted = convert(&bytes).unwrap();
        assert_eq!(converted.layer.diff_id, Digest::of(&plain));
        assert_eq!(converted.layer.uncompressed_bytes, plain.len() as u64);
        assert_eq!(converted.content("a").len(), 300_000);
        assert_eq!(hash_layer(&bytes[..], &Limits::default()).unwrap(), Digest::of(&plain));
    }
    // What follows the end belongs to the digest; an empty stream is an empty layer.
    let garbage = [plain, vec![9; 5000]].concat();
    assert_eq!(convert(&garbage).unwrap().layer.diff_id, Digest::of(&garbage));
    assert_eq!(convert(b"").unwrap().layer.diff_id, Digest::of(b""));
}

#[test]
fn whiteouts_hide_lower_layers_only() {
    let tar = Tar::default()
        .directory("d/", 0o700)
        .file("d/kept", b"1")
        .file("d/.wh..wh..opq", b"")
        .file(".wh.gone", b"")
        .file("replaced/x", b"1")
        .file(".wh.replaced", b"")
        .file(".wh.before", b"")
        .file("before/x", b"1")
        .file(".wh.plain", b"")
        .file("plain", b"here")
        .file("late", b"here")
        .file(".wh.late", b"")
        .file(".wh..wh.plnk/1.2", b"aufs")
        .file(".wh..wh.aufs", b"aufs")
        .end();
    let converted = convert(&tar).unwrap();
    assert!(converted.is_opaque("d") && converted.is_opaque("replaced") && converted.is_opaque("before"));
    assert_eq!(converted.content("d/kept"), b"1");
    assert_eq!(converted.kind("gone"), Some(FileType::CharacterDevice));
    assert_eq!((converted.content("plain"), converted.content("late")), (b"here".to_vec(), b"here".to_vec()));
    assert_eq!(converted.kind(".wh.gone"), None);
    assert_eq!(converted.kind(".wh..wh.aufs"), None);
    let label = |bytes: &[u8]| convert(bytes).unwrap().image.identity().label;
    assert_eq!(&label(&Tar::default().file(".wh..wh..opq", b"").end())[..11], b"opaque-root");
    assert_eq!(label(&tar), [0; 16]);
}

#[test]
fn overlayfs_understands_the_whiteouts() {
    need_root();
    let lower = Tar::default()
        .file("kept", b"lower")
        .file("gone", b"lower")
        .directory("opaque", 0o755)
        .file("opaque/lower", b"lower")
        .directory("replaced", 0o755)
        .file("replaced/lower", b"lower")
        .directory("merged", 0o700)
        .file("merged/lower", b"lower")
        .file("was-file", b"lower")
        .end();
    let upper = Tar::default()
        .file(".wh.gone", b"")
        .directory("opaque", 0o755)
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/upper", b"upper")
        .file(".wh.replaced", b"")
        .directory("replaced", 0o755)
        .file("replaced/upper", b"upper")
        .directory("merged", 0o750)
        .file("merged/upper", b"upper")
        .file("merged/.wh.nothing", b"")
        .directory("was-file", 0o755)
        .end();
    let (lower, upper) = (convert(&lower).unwrap(), convert(&upper).unwrap());
    let path = |converted: &Converted| converted.directory.path().join("layer.erofs");
    stacked(&[&path(&lower), &path(&upper)], |root| {
        let names: Vec<String> = survey(root).iter().map(|(path, _)| path_text(path).to_owned()).collect();
        let expected = [
            "",
            "kept",
            "merged",
            "merged/lower",
            "merged/upper",
            "opaque",
            "opaque/upper",
            "replaced",
            "replaced/upper",
            "was-file",
        ];
        assert_eq!(names, expected);
    });
}

#[test]
fn later_entries_replace_earlier_ones() {
    let tar = Tar::default()
        .file("dir/file", b"old")
        .file("dir", b"a file now")
        .file("file", b"old")
        .directory("file", 0o711)
        .file("file/below", b"new")
        .file("linked", b"first")
        .hard_link("link", "linked")
        .file("linked", b"second")
        .directory("kept", 0o700)
        .file("kept/x", b"1")
        .directory("./kept/", 0o750)
        .symlink("self", "self")
        .hard_link("self", "./self")
        .end();
    let converted = convert(&tar).unwrap();
    assert_eq!(converted.content("dir"), b"a file now");
    assert_eq!(converted.content("file/below"), b"new");
    assert_eq!(
        (converted.content("link"), converted.content("linked")),
        (b"first".to_vec(), b"second".to_vec())
    );
    assert_eq!(converted.image.lookup(b"link").unwrap().unwrap().links, 1);
    assert_eq!(converted.image.lookup(b"kept").unwrap().unwrap().metadata.permissions, 0o750);
    assert_eq!(converted.content("kept/x"), b"1");
    assert_eq!(converted.kind("self"), Some(FileType::Symlink));
}

#[test]
fn links_are_followed_within_the_layer_only() {
    let tar = Tar::default()
        .directory("usr", 0o755)
        .directory("usr/lib", 0o755)
        .symlink("lib", "usr/lib")
        .file("lib/a", b"through a link")
        .symlink("abs", "/../../../usr")
        .file("abs/b", b"absolute")
        .symlink("usr/up", "../../../../..")
        .file("usr/up/c", b"clamped")
        .symlink("out", "/etc/cron.d")
        .file("out/evil", b"stays inside")
        .hard_link("hard", "lib/a")
        .hard_link("to-symlink", "abs")
        .file("../x/../abs/d"[3..].strip_prefix("x/../").unwrap(), b"d")
        .end();
    let converted = convert(&tar).unwrap();
    assert_eq!(converted.content("usr/lib/a"), b"through a link");
    assert_eq!(converted.content("hard"), b"through a link");
    assert_eq!(converted.content("usr/b"), b"absolute");
    assert_eq!(converted.content("c"), b"clamped");
    assert_eq!(converted.content("etc/cron.d/evil"), b"stays inside");
    assert_eq!(converted.kind("to-symlink"), Some(FileType::Symlink));
    assert!(!Path::new("/etc/cron.d/evil").exists());
    let implicit: Vec<_> = converted.layer.implicit_directories.iter().map(Vec::as_slice).collect();
    assert_eq!(implicit, [&b"etc"[..], b"etc/cron.d"]);
}

#[test]
fn overlay_attributes_of_the_image_are_dropped() {
    let tar = Tar::default()
        .pax(&[
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.user.kept", b"\0=\n"),
            ("SCHILY.xattr.system.nfs4_acl", b"x"),
            ("mtime", b"-1.5"),
            ("uid", b"4000000000"),
        ])
        .directory("d", 0o755)
        .end();
    let converted = convert(&tar).unwrap();
    let stat = converted.image.lookup(b"d").unwrap().unwrap();
    assert_eq!(stat.metadata.attributes.len(), 1);
    assert_eq!(stat.metadata.attributes[0].value, b"\0=\n");
    assert_eq!((stat.metadata.modified_seconds, stat.metadata.modified_nanoseconds), (-2, 500_000_000));
    assert_eq!(stat.metadata.uid, 4_000_000_000);
}

#[test]
fn malformed_layers_are_refused_with_a_reason() {
    let long = "x".repeat(256);
    let far = "y/".repeat(2100);
    let deep = vec![b'd'; 70_000];
    let mut negative = Tar::header(b'0', b"a", b"", 0o644, 0);
    negative[124..136].fill(0xff);
    let mut huge = Tar::header(b'0', b"a", b"", 0o644, 0);
    huge[124..136].copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
    let mut octal = Tar::header(b'0', b"a", b"", 0o644, 0);
    octal[124..136].copy_from_slice(b"000000000x9\0");
    let mut sum = Tar::header(b'0', b"a", b"", 0o644, 0);
    sum[0] = b'b';
    let bomb = Tar::header(b'x', b"a", b"", 0o644, 1 << 30);
    let mut sparse = Tar::header(b'S', b"a", b"", 0o644, 10);
    sparse[257..265].copy_from_slice(b"ustar  \0");
    sparse[386..410].copy_from_slice(b"00000000000\x0000000000024\0");
    sparse[483..495].copy_from_slice(b"00000000012\0");
    let t = Tar::default;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("parent", t().file("../a", b"").end(), "invalid path"),
        ("inner parent", t().file("a/../../b", b"").end(), "invalid path"),
        ("empty name", t().file("", b"").end(), "invalid path"),
        (
            "long component",
            t().pax(&[("path", long.as_bytes())]).file("a", b"").end(),
            "not a valid file name",
        ),
        ("long path", t().pax(&[("path", far.as_bytes())]).file("a", b"").end(), "invalid path"),
        ("64 KiB path", t().pax(&[("path", &deep)]).file("a", b"").end(), "invalid path"),
        ("NUL in path", t().pax(&[("path", b"a\0b")]).file("a", b"").end(), "invalid path"),
        ("root as file", t().file("./.", b"").end(), "replaces its root"),
        ("below a file", t().file("a", b"").file("a/b", b"").end(), "below a file"),
        (
            "link loop",
            t().symlink("a", "b").symlink("b", "a").file("a/x", b"").end(),
            "too many symbolic links",
        ),
        ("link outside", t().hard_link("a", "../../etc/passwd").end(), "no file of this layer"),
        ("link to nothing", t().hard_link("a", "etc/passwd").end(), "no file of this layer"),
        ("link forward", t().hard_link("a", "b").file("b", b"").end(), "no file of this layer"),
        ("link to directory", t().directory("b", 0o755).hard_link("a", "b").end(), "no file of this layer"),
        ("link to whiteout", t().file(".wh.b", b"").hard_link("a", "b").end(), "no file of this layer"),
        ("empty link", t().symlink("a", "").end(), "symbolic link's target"),
        ("bare whiteout", t().file("d/.wh.", b"").end(), "names no file"),
        ("whiteout of ..", t().file("d/.wh...", b"").end(), "names no file"),
        ("negative size", t().raw(&Tar::seal(negative)).end(), "invalid size"),
        ("huge size", t().raw(&Tar::seal(huge)).end(), "invalid size"),
        ("no octal", t().raw(&Tar::seal(octal)).end(), "invalid size"),
        ("bad pax size", t().pax(&[("size", b"-1")]).file("a", b"").end(), "invalid size"),
        ("wrong checksum", t().raw(&sum).end(), "wrong checksum"),
        ("pax bomb", t().raw(&bomb).end(), "larger than"),
        ("bad pax", t().raw(&Tar::header(b'x', b"a", b"", 0, 4)).raw(b"9 a=").end(), "malformed"),
        ("dangling pax size", t().pax(&[("size", b"99999")]).file("a", b"x").end(), "truncated"),
        ("truncated", t().file("a", &[1; 5000]).0[..2000].to_vec(), "truncated"),
        ("half a header", t().file("a", b"").0[..300].to_vec(), "truncated"),
        ("sparse beyond its end", t().raw(&Tar::seal(sparse)).raw(&[1; 10]).end(), "sparse map"),
        ("volume", t().raw(&Tar::header(b'M', b"a", b"", 0, 0)).end(), "unsupported type"),
        ("owner -1", t().pax(&[("uid", b"4294967295")]).file("a", b"").end(), "invalid uid"),
        ("not tar", vec![b'z'; 4096], "wrong checksum"),
        ("bad gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\0garbage!".to_vec(), "cannot read"),
    ];
    for (name, bytes, expected) in cases {
        let error = convert(&bytes).err().unwrap_or_else(|| panic!("{name} was accepted"));
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            text += &format!(": {error}");
            source = error.source();
        }
        assert!(text.contains(expected), "{name}: {text}");
        assert!(!text.contains('\0'), "{name}");
    }
}

#[test]
fn bombs_stop_at_the_limits() {
    let limits = Limits { max_layer_bytes: 10 << 20, max_layer_entries: 1000 };
    let zeros = std::io::repeat(0).take(1 << 30);
    let header = Tar::header(b'0', b"zeros", b"", 0o644, 1 << 30);
    let mut gzip = flate2::read::GzEncoder::new((&header[..]).chain(zeros), flate2::Compression::fast());
    let mut bomb = Vec::new();
    gzip.read_to_end(&mut bomb).unwrap();
    assert!(matches!(convert_with(&bomb, &limits), Err(LayerError::TooLarge { .. })));
    assert!(matches!(hash_layer(&bomb[..], &limits), Err(LayerError::TooLarge { .. })));

    // A zstd frame that wants a window of 2 GiB (RFC 8878, 3.1.1.1.2), and 128 KiB of zeros in one RLE block.
    let block = (128_u32 << 10 << 3 | 0b011).to_le_bytes();
    let window = [&[0x28, 0xb5, 0x2f, 0xfd, 0, (31 - 10) << 3], &block[..3], &[0]].concat();
    assert!(matches!(convert_with(&window, &Limits::default()), Err(LayerError::Tar(_))));

    let sparse: &[(&str, &[u8])] =
        &[("GNU.sparse.map", b"0,0"), ("GNU.sparse.size", b"1099511627776"), ("GNU.sparse.name", b"s")];
    let sparse = Tar::default().pax(sparse).file("s", b"").end();
    assert!(matches!(convert_with(&sparse, &limits), Err(LayerError::TooLarge { .. })));

    let mut many = Tar::default();
    for index in 0..2000 {
        many = many.file(&format!("f{index}"), b"");
    }
    assert!(matches!(convert_with(&many.end(), &limits), Err(LayerError::TooManyEntries { limit: 1000 })));

    let mut links = Tar::default();
    for index in 0..500 {
        links = links.pax(&[("linkpath", &[b'l'; 4000])]).symlink(&format!("l{index}"), "x");
    }
    assert!(matches!(convert_with(&links.end(), &limits), Err(LayerError::TooMuchMetadata { .. })));

    let mut attributes = Tar::default();
    for index in 0..100 {
        let names: Vec<_> = (0..100).map(|n| format!("SCHILY.xattr.user.{}{n}", "n".repeat(240))).collect();
        let records: Vec<(&str, &[u8])> = names.iter().map(|name| (&**name, &b""[..])).collect();
        attributes = attributes.pax(&records).directory(&format!("d{index}"), 0o755);
    }
    assert!(matches!(convert_with(&attributes.end(), &limits), Err(LayerError::TooMuchMetadata { .. })));

    // Each entry is short, but together they would build a tree deeper than any path reaches.
    let down = "d/".repeat(1000);
    let mut deep = Tar::default();
    for index in 0..5 {
        deep = deep.pax(&[("path", format!("{down}f").as_bytes())]).file("f", b"");
        deep = deep.pax(&[("path", format!("{down}l{index}").as_bytes())]).symlink("l", "../f");
        deep = deep.symlink(&format!("top{index}"), &"d/".repeat(50));
        deep = deep.pax(&[("path", format!("top{index}/{down}{down}x").as_bytes())]).file("f", b"");
    }
    let generous = Limits { max_layer_entries: 1_000_000, ..Limits::default() };
    assert!(matches!(convert_with(&deep.end(), &generous), Err(LayerError::TooDeep { .. })));
}

mod random {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn any_bytes_give_an_image_or_an_error(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..3000),
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        ) {
            let mut tar = Tar::default()
                .pax(&[("path", b"long/name"), ("SCHILY.xattr.user.x", b"1"), ("GNU.sparse.map", b"0,4"), ("GNU.sparse.size", b"9")])
                .file("a", b"data")
                .symlink("b", "long")
                .file("b/c", &bytes)
                .hard_link("h", "b/c")
                .end();
            for (index, byte) in flips {
                let position = index.index(tar.len());
                tar[position] = byte;
                // With the checksum made right again the flip reaches the code behind it.
                let start = position / 512 * 512;
                let block: [u8; 512] = tar[start..start + 512].try_into().unwrap();
                if &block[257..262] == b"ustar" {
                    tar[start..start + 512].copy_from_slice(&Tar::seal(block));
                }
            }
            drop(convert(&tar));
            bytes.splice(0..0, [0x1f, 0x8b, 8, 0]);
            drop(convert(&bytes));
        }
    }
}
