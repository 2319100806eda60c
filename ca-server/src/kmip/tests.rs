//! Against a server of our own that answers whatever a test wants; the real one is in the end-to-end tests.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::PrivateKeyDer;
use tempfile::TempDir;

use super::message::{Fields, Version};
use super::tag::{Operation, STATE_ACTIVE, Tag};
use super::ttlv::{Item, Value, message_length};
use super::{KmipError, Session, check_files};
use crate::config::{KmipConfig, KmipMechanism, KmipOperation};
use crate::seal::kmip::KmipSeal;
use crate::seal::{RootKey, Seal as _, SealError};

const KEY: [u8; 32] = [9; 32];
const BOUND: &[u8] = b"a test";

/// What the server does with one request: its operation, payload and mark.
type Answering = dyn Fn(u32, Fields, &[u8]) -> Vec<u8> + Send + Sync;

/// What a hostile server answers to a question with this mark.
type Spoil = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

struct World {
    folder: TempDir,
    tls: Arc<ServerConfig>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_certificate = ca.self_signed(&ca_key).unwrap();
        let issuer = Issuer::new(ca, ca_key);
        let issue = |name: &str, usage: ExtendedKeyUsagePurpose| {
            let key = KeyPair::generate().unwrap();
            let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
            leaf.extended_key_usages = vec![usage];
            (leaf.signed_by(&key, &issuer).unwrap(), key)
        };
        let (server, server_key) = issue("localhost", ExtendedKeyUsagePurpose::ServerAuth);
        let (client, client_key) = issue("signet", ExtendedKeyUsagePurpose::ClientAuth);
        for (name, text) in [
            ("ca.pem", ca_certificate.pem()),
            ("client.pem", client.pem()),
            ("client.key", client_key.serialize_pem()),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            mode(&path, 0o600);
        }
        let mut roots = RootCertStore::empty();
        roots.add(ca_certificate.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                vec![server.der().clone()],
                PrivateKeyDer::try_from(server_key.serialize_der()).unwrap(),
            )
            .unwrap();
        Self {
            folder,
            tls: Arc::new(tls),
        }
    }

    /// A server that answers so, for as long as the test lives.
    fn serve(&self, answer: impl Fn(u32, Fields, &[u8]) -> Vec<u8> + Send + Sync + 'static) -> KmipConfig {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tls, answer): (_, Arc<Answering>) = (Arc::clone(&self.tls), Arc::new(answer));
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (tls, answer) = (Arc::clone(&tls), Arc::clone(&answer));
                std::thread::spawn(move || serve_one(socket, tls, &*answer));
            }
        });
        let path = |name: &str| self.folder.path().join(name);
        KmipConfig {
            host: "127.0.0.1".to_owned(),
            port,
            server_name: "localhost".to_owned(),
            ca: path("ca.pem"),
            certificate: path("client.pem"),
            key: path("client.key"),
            key_id: "the-key".to_owned(),
            operation: KmipOperation::Encrypt,
            mechanism: None,
            timeout: Duration::from_secs(5),
        }
    }
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn serve_one(socket: TcpStream, tls: Arc<ServerConfig>, answer: &Answering) -> Option<()> {
    let mut stream = StreamOwned::new(ServerConnection::new(tls).unwrap(), socket);
    loop {
        let mut bytes = vec![0; 8];
        stream.read_exact(&mut bytes).ok()?;
        let length = message_length(bytes.clone().try_into().unwrap()).unwrap();
        bytes.resize(length, 0);
        stream.read_exact(&mut bytes[8..]).ok()?;
        let mut request = Fields::of(Item::decode(&bytes).unwrap().value).unwrap();
        let mut batch = request.structure(Tag::BATCH_ITEM).unwrap();
        let operation = batch.word(Tag::OPERATION).unwrap();
        let id = batch.bytes(Tag::UNIQUE_BATCH_ITEM_ID).unwrap();
        let payload = batch.structure(Tag::REQUEST_PAYLOAD).unwrap();
        let reply = answer(operation, payload, &id);
        stream.write_all(&reply).ok()?;
        if reply.is_empty() || !reply.len().is_multiple_of(8) {
            // It has no more to say.
            stream.conn.send_close_notify();
            drop(stream.flush());
            return None;
        }
    }
}

