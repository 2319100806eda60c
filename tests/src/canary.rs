//! Secrets that must be found nowhere, and looking for them: in bytes, in files, in the memory of a process. A secret is
//! sought in each form that software likes to write it in.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::workdir::is_root;

/// Shorter ones are found by chance.
const BYTES_MIN: usize = 8;

/// Secrets with their names.
#[derive(Default)]
pub struct Canaries {
    needles: Vec<Needle>,
    /// Needles by their first two bytes.
    by_beginning: std::collections::HashMap<[u8; 2], Vec<usize>>,
}

struct Needle {
    /// `root token (base64)`
    name: String,
    bytes: Vec<u8>,
}

impl fmt::Debug for Canaries {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.needles.iter().map(|needle| needle.name.as_str()).collect();
        formatter.debug_tuple("Canaries").field(&names).finish()
    }
}

impl Canaries {
    /// Adds a secret: the bytes themselves, in hex, and in base64 wherever in a longer text they stand.
    pub fn add(&mut self, name: &str, secret: &[u8]) -> &mut Self {
        assert!(secret.len() >= BYTES_MIN, "{name} is too short to be looked for");
        self.put(format!("{name} (as it is)"), secret.to_vec());
        let hex = hex(secret);
        self.put(format!("{name} (HEX)"), hex.to_uppercase().into_bytes());
        self.put(format!("{name} (hex)"), hex.into_bytes());
        for shift in 0..3 {
            let standard = shifted(
                &STANDARD_NO_PAD.encode([&vec![0; shift], secret].concat()),
                shift,
                secret.len(),
            );
            let url = shifted(
                &URL_SAFE_NO_PAD.encode([&vec![0; shift], secret].concat()),
                shift,
                secret.len(),
            );
            if url != standard {
                self.put(format!("{name} (base64url, shifted by {shift})"), url.into_bytes());
            }
            self.put(format!("{name} (base64, shifted by {shift})"), standard.into_bytes());
        }
        self
    }

    /// Adds a number as big as a private key: also the other way round, as arithmetic keeps it in memory.
    pub fn add_number(&mut self, name: &str, big_endian: &[u8]) -> &mut Self {
        let number: Vec<u8> = big_endian.iter().copied().skip_while(|byte| *byte == 0).collect();
        let reversed = number.iter().rev().copied().collect();
        self.put(format!("{name} (little-endian)"), reversed);
        self.add(name, &number)
    }

    /// Adds a text that is written in no other form.
    pub fn add_text(&mut self, name: &str, text: &str) -> &mut Self {
        assert!(text.len() >= BYTES_MIN, "{name} is too short to be looked for");
        self.put(name.to_owned(), text.as_bytes().to_vec());
        self
    }

    /// Adds lines of the private half of a PEM file's body; its beginning may be the public key.
    pub fn add_pem(&mut self, name: &str, pem: &str) -> &mut Self {
        let body: Vec<&str> = pem.lines().filter(|line| !line.starts_with('-')).collect();
        for (index, line) in body.iter().enumerate().skip(body.len() / 2) {
            if line.len() > 40 {
                self.put(format!("{name} (line {index} of the PEM)"), line.as_bytes().to_vec());
            }
        }
        self
    }

    fn put(&mut self, name: String, bytes: Vec<u8>) {
        let beginning = [bytes[0], bytes[1]];
        self.by_beginning.entry(beginning).or_default().push(self.needles.len());
        self.needles.push(Needle { name, bytes });
    }

    /// Names of the secrets found in `haystack`, with the form, and where each stands first.
    pub fn found_in(&self, haystack: &[u8]) -> Vec<(String, usize)> {
        let mut known = vec![false; 1 << 16];
        for [first, second] in self.by_beginning.keys() {
            known[usize::from(u16::from_be_bytes([*first, *second]))] = true;
        }
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for (at, pair) in haystack.windows(2).enumerate() {
            if !known[usize::from(u16::from_be_bytes([pair[0], pair[1]]))] {
                continue;
            }
            for index in &self.by_beginning[&[pair[0], pair[1]]] {
                let needle = &self.needles[*index];
                if haystack[at..].starts_with(&needle.bytes) && seen.insert(*index) {
                    found.push((needle.name.clone(), at));
                }
            }
        }
        found
    }

