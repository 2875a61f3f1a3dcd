//! What a purge covers, by the names that people use for it.

use super::stamps::Scope;
use crate::key::{Target, TargetError};
use crate::rules::{Label, LabelError};

/// Why a name names nothing that could be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// It is no URL that is served.
    #[error(transparent)]
    Url(#[from] TargetError),
    /// No response has such a tag or group.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// It is not a host, with a port or without.
    #[error("a host has no scheme and no path")]
    Host,
}

impl Scope {
    /// A URL, brought into the form that it has in cache keys.
    ///
    /// # Errors
    /// When it is no absolute http or https URL.
    pub fn url(url: &str) -> Result<Self, ScopeError> {
        Ok(Self::Url(normal(url)?))
    }

    /// Every URL that begins so; brought into the same form.
    ///
    /// # Errors
    /// When it is no absolute http or https URL.
    pub fn prefix(prefix: &str) -> Result<Self, ScopeError> {
        Ok(Self::Prefix(normal(prefix)?))
    }

    /// All URLs of a host, by http and by https.
    ///
    /// # Errors
    /// When it is more or less than a host, with a port or without.
    pub fn host(host: &str) -> Result<[Self; 2], ScopeError> {
        if host.contains(['/', '?', '#', '@']) {
            return Err(ScopeError::Host);
        }
        let all_of = |scheme| Self::prefix(&format!("{scheme}://{host}/"));
        Ok([all_of("http")?, all_of("https")?])
    }

    /// What has a tag.
    ///
    /// # Errors
    /// When no response can have it.
    pub fn tag(name: &[u8]) -> Result<Self, ScopeError> {
        Ok(Self::Label(Label::tag(name)?))
    }

    /// What is in a group of `origin` (RFC 9875).
    ///
    /// # Errors
    /// When no response can be in it.
    pub fn group(origin: &Target, name: &[u8]) -> Result<Self, ScopeError> {
        Ok(Self::Label(Label::group(origin, name)?))
    }
}

fn normal(url: &str) -> Result<String, TargetError> {
    Ok(Target::parse(url)?.key().as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_all_its_urls_and_nothing_but_a_host() {
        let prefixes =
            |text| Scope::host(text).map(|scopes| scopes.map(|scope| format!("{scope:?}")));
        let found = prefixes("Shop.Example").expect("a host");
        assert_eq!(
            found,
            [r#"Prefix("http://shop.example/")"#, r#"Prefix("https://shop.example/")"#]
        );
        let found = prefixes("[::1]:8443").expect("a host");
        assert_eq!(found, [r#"Prefix("http://[::1]:8443/")"#, r#"Prefix("https://[::1]:8443/")"#]);
        for wrong in ["", "http://a.test", "a.test/x", "a@b", "a b", "a.test?x"] {
            assert!(prefixes(wrong).is_err(), "{wrong}");
        }
    }
}
