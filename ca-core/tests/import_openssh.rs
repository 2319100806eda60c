//! The real `ssh-keygen` and `openssl` make the key files that are imported: every format, key type, cipher and key
//! derivation that they write, each with its right passphrase, a wrong one and none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking; .clippy.toml allows it in #[test] functions, this in their helpers"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use signet_core::signer::{ImportError, KeyFile, Signer as _, SoftwareSigner};

const PASSPHRASE: &str = "correct horse \u{e4}";
/// What `ssh-keygen -t` and `-b` make.
const KINDS: &[(&str, &str)] = &[
    ("ed25519", "256"),
    ("ecdsa", "256"),
    ("ecdsa", "384"),
    ("ecdsa", "521"),
    ("rsa", "2048"),
    ("rsa", "3072"),
];

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("signet-import-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; type: apt-get install openssh-client openssl"));
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn ssh_keygen(arguments: &[&str]) {
    run("ssh-keygen", arguments);
}

/// A key without a passphrase, and the line of its public half.
fn made(folder: &Folder, kind: &str, bits: &str) -> (String, String) {
    let path = folder.path(&format!("{kind}-{bits}"));
    let file = path.display().to_string();
    // ssh-key 0.7 does not read, in OpenSSH's own format, a P-256 number that takes less than 32 bytes, as one key in 512; as PEM
    // it is read, and the error's hint says so. Three such keys in a row would be another fault.
    for _ in 0..3 {
        if fs::read_to_string(&path).is_ok_and(|text| ssh_key::PrivateKey::from_openssh(text).is_ok()) {
            break;
        }
        let _absent = fs::remove_file(&path);
        ssh_keygen(&["-q", "-t", kind, "-b", bits, "-N", "", "-C", "", "-f", &file]);
    }
    let public = fs::read_to_string(path.with_extension("pub")).unwrap();
    (file, public.trim().to_owned())
}

fn import(path: &Path, public: Option<&str>, passphrase: Option<&str>) -> Result<SoftwareSigner, ImportError> {
    let private = fs::read_to_string(path).unwrap();
    SoftwareSigner::import(KeyFile {
        private: &private,
        public,
        passphrase,
    })
}

/// Imports without the public half and with it, and refuses another passphrase or none.
fn check(what: &str, path: &Path, public: &str, passphrase: Option<&str>) {
    for half in [None, Some(public)] {
        let signer = import(path, half, passphrase).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(signer.public_key().line(), public, "{what}");
    }
    let Some(passphrase) = passphrase else {
        let error = import(path, None, Some("x")).unwrap_err();
        assert!(matches!(error, ImportError::NotEncrypted), "{what}: {error}");
        return;
    };
    let error = import(path, None, None).unwrap_err();
    assert!(matches!(error, ImportError::Encrypted), "{what}: {error}");
    for wrong in ["", &format!("{passphrase} ")] {
        let error = import(path, Some(public), Some(wrong)).unwrap_err();
        assert!(matches!(error, ImportError::Passphrase), "{what}: {error}");
    }
}

#[test]
fn every_cipher_of_ssh_keygen_is_opened_by_its_passphrase_and_no_other() {
    let folder = Folder::new("ciphers");
    let ciphers = run("ssh", &["-Q", "cipher"]);
    assert!(ciphers.lines().count() >= 9, "{ciphers}");
    for (index, cipher) in ciphers.lines().enumerate() {
        // Each cipher with one kind of key; the default one with all kinds, below.
        let (kind, bits) = KINDS[index % KINDS.len()];
        let (plain, public) = made(&folder, kind, bits);
        let copy = folder.path(&format!("cipher-{index}"));
        fs::copy(&plain, &copy).unwrap();
        let file = copy.display().to_string();
        ssh_keygen(&[
            "-q", "-p", "-P", "", "-N", PASSPHRASE, "-Z", cipher, "-a", "4", "-f", &file,
        ]);
        check(cipher, &copy, &public, Some(PASSPHRASE));
    }
}

