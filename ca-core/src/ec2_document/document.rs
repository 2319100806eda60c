//! The JSON inside.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;

use crate::time::UnixTime;

/// What a verified document says of an instance. Only [`InstanceDocument::verify`] makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceDocument {
    account_id: String,
    region: String,
    image_id: String,
    instance_id: String,
    private_ip: Ipv4Addr,
    pending_time: UnixTime,
}

/// Why the signed text is no document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentFault {
    /// Not one JSON object; also when a key stands twice, as two readers could then see two documents.
    #[error("it is not one JSON object with each key once")]
    NotJson,
    /// A field is absent, or not of its form.
    #[error("its `{field}` is missing or not what it should be")]
    Field {
        /// Which.
        field: &'static str,
    },
}

impl InstanceDocument {
    /// Reads the text that was verified.
    pub(super) fn parse(content: &[u8]) -> Result<Self, DocumentFault> {
        let members = Members::parse(content)?;
        Ok(Self {
            account_id: members.word("accountId", is_account)?,
            region: members.word("region", is_region)?,
            image_id: members.word("imageId", |text| is_id(text, "ami-"))?,
            instance_id: members.word("instanceId", |text| is_id(text, "i-"))?,
            private_ip: members.read("privateIp", |text| text.parse().ok())?,
            pending_time: members.read("pendingTime", |text| UnixTime::parse_rfc3339(text).ok())?,
        })
    }

    /// The AWS account, twelve digits.
    #[must_use]
    pub fn account_id(&self) -> &str {
        &self.account_id
    }

    /// `eu-central-1`.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// `ami-…`.
    #[must_use]
    pub fn image_id(&self) -> &str {
        &self.image_id
    }

    /// `i-…`; unique within the account.
    #[must_use]
    pub fn instance_id(&self) -> &str {
        &self.instance_id
    }

    /// The first private address.
    #[must_use]
    pub const fn private_ip(&self) -> Ipv4Addr {
        self.private_ip
    }

    /// When the instance was last started.
    #[must_use]
    pub const fn pending_time(&self) -> UnixTime {
        self.pending_time
    }

    /// The name that AWS's resolver has for the private address: `ip-10-1-2-3.eu-central-1.compute.internal`.
    #[must_use]
    pub fn private_dns(&self) -> String {
        let dashed = self.private_ip.to_string().replace('.', "-");
        if self.region == "us-east-1" {
            format!("ip-{dashed}.ec2.internal")
        } else {
            format!("ip-{dashed}.{}.compute.internal", self.region)
        }
    }
}

/// The region that the text names, before anything is known of who wrote it: good for choosing the key to try, no more.
pub(super) fn unverified_region(content: &[u8]) -> Result<String, DocumentFault> {
    Members::parse(content)?.word("region", is_region)
}

/// The object's members, each of which stands once.
struct Members(BTreeMap<String, Value>);

impl Members {
    fn parse(content: &[u8]) -> Result<Self, DocumentFault> {
        serde_json::from_slice(content).map_err(|_| DocumentFault::NotJson)
    }

    fn read<T>(&self, field: &'static str, read: impl FnOnce(&str) -> Option<T>) -> Result<T, DocumentFault> {
        let text = self.0.get(field).and_then(Value::as_str);
        text.and_then(read).ok_or(DocumentFault::Field { field })
    }

    fn word(&self, field: &'static str, fits: impl FnOnce(&str) -> bool) -> Result<String, DocumentFault> {
        self.read(field, |text| fits(text).then(|| text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with each key once")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    if members.insert(key, value).is_some() {
                        return Err(serde::de::Error::custom("a key stands twice"));
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Once)
    }
}

/// Names are made of these, so each has to be of a form that cannot be anything else.
fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_region(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_id(text: &str, prefix: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.strip_prefix(prefix)
        .is_some_and(|rest| (8..=32).contains(&rest.len()) && rest.bytes().all(hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"accountId":"123456789012","architecture":"x86_64","billingProducts":null,"imageId":"ami-0123456789abcdef0",
        "instanceId":"i-0123456789abcdef0","pendingTime":"2026-11-26T04:00:00Z","privateIp":"10.1.2.3","region":"eu-central-1"}"#;

    #[test]
    fn a_document_reads_and_each_broken_one_does_not() {
        let document = InstanceDocument::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(document.private_dns(), "ip-10-1-2-3.eu-central-1.compute.internal");
        assert_eq!(document.pending_time().to_string(), "2026-11-26T04:00:00Z");
        let field = |field| DocumentFault::Field { field };
        let rows = [
            (
                "a key twice",
                "\"region\"",
                "\"region\":\"us-east-1\",\"region\"",
                DocumentFault::NotJson,
            ),
            (
                "an unread key twice",
                "\"architecture\"",
                "\"architecture\":1,\"architecture\"",
                DocumentFault::NotJson,
            ),
            (
                "a key twice, once escaped",
                "\"region\"",
                "\"r\\u0065gion\":\"us-east-1\",\"region\"",
                DocumentFault::NotJson,
            ),
            ("no account", "accountId", "accountid", field("accountId")),
            ("a short account", "123456789012", "12345678901", field("accountId")),
            (
                "a number as account",
                "\"123456789012\"",
                "123456789012",
                field("accountId"),
            ),
            (
                "an instance with a comma",
                "\"i-0123456789abcdef0",
                "\"i-0123456789abcdef0,root",
                field("instanceId"),
            ),
            (
                "an instance with capitals",
                "\"i-0123456789abcdef0",
                "\"i-0123456789ABCDEF0",
                field("instanceId"),
            ),
            ("an image that is none", "ami-0123456789abcdef0", "*", field("imageId")),
            ("a region with a dot", "eu-central-1", "eu.central", field("region")),
            (
                "an address with a zero before",
                "10.1.2.3",
                "010.1.2.3",
                field("privateIp"),
            ),
            ("no time", "2026-11-26T04:00:00Z", "now", field("pendingTime")),
            (
                "more behind",
                "\"eu-central-1\"}",
                "\"eu-central-1\"}{}",
                DocumentFault::NotJson,
            ),
        ];
        for (name, from, to, want) in rows {
            let text = GOOD.replace(from, to);
            assert_eq!(InstanceDocument::parse(text.as_bytes()), Err(want), "{name}");
        }
    }
}