    /// Secrets in the files below a folder, but for files that `may_hold` says are there to hold them.
    pub fn found_under(&self, folder: &Path, may_hold: &dyn Fn(&Path) -> bool) -> Vec<String> {
        let mut found = Vec::new();
        for file in files_under(folder) {
            if !may_hold(&file) {
                let names = self.found_in(&std::fs::read(&file).unwrap_or_default());
                found.extend(
                    names
                        .into_iter()
                        .map(|(name, _)| format!("{name} in {}", file.display())),
                );
            }
        }
        found
    }

    /// Secrets in what others may see of a process: its arguments and its environment.
    pub fn found_in_listing(&self, pid: u32) -> Vec<String> {
        let mut found = Vec::new();
        for name in ["cmdline", "environ"] {
            let path = format!("/proc/{pid}/{name}");
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                // Its environment is for root alone: the process is not dumpable.
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied && !is_root() => continue,
                Err(error) => panic!("{path}: {error}"),
            };
            let names = self.found_in(&bytes);
            found.extend(names.into_iter().map(|(secret, _)| format!("{secret} in {path}")));
        }
        found
    }

    /// Secrets in the memory of a process; only root may look. With the place, and with the bytes around it.
    pub fn found_in_memory(&self, pid: u32) -> Vec<String> {
        let mut found = Vec::new();
        for (map, address, bytes) in present_memory(pid) {
            for (name, at) in self.found_in(&bytes) {
                let around = &bytes[at.saturating_sub(48)..bytes.len().min(at + 96)];
                found.push(format!(
                    "{name} at {:x} in `{map}`: {}",
                    address + at,
                    String::from_utf8_lossy(around).escape_default()
                ));
            }
        }
        found
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).expect("half a byte");
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// What is left of base64 whose beginning and end other bytes have part in.
fn shifted(text: &str, shift: usize, length: usize) -> String {
    let first = (shift * 8).div_ceil(6);
    let end = (shift + length) * 8 / 6;
    text[first..end].to_owned()
}

/// All files below a folder.
pub fn files_under(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    entries
        .flat_map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_under(&entry.path()),
            Ok(kind) if kind.is_file() => vec![entry.path()],
            _ => Vec::new(),
        })
        .collect()
}

/// Memory that is there (reserved memory holds nothing), in pieces without gaps.
fn present_memory(pid: u32) -> Vec<(String, usize, Vec<u8>)> {
    const PAGE: usize = 4096;
    let open = |name: &str| std::fs::File::open(format!("/proc/{pid}/{name}")).expect("to be root");
    let (memory, pages) = (open("mem"), open("pagemap"));
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
    let mut pieces = Vec::new();
    for map in maps.lines() {
        let mut words = map.split_ascii_whitespace();
        let (range, access) = (words.next().expect("a range"), words.next().expect("access"));
        if !access.starts_with('r') || map.contains("[v") {
            continue;
        }
        let (from, to) = range.split_once('-').expect("two ends");
        let parse = |hex: &str| usize::from_str_radix(hex, 16).expect("an address");
        let (from, to) = (parse(from), parse(to));
        let mut entries = vec![0; (to - from) / PAGE * 8];
        if pages.read_exact_at(&mut entries, (from / PAGE * 8) as u64).is_err() {
            continue;
        }
        let mut piece: Option<(usize, Vec<u8>)> = None;
        for (index, entry) in entries.chunks_exact(8).enumerate() {
            // Present, or in swap.
            let is_there = entry[7] & 0xc0 != 0;
            let mut page = vec![0; PAGE];
            if is_there && memory.read_exact_at(&mut page, (from + index * PAGE) as u64).is_ok() {
                piece.get_or_insert((from + index * PAGE, Vec::new())).1.extend(page);
            } else if let Some((address, bytes)) = piece.take() {
                pieces.push((map.to_owned(), address, bytes));
            }
        }
        pieces.extend(piece.map(|(address, bytes)| (map.to_owned(), address, bytes)));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_form_and_anywhere() {
        let secret = b"correct horse battery staple \xff\xfe";
        let mut canaries = Canaries::default();
        canaries.add("secret", secret);
        for shift in 0..7 {
            let longer = [&vec![b'.'; shift], &secret[..], b"tail"].concat();
            for text in [
                STANDARD_NO_PAD.encode(&longer),
                URL_SAFE_NO_PAD.encode(&longer),
                hex(&longer).to_uppercase(),
                hex(&longer),
            ] {
                assert!(!canaries.found_in(text.as_bytes()).is_empty(), "{shift}: {text}");
            }
            assert!(!canaries.found_in(&longer).is_empty());
        }
        assert!(canaries.found_in(b"correct horse battery").is_empty());
    }
}
