//! Request bodies: limited before they are parsed, then read as Vault reads them (JSON whatever the content type says,
//! forms only when they say so and do not look like JSON). What secrets they hold is wiped with the memory it lies in, by
//! the allocator (`main.rs`): hyper, rustls and serde keep copies that nothing else reaches.

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use signet_core::vault_value::{BodyError, Fields};

/// Why a body is refused.
#[derive(Debug, thiserror::Error)]
pub enum ReadBodyError {
    /// More bytes than this path takes.
    #[error("request body too large: at most {max_bytes} bytes are taken here")]
    TooLarge {
        /// The limit.
        max_bytes: usize,
    },
    /// JSON nested deeper than any request of ours.
    #[error("the JSON is nested deeper than {max_depth} levels")]
    TooDeep {
        /// The limit.
        max_depth: usize,
    },
    /// A compressed body: what it unpacks to cannot be limited beforehand.
    #[error("request bodies with a Content-Encoding are not taken")]
    Encoded,
    /// The peer went away or broke the framing.
    #[error("the request body could not be read")]
    Broken,
    /// Not a JSON object.
    #[error(transparent)]
    Json(#[from] BodyError),
}

/// Reads at most `max_bytes`.
///
/// # Errors
/// [`ReadBodyError::TooLarge`] from the header alone where it is honest, else as soon as the limit is passed;
/// [`ReadBodyError::Encoded`], [`ReadBodyError::Broken`].
pub(super) async fn read(body: Body, headers: &HeaderMap, max_bytes: usize) -> Result<Bytes, ReadBodyError> {
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| encoding != "identity")
    {
        return Err(ReadBodyError::Encoded);
    }
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > max_bytes)) {
        return Err(ReadBodyError::TooLarge { max_bytes });
    }
    match Limited::new(body, max_bytes).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ReadBodyError::TooLarge { max_bytes }),
        // axum wraps the body's errors once more.
        Err(_) => Err(ReadBodyError::Broken),
    }
}

/// Parses a body that was read.
///
/// # Errors
/// [`ReadBodyError::TooDeep`] before the JSON parser sees it, [`ReadBodyError::Json`].
pub(super) fn parse(body: &[u8], headers: &HeaderMap, max_depth: usize) -> Result<Fields, ReadBodyError> {
    if is_form(body, headers) {
        let mut fields = Fields::default();
        for (key, value) in url::form_urlencoded::parse(body) {
            fields.insert(key, value.into_owned());
        }
        return Ok(fields);
    }
    if nests_deeper_than(body, max_depth) {
        return Err(ReadBodyError::TooDeep { max_depth });
    }
    Ok(Fields::from_json(body)?)
}

fn is_form(body: &[u8], headers: &HeaderMap) -> bool {
    let says_form = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value
                .trim_start()
                .to_ascii_lowercase()
                .starts_with("application/x-www-form-urlencoded")
        });
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    // curl -d calls everything a form; what begins like JSON is JSON.
    says_form && !matches!(first, None | Some(b'{' | b'['))
}

/// Counts brackets outside strings. Wrong JSON may be counted wrongly, but never too low for a parser that reads on.
fn nests_deeper_than(json: &[u8], max_depth: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => {
                depth += 1;
                if depth > max_depth {
                    return true;
                }
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(content_type: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        headers
    }

    #[test]
    fn json_is_json_whatever_the_content_type() {
        for content_type in ["application/json", "application/x-www-form-urlencoded", "text/plain"] {
            let fields = parse(b" {\"ttl\":\"30m\"}", &headers(content_type), 32).unwrap();
            assert_eq!(fields.string("ttl").unwrap().as_deref(), Some("30m"), "{content_type}");
        }
        let form = parse(
            b"ttl=30m&public_key=ssh-ed25519+AA%2B",
            &headers("application/x-www-form-urlencoded"),
            32,
        );
        assert_eq!(
            form.unwrap().string("public_key").unwrap().as_deref(),
            Some("ssh-ed25519 AA+")
        );
        assert!(
            parse(b"", &headers("application/json"), 32)
                .unwrap()
                .keys()
                .next()
                .is_none()
        );
    }

    #[test]
    fn cve_2025_6203_deep_json_is_refused_before_it_is_parsed() {
        let deep = [b"{\"a\":".repeat(10_000), b"1".to_vec(), b"}".repeat(10_000)].concat();
        assert!(matches!(
            parse(&deep, &HeaderMap::new(), 32),
            Err(ReadBodyError::TooDeep { max_depth: 32 })
        ));
        let brackets_in_text = format!("{{\"a\":\"{}\\\"[\"}}", "[".repeat(100));
        assert!(parse(brackets_in_text.as_bytes(), &HeaderMap::new(), 32).is_ok());
        let wide = format!("[{}]", vec!["{}"; 1000].join(","));
        assert!(!nests_deeper_than(wide.as_bytes(), 2));
    }

    #[tokio::test]
    async fn a_chunked_body_is_cut_off_at_the_limit() {
        let body = Body::from(vec![b' '; 65_537]);
        assert!(matches!(
            read(body, &HeaderMap::new(), 65_536).await,
            Err(ReadBodyError::TooLarge { .. })
        ));
        let body = Body::from(vec![b' '; 65_536]);
        assert_eq!(read(body, &HeaderMap::new(), 65_536).await.unwrap().len(), 65_536);
    }
}
