//! `[redis]`: the tier behind memory that all nodes share.

use std::time::Duration;

use http::Uri;

use super::upstream::host_name;
use crate::config::fault::{Checked, Fault};
use crate::config::raw::Value;
use crate::config::schema::{Key, keys};
use crate::config::units::Refused;
use crate::redis::{Config, Secret};
use crate::store::remote;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Bound on a file with a password.
const MAX_SECRET_BYTES: u64 = 4096;

/// What `[redis]` says.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct Draft {
    /// Whether there is one at all.
    pub(in crate::config) named: bool,
    pub(in crate::config) redis: Config,
    pub(in crate::config) tier: remote::Config,
}

pub(in crate::config) const REDIS: &[Key<Draft>] = keys! {
    "url" = Example("\"redis://127.0.0.1:6379\""), "Where Redis or Valkey is: `redis://host:port/database`, or `rediss://` for TLS. Without it there is no tier behind memory." => |draft, value| {
        let Place { tls, host, port, database } = value.parsed(place)?;
        draft.redis = Config { host, port, database, tls, ..draft.redis.clone() };
        draft.named = true;
        Ok(())
    };
    "username" = Example("\"seawall\""), "The ACL user; docs/fleet.md names the rights that it needs." => |draft, value| {
        draft.redis.username = Some(value.string()?.to_owned());
        Ok(())
    };
    "password" = Example("\"a long random string\""), "The user's password." => |draft, value| {
        draft.redis.password = Some(Secret(value.string()?.to_owned()));
        Ok(())
    };
    "password_file" = Example("\"/run/secrets/redis\""), "The same, from a file." => |draft, value| {
        let text = value.text_in_file(MAX_SECRET_BYTES)?;
        draft.redis.password = Some(secret(value, &text)?);
        Ok(())
    };
    "password_env" = Example("\"REDIS_PASSWORD\""), "The same, from an environment variable." => |draft, value| {
        let name = value.string()?;
        let Some(text) = (value.around().variable)(name) else {
            return Err(value.fault(format!("the environment variable {name} is not set"))
                .help("set it where Seawall is started, or use password_file").into());
        };
        draft.redis.password = Some(secret(value, &text)?);
        Ok(())
    };
    "ca" = Example("\"ca.pem\""), "PEM file of the authorities to trust instead of the system's, for `rediss://`." => |draft, value| {
        draft.redis.ca = Some(value.certificate_file()?);
        Ok(())
    };
    "namespace" = Default("\"seawall\""), "What all names in Redis begin with. Nodes with the same one share what they store." => |draft, value| {
        draft.tier.namespace = value.parsed(namespace)?;
        Ok(())
    };
    "lookup_budget" = Default("\"10ms\""), "How long a lookup may take; then the origin is asked. A Redis that does not keep to it most of the time is left alone for a while." => |draft, value| {
        let budget = value.duration(Duration::from_millis(1)..=Duration::from_secs(1))?;
        (draft.tier.lookup_budget, draft.redis.answers_within) = (budget, budget);
        Ok(())
    };
    "lease_wait" = Default("\"auto\""), "How long to wait for another node that fetches the same, before this one fetches too; `\"auto\"`: twice what 95 of 100 such fetches from the upstream take, and a second at least. Never more than a quarter of the route's `wait`. `\"0s\"`: nobody waits, and each node fetches for itself." => |draft, value| {
        if !value.is_word("auto") {
            draft.tier.lease_wait = Some(value.duration(Duration::ZERO..=Duration::from_secs(60))?);
        }
        Ok(())
    };
    "max_object_size" = Default("\"16MiB\""), "Larger bodies stay in memory only." => |draft, value| {
        draft.tier.max_object_size = value.size(0..=1024 * MIB)?;
        Ok(())
    };
    "write_at_once" = Default("\"1MiB\""), "Bodies up to this size are written to Redis when they are first fetched, larger ones when they are fetched or confirmed again." => |draft, value| {
        draft.tier.write_at_once = value.size(0..=1024 * MIB)?;
        Ok(())
    };
    "queue" = Default("\"32MiB\""), "What may wait to be written, up to a sixteenth of `[cache] memory`, where it stays for as long; the oldest is dropped when there is more." => |draft, value| {
        draft.tier.queue_bytes = value.size(64 * KIB..=1024 * MIB)?;
        Ok(())
    };
    "queue_items" = Default("10000"), "How many responses may wait, and how many deletions." => |draft, value| {
        draft.tier.queue_items = value.count(1..=1_000_000)?;
        Ok(())
    };
    "max_unsynced" = Default("\"30s\""), "For how long memory is used as it is while other nodes' purges can't be heard; from then on nothing is, for longer than that, without the origin having confirmed it. 0s for no bound." => |draft, value| {
        draft.tier.max_unsynced = value.duration(Duration::ZERO..=Duration::from_secs(24 * 3600))?;
        Ok(())
    };
    "preload" = Default("1000"), "How many of the responses that the fleet asks for most a node that starts takes from Redis into memory before they are asked for; each node tells the others once a minute. 0 for none." => |draft, value| {
        draft.tier.preload = value.count(0..=100_000)?;
        Ok(())
    };
};

