//! Records of every length: at the limit, beyond it, and beyond any memory.

use std::fs;
use std::io::Write;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Folder, assert_accounted, payment, records, replay, weir};

const MEBIBYTE: usize = 1 << 20;
/// Enough for several blocks, so that the long one is long past while the pipe is still open.
const PAYMENTS: u32 = 30_000;
const MEMORY_KIB_MAX: u64 = 500 << 10;

/// A payment of this many bytes, without its end of line.
fn payment_of(bytes: usize, number: u32) -> String {
    let line = payment(number, "2026-05-05T12:00:00Z");
    let line = line.trim_end().trim_end_matches('}');
    let with_note = format!("{line},\"note\":\"");
    format!("{with_note}{}\"}}", "x".repeat(bytes - with_note.len() - 2))
}

#[test]
fn a_mebibyte_is_accepted_and_one_byte_more_is_not() {
    let folder = Folder::new();
    let out = folder.text("out");
    for end in ["\n", "\r\n"] {
        let sizes = [MEBIBYTE, MEBIBYTE + 1, MEBIBYTE - 1, 3 * MEBIBYTE, MEBIBYTE];
        let lines = sizes.iter().zip(0..).map(|(&bytes, number)| payment_of(bytes, number) + end);
        let path = folder.file("t.ndjson", lines.collect::<String>());
        replay(&path, None, &out, &["--verify"]).ended(0);
        assert_eq!(assert_accounted(&out, 5, 0)["rejects"]["too_large"], 2);
        let rejects = records(format!("{out}/rejects.ndjson"));
        for (reject, (line, bytes)) in rejects.iter().zip([(2, MEBIBYTE + 1), (4, 3 * MEBIBYTE)]) {
            assert_eq!(reject["code"], "too_large");
            assert_eq!(reject["origin"]["line"], line);
            assert_eq!(reject["original_bytes"], bytes);
            assert_eq!(reject["original"].as_str().unwrap().len(), 64 << 10);
        }
    }
}

/// The greatest memory that a process had, in KiB.
fn memory_peak_kib(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Feeds one record of many mebibytes between others, through a pipe.
fn feed(filler: &[u8], mebibytes: usize) {
    let folder = Folder::new();
    let out = folder.text("out");
    let mut command = weir();
    command.args(["replay", "--quiet", "--transactions", "-", "--out", &out]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let others = |numbers: std::ops::Range<u32>| -> String {
        numbers.map(|number| payment(number, "2026-05-05T12:00:00Z")).collect()
    };
    let chunk: Vec<u8> = filler.iter().copied().cycle().take(MEBIBYTE).collect();
    stdin.write_all(others(0..3).as_bytes()).unwrap();
    stdin.write_all(b"{\"tx_id\":\"").unwrap();
    (0..mebibytes).for_each(|_| stdin.write_all(&chunk).unwrap());
    // Enough behind it to see it decided while the pipe is still open.
    stdin.write_all(format!("\"}}\n{}", others(3..PAYMENTS)).as_bytes()).unwrap();
    let start = Instant::now();
    let decisions = format!("{out}/.weir-replay-partial/decisions.ndjson");
    while fs::metadata(&decisions).map_or(0, |file| file.len()) == 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "nothing was decided");
        std::thread::sleep(Duration::from_millis(20));
    }
    let memory_kib = memory_peak_kib(&child);
    drop(stdin);
    assert!(child.wait().unwrap().success());
    assert!(memory_kib < MEMORY_KIB_MAX, "{memory_kib} KiB");

    let summary = assert_accounted(&out, u64::from(PAYMENTS) + 1, 0);
    assert_eq!(summary["transactions"]["decisions"], PAYMENTS);
    let [reject] = &records(format!("{out}/rejects.ndjson"))[..] else { panic!("one reject") };
    assert_eq!((reject["code"].as_str(), reject["origin"]["line"].as_u64()), (Some("too_large"), Some(4)));
    assert_eq!(reject["original_bytes"], mebibytes * MEBIBYTE + 12);
}

#[test]
fn a_line_of_two_gigabytes_takes_no_more_memory_than_others() {
    feed(b"abcdefgh", 2_048);
}

/// Digits are what the search for card numbers looks at longest.
#[test]
fn a_line_of_digits_takes_no_more_memory_than_others() {
    feed(b"4111 1111-1111 1111 ", 8);
    feed(b"4", 8);
}
