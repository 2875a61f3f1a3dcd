//! Hosts by name, or by the name above them.

/// Which hosts a route or rule is for. Names are normal: lower case, no trailing dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// This name, on any port.
    Exact(String),
    /// Every name below this one (`*.example.com` holds `example.com`).
    Below(String),
}

impl HostPattern {
    /// Whether `host`, in normal form and without its port, is served.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => host == name,
            Self::Below(name) => {
                host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
        }
    }
}