#[test]
fn every_kind_of_key_is_read_in_every_format_that_ssh_keygen_writes() {
    let folder = Folder::new("formats");
    for (kind, bits) in KINDS {
        let (plain, public) = made(&folder, kind, bits);
        check(&format!("{kind} {bits}, OpenSSH"), Path::new(&plain), &public, None);
        let copy = folder.path("encrypted");
        fs::copy(&plain, &copy).unwrap();
        let file = copy.display().to_string();
        ssh_keygen(&["-q", "-p", "-P", "", "-N", PASSPHRASE, "-a", "4", "-f", &file]);
        check(
            &format!("{kind} {bits}, OpenSSH encrypted"),
            &copy,
            &public,
            Some(PASSPHRASE),
        );
        // ssh-keygen writes Ed25519 in its own format only.
        if *kind == "ed25519" {
            continue;
        }
        // `PEM` is PKCS#1 and SEC 1.
        for format in ["PEM", "PKCS8"] {
            fs::copy(&plain, &copy).unwrap();
            ssh_keygen(&["-q", "-p", "-P", "", "-N", "", "-m", format, "-f", &file]);
            check(&format!("{kind} {bits}, {format}"), &copy, &public, None);
        }
        fs::copy(&plain, &copy).unwrap();
        ssh_keygen(&["-q", "-p", "-P", "", "-N", PASSPHRASE, "-m", "PKCS8", "-f", &file]);
        check(
            &format!("{kind} {bits}, PKCS8 encrypted"),
            &copy,
            &public,
            Some(PASSPHRASE),
        );
        fs::copy(&plain, &copy).unwrap();
        ssh_keygen(&["-q", "-p", "-P", "", "-N", PASSPHRASE, "-m", "PEM", "-f", &file]);
        let error = import(&copy, None, Some(PASSPHRASE)).unwrap_err();
        assert!(error.to_string().contains("Proc-Type: 4,ENCRYPTED"), "{error}");
        assert!(error.hint().contains("openssl pkcs8 -topk8"), "{}", error.hint());
    }
}

/// What OpenSSL makes of each kind: `genpkey`'s words.
const OPENSSL_KINDS: &[&[&str]] = &[
    &["-algorithm", "ed25519"],
    &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
    &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
];

