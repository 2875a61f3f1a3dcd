//! What a log can't know is assumed, in so many words: `image/*=1d`, `/account/*=private`.

use std::time::Duration;

use globset::{Glob, GlobMatcher};
use http::{HeaderName, HeaderValue};

use crate::config::duration;

/// An assumption about responses: what the origin says of their lifetime.
#[derive(Clone, Debug)]
pub struct Assumption {
    pattern: Pattern,
    pub(super) says: Says,
    /// As it was written.
    pub text: String,
}

#[derive(Clone, Debug)]
enum Pattern {
    Path(GlobMatcher),
    Type(GlobMatcher),
}

/// What the origin is taken to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// How long it is fresh, where its status has lifetimes that are made up.
    Lifetime(Duration),
    /// This `Cache-Control`.
    Control(HeaderValue),
    /// Of lifetimes nothing, but this `Vary`.
    Vary(HeaderValue),
}

/// Why an assumption can't be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssumptionError {
    /// Not of the form.
    #[error("`{0}` is not of the form PATTERN=TIME, like 'image/*=1d' or '/api/*=no-store'")]
    Form(String),
    /// No pattern.
    #[error("`{0}` is not a pattern: {1}")]
    Pattern(String, String),
    /// Neither a time nor directives.
    #[error(
        "`{0}` is neither a time nor directives of Cache-Control nor a Vary: write 1h, no-store, or \
         vary: accept-encoding"
    )]
    Says(String),
}

impl Assumption {
    /// From `PATTERN=TIME`, `PATTERN=DIRECTIVES` or `PATTERN=vary: NAMES`. A pattern that begins with a slash is of paths,
    /// another of media types; in both `*` stands for anything.
    ///
    /// # Errors
    /// [`AssumptionError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, AssumptionError> {
        let form = || AssumptionError::Form(text.to_owned());
        let (pattern, says) = text.split_once('=').ok_or_else(form)?;
        let (pattern, says) = (pattern.trim(), says.trim());
        if pattern.is_empty() || says.is_empty() {
            return Err(form());
        }
        let glob = Glob::new(pattern)
            .map_err(|error| AssumptionError::Pattern(pattern.to_owned(), error.to_string()))?;
        let glob = glob.compile_matcher();
        let is_path = pattern.starts_with('/');
        let pattern = if is_path { Pattern::Path(glob) } else { Pattern::Type(glob) };
        Ok(Self { pattern, says: Says::parse(says)?, text: text.to_owned() })
    }

    /// The `Vary` that it is about, if it is.
    pub(super) fn vary(&self) -> Option<&HeaderValue> {
        match &self.says {
            Says::Vary(vary) => Some(vary),
            Says::Lifetime(_) | Says::Control(_) => None,
        }
    }

    /// Everything stays fresh for as long as there is.
    pub(super) fn everything_lasts() -> Says {
        Says::Lifetime(Duration::from_secs(365 * 24 * 60 * 60))
    }

    /// Whether it is about responses with this path and media type.
    pub(super) fn is_about(&self, path: &str, media_type: &str) -> bool {
        match &self.pattern {
            Pattern::Path(glob) => glob.is_match(path),
            Pattern::Type(glob) => glob.is_match(media_type),
        }
    }
}

impl Says {
    fn parse(text: &str) -> Result<Self, AssumptionError> {
        if let Ok(lifetime) = duration(text) {
            return Ok(Self::Lifetime(lifetime));
        }
        if let Some(names) = text.strip_prefix("vary:") {
            let mut each = names.split(',').map(str::trim);
            let are_names = each.all(|name| HeaderName::from_bytes(name.as_bytes()).is_ok());
            let vary = HeaderValue::from_str(names.trim()).ok().filter(|_| are_names);
            return vary.map(Self::Vary).ok_or_else(|| AssumptionError::Says(text.to_owned()));
        }
        let is_directive = |byte: u8| byte.is_ascii_alphanumeric() || b"-=, \"".contains(&byte);
        let refused = || AssumptionError::Says(text.to_owned());
        let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
        if !begins || !text.bytes().all(is_directive) {
            return Err(refused());
        }
        HeaderValue::from_str(text).map(Self::Control).map_err(|_| refused())
    }
}

/// The media type that a path's ending speaks for; pages have none.
pub(super) fn media_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or_default();
    let Some((_, ending)) = name.rsplit_once('.') else { return "text/html" };
    match ending.to_ascii_lowercase().as_str() {
        "css" => "text/css",
        "js" | "mjs" => "text/javascript",
        "json" | "map" => "application/json",
        "txt" => "text/plain",
        "xml" | "rss" | "atom" => "application/xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "svg" | "svgz" => "image/svg+xml",
        "ico" => "image/x-icon",
        "woff" | "woff2" | "ttf" | "otf" | "eot" => "font/woff2",
        "mp4" | "webm" | "mov" | "m4v" | "ts" | "m3u8" => "video/mp4",
        "mp3" | "ogg" | "wav" | "m4a" => "audio/mpeg",
        "pdf" => "application/pdf",
        "zip" | "gz" | "tgz" | "bz2" | "xz" | "zst" | "7z" | "rar" | "jar" | "exe" | "dmg"
        | "iso" | "deb" | "rpm" | "bin" => "application/octet-stream",
        _ => "text/html",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assumptions_are_about_paths_or_types() {
        let day = Says::Lifetime(Duration::from_secs(86_400));
        let images = Assumption::parse("image/*=1d").unwrap();
        assert_eq!(images.says, day);
        assert!(images.is_about("/a", "image/png") && !images.is_about("/image/x", "text/html"));
        let account = Assumption::parse("/account/*=private, max-age=5").unwrap();
        assert!(account.is_about("/account/a/b", "text/html") && !account.is_about("/", "x"));
        assert!(matches!(account.says, Says::Control(value) if value == "private, max-age=5"));
        assert!(Assumption::parse("*=10m").unwrap().is_about("/", "text/html"));
        let vary = Assumption::parse("text/*=vary: accept-encoding, accept").unwrap();
        assert_eq!(vary.vary().unwrap(), "accept-encoding, accept");
        assert_eq!(images.vary(), None);
        for text in ["image/*", "=1d", "a=", "[=1d", "a=5", "a=!", "a=vary:", "a=vary: b c"] {
            assert!(Assumption::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn types_by_endings() {
        for (path, media_type) in [
            ("/a/b.PNG", "image/png"),
            ("/a.b/c", "text/html"),
            ("/", "text/html"),
            ("/x.tar.gz", "application/octet-stream"),
        ] {
            assert_eq!(super::media_type(path), media_type, "{path}");
        }
    }
}
