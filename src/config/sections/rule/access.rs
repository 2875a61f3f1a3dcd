//! `[rule.access]`: who is let in.

use std::sync::Arc;

use http::HeaderValue;

use super::edits::is_off;
use crate::config::fault::Checked;
use crate::config::raw::Value;
use crate::config::schema::{Key, settings};
use crate::config::sections::server::networks;
use crate::config::units::Refused;
use crate::proxy::{Access, Users};
use crate::rules::Networks;

/// Bytes of a file of users.
const MOST_FILE: u64 = 2 * 1024 * 1024;

pub(in crate::config) const ACCESS: &[Key<Draft>] = settings! {
    "allow" = Default("[]"), "Only clients in these networks are let in, by their address as trusted proxies tell it; others get a 403. Empty: everybody." => |draft, value| draft.networks.allow = networks(value)?;
    "deny" = Default("[]"), "Clients in these networks are not let in, even if they are allowed above." => |draft, value| draft.networks.deny = networks(value)?;
    "users" = Example("\"users.htpasswd\""), "Only users in this file are let in, by password (Basic, RFC 7617); others get a 401. Lines are `user:hash` as `htpasswd -B` and `openssl passwd -6` write it: bcrypt or SHA-crypt. `\"off\"`: everybody." => |draft, value| draft.users = users(value)?;
    "realm" = Default("\"restricted\""), "What the user is asked for, as a browser shows it." => |draft, value| draft.challenge = value.parsed(challenge)?;
    "pass_authorization" = Default("false"), "Whether the origin gets user and password too. Then its answers are shared only where it says so, as with any `Authorization`; else they are shared among all who are let in." => |draft, value| draft.pass_authorization = value.boolean()?;
};

/// What rules say of access.
#[derive(Clone, Debug)]
pub(in crate::config) struct Draft {
    networks: Networks,
    users: Option<Arc<Users>>,
    challenge: HeaderValue,
    pass_authorization: bool,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            networks: Networks::default(),
            users: None,
            challenge: HeaderValue::from_static("Basic realm=\"restricted\", charset=\"UTF-8\""),
            pass_authorization: false,
        }
    }
}

impl Draft {
    pub(super) fn finish(self) -> Option<Arc<Access>> {
        let Self { networks, users, challenge, pass_authorization } = self;
        let is_open = networks.is_open() && users.is_none();
        (!is_open).then(|| Arc::new(Access { networks, users, challenge, pass_authorization }))
    }
}

fn users(value: &Value<'_>) -> Checked<Option<Arc<Users>>> {
    if is_off(value) {
        return Ok(None);
    }
    let text = value.text_in_file(MOST_FILE)?;
    Users::parse(&text).map(|users| Some(Arc::new(users))).map_err(|error| {
        value
            .fault(format!("this file of users can't be used: {error}"))
            .help("write its lines with: htpasswd -B FILE USER")
            .into()
    })
}

/// `WWW-Authenticate` (RFC 7617 §2).
fn challenge(realm: &str) -> Result<HeaderValue, Refused> {
    let plain =
        |byte: u8| (byte == b' ' || byte.is_ascii_graphic()) && byte != b'"' && byte != b'\\';
    if realm.len() > 100 || !realm.bytes().all(plain) {
        return Err(Refused::new(
            "this is no name for a realm",
            "write up to 100 ASCII characters without quotes and backslashes",
        ));
    }
    HeaderValue::try_from(format!("Basic realm=\"{realm}\", charset=\"UTF-8\""))
        .map_err(|_| Refused::new("this is no name for a realm", "write ASCII text"))
}
