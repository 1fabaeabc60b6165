//! The only test of its process, because the kernel reports the peak of a whole process.
#![cfg(target_os = "linux")]

use soundoff_media::{Bounds, Kind, Refused, render};

/// The most memory that this process ever held, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// The most address space that this process ever had. It counts memory that was allocated and never touched.
fn peak_space() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn riff(name: &[u8; 4], length: u32, body: &[u8]) -> Vec<u8> {
    [&name[..], &length.to_le_bytes(), body].concat()
}

#[test]
fn a_hostile_header_takes_no_memory() {
    let side = [0xFF_u8, 0xFF];
    let sized =
        riff(b"VP8 ", 40, &[&[0x10, 0, 0, 0x9D, 0x01, 0x2A, 0xFF, 0x3F, 0xFF, 0x3F][..], &[0; 30]].concat());
    let long = riff(b"EXIF", u32::MAX - 1, b"");
    let small = riff(b"VP8X", 10, &[8, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let webp = |chunks: &[u8]| {
        let length = u32::try_from(chunks.len()).unwrap() + 4;
        [riff(b"RIFF", length, b"WEBP"), chunks.to_vec()].concat()
    };
    let jpeg = [&b"\xFF\xD8\xFF\xC0\0\x11\x08"[..], &side, &side, &[3; 40]].concat();
    let png = b"\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR\x7F\xFF\xFF\xFF\x7F\xFF\xFF\xFF\x10\x06\0\0\0....";
    let lengthy = b"\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0....\xFF\xFF\xFF\xFFIDAT";
    let gif = [&b"GIF89a"[..], &side, &side, &[0; 40]].concat();
    let files = [
        jpeg,
        png.to_vec(),
        lengthy.to_vec(),
        gif,
        webp(&sized),
        webp(&[small.clone(), sized].concat()),
        webp(&[small, long].concat()),
    ];
    let (memory, space) = (peak(), peak_space());
    for bytes in files {
        let kind = Kind::sniff(&bytes).unwrap();
        let refused = render(&bytes, kind, &Bounds::default()).unwrap_err();
        assert!(!matches!(refused, Refused::TookTooLong { .. }), "{refused}");
        assert!(peak() < memory + (4 << 20), "{kind:?}: {} bytes were held", peak() - memory);
        assert!(peak_space() < space + (64 << 20), "{kind:?}: {} bytes were taken", peak_space() - space);
    }
}
