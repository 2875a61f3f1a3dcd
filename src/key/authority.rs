//! Hosts as they come, and what they are in normal form.

use std::cell::RefCell;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use http::uri::Authority;

use super::{TargetError, normalize_host};

/// Hosts that a thread remembers: a power of two.
const PLACES: usize = 64;

/// Bytes of one that is remembered at most; a normal one is never longer.
const MOST_BYTES: usize = 264;

thread_local! {
    /// Most requests are for few hosts. What is known of one is a function of its text: nothing
    /// depends on whether it is remembered.
    static KNOWN: RefCell<[Option<Known>; PLACES]> = const { RefCell::new([const { None }; PLACES]) };
}

struct Known {
    raw: Box<[u8]>,
    secure: bool,
    authority: Authority,
}

/// The normal form of `host[:port]`.
pub(super) fn authority(raw: &[u8], secure: bool) -> Result<Authority, TargetError> {
    let remembered = KNOWN.try_with(|known| {
        let mut known = known.try_borrow_mut().ok()?;
        let place = known.get_mut(FixedState::default().hash_one(raw) as usize % PLACES)?;
        if let Some(known) = place
            && known.secure == secure
            && *known.raw == *raw
        {
            return Some(Ok(known.authority.clone()));
        }
        let authority = read(raw, secure);
        if let Ok(authority) = &authority
            && raw.len() <= MOST_BYTES
        {
            *place = Some(Known { raw: raw.into(), secure, authority: authority.clone() });
        }
        Some(authority)
    });
    remembered.ok().flatten().unwrap_or_else(|| read(raw, secure))
}

fn read(raw: &[u8], secure: bool) -> Result<Authority, TargetError> {
    Authority::try_from(&*normalize_host(raw, secure)?).map_err(|_| TargetError::Host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_remembered_is_the_same_as_one_that_is_not() {
        let hosts: Vec<_> = (0..4 * PLACES).map(|number| format!("H{number}.Example:80")).collect();
        for _ in 0..3 {
            for host in &hosts {
                for secure in [false, true, true, false] {
                    let known = authority(host.as_bytes(), secure);
                    assert_eq!(known, read(host.as_bytes(), secure), "{host}");
                    let port = if secure { ":80" } else { "" };
                    let name = host.to_ascii_lowercase();
                    let name = name.trim_end_matches(":80");
                    assert_eq!(known.expect("a host").as_str(), format!("{name}{port}"));
                }
            }
        }
    }

    #[test]
    fn what_is_no_host_is_refused_each_time() {
        for raw in [&b"a b"[..], b"", b"a:0", &[b'a'; 300]] {
            for _ in 0..3 {
                assert_eq!(authority(raw, false), read(raw, false));
                assert!(authority(raw, false).is_err());
            }
        }
    }
}
