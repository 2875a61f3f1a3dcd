//! `[purge]` and `[admin]`: who may change the cache and look into it.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::server::networks;
use crate::config::fault::{Checked, Fault};
use crate::config::raw::Value;
use crate::config::schema::{Key, keys};
use crate::config::{sketch, units};
use crate::{admin, proxy};

/// Where the admin listener is when nobody says where.
pub(in crate::config) fn default_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9180))
}

/// What `[admin]` says where the file is silent.
pub(in crate::config) fn default_admin() -> admin::Config {
    admin::Config { address: Some(default_address()), explicit: false, token: None }
}

pub(in crate::config) const PURGE: &[Key<proxy::Purge>] = keys! {
    "allow" = Default("[]"), "Peers (networks or addresses) that may use the `PURGE` method. Behind another proxy, that proxy is the peer." => |draft, value| {
        draft.allow = networks(value)?;
        Ok(())
    };
    "token" = Example("\"a long random string\""), "Whoever sends it as `Authorization: Bearer` may use `PURGE` from anywhere." => |draft, value| {
        draft.token = Some(value.secret(value.string()?)?);
        Ok(())
    };
    "token_file" = Example("\"/run/secrets/purge\""), "The same, from a file." => |draft, value| {
        draft.token = Some(value.secret_in_file()?);
        Ok(())
    };
    "token_env" = Example("\"PURGE_TOKEN\""), "The same, from an environment variable." => |draft, value| {
        draft.token = Some(value.secret_in_variable()?);
        Ok(())
    };
    "refresh_rate" = Default("100"), "How many responses that soft purges have made stale are refreshed a second, for each upstream and by each node, beyond what clients have to wait for. 0 for no bound." => |draft, value| {
        draft.refresh_rate = value.count(0..=1_000_000)? as u32;
        Ok(())
    };
    "refresh_concurrency" = Default("8"), "How many responses a purge with `refresh` has refreshed at once." => |draft, value| {
        draft.refresh_concurrency = value.count(1..=1000)?;
        Ok(())
    };
};

pub(in crate::config) const ADMIN: &[Key<admin::Config>] = keys! {
    "address" = Default("\"127.0.0.1:9180\""), "Where health, metrics and purge listen; `\"off\"` for nowhere. Beyond loopback it needs a token." => |draft, value| {
        draft.address = if value.is_off() { None } else { Some(value.formed(|| sketch::text(units::ADDRESS), units::address)?) };
        draft.explicit = true;
        Ok(())
    };
    "token" = Example("\"a long random string\""), "What requests must send as `Authorization: Bearer`." => |draft, value| {
        draft.token = Some(value.secret(value.string()?)?);
        Ok(())
    };
    "token_file" = Example("\"/run/secrets/admin\""), "The same, from a file." => |draft, value| {
        draft.token = Some(value.secret_in_file()?);
        Ok(())
    };
    "token_env" = Example("\"ADMIN_TOKEN\""), "The same, from an environment variable." => |draft, value| {
        draft.token = Some(value.secret_in_variable()?);
        Ok(())
    };
};

pub(in crate::config) const DEBUG: &[Key<Vec<IpNet>>] = keys! {
    "allow" = Default("[]"), "Clients (networks or addresses, as trusted proxies tell them) that are shown what was done with a request, in fields of the response, where they send `Seawall-Debug: 1`. Empty: nobody; the field goes no further in any case." => |draft, value| {
        *draft = networks(value)?;
        Ok(())
    };
};

const TOKENS: [&str; 3] = ["token", "token_file", "token_env"];

/// Whether a token is named at all, even if it could not be read.
pub(in crate::config) fn names_token(value: &Value<'_>) -> bool {
    TOKENS.iter().any(|key| value.has_key(key))
}

/// A token comes from one place.
pub(in crate::config) fn one_token(value: &Value<'_>) -> Checked<()> {
    let given: Vec<_> = TOKENS.into_iter().filter(|key| value.has_key(key)).collect();
    let [first, second, ..] = given.as_slice() else { return Ok(()) };
    Err(Fault::at(value.key_span(second), format!("{first} and {second} both give a token"))
        .help("leave one of them out")
        .into())
}
