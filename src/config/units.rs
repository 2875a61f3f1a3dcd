//! Values with a unit or a form of their own, from text: durations, sizes, addresses, networks.
//!
//! The same functions read the file's strings, the flags and the environment.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytesize::ByteSize;
use ipnet::IpNet;

/// Why a text is not the value it should be, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}; {instead}")]
pub struct Refused {
    /// Why, as a sentence without its full stop.
    pub why: String,
    /// What to write instead.
    pub instead: String,
}

impl Refused {
    pub(super) fn new(why: impl Into<String>, instead: impl Into<String>) -> Self {
        Self { why: why.into(), instead: instead.into() }
    }
}

/// No duration in a configuration is meant to be longer, and sums of a few cannot overflow.
pub(super) const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

const SIZE_UNITS: [&str; 9] = ["b", "kb", "kib", "mb", "mib", "gb", "gib", "tb", "tib"];

/// What [`duration`] takes, as far as a pattern can say it.
pub(super) const DURATION: &str = r"^\s*([0-9][0-9\s]*(\.[0-9\s]+)?(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds|second|secs|sec|s|minutes|minute|mins|min|m|hours|hour|hrs|hr|h|days|day|d|weeks|week|wks|wk|w|months|month|years|year|yrs|yr|y)\s*)+$";

/// What [`size`] takes, as far as a pattern can say it.
pub(super) const SIZE: &str = r"^\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*([kKmMgGtT][iI]?)?[bB]\s*$";

/// A duration with its unit: `250ms`, `30s`, `1h 30m`, `7d`; at most ten years.
///
/// # Errors
/// [`Refused`] for a bare number, an unknown or ambiguous unit, or anything longer.
pub fn duration(text: &str) -> Result<Duration, Refused> {
    let text = text.trim();
    if let Some(number) = bare_number(text) {
        return Err(Refused::new(
            "a duration needs a unit",
            format!(
                "write \"{number}s\" for seconds, or \"{number}ms\", \"{number}m\", \"{number}h\""
            ),
        ));
    }
    // humantime reads `M` as months; who writes it means minutes.
    if text.split(|letter: char| !letter.is_alphabetic()).any(|unit| unit == "M") {
        return Err(Refused::new(
            "`M` is ambiguous",
            "write \"m\" for minutes or \"30d\" for a month",
        ));
    }
    let duration = humantime::parse_duration(text).map_err(|error| {
        Refused::new(
            format!("this is not a duration: {error}"),
            "write a number and a unit, like \"500ms\", \"30s\", \"5m\", \"1h 30m\", \"7d\"",
        )
    })?;
    if duration > LONGEST {
        return Err(Refused::new("a duration is at most ten years", "write \"3650d\" or less"));
    }
    Ok(duration)
}

/// A size with its unit: `64KiB`, `256MiB`, `2GB`.
///
/// # Errors
/// [`Refused`] for a bare number, and for `M`, `K` or `G` alone, which mean different things in
/// different programs.
pub fn size(text: &str) -> Result<u64, Refused> {
    let text = text.trim();
    if let Some(number) = bare_number(text) {
        return Err(Refused::new(
            "a size needs a unit",
            format!("write \"{number}MiB\", \"{number}KiB\" or, for bytes, \"{number}B\""),
        ));
    }
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = text[digits.len()..].to_ascii_lowercase();
    let number = digits.trim_end();
    if let "k" | "m" | "g" | "t" = unit.as_str() {
        let letter = unit.to_ascii_uppercase();
        return Err(Refused::new(
            format!("`{letter}` alone may mean powers of 1000 or of 1024"),
            format!("write \"{number}{letter}iB\" (1024) or \"{number}{letter}B\" (1000)"),
        ));
    }
    let refused = || {
        Refused::new(
            "this is not a size",
            "write a number and a unit, like \"64KiB\", \"256MiB\", \"2GB\"",
        )
    };
    if !SIZE_UNITS.contains(&unit.as_str()) || number.starts_with('+') {
        return Err(refused());
    }
    let bytes = text.parse::<ByteSize>().map_err(|_| refused())?.as_u64();
    if bytes > i64::MAX.cast_unsigned() {
        return Err(Refused::new("this size is beyond any machine", "write a smaller one"));
    }
    Ok(bytes)
}

/// A size that fits this machine's memory addresses.
///
/// # Errors
/// As [`size`], and for what does not fit.
pub(super) fn memory_size(text: &str) -> Result<usize, Refused> {
    usize::try_from(size(text)?)
        .map_err(|_| Refused::new("this size is beyond this machine", "write a smaller one"))
}

/// What [`address`] takes, as far as a pattern can say it.
pub(super) const ADDRESS: &str = r"^(\[[0-9A-Fa-f:.%]+\]|[0-9.]+):[0-9]+$";

/// An IP address with a port: `127.0.0.1:8080`, `[::]:443`.
///
/// # Errors
/// [`Refused`] for names, and for an address or a port alone.
pub fn address(text: &str) -> Result<SocketAddr, Refused> {
    text.parse().map_err(|_| match text {
        _ if text.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) => {
            Refused::new("the port is missing", format!("write \"[{text}]:8080\""))
        }
        _ if text.parse::<IpAddr>().is_ok() => {
            Refused::new("the port is missing", format!("write \"{text}:8080\""))
        }
        _ if text.trim_start_matches(':').parse::<u16>().is_ok() => {
            let port = text.trim_start_matches(':');
            Refused::new(
                "the address is missing",
                format!("write \"0.0.0.0:{port}\" or \"[::]:{port}\""),
            )
        }
        _ if text.starts_with("localhost:") => Refused::new(
            "an address to listen on is an IP address, not a name",
            format!("write \"{}\"", text.replacen("localhost", "127.0.0.1", 1)),
        ),
        _ => Refused::new(
            "this is not an IP address and a port",
            "write it like \"127.0.0.1:8080\" or \"[::1]:8080\"",
        ),
    })
}