fn answer(operation: u32, id: &[u8], rest: Vec<Item>) -> Vec<u8> {
    let header = vec![
        Version::V1_4.item(),
        Item::new(Tag(0x42_0092), Value::DateTime(1)),
        Item::integer(Tag::BATCH_COUNT, 1),
    ];
    let mut batch = vec![
        Item::word(Tag::OPERATION, operation),
        Item::bytes(Tag::UNIQUE_BATCH_ITEM_ID, id),
    ];
    batch.extend(rest);
    let message = Item::structure(
        Tag::RESPONSE_MESSAGE,
        vec![
            Item::structure(Tag::RESPONSE_HEADER, header),
            Item::structure(Tag::BATCH_ITEM, batch),
        ],
    );
    message.encode().unwrap().to_vec()
}

fn success(operation: u32, id: &[u8], payload: Vec<Item>) -> Vec<u8> {
    let rest = vec![
        Item::word(Tag::RESULT_STATUS, 0),
        Item::structure(Tag::RESPONSE_PAYLOAD, payload),
    ];
    answer(operation, id, rest)
}

fn failure(operation: u32, id: &[u8], reason: u32) -> Vec<u8> {
    let rest = vec![
        Item::word(Tag::RESULT_STATUS, 1),
        Item::word(Tag::RESULT_REASON, reason),
    ];
    answer(operation, id, rest)
}

/// A server that has AES-GCM and makes IVs only if `makes_ivs`, speaking these versions.
fn honest(
    versions: &'static [Version],
    makes_ivs: bool,
) -> impl Fn(u32, Fields, &[u8]) -> Vec<u8> + Send + Sync + 'static {
    move |operation, mut payload, id| {
        if operation == Operation::DiscoverVersions.number() {
            return success(operation, id, versions.iter().map(|version| version.item()).collect());
        }
        let key_id = payload.optional_text(Tag::UNIQUE_IDENTIFIER).unwrap().unwrap();
        let mut parameters = payload.structure(Tag::CRYPTOGRAPHIC_PARAMETERS).unwrap();
        if parameters.word(Tag::BLOCK_CIPHER_MODE).unwrap() != 9 {
            return failure(operation, id, 0x08);
        }
        let iv = match payload.optional_bytes(Tag::IV_COUNTER_NONCE).unwrap() {
            Some(iv) => iv.to_vec(),
            None if makes_ivs => vec![5; 12],
            None => return failure(operation, id, 0x07),
        };
        let data = payload.bytes(Tag::DATA).unwrap();
        let bound = payload.bytes(Tag::AUTHENTICATED_ENCRYPTION_ADDITIONAL_DATA).unwrap();
        let aes = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &KEY).unwrap());
        let nonce = Nonce::try_assume_unique_for_key(&iv).unwrap();
        let mut buffer = data.to_vec();
        let mut items = vec![Item::text(Tag::UNIQUE_IDENTIFIER, &key_id)];
        if operation == Operation::Encrypt.number() {
            let tag = aes
                .seal_in_place_separate_tag(nonce, Aad::from(&*bound), &mut buffer)
                .unwrap();
            items.push(Item::bytes(Tag::DATA, &buffer));
            items.push(Item::bytes(Tag::IV_COUNTER_NONCE, &iv));
            items.push(Item::bytes(Tag::AUTHENTICATED_ENCRYPTION_TAG, tag.as_ref()));
        } else {
            buffer.extend_from_slice(&payload.bytes(Tag::AUTHENTICATED_ENCRYPTION_TAG).unwrap());
            match aes.open_in_place(nonce, Aad::from(&*bound), &mut buffer) {
                Ok(plain) => items.push(Item::bytes(Tag::DATA, plain)),
                Err(_) => return failure(operation, id, 0x0A),
            }
        }
        success(operation, id, items)
    }
}

const ALL: &[Version] = &[Version::V1_4, Version::V1_3, Version::V1_2, Version::V1_1];

