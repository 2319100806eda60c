//! AWS on this machine: moto's server, which checks who signed a request if it is told to.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::python;
use crate::sshd::free_port;
use crate::wait::until;
use crate::workdir::Workdir;

/// The region that everything is in.
pub const REGION: &str = "eu-west-1";

/// Makes a user who may do everything, keys of every kind, and short-term credentials. `argv`: address, whether requests
/// are checked.
const SETUP: &str = r#"
import boto3, json, sys
everything = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
def client(service, key, secret, token=None):
    return boto3.client(service, endpoint_url=sys.argv[1], region_name="eu-west-1", aws_access_key_id=key,
                        aws_secret_access_key=secret, aws_session_token=token)
iam = client("iam", "first", "first")
iam.create_user(UserName="signet")
made = iam.create_access_key(UserName="signet")["AccessKey"]
iam.put_user_policy(UserName="signet", PolicyName="all", PolicyDocument=everything)
key, secret = made["AccessKeyId"], made["SecretAccessKey"]
iam = client("iam", key, secret)
trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
         "Principal": {"AWS": "arn:aws:iam::123456789012:user/signet"}}]}
iam.create_role(RoleName="signet", AssumeRolePolicyDocument=json.dumps(trust))
iam.put_role_policy(RoleName="signet", PolicyName="all", PolicyDocument=everything)
kms = client("kms", key, secret)
out = {"key": key, "secret": secret, "role": "arn:aws:iam::123456789012:role/signet", "sign": {}}
out["seal"] = kms.create_key()["KeyMetadata"]["Arn"]
out["other_seal"] = kms.create_key()["KeyMetadata"]["Arn"]
for spec in ["ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "RSA_2048", "RSA_3072", "RSA_4096"]:
    out["sign"][spec] = kms.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
try:
    sts = client("sts", key, secret)
    short = sts.assume_role(RoleArn=out["role"], RoleSessionName="signet-test")["Credentials"]
    out["short"] = {"AccessKeyId": short["AccessKeyId"], "SecretAccessKey": short["SecretAccessKey"],
                    "Token": short["SessionToken"]}
except Exception as error:
    out["short"] = str(error)
print(json.dumps(out))
"#;

/// Requests before moto begins to check: those that make the first user.
const UNCHECKED_REQUESTS: &str = "3";

/// A running moto with a user and keys.
#[derive(Debug)]
pub struct Moto {
    child: Child,
    port: u16,
    made: Value,
    folder: Workdir,
}

impl Moto {
    /// One that checks each request's signature.
    pub fn strict() -> Self {
        Self::start(Some(UNCHECKED_REQUESTS))
    }

    /// One that believes anybody. moto can check no unsigned request, such as STS's for web identities.
    pub fn lenient() -> Self {
        Self::start(None)
    }

    fn start(unchecked: Option<&str>) -> Self {
        let (folder, port) = (Workdir::new(), free_port());
        let log = std::fs::File::create(folder.path().join("moto.log")).expect("moto's log");
        let mut command = Command::new(python::bin().join("python3"));
        command
            .args(["-c", include_str!("moto.py")])
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log);
        if let Some(count) = unchecked {
            command.env("INITIAL_NO_AUTH_ACTION_COUNT", count);
        }
        let child = command.spawn().expect("moto_server starts");
        let mut moto = Self {
            child,
            port,
            made: Value::Null,
            folder,
        };
        until("moto to listen", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        let output = python::run(SETUP, &[&moto.address()]);
        assert!(
            output.status.success(),
            "{}\n{}",
            String::from_utf8_lossy(&output.stderr),
            moto.log()
        );
        moto.made = serde_json::from_slice(&output.stdout).expect("what was made");
        moto
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Something that was made: `key`, `secret`, `seal`, `other_seal`, `role`.
    pub fn text(&self, name: &str) -> &str {
        self.made[name].as_str().expect("a text")
    }

    /// The ARN of the signing key of a kind, by KMS's name of it.
    pub fn signing_key(&self, spec: &str) -> &str {
        self.made["sign"][spec].as_str().expect("an ARN")
    }

    /// Credentials of a role, as a metadata service tells them, good until `end`.
    pub fn document(&self, end: &str) -> String {
        let mut document = self.made["short"].clone();
        document["Code"] = "Success".into();
        document["Expiration"] = end.into();
        document.to_string()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("moto.log")).unwrap_or_default()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- moto's log ---\n{}", self.log());
        }
    }
}