const PASSWORDS: [&str; 3] = ["password", "password_file", "password_env"];

/// A password comes from one place.
pub(in crate::config) fn one_password(value: &Value<'_>) -> Checked<()> {
    let given: Vec<_> = PASSWORDS.into_iter().filter(|key| value.has_key(key)).collect();
    let [first, second, ..] = given.as_slice() else { return Ok(()) };
    let title = format!("{first} and {second} both give a password");
    Err(Fault::at(value.key_span(second), title).help("leave one of them out").into())
}

/// A secret without the space around it; its text never stands in a fault.
fn secret(value: &Value<'_>, text: &str) -> Checked<Secret> {
    match text.trim() {
        "" => Err(value.fault("there is no password in it").help("write one").into()),
        text => Ok(Secret(text.to_owned())),
    }
}

fn namespace(text: &str) -> Result<String, Refused> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.len() <= 64 && text.bytes().all(fits) {
        return Ok(text.to_owned());
    }
    let instead = "write up to 64 letters, digits, dots, hyphens and underscores";
    Err(Refused::new("this can't be a part of names in Redis", instead))
}

/// What a URL says.
struct Place {
    tls: bool,
    host: String,
    port: u16,
    database: i64,
}

fn place(text: &str) -> Result<Place, Refused> {
    let example = "write it like \"redis://127.0.0.1:6379\" or \"rediss://redis.example.com/0\"";
    let uri: Uri = text
        .parse()
        .map_err(|error| Refused::new(format!("this is not a URL: {error}"), example))?;
    let tls = match uri.scheme_str() {
        Some("redis") => false,
        Some("rediss") => true,
        _ => return Err(Refused::new("only redis:// and rediss:// are spoken", example)),
    };
    let authority = uri.authority().ok_or_else(|| Refused::new("the host is missing", example))?;
    if authority.as_str().contains('@') {
        let instead = "write username and password_file beside it";
        return Err(Refused::new("a user name or password has no place in a URL", instead));
    }
    let bracketed = authority.host();
    let host = host_name(bracketed.trim_start_matches('[').trim_end_matches(']'))?;
    let port = match authority.as_str()[bracketed.len()..].strip_prefix(':') {
        None => 6379,
        Some(digits) => digits.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
            Refused::new(format!("\"{digits}\" is not a port"), "write a number from 1 to 65535")
        })?,
    };
    let database = uri.path_and_query().map_or("", |path| path.as_str().trim_start_matches('/'));
    let number = if database.is_empty() { Some(0) } else { database.parse().ok() };
    let number = number.filter(|number| (0..=65_535).contains(number));
    let database = number.ok_or_else(|| {
        Refused::new(format!("\"{database}\" is not the number of a database"), example)
    })?;
    Ok(Place { tls, host, port, database })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_where_it_is_and_hold_no_secrets() {
        for (url, expected) in [
            ("redis://h", Some((false, "h", 6379, 0))),
            ("rediss://h.example:77/3", Some((true, "h.example", 77, 3))),
            ("redis://[::1]:6380/", Some((false, "::1", 6380, 0))),
            ("redis://u:p@h", None),
            ("http://h", None),
            ("redis://h:0", None),
            ("redis://h/x", None),
            ("redis://", None),
            ("h:6379", None),
        ] {
            let read = place(url).ok();
            let read = read.as_ref().map(|it| (it.tls, it.host.as_str(), it.port, it.database));
            assert_eq!(read, expected, "{url}");
        }
    }

    #[test]
    fn nothing_prints_a_password() {
        let mut draft = Draft::default();
        draft.redis.password = Some(Secret("hunter2".to_owned()));
        assert!(!format!("{draft:?}").contains("hunter2"));
    }
}