#[test]
fn a_secret_goes_there_and_comes_back_bound_to_its_place() {
    let world = World::new();
    for makes_ivs in [true, false] {
        let config = world.serve(honest(ALL, makes_ivs));
        let mut session = Session::open(&config).unwrap();
        let encrypted = session
            .encrypt(None, b"thirty-two bytes of a secret key", BOUND)
            .unwrap();
        assert_eq!(encrypted.mechanism, KmipMechanism::AesGcm);
        assert_eq!((encrypted.iv.len(), encrypted.tag.len()), (12, 16));
        assert_eq!(encrypted.iv == [5; 12], makes_ivs, "its own IV where it makes one");
        let back = session.decrypt(&encrypted, BOUND).unwrap();
        assert_eq!(back.as_slice(), b"thirty-two bytes of a secret key");
        assert!(matches!(
            session.decrypt(&encrypted, b"another place"),
            Err(KmipError::Failed(_))
        ));
        let mut flipped = encrypted.clone();
        flipped.data[0] ^= 1;
        assert!(matches!(session.decrypt(&flipped, BOUND), Err(KmipError::Failed(_))));
    }
}

#[test]
fn the_version_is_agreed_upon() {
    let world = World::new();
    let config = world.serve(honest(&[Version::V1_3, Version::V1_2, Version::V1_1], true));
    let mut session = Session::open(&config).unwrap();
    assert_eq!(session.version, Version::V1_3);
    let refused = session.encrypt(Some(KmipMechanism::AesGcm), b"secret", BOUND);
    assert!(
        matches!(refused, Err(KmipError::Unsupported(_))),
        "its tag is of 1.4: {refused:?}"
    );

    let config = world.serve(honest(&[Version::V1_1], true));
    assert!(matches!(Session::open(&config), Err(KmipError::Refused(_))));
    let config = world.serve(|operation, _, id| failure(operation, id, 0x05));
    assert_eq!(
        Session::open(&config).unwrap().version,
        Version::V1_4,
        "`DiscoverVersions` is optional"
    );
}

#[test]
fn a_server_that_does_not_encrypt_gets_no_second_secret() {
    let world = World::new();
    // One that gives back what it was given, and one that cannot decrypt what it made.
    let echo = |operation, mut payload: Fields, id: &[u8]| {
        if operation == Operation::DiscoverVersions.number() {
            return success(operation, id, vec![Version::V1_4.item()]);
        }
        let data = payload.bytes(Tag::DATA).unwrap();
        let items = vec![
            Item::text(Tag::UNIQUE_IDENTIFIER, "the-key"),
            Item::bytes(Tag::DATA, &data),
            Item::bytes(Tag::IV_COUNTER_NONCE, &[1; 12]),
        ];
        success(operation, id, items)
    };
    let config = world.serve(echo);
    let refused = Session::open(&config).unwrap().encrypt(None, b"a secret", BOUND);
    assert!(
        matches!(&refused, Err(KmipError::Refused(text)) if text.contains("did not encrypt")),
        "{refused:?}"
    );
    let forgets = move |operation, payload: Fields, id: &[u8]| {
        if operation == Operation::Decrypt.number() {
            return success(operation, id, vec![Item::bytes(Tag::DATA, b"something else")]);
        }
        honest(ALL, true)(operation, payload, id)
    };
    let config = world.serve(forgets);
    let refused = Session::open(&config).unwrap().encrypt(None, b"a secret", BOUND);
    assert!(matches!(refused, Err(KmipError::Failed(_))), "{refused:?}");
}

/// `Get` with these parts of an answer.
fn gives(state: u32, algorithm: u32, bytes: &'static [u8]) -> impl Fn(u32, Fields, &[u8]) -> Vec<u8> + Send + Sync {
    move |operation, payload, id| {
        if operation == Operation::DiscoverVersions.number() {
            return honest(ALL, true)(operation, payload, id);
        }
        if operation == Operation::GetAttributes.number() {
            let attribute = vec![
                Item::text(Tag::ATTRIBUTE_NAME, "State"),
                Item::word(Tag::ATTRIBUTE_VALUE, state),
            ];
            let items = vec![
                Item::text(Tag::UNIQUE_IDENTIFIER, "the-key"),
                Item::structure(Tag::ATTRIBUTE, attribute),
            ];
            return success(operation, id, items);
        }
        let block = vec![
            Item::word(Tag::KEY_FORMAT_TYPE, 1),
            Item::structure(Tag::KEY_VALUE, vec![Item::bytes(Tag::KEY_MATERIAL, bytes)]),
            Item::word(Tag::CRYPTOGRAPHIC_ALGORITHM, algorithm),
        ];
        let items = vec![
            Item::word(Tag::OBJECT_TYPE, 2),
            Item::text(Tag::UNIQUE_IDENTIFIER, "the-key"),
            Item::structure(Tag::SYMMETRIC_KEY, vec![Item::structure(Tag::KEY_BLOCK, block)]),
        ];
        success(operation, id, items)
    }
}

