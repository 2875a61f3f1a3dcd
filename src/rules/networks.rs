//! Which clients are let in by their address.

use std::net::IpAddr;

use ipnet::IpNet;

/// Who may and who may not. The default lets everybody in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// Only these; empty for everybody.
    pub allow: Vec<IpNet>,
    /// Not these, even if they are allowed above.
    pub deny: Vec<IpNet>,
}

impl Networks {
    /// Whether everybody is let in.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// Whether `client` is let in. Who can't be told is not, where anybody is kept out.
    #[must_use]
    pub fn admit(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        let among = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&client));
        self.is_open()
            || !client.is_unspecified()
                && !among(&self.deny)
                && (self.allow.is_empty() || among(&self.allow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_denied_is_out_whoever_is_allowed() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let networks = |allow: &[&str], deny: &[&str]| Networks {
            allow: allow.iter().map(|text| net(text)).collect(),
            deny: deny.iter().map(|text| net(text)).collect(),
        };
        for (allow, deny, client, expected) in [
            (&[][..], &[][..], "0.0.0.0", true),
            (&["192.0.2.0/24"], &[], "192.0.2.7", true),
            (&["192.0.2.0/24"], &[], "::ffff:192.0.2.7", true),
            (&["192.0.2.0/24"], &[], "198.51.100.7", false),
            (&["192.0.2.0/24"], &["192.0.2.7/32"], "192.0.2.7", false),
            (&[], &["192.0.2.7/32"], "192.0.2.8", true),
            (&[], &["192.0.2.7/32"], "0.0.0.0", false),
            (&["0.0.0.0/0"], &[], "0.0.0.0", false),
        ] {
            let admits = networks(allow, deny).admit(client.parse().unwrap());
            assert_eq!(admits, expected, "{allow:?} {deny:?} {client}");
        }
    }
}
