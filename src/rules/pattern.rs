//! Globs and regular expressions over texts of a request.

use globset::GlobBuilder;
use regex::bytes::{Regex, RegexBuilder};

/// Bound on one compiled expression, in bytes: a rule must not eat the memory of the cache.
pub(super) const MAX_COMPILED: usize = 256 * 1024;

/// Why a pattern can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(pub(super) String);

/// What the value of a field, cookie or parameter is compared with.
#[derive(Clone, Debug)]
pub enum Text {
    /// Equal, byte by byte.
    Exact(Box<str>),
    /// Matches.
    Regex(Regex),
}

impl Text {
    /// A glob over a whole value: `*` is any text, `?` one character, `[ab]` and `{a,b}` choices.
    ///
    /// # Errors
    /// When it is not a glob.
    pub fn glob(glob: &str) -> Result<Self, PatternError> {
        if !glob.contains(['*', '?', '[', ']', '{', '}', '\\']) {
            return Ok(Self::Exact(glob.into()));
        }
        regex(&glob_source(glob, false)?, false).map(Self::Regex)
    }

    /// The same without regard to case.
    ///
    /// # Errors
    /// When it is not a glob.
    pub fn glob_ignoring_case(glob: &str) -> Result<Self, PatternError> {
        regex(&glob_source(glob, false)?, true).map(Self::Regex)
    }

    /// A regular expression, which may match anywhere in the value.
    ///
    /// # Errors
    /// When it is not one, or one that is too large.
    pub fn regex(source: &str) -> Result<Self, PatternError> {
        regex(source, false).map(Self::Regex)
    }

    /// Whether `value` matches.
    #[must_use]
    pub fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => text.as_bytes() == value,
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

/// What a path is compared with. Many are matched at once, so what is kept is the source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern(pub(super) String);

impl PathPattern {
    /// A glob over the whole path: `*` stays within a segment, `**` does not; `/a/**` also is `/a`
    /// itself.
    ///
    /// # Errors
    /// When it is not a glob.
    pub fn glob(glob: &str) -> Result<Self, PatternError> {
        let source = match glob.strip_suffix("/**") {
            Some(above) if !above.ends_with('*') => {
                let above = glob_source(above, true)?;
                let above = above.strip_suffix('$').unwrap_or(&above);
                format!("{above}(?:/.*)?$")
            }
            _ => glob_source(glob, true)?,
        };
        Self::checked(source)
    }

    /// A regular expression, which may match anywhere in the path.
    ///
    /// # Errors
    /// When it is not one, or one that is too large.
    pub fn regex(source: &str) -> Result<Self, PatternError> {
        Self::checked(source.to_owned())
    }

    fn checked(source: String) -> Result<Self, PatternError> {
        regex(&source, false).map(|_| Self(source))
    }
}

fn glob_source(glob: &str, segments: bool) -> Result<String, PatternError> {
    GlobBuilder::new(glob)
        .literal_separator(segments)
        .empty_alternates(true)
        .backslash_escape(true)
        .build()
        .map(|glob| glob.regex().to_owned())
        .map_err(|error| PatternError(error.kind().to_string()))
}

fn regex(source: &str, ignore_case: bool) -> Result<Regex, PatternError> {
    RegexBuilder::new(source)
        .case_insensitive(ignore_case)
        .size_limit(MAX_COMPILED)
        .build()
        .map_err(|error| PatternError(one_line(&error.to_string())))
}

/// The parser draws its errors over several lines; the last one says what is wrong.
pub(super) fn one_line(error: &str) -> String {
    let last = error.lines().last().unwrap_or(error);
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_over_values() {
        for (glob, value, expected) in [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a*", "a/b/c", true),
            ("*=1; *", "x=1; y", true),
            ("a?", "ab", true),
            ("{en,de}-*", "de-AT", true),
            ("{en,de}-*", "fr-CH", false),
        ] {
            assert_eq!(Text::glob(glob).unwrap().matches(value.as_bytes()), expected, "{glob}");
        }
        assert!(Text::glob_ignoring_case("Image/*").unwrap().matches(b"image/png"));
        assert!(Text::glob("a[").is_err());
    }

    #[test]
    fn globs_over_paths() {
        for (glob, path, expected) in [
            ("/api/**", "/api", true),
            ("/api/**", "/api/", true),
            ("/api/**", "/api/v1/x", true),
            ("/api/**", "/apis", false),
            ("/**", "/", true),
            ("/**", "/a/b", true),
            ("/**/x", "/a/b/x", true),
            ("/*/x", "/a/x", true),
            ("/*/x", "/a/b/x", false),
            ("/*.css", "/a.css", true),
            ("/*.css", "/a/b.css", false),
            ("/**/*.{css,js}", "/a/b.js", true),
            ("/a+b(c)", "/a+b(c)", true),
        ] {
            let PathPattern(source) = PathPattern::glob(glob).unwrap();
            let found = regex(&source, false).unwrap().is_match(path.as_bytes());
            assert_eq!(found, expected, "{glob} {path} {source}");
        }
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        assert_eq!(Text::regex("a(").unwrap_err().to_string(), "unclosed group");
        assert!(PathPattern::regex("(a{1000}){1000}").is_err());
        assert!(PathPattern::glob("/{a").is_err());
    }
}