#[test]
fn a_key_is_fetched_only_if_it_is_an_active_aes_key_of_256_bits() {
    let world = World::new();
    let fetch = |state, algorithm, bytes| {
        let config = world.serve(gives(state, algorithm, bytes));
        Session::open(&config).unwrap().key()
    };
    assert_eq!(*fetch(STATE_ACTIVE, 3, &KEY).unwrap(), KEY);
    for (name, state, algorithm, bytes, about) in [
        ("not yet active", 1, 3, &KEY[..], "Pre-Active"),
        ("deactivated", 3, 3, &KEY[..], "Deactivated"),
        ("compromised", 4, 3, &KEY[..], "Compromised"),
        ("Camellia", STATE_ACTIVE, 0x11, &KEY[..], "no AES key"),
        ("of 128 bits", STATE_ACTIVE, 3, &[1; 16][..], "128 bits"),
        ("of no bits", STATE_ACTIVE, 3, &[][..], "0 bits"),
    ] {
        let refused = fetch(state, algorithm, bytes);
        assert!(
            matches!(&refused, Err(KmipError::Refused(text)) if text.contains(about)),
            "{name}: {refused:?}"
        );
    }
}

#[test]
fn hostile_answers_end_the_session_with_their_reason() {
    let world = World::new();
    let versions = |id: &[u8]| success(Operation::DiscoverVersions.number(), id, vec![Version::V1_4.item()]);
    let header = |length: u32| {
        let mut bytes = vec![0x42, 0x00, 0x7B, 0x01];
        bytes.extend(length.to_be_bytes());
        bytes
    };
    let cases: Vec<(&str, bool, Spoil)> = vec![
        ("nothing", false, Box::new(|_| Vec::new())),
        ("half an answer", false, Box::new(move |id| versions(id)[..21].to_vec())),
        ("half a header", false, Box::new(|_| vec![0x42, 0x00, 0x7B])),
        ("a length past all bounds", true, Box::new(move |_| header(u32::MAX))),
        ("a length past ours", true, Box::new(move |_| header(1 << 20))),
        (
            "HTTP",
            true,
            Box::new(|_| b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ),
        (
            "padding that is not zero",
            true,
            Box::new(move |id| {
                let mut bytes = versions(id);
                let end = bytes.len() - 1;
                bytes[end] = 1;
                bytes
            }),
        ),
        ("another question's mark", true, Box::new(move |_| versions(&[0; 8]))),
        (
            "another operation",
            true,
            Box::new(|id| success(Operation::Get.number(), id, Vec::new())),
        ),
        (
            "a version that is a text",
            true,
            Box::new(|id| {
                let item = Item::text(Tag::PROTOCOL_VERSION, "1.4");
                success(Operation::DiscoverVersions.number(), id, vec![item])
            }),
        ),
    ];
    for (name, refused, spoil) in cases {
        let config = world.serve(move |_, _, id| spoil(id));
        let began = Instant::now();
        let error = Session::open(&config).unwrap_err();
        assert_eq!(matches!(error, KmipError::Refused(_)), refused, "{name}: {error:?}");
        assert!(
            matches!(error, KmipError::Refused(_) | KmipError::Unavailable(_)),
            "{name}: {error:?}"
        );
        assert!(began.elapsed() < config.timeout, "{name}");
    }
}

#[test]
fn a_server_that_hangs_or_drips_is_given_up_in_time() {
    let world = World::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut hung = world.serve(|_, _, _| Vec::new());
    hung.port = silent.local_addr().unwrap().port();
    let drips = world.serve(|_, _, _| {
        // It has read the question and thinks for longer than anybody waits.
        std::thread::sleep(Duration::from_secs(30));
        Vec::new()
    });
    for mut config in [hung, drips] {
        config.timeout = Duration::from_secs(1);
        let began = Instant::now();
        let error = Session::open(&config).unwrap_err();
        assert!(
            matches!(&error, KmipError::Unavailable(text) if text.contains("`timeout`")),
            "{error:?}"
        );
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    }
}

#[test]
fn files_that_cannot_be_used_are_told_of_before_anything_is_asked() {
    let world = World::new();
    let config = world.serve(|_, _, _| Vec::new());
    check_files(&config).unwrap();
    mode(&config.key, 0o640);
    let error = check_files(&config).unwrap_err();
    assert!(
        matches!(&error, KmipError::Setup(text) if text.contains("chmod 600")),
        "{error:?}"
    );
    mode(&config.key, 0o600);
    let absent = world.folder.path().join("absent");
    for (change, about) in [
        (
            KmipConfig {
                ca: absent.clone(),
                ..config.clone()
            },
            "`ca`",
        ),
        (
            KmipConfig {
                certificate: absent.clone(),
                ..config.clone()
            },
            "`certificate`",
        ),
        (
            KmipConfig {
                key: absent,
                ..config.clone()
            },
            "missing",
        ),
    ] {
        let error = check_files(&change).unwrap_err();
        assert!(
            matches!(&error, KmipError::Unavailable(text) if text.contains(about)),
            "{error:?}"
        );
    }
    for (change, about) in [
        (
            KmipConfig {
                ca: config.key.clone(),
                ..config.clone()
            },
            "no CERTIFICATE",
        ),
        (
            KmipConfig {
                certificate: config.ca.clone(),
                ..config.clone()
            },
            "together",
        ),
    ] {
        let error = check_files(&change).unwrap_err();
        assert!(
            matches!(&error, KmipError::Setup(text) if text.contains(about)),
            "{error:?}"
        );
    }
}

#[test]
fn neither_side_takes_a_certificate_of_somebody_else() {
    let (world, other) = (World::new(), World::new());
    let config = world.serve(honest(ALL, true));
    let elsewhere = KmipConfig {
        ca: other.folder.path().join("ca.pem"),
        ..config.clone()
    };
    let error = Session::open(&elsewhere).unwrap_err();
    assert!(
        matches!(&error, KmipError::Refused(text) if text.contains("`ca`")),
        "{error:?}"
    );
    let renamed = KmipConfig {
        server_name: "other.example".to_owned(),
        ..config.clone()
    };
    let error = Session::open(&renamed).unwrap_err();
    assert!(
        matches!(&error, KmipError::Refused(text) if text.contains("`server_name`")),
        "{error:?}"
    );
    let stranger = KmipConfig {
        certificate: other.folder.path().join("client.pem"),
        key: other.folder.path().join("client.key"),
        ..config
    };
    let error = Session::open(&stranger).unwrap_err();
    assert!(
        matches!(&error, KmipError::Refused(text) if text.contains("`certificate`")),
        "{error:?}"
    );
}

#[test]
fn a_ciphertext_is_called_wrong_only_by_a_server_that_still_works() {
    let world = World::new();
    let broken = Arc::new(AtomicBool::new(false));
    let state = Arc::clone(&broken);
    let config = world.serve(move |operation, payload, id| {
        if state.load(Ordering::SeqCst) && operation != Operation::DiscoverVersions.number() {
            return failure(operation, id, 0x100);
        }
        honest(ALL, true)(operation, payload, id)
    });
    let seal = KmipSeal::new(config);
    let root = RootKey::generate().unwrap();
    let wrapped = seal.wrap(&root).unwrap();
    assert_eq!(seal.unwrap(&wrapped).unwrap().expose(), root.expose());
    broken.store(true, Ordering::SeqCst);
    let away = seal.unwrap(&wrapped).unwrap_err();
    assert!(matches!(away, SealError::Unavailable { .. }), "{away:?}");
    broken.store(false, Ordering::SeqCst);
    let mut altered: serde_json::Value = serde_json::from_slice(&wrapped).unwrap();
    altered["data_key"]["tag"] = "AAAAAAAAAAAAAAAAAAAAAA==".into();
    let wrong = seal.unwrap(altered.to_string().as_bytes()).unwrap_err();
    assert!(matches!(wrong, SealError::WrongKey { .. }), "{wrong:?}");
}
