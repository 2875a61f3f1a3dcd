//! What all cores share of the upstreams: resolved addresses and TLS settings.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use http::uri::Authority;

use super::config::{Config, Identity};
use super::health::Health;
use super::queue::Queue;
use super::resolve::Resolver;
use super::tls::TlsSettings;

/// What all cores share of the configured upstreams; made once, before a socket opens.
#[derive(Debug)]
pub struct Shared {
    targets: Vec<Arc<Target>>,
    configs: Vec<Config>,
}

/// What all cores share of one upstream.
#[derive(Debug)]
pub(super) struct Target {
    /// The addresses of its name.
    pub(super) resolver: Resolver,
    /// TLS settings, for `https`.
    pub(super) tls: Option<TlsSettings>,
    /// The `Host` that it always gets; `None`: the client's.
    pub(super) authority: Option<Authority>,
    /// Places for requests.
    pub(super) queue: Queue,
    /// Whether it can be reached.
    pub(super) health: Health,
}

/// Why an upstream can't be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The file of authorities can't be read.
    #[error("upstream `{upstream}`: cannot read the CA file {}: {source}", path.display())]
    CaUnreadable {
        /// The upstream's name.
        upstream: String,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file of authorities holds no usable certificate.
    #[error("upstream `{upstream}`: no usable certificate in the CA file {}: {reason}", path.display())]
    CaInvalid {
        /// The upstream's name.
        upstream: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system has no trusted authorities, so no certificate could ever be verified.
    #[error("upstream `{upstream}`: the system has no trusted CA certificates; set `ca`")]
    NoRoots {
        /// The upstream's name.
        upstream: String,
    },
    /// The host or the fixed identity is not an authority (RFC 3986 §3.2).
    #[error("upstream `{upstream}`: `{name}` is not a host name")]
    BadName {
        /// The upstream's name.
        upstream: String,
        /// The text at fault.
        name: String,
    },
    /// The TLS library refuses the settings.
    #[error("upstream `{upstream}`: TLS settings: {source}")]
    Tls {
        /// The upstream's name.
        upstream: String,
        /// The cause.
        source: rustls::Error,
    },
}

impl Shared {
    /// Reads certificates and prepares TLS for every upstream that needs it. Names are resolved
    /// when they are first used, so that a slow resolver does not keep Seawall from starting.
    ///
    /// # Errors
    /// Names the first upstream at fault, and the file where there is one.
    pub fn new(configs: &[Config]) -> Result<Self, SetupError> {
        Self { targets: Vec::new(), configs: Vec::new() }.renewed(configs)
    }

    /// The same for other settings, in place of `self`: an upstream whose settings are what they
    /// were keeps its addresses and its places. One that names a file is set up anew: the file may
    /// hold something else by now.
    ///
    /// # Errors
    /// As [`Shared::new`].
    pub fn renewed(&self, configs: &[Config]) -> Result<Self, SetupError> {
        let kept = |config: &Config| {
            let same = |before: &Config| config.ca.is_none() && before == config;
            self.configs.iter().position(same).and_then(|index| self.targets.get(index)).cloned()
        };
        let target = |config| kept(config).map_or_else(|| Target::new(config).map(Arc::new), Ok);
        let targets = configs.iter().map(target).collect::<Result<_, _>>()?;
        Ok(Self { targets, configs: configs.to_vec() })
    }

    /// The settings, in their order.
    #[must_use]
    pub fn configs(&self) -> &[Config] {
        &self.configs
    }

    /// Requests with the upstream at `index` at this moment, over all cores.
    #[must_use]
    pub fn requests(&self, index: usize) -> usize {
        self.targets.get(index).map_or(0, |target| target.queue.taken())
    }

    pub(super) fn targets(&self) -> &[Arc<Target>] {
        &self.targets
    }
}

impl Target {
    fn new(config: &Config) -> Result<Self, SetupError> {
        let authority = fixed_authority(config)?;
        if own_authority(config).parse::<Authority>().is_err() {
            return Err(bad_name(config, &config.host));
        }
        let tls = config.tls.then(|| TlsSettings::new(config)).transpose()?;
        let queue = Queue::new(config.max_requests, config.queue_timeout);
        let (resolver, health) = (Resolver::new(config), Health::new());
        Ok(Self { resolver, tls, authority, queue, health })
    }
}

/// The `Host` that an upstream always gets; `None`: the client's.
///
/// # Errors
/// Where that is no authority.
pub(super) fn fixed_authority(config: &Config) -> Result<Option<Authority>, SetupError> {
    let text = match &config.identity {
        Identity::Preserve => return Ok(None),
        Identity::Upstream => own_authority(config),
        Identity::Name(name) => name.clone(),
    };
    text.parse().map(Some).map_err(|_| bad_name(config, &text))
}

fn bad_name(config: &Config, name: &str) -> SetupError {
    SetupError::BadName { upstream: config.name.clone(), name: name.to_owned() }
}

/// `host[:port]` of the upstream's URL, the port only where it isn't the scheme's own.
fn own_authority(config: &Config) -> String {
    let bare = bare_host(&config.host);
    let host = if bare.contains(':') { format!("[{bare}]") } else { bare.to_owned() };
    let default_port = if config.tls { 443 } else { 80 };
    if config.port == default_port { host } else { format!("{host}:{}", config.port) }
}

/// A host without the brackets of an IPv6 literal.
pub(super) fn bare_host(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_authority_has_a_port_only_where_it_must() {
        for (tls, host, port, expected) in [
            (false, "a.example", 80, "a.example"),
            (false, "a.example", 443, "a.example:443"),
            (true, "a.example", 443, "a.example"),
            (true, "::1", 8443, "[::1]:8443"),
            (false, "[::1]", 80, "[::1]"),
        ] {
            assert_eq!(own_authority(&Config::new("o", tls, host, port)), expected);
        }
    }

    #[test]
    fn what_has_not_changed_is_kept() {
        let configs = ["a.example", "b.example"].map(|host| Config::new(host, false, host, 80));
        let first = Shared::new(&configs).expect("good settings");
        let [a, mut b] = configs;
        b.max_requests = 7;
        let second = first.renewed(&[b, a]).expect("good settings");
        assert!(Arc::ptr_eq(&first.targets[0], &second.targets[1]));
        assert!(!Arc::ptr_eq(&first.targets[1], &second.targets[0]));
    }

    #[test]
    fn a_fault_names_the_upstream_and_the_file() {
        let mut config = Config::new("shop", true, "shop.example", 443);
        config.ca = Some("/nowhere/ca.pem".into());
        let error = Shared::new(&[config]).expect_err("there is no such file").to_string();
        assert!(error.contains("`shop`") && error.contains("/nowhere/ca.pem"), "{error}");
        let mut config = Config::new("shop", false, "shop.example", 80);
        config.identity = Identity::Name("not a host".to_owned());
        assert!(matches!(Shared::new(&[config]), Err(SetupError::BadName { .. })));
    }
}
