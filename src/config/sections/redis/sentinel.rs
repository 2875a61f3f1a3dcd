//! `[redis.sentinel]`: who knows where the primary is.

use super::{DATABASES, one_password, password, password_env, password_file, servers};
use crate::config::fault::Checked;
use crate::config::raw::Value;
use crate::config::schema::{Key, fill, keys};
use crate::redis;

/// The section as hints name it.
const SECTION: &str = "redis.sentinel";

/// Where sentinels listen, unless they are told otherwise.
const SENTINEL_PORT: u16 = 26_379;

/// What the table says: of the sentinels, and of the primary that they know.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct Draft {
    pub(super) sentinel: redis::Sentinel,
    /// Whether TLS is spoken with the primary; like with the sentinels, unless it is said.
    own_tls: Option<bool>,
    pub(super) tls: bool,
    pub(super) database: i64,
}

pub(in crate::config) const SENTINEL: &[Key<Draft>] = keys! {
    "primary" = Required("\"shop\""), "The name under which the sentinels know the primary: `sentinel monitor NAME …`." => |draft, value| {
        value.string()?.clone_into(&mut draft.sentinel.primary);
        Ok(())
    };
    "urls" = Required("[\"redis://10.0.0.1:26379\", \"redis://10.0.0.2:26379\"]"), "Where the sentinels are, all of them: `redis://host:port`, or `rediss://` for TLS." => |draft, value| {
        (draft.sentinel.tls, draft.sentinel.nodes) = servers(value, SENTINEL_PORT)?;
        Ok(())
    };
    "tls" = Example("true"), "Whether TLS is spoken with the primary. Follows `urls`." => |draft, value| {
        draft.own_tls = Some(value.boolean()?);
        Ok(())
    };
    "database" = Default("0"), "The primary's database." => |draft, value| {
        draft.database = value.integer(0..=DATABASES.end().unsigned_abs())?.try_into().unwrap_or(0);
        Ok(())
    };
    "username" = Example("\"seawall\""), "The sentinels' own ACL user; the primary's stands in `[redis]`." => |draft, value| {
        draft.sentinel.login.username = Some(value.string()?.to_owned());
        Ok(())
    };
    "password" = Example("\"a long random string\""), "The sentinels' own password." => |draft, value| {
        draft.sentinel.login.password = Some(password(value)?);
        Ok(())
    };
    "password_file" = Example("\"/run/secrets/sentinel\""), "The same, from a file." => |draft, value| {
        draft.sentinel.login.password = Some(password_file(value)?);
        Ok(())
    };
    "password_env" = Example("\"SENTINEL_PASSWORD\""), "The same, from an environment variable." => |draft, value| {
        draft.sentinel.login.password = Some(password_env(value)?);
        Ok(())
    };
};

/// Reads the table.
pub(super) fn read(value: &Value<'_>) -> Checked<Draft> {
    let example = "write { primary = \"shop\", urls = [\"redis://10.0.0.1:26379\"] }";
    let mut draft = Draft::default();
    let table = value.table(example)?;
    fill(SECTION, &[SENTINEL], table, value.around(), &mut draft)?;
    one_password(value)?;
    let missing =
        [("primary", draft.sentinel.primary.is_empty()), ("urls", draft.sentinel.nodes.is_empty())];
    if let Some((key, _)) = missing.iter().find(|(_, missing)| *missing)
        && value.around().sketch.is_none()
    {
        return Err(value.fault(format!("[{SECTION}] has no `{key}`")).help(example).into());
    }
    draft.tls = draft.own_tls.unwrap_or(draft.sentinel.tls);
    Ok(draft)
}
