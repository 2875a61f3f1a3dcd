//! Sets of media types (RFC 9110 §8.3.1).

use smallvec::SmallVec;

/// Longest media type that is looked at, in bytes.
const MAX_LEN: usize = 128;

/// A set of media types: `text/html`, all of a kind `text/*`, all with a suffix `*+json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaTypes {
    /// In order, for looking up.
    exact: Box<[Box<str>]>,
    /// Kinds with their slash.
    kinds: Box<[Box<str>]>,
    /// Suffixes with their plus.
    suffixes: Box<[Box<str>]>,
}

impl MediaTypes {
    /// What is worth compressing where nobody says otherwise: text in all its forms, and what is as
    /// verbose. Images, audio, video, archives, PDF and WOFF are compressed already.
    pub const USUAL: &[&str] = &[
        "text/*",
        "*+json",
        "*+xml",
        "application/javascript",
        "application/json",
        "application/graphql",
        "application/rtf",
        "application/toml",
        "application/vnd.apple.mpegurl",
        "application/vnd.ms-fontobject",
        "application/wasm",
        "application/x-javascript",
        "application/x-ndjson",
        "application/x-sh",
        "application/xml",
        "application/yaml",
        "font/collection",
        "font/otf",
        "font/ttf",
        "image/bmp",
        "image/vnd.microsoft.icon",
        "image/x-icon",
    ];

    /// From patterns; `Err` with the first that is none.
    ///
    /// # Errors
    /// The pattern that is neither `type/subtype`, nor `type/*`, nor `*+suffix`.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let (mut exact, mut kinds, mut suffixes) = (Vec::new(), Vec::new(), Vec::new());
        for written in patterns {
            let pattern = written.trim().to_ascii_lowercase();
            let list = match pattern.split_once('/') {
                Some((kind, "*")) if is_token(kind) => &mut kinds,
                Some((kind, rest)) if is_token(kind) && is_token(rest) => &mut exact,
                None if pattern.strip_prefix("*+").is_some_and(is_token) => &mut suffixes,
                _ => return Err(written),
            };
            list.push(pattern.trim_matches('*').into());
        }
        exact.sort_unstable();
        Ok(Self { exact: exact.into(), kinds: kinds.into(), suffixes: suffixes.into() })
    }

    /// Whether a `Content-Type` is among them. `text/event-stream` never is: it has no end, and
    /// each of its events is awaited.
    #[must_use]
    pub fn holds(&self, content_type: &[u8]) -> bool {
        let end = content_type.iter().position(|byte| *byte == b';').unwrap_or(content_type.len());
        let written = content_type[..end].trim_ascii();
        if written.len() > MAX_LEN {
            return false;
        }
        let lower: SmallVec<[u8; MAX_LEN]> = written.iter().map(u8::to_ascii_lowercase).collect();
        let Ok(essence) = std::str::from_utf8(&lower) else { return false };
        if essence == "text/event-stream" {
            return false;
        }
        self.exact.binary_search_by(|known| (**known).cmp(essence)).is_ok()
            || self.kinds.iter().any(|kind| essence.starts_with(&**kind))
            || self.suffixes.iter().any(|suffix| essence.ends_with(&**suffix))
    }
}

impl Default for MediaTypes {
    fn default() -> Self {
        // Invariant: all of them are patterns, which a test shows; none would mean none.
        Self::new(Self::USUAL.iter().copied()).unwrap_or_else(|_| Self {
            exact: Box::default(),
            kinds: Box::default(),
            suffixes: Box::default(),
        })
    }
}

/// RFC 9110 §5.6.2, without the star that patterns have a use for.
fn is_token(text: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte);
    !text.is_empty() && text.len() <= MAX_LEN && text.bytes().all(is_tchar)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_usual_and_what_is_compressed_already_is_not() {
        let usual = MediaTypes::default();
        for value in [
            "text/html",
            "TEXT/css ; charset=x",
            "application/json",
            "application/problem+json",
            "image/svg+xml",
            "application/wasm",
            "font/ttf",
        ] {
            assert!(usual.holds(value.as_bytes()), "{value}");
        }
        for value in [
            "",
            "text",
            ";text/html",
            "image/png",
            "image/jpeg",
            "video/mp4",
            "application/zip",
            "application/pdf",
            "application/octet-stream",
            "font/woff2",
            "text/event-stream",
            "Text/Event-Stream; x",
        ] {
            assert!(!usual.holds(value.as_bytes()), "{value}");
        }
        assert!(!usual.holds(&[b'x'; 4096]) && !usual.holds(b"text/\xff"));
        assert!(!usual.holds(format!("text/{}", "x".repeat(MAX_LEN)).as_bytes()));
    }

    #[test]
    fn what_is_no_pattern_is_named() {
        for wrong in ["text", "*/*", "te*t/html", "text/h*", "", "/", "*+", "text/*+xml", "a/b/c"] {
            assert_eq!(MediaTypes::new(["text/*", wrong]), Err(wrong));
        }
        assert!(MediaTypes::new(MediaTypes::USUAL.iter().copied()).is_ok());
    }

    proptest! {
        #[test]
        fn parameters_case_and_blanks_do_not_count(
            kind in "[a-z]{1,8}", rest in "[a-z+.-]{1,12}", parameters in "(;[ -~]{0,20})?",
        ) {
            let essence = format!("{kind}/{rest}");
            let types = MediaTypes::new([essence.as_str()]).unwrap();
            let sent = format!(" {} {parameters}", essence.to_ascii_uppercase());
            prop_assert!(types.holds(sent.as_bytes()));
            let longer = format!("{essence}x{parameters}");
            prop_assert!(!types.holds(longer.as_bytes()));
        }
    }
}
