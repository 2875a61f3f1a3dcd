//! `[redis]`: the tier behind memory that all nodes share.

pub(in crate::config) mod sentinel;

use std::time::Duration;

use http::Uri;

use super::upstream::host_name;
use crate::config::fault::{Checked, Fault};
use crate::config::raw::Value;
use crate::config::schema::{Key, keys};
use crate::config::units::Refused;
use crate::redis::{self, Address, Config, Secret};
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
    "url" = Example("\"redis://127.0.0.1:6379\""), "Where Redis or Valkey is: `redis://host:port/database`, or `rediss://` for TLS. Without this, `sentinel` or `cluster` there is no tier behind memory." => |draft, value| {
        let Server { tls, address, database } = value.parsed(|text| server(text, REDIS_PORT))?;
        (draft.redis.tls, draft.redis.database) = (tls, database);
        draft.redis.place = redis::Place::Server(address);
        draft.named = true;
        Ok(())
    };
    "sentinel" = Example("{ primary = \"shop\", urls = [\"redis://10.0.0.1:26379\", \"redis://10.0.0.2:26379\"] }"), "Sentinels that know where the primary is, in place of `url`; see the table below." => |draft, value| {
        let sentinels = sentinel::read(value)?;
        (draft.redis.tls, draft.redis.database) = (sentinels.tls, sentinels.database);
        draft.redis.place = redis::Place::Sentinel(sentinels.sentinel);
        draft.named = true;
        Ok(())
    };
    "cluster" = Example("[\"redis://10.0.0.1:6379\", \"redis://10.0.0.2:6379\"]"), "Some servers of a Cluster, in place of `url`: `redis://host:port`, or `rediss://` for TLS. They tell of the others." => |draft, value| {
        let (tls, seeds) = servers(value, REDIS_PORT)?;
        (draft.redis.tls, draft.redis.database) = (tls, 0);
        draft.redis.place = redis::Place::Cluster(seeds);
        draft.named = true;
        Ok(())
    };
    "username" = Example("\"seawall\""), "The ACL user; docs/fleet.md names the rights that it needs." => |draft, value| {
        draft.redis.login.username = Some(value.string()?.to_owned());
        Ok(())
    };
    "password" = Example("\"a long random string\""), "The user's password." => |draft, value| {
        draft.redis.login.password = Some(password(value)?);
        Ok(())
    };
    "password_file" = Example("\"/run/secrets/redis\""), "The same, from a file." => |draft, value| {
        draft.redis.login.password = Some(password_file(value)?);
        Ok(())
    };
    "password_env" = Example("\"REDIS_PASSWORD\""), "The same, from an environment variable." => |draft, value| {
        draft.redis.login.password = Some(password_env(value)?);
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

const PLACES: [&str; 3] = ["url", "sentinel", "cluster"];

const PASSWORDS: [&str; 3] = ["password", "password_file", "password_env"];

/// A password comes from one place.
pub(super) fn one_password(value: &Value<'_>) -> Checked<()> {
    let given: Vec<_> = PASSWORDS.into_iter().filter(|key| value.has_key(key)).collect();
    let [first, second, ..] = given.as_slice() else { return Ok(()) };
    let title = format!("{first} and {second} both give a password");
    Err(Fault::at(value.key_span(second), title).help("leave one of them out").into())
}

/// What can't be written at once.
pub(in crate::config) fn agreed(value: &Value<'_>) -> Checked<()> {
    one_password(value)?;
    let given: Vec<_> = PLACES.into_iter().filter(|key| value.has_key(key)).collect();
    let [first, second, ..] = given.as_slice() else { return Ok(()) };
    let title = format!("{first} and {second} both say where Redis is");
    let help = "write url for one server, sentinel where sentinels know it, cluster for a Cluster";
    Err(Fault::at(value.key_span(second), title).help(help).into())
}

/// A password as it stands in the configuration.
pub(super) fn password(value: &Value<'_>) -> Checked<Secret> {
    Ok(Secret(value.string()?.to_owned()))
}

/// A password in a file.
pub(super) fn password_file(value: &Value<'_>) -> Checked<Secret> {
    let text = value.text_in_file(MAX_SECRET_BYTES)?;
    secret(value, &text)
}

/// A password in the environment.
pub(super) fn password_env(value: &Value<'_>) -> Checked<Secret> {
    let name = value.string()?;
    let Some(text) = (value.around().variable)(name) else {
        return Err(value
            .fault(format!("the environment variable {name} is not set"))
            .help("set it where Seawall is started, or use password_file")
            .into());
    };
    secret(value, &text)
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

/// What one of `url` and the like says.
pub(super) struct Server {
    pub(super) tls: bool,
    pub(super) address: Address,
    pub(super) database: i64,
}

/// The port of a URL that has none.
const REDIS_PORT: u16 = 6379;

/// Databases that there can be.
const DATABASES: std::ops::RangeInclusive<i64> = 0..=65_535;

/// Reads a URL of a server, or of somebody who knows servers.
pub(super) fn server(text: &str, usual_port: u16) -> Result<Server, Refused> {
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
        None => usual_port,
        Some(digits) => digits.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
            Refused::new(format!("\"{digits}\" is not a port"), "write a number from 1 to 65535")
        })?,
    };
    let database = uri.path_and_query().map_or("", |path| path.as_str().trim_start_matches('/'));
    let number = if database.is_empty() { Some(0) } else { database.parse().ok() };
    let number = number.filter(|number| DATABASES.contains(number));
    let database = number.ok_or_else(|| {
        Refused::new(format!("\"{database}\" is not the number of a database"), example)
    })?;
    Ok(Server { tls, address: Address { host, port }, database })
}

