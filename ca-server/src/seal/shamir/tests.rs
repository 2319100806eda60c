//! Splitting and putting together, against an arithmetic of our own, and by statistics.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use super::{Share, ShareError, ShareSeal, ShareSpec, combine, split};
use crate::seal::{RootKey, Seal as _, SealError};

fn spec(n: i64, t: i64) -> ShareSpec {
    ShareSpec::new(n, t).unwrap()
}

fn again(share: &Share) -> Share {
    Share::parse(&share.to_hex()).unwrap()
}

fn subset(shares: &[Share], mask: u32) -> Vec<Share> {
    let chosen = |index: &usize| mask & (1 << index) != 0;
    (0..shares.len())
        .filter(chosen)
        .map(|index| again(&shares[index]))
        .collect()
}

/// Multiplication in GF(256) as in AES, by the book: the oracle for vsss-rs.
fn times(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b != 0 {
        if b & 1 == 1 {
            product ^= a;
        }
        a = (a << 1) ^ if a & 0x80 == 0 { 0 } else { 0x1b };
        b >>= 1;
    }
    product
}

fn inverse(a: u8) -> u8 {
    (1..=255).find(|b| times(a, *b) == 1).unwrap()
}

/// Lagrange's formula at zero.
fn oracle(shares: &[Share]) -> [u8; 32] {
    let mut secret = [0; 32];
    for one in shares {
        let others = shares.iter().filter(|other| other.index != one.index);
        let weight = others.fold(1, |weight, other| {
            times(weight, times(other.index, inverse(other.index ^ one.index)))
        });
        for (byte, share) in secret.iter_mut().zip(one.body.iter()) {
            *byte ^= times(weight, *share);
        }
    }
    secret
}

#[test]
fn every_subset_of_t_shares_recovers_and_every_smaller_one_does_not_up_to_ten_shares() {
    let secret = [0x5a; 32];
    for n in 2..=10_u32 {
        for t in 2..=n {
            let (_, shares) = split(&secret, spec(n.into(), t.into())).unwrap();
            let indices: BTreeSet<u8> = shares.iter().map(Share::index).collect();
            assert_eq!(indices.len(), shares.len());
            for mask in 1..(1_u32 << n) {
                let chosen = subset(&shares, mask);
                match mask.count_ones() {
                    few if few < t => assert_eq!(combine(&chosen).unwrap_err(), ShareError::TooFew),
                    count => {
                        assert_eq!(*combine(&chosen).unwrap(), secret, "{t} of {n}, {mask:b}");
                        if count == t {
                            assert_eq!(oracle(&chosen), secret);
                        }
                    }
                }
            }
        }
    }
}

/// The chi-squared sum of `counts` against the uniform distribution.
fn chi_squared(counts: &[u32; 256]) -> f64 {
    let expected = f64::from(counts.iter().sum::<u32>()) / 256.0;
    counts
        .iter()
        .map(|count| (f64::from(*count) - expected).powi(2) / expected)
        .sum()
}

#[test]
fn rustsec_2024_0398_fewer_shares_than_the_threshold_are_uniform_whatever_the_secret() {
    // 255 degrees of freedom: beyond 389 with probability 10^-7; below 150 it would be too even to be random.
    for secret in [[0; 32], [0xff; 32]] {
        let (mut single, mut pair_sum, mut leading) = ([0_u32; 256], [0_u32; 256], [0_u32; 256]);
        for _ in 0..2_000 {
            let (_, shares) = split(&secret, spec(3, 3)).unwrap();
            for position in 0..32 {
                let [one, two, three] = [0, 1, 2].map(|share: usize| shares[share].body[position]);
                single[usize::from(one)] += 1;
                pair_sum[usize::from(times(7, one) ^ times(9, two))] += 1;
                // The coefficient of x², which must be zero as often as anything else: divided differences.
                let [x1, x2, x3] = [0, 1, 2].map(|share: usize| shares[share].index);
                let slope = |y: u8, z: u8, x: u8, w: u8| times(y ^ z, inverse(x ^ w));
                let top = times(slope(three, two, x3, x2) ^ slope(two, one, x2, x1), inverse(x3 ^ x1));
                leading[usize::from(top)] += 1;
            }
        }
        for (name, counts) in [("one share", &single), ("two shares", &pair_sum), ("x²", &leading)] {
            let sum = chi_squared(counts);
            assert!((150.0..389.0).contains(&sum), "{name}: {sum}");
        }
        assert!(leading[0] > 0, "a leading coefficient of zero is allowed");
    }
}

