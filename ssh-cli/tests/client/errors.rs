//! Every code the server can answer is known here, and `docs/ERRORS.md` says the same as both sources. The server is read as
//! text: the client must not depend on it, and a list kept by hand would be one more thing to forget.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use signet_cli::report::ServerCode;
use signet_core::denial::Denial;

/// Set to write the page instead of comparing it.
const REWRITE: &str = "SIGNET_REWRITE_DOCS";

/// What the server says where its source holds no literal text beside the code; wins over what is found.
const SAYS: &[(&str, &str)] = &[
    (
        "age-keys-invalid",
        "(which age recipient cannot be used, or how many are missing)",
    ),
    ("already-in-progress", "rekey already in progress"),
    ("already-initialized", "Vault is already initialized"),
    ("body-broken", "the request body could not be read"),
    (
        "body-too-large",
        "request body too large: at most {max_bytes} bytes are taken here",
    ),
    (
        "ca-key-exists",
        "keys are already configured; delete them before reconfiguring",
    ),
    ("ca-key-invalid", "(what is wrong with the keys sent)"),
    (
        "ca-key-passphrase",
        "failed to parse private_key: (that it is encrypted, or that the passphrase does not open it)",
    ),
    (
        "ca-key-unusable",
        "(which key on a token or in KMS cannot be used, and why)",
    ),
    (
        "key-holder-unknown",
        "no key holder is called `{name}`, or it is not for this mount",
    ),
    ("ca-key-mismatch", "(that the public key is not the private key's)"),
    ("field-missing", "(which field is missing)"),
    ("field-invalid", "Field validation failed: (which field, and why)"),
    ("json-invalid", "(where the body ends to be JSON)"),
    ("json-too-deep", "the JSON is nested deeper than {max_depth} levels"),
    ("key-type-invalid", "(which key type or number of bits is not offered)"),
    (
        "media-type-not-supported",
        "(which encoding or media type is not taken)",
    ),
    ("mount-path-invalid", "(what is wrong with the mount's path)"),
    (
        "migration-waits",
        "the server waits for a migration to another seal: give the key share with migrate=true",
    ),
    ("no-recovery-keys", "this server has no recovery keys: make them first"),
    (
        "nonce-wrong",
        "incorrect nonce supplied; it must be the one that the rekey was started with",
    ),
    ("not-for-this-seal", "(that this kind of seal has no such shares)"),
    ("nothing-in-progress", "no rekey in progress"),
    ("nothing-there", "(nothing: Vault's empty list of errors)"),
    ("option-invalid", "(which option OpenSSH would not read as meant)"),
    (
        "path-invalid",
        "(that the path holds a segment, an escape or a character that is not allowed)",
    ),
    (
        "revocation-invalid",
        "(what selects nothing that could be revoked, or that another mount issued it)",
    ),
    ("host-token-refused", "(why no token is made for that host)"),
    (
        "issuer-invalid",
        "(which issuer or name of one is not there, taken or reserved)",
    ),
    (
        "rotation-step",
        "(which step does not follow from where the rotation stands)",
    ),
    (
        "rotation-unsafe",
        "not safe to … (what could fail a login: hosts, certificates or roles by name)",
    ),
    ("report-invalid", "(what is wrong with the report)"),
    ("report-stale", "report … is not newer than the newest one"),
    ("role-invalid", "(what is wrong with the role document)"),
    ("otp-invalid", "the OTP must have 32 characters"),
    ("seal-unavailable", "(which seal cannot be reached, and why)"),
    ("share-duplicate", "key share 1 was given already"),
    ("share-invalid", "(that it is no key share, or has a typing error)"),
    (
        "share-numbers-invalid",
        "(what is wrong with the number of shares and the threshold)",
    ),
    (
        "share-of-another-set",
        "this key share is of another split: of another server, or of before a rekey",
    ),
    (
        "shares-do-not-open",
        "these key shares do not open the seal: at least one of them is wrong, or the store was altered; all must be given again",
    ),
    (
        "signer-busy",
        "the PKCS#11 token `signet` has too many signatures to make, try again in a moment",
    ),
    (
        "signer-unavailable",
        "(what holds the CA key, and why it does not sign)",
    ),
    (
        "store-damaged",
        "the store does not fit its seal: a part of it was altered or rolled back; nothing was changed",
    ),
    ("token-too-deep", "(that the token has too many ancestors)"),
    ("backup-invalid", "(what is wrong with the backup)"),
    ("too-many-tokens", "(that the server holds as many tokens as it may)"),
];

/// What is known of one code.
#[derive(Debug, Default)]
struct Entry {
    statuses: BTreeSet<u16>,
    says: Option<String>,
}

type Codes = BTreeMap<String, Entry>;