/// What [`network`] takes, as far as a pattern can say it.
pub(super) const NETWORK: &str = "^[0-9A-Fa-f:.]+(/[0-9]+)?$";

/// A network (`10.0.0.0/8`) or a single address (`192.0.2.1`).
///
/// # Errors
/// [`Refused`] for anything else, and for a network with host bits set.
pub fn network(text: &str) -> Result<IpNet, Refused> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(ip));
    }
    let network: IpNet = text.parse().map_err(|_| {
        Refused::new(
            "this is neither a network nor an address",
            "write it like \"10.0.0.0/8\", \"fd00::/8\" or \"192.0.2.1\"",
        )
    })?;
    if network != network.trunc() {
        return Err(Refused::new(
            "the address has bits outside of its prefix",
            format!(
                "write \"{}\" for the network or \"{}\" for the address",
                network.trunc(),
                network.addr()
            ),
        ));
    }
    Ok(network)
}

/// A secret that fits a header field; its text never stands in the refusal.
///
/// # Errors
/// [`Refused`] for short ones and for what a header field cannot carry.
pub(super) fn token(text: &str) -> Result<&str, Refused> {
    if text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text);
    }
    Err(Refused::new(
        "a token is at least 16 visible ASCII characters without spaces",
        "make one with: openssl rand -hex 32",
    ))
}

/// `off` and `none` are `None`; everything else is read by `parse`.
///
/// # Errors
/// What `parse` refuses.
pub(super) fn optional<T>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, Refused>,
) -> Result<Option<T>, Refused> {
    if matches!(text, "off" | "none") { Ok(None) } else { parse(text).map(Some) }
}

fn bare_number(text: &str) -> Option<&str> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'_');
    (is_number && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_need_units() {
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert!(duration("30").unwrap_err().instead.contains("\"30s\""));
        assert!(duration("5M").unwrap_err().why.contains("ambiguous"));
        assert!(duration("11y").unwrap_err().why.contains("ten years"));
        assert!(duration("").is_err());
        assert!(duration("-1s").is_err());
    }

    #[test]
    fn sizes_need_unambiguous_units() {
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("2 GB"), Ok(2_000_000_000));
        assert_eq!(size("0b"), Ok(0));
        assert!(size("512").unwrap_err().instead.contains("\"512MiB\""));
        assert!(size("512M").unwrap_err().instead.contains("\"512MiB\" (1024)"));
        assert!(size("-1MiB").is_err());
        assert!(size("99999999TiB").is_err());
        assert!(size("MiB").is_err());
    }

    #[test]
    fn addresses_say_what_is_missing() {
        assert!(address("127.0.0.1:0").is_ok());
        assert_eq!(address("127.0.0.1").unwrap_err().instead, "write \"127.0.0.1:8080\"");
        assert_eq!(address("::1").unwrap_err().instead, "write \"[::1]:8080\"");
        assert!(address(":80").unwrap_err().instead.contains("0.0.0.0:80"));
        assert_eq!(address("localhost:80").unwrap_err().instead, "write \"127.0.0.1:80\"");
    }

    #[test]
    fn networks_may_be_single_addresses() {
        assert_eq!(network("192.0.2.1").map(|net| net.to_string()), Ok("192.0.2.1/32".to_owned()));
        assert!(network("10.0.0.1/8").unwrap_err().instead.contains("10.0.0.0/8"));
        assert!(network("everyone").is_err());
    }

    #[test]
    fn patterns_refuse_what_readers_refuse() {
        let takes = |pattern: &str, text: &str| regex::Regex::new(pattern).unwrap().is_match(text);
        for text in ["", "30", "5M", "-1s", "1 fortnight", "s", "1s;"] {
            assert!(duration(text).is_err() && !takes(DURATION, text), "{text}");
        }
        for text in ["", "512", "512M", "-1MiB", "MiB", "1KiBs", "+1B"] {
            assert!(size(text).is_err() && !takes(SIZE, text), "{text}");
        }
        for text in ["127.0.0.1", ":80", "localhost:80", "::1"] {
            assert!(address(text).is_err() && !takes(ADDRESS, text), "{text}");
        }
        assert!(takes(ADDRESS, "[::1]:80") && takes(ADDRESS, "127.0.0.1:0"));
        assert!(takes(NETWORK, "fd00::/8") && takes(NETWORK, "192.0.2.1"));
        assert!(!takes(NETWORK, "everyone"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = (duration(&text), size(&text), address(&text), network(&text));
        }

        #[test]
        fn patterns_take_whatever_readers_take(text in "[0-9. ]{0,5}(ms|s|m|h|d|M|sec|months|y|[kKmMgGtT]?[iI]?[bB]|x|-)? ?[0-9]{0,2} ?(s|h|min|B)?") {
            let takes = |pattern: &str| regex::Regex::new(pattern).unwrap().is_match(&text);
            prop_assert!(duration(&text).is_err() || takes(DURATION), "{}", text);
            prop_assert!(size(&text).is_err() || takes(SIZE), "{}", text);
        }

        #[test]
        fn whole_seconds_are_read_exactly(seconds in 0_u64..100_000_000) {
            prop_assert_eq!(duration(&format!("{seconds}s")), Ok(Duration::from_secs(seconds)));
        }
    }
}