/// The public half, from whoever is not us.
fn public_of(path: &Path) -> String {
    let private = fs::read_to_string(path).unwrap();
    if private.starts_with("-----BEGIN PRIVATE KEY-----")
        && let Ok(signer) = SoftwareSigner::import(KeyFile {
            private: &private,
            public: None,
            passphrase: None,
        })
        && signer.public_line().starts_with("ssh-ed25519")
    {
        // ssh-keygen reads no Ed25519 in PKCS#8 before 9.6: OpenSSL's own public half ends with the same 32 bytes.
        let der = run("openssl", &["pkey", "-in", &path.display().to_string(), "-pubout"]);
        let base64: String = der.lines().filter(|line| !line.starts_with("---")).collect();
        let tail = |text: &str| data_encoding::BASE64.decode(text.as_bytes()).unwrap().split_off(12);
        let line = signer.public_key().line();
        let blob = data_encoding::BASE64
            .decode(line.split(' ').nth(1).unwrap().as_bytes())
            .unwrap();
        assert!(blob.ends_with(&tail(&base64)), "{line}");
        return line;
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(path, mode).unwrap();
    let line = run("ssh-keygen", &["-y", "-f", &path.display().to_string()]);
    line.split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_owned()
}

#[test]
fn every_scheme_of_openssl_with_aes_is_opened_and_every_other_named() {
    let folder = Folder::new("openssl");
    let schemes: &[(&[&str], bool)] = &[
        (&[], true),
        (&["-v2", "aes-128-cbc"], true),
        (&["-v2", "aes-192-cbc"], true),
        (&["-v2", "aes-256-cbc", "-iter", "20000"], true),
        (&["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA1"], true),
        (&["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA384"], true),
        (&["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512"], true),
        (&["-scrypt"], true),
        (
            &["-scrypt", "-scrypt_N", "1024", "-scrypt_r", "4", "-scrypt_p", "2"],
            true,
        ),
        (&["-v2", "des3"], false),
        (&["-v2", "camellia-256-cbc"], false),
        (&["-v1", "PBE-SHA1-3DES"], false),
    ];
    for (number, kind) in OPENSSL_KINDS.iter().enumerate() {
        let plain = folder.path(&format!("plain-{number}"));
        let file = plain.display().to_string();
        run("openssl", &[&["genpkey"], *kind, &["-out", &file]].concat());
        let public = public_of(&plain);
        check(&format!("{kind:?}"), &plain, &public, None);
        let traditional = folder.path("traditional");
        let out = traditional.display().to_string();
        if number > 0 {
            run("openssl", &["pkey", "-in", &file, "-traditional", "-out", &out]);
            check(&format!("{kind:?}, traditional"), &traditional, &public, None);
        }
        for (words, is_read) in schemes {
            let encrypted = folder.path("scheme");
            let out = encrypted.display().to_string();
            let passout = format!("pass:{PASSPHRASE}");
            let fixed = ["pkcs8", "-topk8", "-in", &file, "-out", &out, "-passout", &passout];
            run("openssl", &[&fixed[..], words].concat());
            if *is_read {
                check(&format!("{kind:?} {words:?}"), &encrypted, &public, Some(PASSPHRASE));
            } else {
                let error = import(&encrypted, None, Some(PASSPHRASE)).unwrap_err();
                assert!(matches!(error, ImportError::Encryption(_)), "{words:?}: {error}");
                assert!(error.hint().contains("openssl pkcs8 -topk8 -v2 aes-256-cbc"));
            }
        }
    }
    // With its parameters in front, as `openssl ecparam` writes it.
    let with_parameters = folder.path("ecparam");
    let file = with_parameters.display().to_string();
    run("openssl", &["ecparam", "-name", "prime256v1", "-genkey", "-out", &file]);
    assert!(fs::read_to_string(&with_parameters).unwrap().contains("EC PARAMETERS"));
    check("ecparam", &with_parameters, &public_of(&with_parameters), None);
}

#[test]
fn what_would_take_too_long_is_refused_before_any_work() {
    let folder = Folder::new("cost");
    let (plain, _) = made(&folder, "ed25519", "256");
    let copy = folder.path("rounds");
    fs::copy(&plain, &copy).unwrap();
    let file = copy.display().to_string();
    ssh_keygen(&["-q", "-p", "-P", "", "-N", PASSPHRASE, "-a", "1", "-f", &file]);
    let text = fs::read_to_string(&copy).unwrap();
    // The rounds lie behind magic, two words and the salt: written over, as an attacker would.
    let base64: String = text.lines().filter(|line| !line.starts_with("---")).collect();
    let bytes = data_encoding::BASE64.decode(base64.as_bytes()).unwrap();
    let at = 15 + 4 + "aes256-ctr".len() + 4 + "bcrypt".len() + 4 + 4 + 16;
    assert_eq!(bytes[at..at + 4], 1_u32.to_be_bytes());
    let with_rounds = |rounds: u32| {
        let mut bytes = bytes.clone();
        bytes[at..at + 4].copy_from_slice(&rounds.to_be_bytes());
        let body = data_encoding::BASE64.encode(&bytes);
        format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n")
    };
    let opened = |private: &str, passphrase: Option<&str>| {
        let file = KeyFile {
            private,
            public: None,
            passphrase,
        };
        SoftwareSigner::import(file).map(drop)
    };
    assert!(opened(&with_rounds(1), Some(PASSPHRASE)).is_ok());
    for rounds in [1025, u32::MAX] {
        // Said before the passphrase is asked for.
        for passphrase in [None, Some(PASSPHRASE)] {
            let error = opened(&with_rounds(rounds), passphrase).unwrap_err();
            assert!(error.to_string().contains("bcrypt rounds, and at most 1024"), "{error}");
            assert!(error.hint().contains("-a 100"));
        }
    }
    assert!(matches!(
        opened(&with_rounds(0), Some("x")),
        Err(ImportError::Passphrase)
    ));
    let (pem, out) = (folder.path("pem").display().to_string(), copy.display().to_string());
    run("openssl", &["genpkey", "-algorithm", "ed25519", "-out", &pem]);
    let encrypt = |words: &[&str]| {
        let fixed = ["pkcs8", "-topk8", "-in", &pem, "-out", &out, "-passout", "pass:x"];
        run("openssl", &[&fixed[..], words].concat());
        fs::read_to_string(&copy).unwrap()
    };
    let refused = |private: &str, about: &str| {
        let error = opened(private, None).unwrap_err();
        assert!(error.to_string().contains(about), "{about}: {error}");
    };
    refused(
        &encrypt(&["-v2", "aes-256-cbc", "-iter", "2000001"]),
        "PBKDF2 iterations",
    );
    refused(
        &encrypt(&["-scrypt", "-scrypt_N", "1024", "-scrypt_r", "8", "-scrypt_p", "1024"]),
        "steps of scrypt",
    );
    // OpenSSL itself makes nothing that takes more than 32 MiB.
    let usual = encrypt(&["-scrypt"]);
    let base64: String = usual.lines().filter(|line| !line.starts_with("---")).collect();
    let der = data_encoding::BASE64.decode(base64.as_bytes()).unwrap();
    let numbers = [2, 2, 0x40, 0, 2, 1, 8, 2, 1, 1];
    let at = der.windows(numbers.len()).position(|window| window == numbers).unwrap();
    for (parameters, about) in [
        ([2, 2, 0x40, 0, 2, 1, 127, 2, 1, 1], "bytes of memory for scrypt"),
        // N = 2, r = 32, p = 32767: 128 MiB for the runs.
        ([2, 1, 2, 2, 1, 32, 2, 2, 0x7f, 0xff], "bytes of memory for scrypt"),
        ([2, 2, 0x30, 0, 2, 1, 8, 2, 1, 1], "PBES2 with other parameters"),
        ([2, 2, 0, 0, 2, 1, 8, 2, 1, 1], "PBES2 with other parameters"),
    ] {
        let mut altered = der.clone();
        altered[at..at + parameters.len()].copy_from_slice(&parameters);
        let body = data_encoding::BASE64.encode(&altered);
        let private = format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{body}\n-----END ENCRYPTED PRIVATE KEY-----\n");
        refused(&private, about);
    }
}

#[test]
fn a_foreign_public_half_a_damaged_file_and_keys_that_cannot_sign_get_a_clear_error() {
    let folder = Folder::new("wrong");
    let (first, public) = made(&folder, "ecdsa", "256");
    let (second, other) = made(&folder, "ed25519", "256");
    for (file, half) in [(&first, &other), (&second, &public)] {
        let error = import(Path::new(file), Some(half), None).unwrap_err();
        assert!(matches!(error, ImportError::Mismatch), "{error}");
    }
    let text = |path: &str| fs::read_to_string(path).unwrap();
    let expect = |what: &str, private: &str, about: &str| {
        let file = KeyFile {
            private,
            public: None,
            passphrase: None,
        };
        let error = SoftwareSigner::import(file).unwrap_err();
        assert!(error.to_string().contains(about), "{what}: {error}");
        assert!(!error.hint().is_empty(), "{what}");
    };
    let (a, b) = (text(&first), text(&second));
    expect("nothing", "", "neither OpenSSH's format nor PEM");
    expect("a public key", &public, "neither OpenSSH's format nor PEM");
    expect("two", &format!("{a}{b}"), "holds 2 private keys");
    let cut: String = a.lines().take(2).collect::<Vec<_>>().join("\n");
    expect("cut short", &cut, "damaged");
    let small = folder.path("small").display().to_string();
    let name = |kind: &str| folder.path(kind).display().to_string();
    for (kind, words, about) in [
        (
            "1024",
            &["genrsa", "-traditional", "-out", &small, "1024"][..],
            "RSA key of 1024 bits",
        ),
        (
            "1024-pkcs8",
            &[
                "genpkey",
                "-algorithm",
                "RSA",
                "-pkeyopt",
                "rsa_keygen_bits:1024",
                "-out",
                &small,
            ],
            "RSA key of 1024 bits",
        ),
        (
            "ed448",
            &["genpkey", "-algorithm", "ed448", "-out", &small],
            "no Ed25519, ECDSA",
        ),
        (
            "x25519",
            &["genpkey", "-algorithm", "x25519", "-out", &small],
            "no Ed25519, ECDSA",
        ),
        (
            "k1",
            &["ecparam", "-name", "secp256k1", "-genkey", "-noout", "-out", &small],
            "no Ed25519, ECDSA",
        ),
    ] {
        run("openssl", words);
        expect(kind, &text(&small), about);
    }
    let dsa = name("dsa");
    ssh_keygen(&["-q", "-t", "dsa", "-N", "", "-f", &dsa]);
    expect("dsa", &text(&dsa), "keys of type ssh-dss cannot sign");
    // Every byte of the body counts: none may be altered and the key still be taken for another.
    for (file, half) in [(&first, &public), (&second, &other)] {
        let whole = text(file);
        let base64: String = whole.lines().filter(|line| !line.starts_with("---")).collect();
        let bytes = data_encoding::BASE64.decode(base64.as_bytes()).unwrap();
        for index in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[index] ^= 1;
            let body = data_encoding::BASE64.encode(&altered);
            let private = format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n");
            let file = KeyFile {
                private: &private,
                public: None,
                passphrase: None,
            };
            if let Ok(signer) = SoftwareSigner::import(file) {
                assert_eq!(signer.public_key().line(), *half, "byte {index}");
            }
        }
    }
}

#[test]
fn what_is_written_out_is_read_by_ssh_keygen_as_the_same_key() {
    let folder = Folder::new("out");
    for (kind, bits) in KINDS {
        let (plain, public) = made(&folder, kind, bits);
        let signer = import(Path::new(&plain), None, None).unwrap();
        let out = folder.path("out");
        fs::write(&out, signer.to_private_pem().unwrap().as_str()).unwrap();
        assert_eq!(public_of(&out), public, "{kind} {bits}");
    }
}