/// URLs of servers that belong together: with TLS or without, and of the whole of each.
pub(super) fn servers(value: &Value<'_>, usual_port: u16) -> Checked<(bool, Vec<Address>)> {
    let one = |value: Value<'_>| {
        let read = value.parsed(|text| server(text, usual_port))?;
        if read.database != 0 {
            let fault = value.fault("a database has no place here");
            return Err(fault.help("leave the number at the end of the URL out").into());
        }
        Ok((read.tls, read.address))
    };
    let read = value.list("write a list of URLs", one)?;
    let Some((tls, _)) = read.first() else {
        return Err(value.fault("the list is empty").help("write at least one URL").into());
    };
    if read.len() > MOST_SERVERS {
        let fault = value.fault(format!("{} URLs are more than are asked", read.len()));
        return Err(fault.help(format!("write at most {MOST_SERVERS} of them")).into());
    }
    if read.iter().any(|(other, _)| other != tls) {
        let fault = value.fault("redis:// and rediss:// are mixed");
        return Err(fault.help("write one of the two everywhere: they share one setting").into());
    }
    Ok((*tls, read.into_iter().map(|(_, address)| address).collect()))
}

/// Servers that a list may name: some are enough to learn of the others.
const MOST_SERVERS: usize = 16;

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
            let read = server(url, REDIS_PORT).ok();
            let read = read.as_ref().map(|it| {
                let Address { host, port } = &it.address;
                (it.tls, host.as_str(), *port, it.database)
            });
            assert_eq!(read, expected, "{url}");
        }
    }

    #[test]
    fn urls_that_belong_together_are_alike() {
        let fault = |file: &str| {
            let read = crate::config::parse(file, &crate::config::CliOverrides::default());
            read.err().map(|faults| faults.to_string()).unwrap_or_default()
        };
        let origin = "[upstream.origin]\nurl = \"http://a.test\"\n[redis]\n";
        for (line, told) in [
            ("sentinel = { primary = \"p\", urls = [\"redis://a\", \"rediss://b\"] }", "are mixed"),
            ("sentinel = { primary = \"p\", urls = [\"redis://a/7\"] }", "a database has no place"),
            ("sentinel = { primary = \"p\", urls = [] }", "the list is empty"),
            ("cluster = [\"redis://a\", \"rediss://b\"]", "are mixed"),
            ("cluster = [\"redis://a/1\"]", "a database has no place"),
            ("cluster = []", "the list is empty"),
            ("cluster = [\"redis://u:p@a\"]", "has no place in a URL"),
            ("url = \"redis://a\"\ncluster = [\"redis://a\"]", "url and cluster both say"),
            ("sentinel = { urls = [\"redis://a\"] }", "has no `primary`"),
            ("sentinel = { primary = \"p\" }", "has no `urls`"),
            (
                "url = \"redis://a\"\nsentinel = { primary = \"p\", urls = [\"redis://a\"] }",
                "both say where Redis is",
            ),
        ] {
            let fault = fault(&format!("{origin}{line}\n"));
            assert!(fault.contains(told), "{line}: {fault}");
        }
        assert_eq!(
            fault(&format!("{origin}sentinel = {{ primary = \"p\", urls = [\"redis://a\"] }}")),
            ""
        );
    }

    #[test]
    fn nothing_prints_a_password() {
        let mut draft = Draft::default();
        draft.redis.login.password = Some(Secret("hunter2".to_owned()));
        assert!(!format!("{draft:?}").contains("hunter2"));
    }
}