#[test]
fn every_code_of_the_server_has_a_hint_and_no_code_is_left_over() {
    let mut codes = edge_codes();
    codes.extend(denial_codes());
    let known: BTreeSet<&str> = ServerCode::ALL.iter().map(|code| code.as_str()).collect();
    let answered: BTreeSet<&str> = codes.keys().map(String::as_str).collect();
    let missing: Vec<_> = answered.difference(&known).collect();
    assert!(
        missing.is_empty(),
        "add to ssh-cli/src/report/code.rs, each with a hint: {missing:?}"
    );
    let stale: Vec<_> = known.difference(&answered).collect();
    assert!(stale.is_empty(), "no server answers these: {stale:?}");
    assert!(SAYS.iter().all(|(code, _)| answered.contains(code)));
    assert!(codes.len() > 60, "the scan still finds the sources: {}", codes.len());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the switch that rewrites the page, as insta's")]
fn the_page_of_errors_is_as_generated() {
    let page = page();
    let path = root().join("docs/ERRORS.md");
    if std::env::var_os(REWRITE).is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = written.lines().zip(page.lines()).find(|(old, new)| old != new);
    assert!(
        written == page,
        "docs/ERRORS.md is not what the sources say (first difference: {differs:?}); run\n  \
         {REWRITE}=1 cargo test --workspace --test client errors::"
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The codes of role rules and policies: `Denial::CODES` stands in the order of the variants, and so do their texts.
fn denial_codes() -> Codes {
    let source = read(&root().join("ca-core/src/denial.rs"));
    let body = between(&source, "pub enum Denial {", "\n}\n");
    let texts: Vec<String> = literals(body)
        .into_iter()
        .filter(|literal| body[..literal.start].ends_with("#[error("))
        .map(|literal| literal.text)
        .collect();
    assert_eq!(texts.len(), Denial::CODES.len(), "one text a variant");
    let by_variant = between(&source, "pub const fn code(", "\n    }\n");
    let statuses = between(&source, "pub const fn status(", "\n    }\n");
    let codes = Denial::CODES.iter().zip(texts).map(|(code, says)| {
        let quoted = format!("\"{code}\"");
        let (before, _) = by_variant.split_once(&quoted).expect("each code has its variant");
        let variant = last_word(before.rsplit_once("Self::").unwrap().1);
        (
            (*code).to_owned(),
            Entry {
                statuses: denial_statuses(statuses, &variant),
                says: Some(says),
            },
        )
    });
    codes.collect()
}

/// Which statuses `fn status` gives a variant. An arm with a condition leaves the other answer possible.
fn denial_statuses(body: &str, variant: &str) -> BTreeSet<u16> {
    let mut statuses = BTreeSet::new();
    for (kind, status) in [("Forbidden", 403), ("Misconfigured", 500)] {
        let (before, _) = body
            .split_once(&format!("DenialStatus::{kind}"))
            .expect("an arm for each status");
        let arm = before.rsplit_once("DenialStatus::").map_or(before, |(_, arm)| arm);
        if arm.split("Self::").skip(1).any(|pattern| last_word(pattern) == variant) {
            statuses.insert(status);
            if arm.contains(": true") {
                statuses.insert(400);
            }
        }
    }
    if statuses.is_empty() {
        statuses.insert(400);
    }
    statuses
}

/// The identifier at the head of a text.
fn last_word(text: &str) -> String {
    text.chars().take_while(char::is_ascii_alphanumeric).collect()
}

/// The codes of the HTTP edge: literals behind a status, or behind one of the constructors that stand for one.
fn edge_codes() -> Codes {
    let mut codes = Codes::new();
    for path in rust_files(&root().join("ca-server/src")) {
        let source = read(&path);
        let source = source.split("#[cfg(test)]").next().unwrap();
        let found = literals(source);
        for (index, literal) in found.iter().enumerate() {
            let Some(statuses) = statuses_before(&source[..literal.start]) else {
                assert!(
                    !(path.ends_with("http/problem.rs") && is_code(&literal.text)),
                    "{:?} looks like a code with no status the test can read",
                    literal.text
                );
                continue;
            };
            assert!(is_code(&literal.text), "{:?} is no code", literal.text);
            let entry = codes.entry(literal.text.clone()).or_default();
            entry.statuses.extend(statuses);
            if entry.says.is_none() {
                entry.says = text_of(source, &found, index).filter(|text| !text.is_empty());
            }
        }
    }
    codes
}

fn statuses_before(source: &str) -> Option<Vec<u16>> {
    let near: String = source.chars().rev().filter(|c| !c.is_whitespace()).take(60).collect();
    let near: String = near.chars().rev().collect();
    for (end, status) in [("refused(", 400), ("forbidden(", 403), ("unavailable(", 503)] {
        if near.ends_with(&format!("Problem::{end}")) || near.ends_with(&format!("Self::{end}")) {
            return Some(vec![status]);
        }
    }
    if near.ends_with("(role_status(error),") {
        return Some(vec![400, 500]);
    }
    let (_, name) = near.strip_suffix(',')?.rsplit_once("StatusCode::")?;
    Some(vec![match name {
        "BAD_REQUEST" => 400,
        "FORBIDDEN" => 403,
        "NOT_FOUND" => 404,
        "METHOD_NOT_ALLOWED" => 405,
        "PAYLOAD_TOO_LARGE" => 413,
        "UNSUPPORTED_MEDIA_TYPE" => 415,
        "TOO_MANY_REQUESTS" => 429,
        "INTERNAL_SERVER_ERROR" => 500,
        "SERVICE_UNAVAILABLE" => 503,
        other if other.chars().all(|c| c.is_ascii_uppercase() || c == '_') => panic!("what number is {other}?"),
        _ => return None,
    }])
}

/// The text that goes with a code: the next literal of the call, or the one before it, when the call says `text`.
fn text_of(source: &str, found: &[Literal], index: usize) -> Option<String> {
    let behind = &source[found[index].end..];
    let literal = if behind.starts_with(", text)") {
        found.get(index.checked_sub(1)?)?
    } else {
        let next = found.get(index + 1)?;
        is_its_text(&source[found[index].end..next.start]).then_some(next)?
    };
    Some(literal.text.clone())
}

/// True for what stands between a code and its text in one call.
fn is_its_text(between: &str) -> bool {
    let plain: String = between.chars().filter(|c| !c.is_whitespace()).collect();
    matches!(plain.as_str(), "," | ",format!(" | ",wrapped(" | ",wrapped(&format!(")
}

fn is_code(text: &str) -> bool {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    !text.is_empty() && text.split('-').all(word)
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("no {from:?}"));
    rest.split_once(to).unwrap_or_else(|| panic!("no end of {from:?}")).0
}

struct Literal {
    start: usize,
    end: usize,
    text: String,
}

/// The plain string literals of Rust source, with where they stand. Comments are passed over; raw strings and quotes in
/// `'"'` are rare enough to be read as they come.
fn literals(source: &str) -> Vec<Literal> {
    let mut found = Vec::new();
    let mut chars = source.char_indices().peekable();
    let mut last = ' ';
    while let Some((start, c)) = chars.next() {
        if c == '/' && chars.peek().is_some_and(|(_, next)| *next == '/') {
            chars.by_ref().find(|(_, c)| *c == '\n');
        } else if c == '"' && last != '\'' {
            let mut text = String::new();
            let mut end = source.len();
            while let Some((at, c)) = chars.next() {
                match c {
                    '"' => {
                        end = at + 1;
                        break;
                    }
                    '\\' => match chars.next().map(|(_, c)| c) {
                        Some('n' | 't') => text.push(' '),
                        Some('\n') => while chars.next_if(|(_, c)| c.is_whitespace()).is_some() {},
                        Some(other) => text.push(other),
                        None => {}
                    },
                    c => text.push(c),
                }
            }
            found.push(Literal { start, end, text });
        }
        last = c;
    }
    found
}

fn page() -> String {
    let denials = denial_codes();
    let mut edge = edge_codes();
    edge.retain(|code, _| !denials.contains_key(code));
    let head = format!(
        "# Errors\n\n\
         Generated by `ssh-cli/tests/client/errors.rs` from `ca-core/src/denial.rs`, `ca-server/src/http/` and\n\
         `ssh-cli/src/report/code.rs`; rewrite it with\n\
         `{REWRITE}=1 cargo test --workspace --test client errors::`.\n\n\
         A refusal's body is Vault's `{{\"errors\": […]}}` with `code`, `reason`, `hint` and `request_id` beside it. Codes are stable:\n\
         scripts may go by them, and never by texts. A refusal by a role's rule or a policy has Vault's text in `errors` and the\n\
         sentence below as `reason`. `exit` is what `signet` ends with: 1 failed, 3 refused, 4 log in first, 5 try later; the last\n\
         column is its hint where the server sends none.\n"
    );
    [
        head,
        section("Rules of roles and policies", Denial::CODES.iter().copied(), &denials),
        section("Everything else", edge.keys().map(String::as_str), &edge),
    ]
    .join("\n")
}

fn section<'a>(title: &str, order: impl Iterator<Item = &'a str>, codes: &Codes) -> String {
    let row = |code: &str| {
        let entry = &codes[code];
        let known = ServerCode::parse(code).unwrap_or_else(|| panic!("`{code}` has no hint yet"));
        let written = SAYS.iter().find(|(name, _)| *name == code).map(|(_, says)| *says);
        let says = written.or(entry.says.as_deref());
        let says = says.unwrap_or_else(|| panic!("add what `{code}` says to SAYS"));
        let statuses: Vec<String> = entry.statuses.iter().map(u16::to_string).collect();
        let exit = known.exit().code();
        format!(
            "| `{code}` | {} | {exit} | {} | {} |\n",
            statuses.join(", "),
            cell(says),
            cell(known.hint())
        )
    };
    let rows: String = order.map(row).collect();
    format!("## {title}\n\n| code | status | exit | it says | what to do |\n|---|---|---|---|---|\n{rows}")
}

/// Tidies a format string for a table: `{role}` stays, expressions and positions become `…`.
fn cell(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (inside, behind) = after.split_once('}').unwrap_or((after, ""));
        let name = inside.split(':').next().unwrap_or_default();
        out.push_str(before);
        if name.chars().any(char::is_alphabetic) {
            out.extend(["{", name, "}"]);
        } else {
            out.push('…');
        }
        rest = behind;
    }
    out.push_str(rest);
    let words: Vec<&str> = out.split_whitespace().collect();
    words.join(" ").replace('|', "\\|").replace('<', "&lt;")
}
