//! Which format a log has, by its first lines.

use super::{FieldMap, Format, Layout};

/// Lines that are looked at.
const LINES: usize = 100;

/// The format that reads most of the first lines in `beginning`; `None` if none reads any.
#[must_use]
pub fn detect(beginning: &[u8]) -> Option<Format> {
    // The strictest first: among equals it wins, as the first.
    let formats = [
        Format::Json(FieldMap::default()),
        Format::Layout(Layout::seawall()),
        Format::Layout(Layout::vhost()),
        Format::Layout(Layout::combined()),
        Format::Layout(Layout::common()),
        Format::Csv,
    ];
    let mut best = None;
    for format in formats {
        let lines = beginning.split(|byte| *byte == b'\n').take(LINES);
        let read = lines.filter(|line| matches!(format.read(line), Ok(Some(_)))).count();
        if read > best.as_ref().map_or(0, |(most, _)| *most) {
            best = Some((read, format));
        }
    }
    best.map(|(_, format)| format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_known_by_its_lines() {
        let common = "192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] \"GET / HTTP/1.1\" 200 512";
        let combined = format!("{common} \"-\" \"curl/8\"");
        let layout = |text: &str| match detect(text.as_bytes()) {
            Some(Format::Layout(layout)) => Some(layout),
            _ => None,
        };
        assert_eq!(layout(common), Some(Layout::common()));
        assert_eq!(
            layout(&format!("{combined}\ngarbage\n{combined} extra")),
            Some(Layout::combined())
        );
        assert_eq!(layout(&format!("a.test {combined}")), Some(Layout::vhost()));
        assert!(matches!(detect(b"timestamp,key,size\n1,a,2\n"), Some(Format::Csv)));
        let json = b"{\"ts\":1700000000,\"uri\":\"/\",\"status\":200}";
        assert!(matches!(detect(json), Some(Format::Json(_))));
        assert!(detect(b"what is this\n").is_none() && detect(b"").is_none());
    }
}