#[test]
fn rustsec_2020_0160_duplicates_zero_and_shares_of_another_split_are_told_apart() {
    let (_, shares) = split(&[1; 32], spec(3, 2)).unwrap();
    let (_, others) = split(&[1; 32], spec(3, 2)).unwrap();
    let twice = [again(&shares[0]), again(&shares[0])];
    assert_eq!(
        combine(&twice).unwrap_err(),
        ShareError::Duplicate { index: shares[0].index }
    );
    let mixed = [again(&shares[0]), again(&others[1])];
    assert_eq!(combine(&mixed).unwrap_err(), ShareError::OtherSet);
    let zero = Share {
        set: shares[0].set,
        index: 0,
        body: Zeroizing::new([0; 32]),
    };
    assert_eq!(Share::parse(&zero.to_hex()).unwrap_err(), ShareError::NotAShare);
    let beyond = Share { index: 4, ..zero };
    assert_eq!(Share::parse(&beyond.to_hex()).unwrap_err(), ShareError::NotAShare);
    assert_eq!(combine(&[]).unwrap_err(), ShareError::TooFew);
}

#[test]
fn a_share_reads_back_from_each_form_and_each_typing_error_is_seen() {
    let (_, shares) = split(&[9; 32], spec(5, 3)).unwrap();
    let share = &shares[4];
    for text in [
        share.to_hex().to_string(),
        share.to_hex().to_uppercase(),
        share.to_base64().to_string(),
        format!("  {}\n", *share.to_base64()),
    ] {
        assert!(Share::parse(&text).unwrap().is_same(share), "{text}");
    }
    let hex = share.to_hex();
    for position in 0..hex.len() {
        let mut typed = hex.to_string().into_bytes();
        typed[position] = if typed[position] == b'0' { b'1' } else { b'0' };
        let typed = String::from_utf8(typed).unwrap();
        assert_eq!(Share::parse(&typed).unwrap_err(), ShareError::Checksum, "{position}");
    }
    for rubbish in ["", "00", "hvs.abc", hex.get(1..).unwrap(), "ä", &"f".repeat(96)] {
        assert!(Share::parse(rubbish).is_err(), "{rubbish}");
    }
    assert_eq!(format!("{share:?}"), "Share(5)");
}

#[test]
fn numbers_that_make_no_split_are_refused() {
    for (n, t, fine) in [
        (1, 1, true),
        (5, 3, true),
        (255, 255, true),
        (256, 2, false),
        (0, 0, false),
        (3, 0, false),
        (3, 1, false),
        (3, 4, false),
        (-1, 1, false),
    ] {
        assert_eq!(ShareSpec::new(n, t).is_ok(), fine, "{t} of {n}");
    }
    let (_, shares) = split(&[3; 32], spec(1, 1)).unwrap();
    assert_eq!(*combine(&shares).unwrap(), [3; 32]);
}

#[test]
fn cve_2023_25000_the_arithmetic_has_no_table_to_look_up_secrets_in() {
    // A table of GF(256) has 256 entries and stands in the source. Ours has none, and neither has the version of vsss-rs that
    // was read for it (gf256.rs multiplies by masks): whoever takes another version reads that file again.
    assert!(!include_str!("../shamir.rs").contains("; 256]"));
    assert!(
        include_str!("../../../../Cargo.lock")
            .contains("d6bfc736cfd88115aedb95ba84bc2d428fe351e92a56f69fce090af301402d91")
    );
    let (one, two) = (vsss_rs::Gf256(0x57), vsss_rs::Gf256(0x83));
    assert_eq!((one * two).0, 0xc1, "FIPS 197, 4.2");
}

/// Comparing with `==` stops at the first byte that differs, and so tells how many were right.
#[test]
fn ghsa_34fc_no_secret_has_an_equality_that_could_be_used_by_mistake() {
    use static_assertions::assert_not_impl_any;

    assert_not_impl_any!(Share: PartialEq);
    assert_not_impl_any!(RootKey: PartialEq);
    assert_not_impl_any!(secrecy::SecretString: PartialEq);
    assert_not_impl_any!(crate::keyring::Keyring: PartialEq);
    assert_not_impl_any!(crate::barrier::Barrier: PartialEq);
    assert_not_impl_any!(signet_core::signer::SoftwareSigner: PartialEq);
}

#[test]
fn a_forged_share_of_the_right_set_opens_nothing() {
    let (seal, _, shares) = ShareSeal::generate(spec(3, 2)).unwrap();
    let root = RootKey::new(Zeroizing::new([4; 32]));
    let wrapped = seal.wrap(&root).unwrap();
    let opened = ShareSeal::from_shares(&subset(&shares, 0b101))
        .unwrap()
        .unwrap(&wrapped);
    assert_eq!(opened.unwrap().expose(), root.expose());
    let forged = Share {
        set: shares[0].set,
        index: 2,
        body: Zeroizing::new([0; 32]),
    };
    let seal = ShareSeal::from_shares(&[again(&shares[0]), forged]).unwrap();
    assert!(matches!(seal.unwrap(&wrapped).unwrap_err(), SealError::WrongKey { .. }));
}
