//! What the command line and the environment say; they win over the file.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::sections::logs;
use super::sections::upstream::{self, Origin};
use super::units;
use crate::telemetry::Format;

/// Settings from flags and `SEAWALL_*` environment variables (clap lets the flag win).
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
#[command(next_help_heading = "Settings (each wins over the file)")]
pub struct CliOverrides {
    /// Protect this origin; replaces the file's upstreams and routes.
    #[arg(long, env = "SEAWALL_ORIGIN", value_name = "URL", value_parser = upstream::origin)]
    pub origin: Option<Origin>,

    /// Listen here for clients; may be repeated; replaces the file's listeners.
    #[arg(long, env = "SEAWALL_LISTEN", value_name = "ADDR", value_delimiter = ',', value_parser = units::address)]
    pub listen: Vec<SocketAddr>,

    /// Listen here for health, metrics and purge; "off" for nowhere.
    #[arg(long, env = "SEAWALL_ADMIN_LISTEN", value_name = "ADDR", value_parser = Toggled::address)]
    pub admin_listen: Option<Toggled<SocketAddr>>,

    /// A token that admin requests must carry; better given by the variable than by the flag.
    #[arg(long, env = "SEAWALL_ADMIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub admin_token: Option<String>,

    /// Memory for responses: stored, being filled, being sent [default: 256MiB].
    #[arg(long, env = "SEAWALL_MEMORY", value_name = "SIZE", value_parser = memory)]
    pub memory: Option<usize>,

    /// Larger bodies are not stored [default: 16MiB].
    #[arg(long, env = "SEAWALL_MAX_OBJECT_SIZE", value_name = "SIZE", value_parser = units::size)]
    pub max_object_size: Option<u64>,

    /// Worker threads [default: one for each core].
    #[arg(long, env = "SEAWALL_THREADS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,

    /// Lifetime of responses where the origin says nothing [default: 0s].
    #[arg(long, env = "SEAWALL_DEFAULT_LIFETIME", value_name = "TIME", value_parser = units::duration)]
    pub default_lifetime: Option<Duration>,

    /// Serve stale this long while one refresh runs [default: 0s].
    #[arg(long, env = "SEAWALL_STALE_WHILE_REVALIDATE", value_name = "TIME", value_parser = units::duration)]
    pub stale_while_revalidate: Option<Duration>,

    /// Serve stale this long instead of an error [default: 0s].
    #[arg(long, env = "SEAWALL_STALE_IF_ERROR", value_name = "TIME", value_parser = units::duration)]
    pub stale_if_error: Option<Duration>,

    /// Believe forwarding fields of this peer or network; may be repeated.
    #[arg(long, env = "SEAWALL_TRUSTED_PROXY", value_name = "NET", value_delimiter = ',', value_parser = units::network)]
    pub trusted_proxy: Vec<IpNet>,

    /// How long requests may take to finish on shutdown [default: 30s].
    #[arg(long, env = "SEAWALL_GRACE", value_name = "TIME", value_parser = units::duration)]
    pub grace: Option<Duration>,

    /// Form of the access log: text, json or off [default: text].
    #[arg(long, env = "SEAWALL_ACCESS_LOG", value_name = "FORM", value_parser = Toggled::format)]
    pub access_log: Option<Toggled<Format>>,

    /// What the program logs: error, warn, info, debug, or a filter [default: info].
    #[arg(long, env = "SEAWALL_LOG_LEVEL", value_name = "LEVEL", value_parser = logs::level)]
    pub log_level: Option<String>,

    /// Form of the program's log: text or json [default: text].
    #[arg(long, env = "SEAWALL_LOG_FORMAT", value_name = "FORM", value_parser = format)]
    pub log_format: Option<Format>,
}

impl CliOverrides {
    /// The admin token; an empty one is what orchestrators make of a missing secret: none.
    pub(super) fn given_admin_token(&self) -> Option<&str> {
        self.admin_token.as_deref().filter(|token| !token.is_empty())
    }
}

/// Something that can be turned off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toggled<T> {
    /// Turned off.
    Off,
    /// This.
    On(T),
}

impl<T> Toggled<T> {
    /// `None` where it is off.
    pub fn on(self) -> Option<T> {
        match self {
            Self::Off => None,
            Self::On(value) => Some(value),
        }
    }
}

impl Toggled<SocketAddr> {
    fn address(text: &str) -> Result<Self, units::Refused> {
        Ok(units::optional(text, units::address)?.map_or(Self::Off, Self::On))
    }
}

impl Toggled<Format> {
    fn format(text: &str) -> Result<Self, units::Refused> {
        let format = units::optional(text, format).map_err(|refused| units::Refused {
            instead: "write text, json or off".to_owned(),
            ..refused
        })?;
        Ok(format.map_or(Self::Off, Self::On))
    }
}

fn format(text: &str) -> Result<Format, units::Refused> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err(units::Refused::new("this is not a form", "write text or json")),
    }
}

fn memory(text: &str) -> Result<usize, units::Refused> {
    let bytes = units::memory_size(text)?;
    if bytes >= 1024 * 1024 {
        return Ok(bytes);
    }
    Err(units::Refused::new("memory is at least 1MiB", "write \"256MiB\""))
}
